/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk requests as a hostile driver may lay them out: the input is a descriptor table, the order in
 * which heads are offered, and the bytes of the requests.
 */
#include "queues.h"

#include "../../src/dev/blkqueue.c"

#include "../../src/dev/blk.c"

#define IMAGE_BYTES 65536

static struct disk_conf conf;

static void make_disk(void)
{
	static char path[] = "/dev/shm/virga-fuzz-XXXXXX";
	int fd = mkstemp(path);

	must(fd >= 0 && !ftruncate(fd, IMAGE_BYTES));
	close(fd);
	desc_default(&disk_desc, &conf);
	conf.path = path;
	conf.queue_size = DESCS;
	queues_device(&blk_class, &conf);
	unlink(path);
}

/* A read of the first sector. */
static void must_work(void)
{
	queues_reset();
	mem_wr(&rig, GOOD, 8, 0);
	mem_wr(&rig, GOOD + 8, 8, 0);
	mem_wr(&rig, GOOD + 16, 1, 0xff);
	drv_desc(&rig, 0, 0, GOOD, 16, F_NEXT, 1);
	drv_desc(&rig, 0, 1, GOOD + 0x1000, 512, F_WRITE | F_NEXT, 2);
	drv_desc(&rig, 0, 2, GOOD + 16, 1, F_WRITE, 0);
	queues_must_answer(0);
	must(mem_rd(&rig, GOOD + 16, 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head = queues_head(&data, &size, 1 + QUEUE_BYTES);

	if (!rig.d)
		make_disk();
	drv_start(&rig, head[0] & 1 ? ~VF_ACCESS_PLATFORM : VF_INDIRECT_DESC);
	if (head[0] & 2)
		wr(&rig, AT_CONFIG + 32, 1, 0);
	queues_fill(data, size);
	queues_lay(0, head + 1);
	queues_turn(3);
	must_work();
	return 0;
}
