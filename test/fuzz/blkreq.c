/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk requests as a hostile driver may lay them out: the input is a descriptor table, the order in
 * which heads are offered, and the bytes of the requests. The device's code is taken in whole, with
 * loops that have no thread, so that each input is one run from the kick to the last status byte.
 * The rings themselves are the fuzzer vq's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/loop.h"

static int no_thread(struct loop *l, const char *profile, struct err *e)
{
	(void)l;
	(void)profile;
	(void)e;
	return 0;
}
#define loop_start no_thread
#include "../../src/dev/blk.c"
#undef loop_start

#include "../unit/virtio/drive.h"

#define DESCS 16
#define TABLE_BYTES (DESCS * 16)
#define HEADS 8
#define IMAGE_BYTES 65536

static struct rig rig;
static struct disk_conf conf;

static void make_disk(void)
{
	static char path[] = "/dev/shm/virga-fuzz-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, IMAGE_BYTES))
		abort();
	close(fd);
	log_init(LOG_ERROR, 2);
	desc_default(&disk_desc, &conf);
	conf.path = path;
	conf.queue_size = DESCS;
	rig_init(&rig);
	rig_add(&rig, &blk_class, &conf);
	unlink(path);
}

static void turn(struct loop *l, int turns)
{
	while (turns--) {
		loop_stop(l);
		loop_run(l);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t table[TABLE_BYTES];
	struct loop *l;

	if (!rig.d)
		make_disk();
	if (size < 1 + TABLE_BYTES + HEADS)
		return -1;
	drv_start(&rig, data[0] & 1 ? ~VF_ACCESS_PLATFORM : VF_INDIRECT_DESC);
	if (data[0] & 2)
		wr(&rig, AT_CONFIG + 32, 1, 0);
	data++;
	memcpy(table, data, sizeof(table));
	for (int i = 0; i < DESCS; i++) {
		/* mostly within RAM and of the ring, or each input would die on its first
		 * descriptor */
		le64_put(table + 16 * i, BUF + le16_get(table + 16 * i) % 0x8000);
		if (table[16 * i + 15] < 0xf0)
			le32_put(table + 16 * i + 8, le16_get(table + 16 * i + 8));
		le16_put(table + 16 * i + 12, table[16 * i + 12] & 7);
		le16_put(table + 16 * i + 14, table[16 * i + 14] % (DESCS + 1));
	}
	rig_ok(gmem_write(rig.mem, GPA(Q_AT(0)), table, sizeof(table)));
	for (int i = 0; i < HEADS; i++)
		drv_offer(&rig, 0, data[TABLE_BYTES + i] % DESCS);
	data += TABLE_BYTES + HEADS;
	size -= 1 + TABLE_BYTES + HEADS;
	rig_ok(gmem_write(rig.mem, GPA(BUF), data, size < 0x8000 ? size : 0x8000));
	l = vdev_of(rig.d)->queues[0].loop;
	drv_kick(&rig, 0);
	turn(l, 3);
	/* whatever happened, a reset heals */
	drv_reset(&rig);
	if (drv_status(&rig))
		abort();
	return 0;
}
