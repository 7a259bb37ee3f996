/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of virtio devices' queues share: a board with one device on it, whose loops have
 * no thread, so that each input is one run from the kick to the last answer; queues laid out from
 * the input; and the proof that a reset heals. A device with loops of its own is included as source
 * behind this, so that its loops are caught too. The rings themselves are the fuzzer vq's.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../unit/virtio/drive.h"
#include "base/log.h"

#define DESCS 16
#define TABLE_BYTES (DESCS * 16)
#define HEADS 8
#define QUEUE_BYTES (TABLE_BYTES + HEADS) /* of the input, for one queue */
#define ROOM 0x8000u			  /* bytes of guest memory at BUF that the input fills */
#define GOOD (BUF + 0x10000)		  /* where the request lies that has to be answered */

static struct rig rig;

static inline int no_thread(struct loop *l, const char *profile, struct err *e)
{
	(void)l;
	(void)profile;
	(void)e;
	return 0;
}
#define loop_start no_thread

static inline void queues_device(const struct virtio_class *c, const void *conf)
{
	log_init(LOG_ERROR, 2);
	rig_init(&rig);
	rig_add(&rig, c, conf);
}

static inline void must(bool kept)
{
	if (!kept)
		abort();
}

/* The first n bytes of the input, with zeros behind where it is shorter; *data and *size are moved
 * behind them. */
static inline const uint8_t *queues_head(const uint8_t **data, size_t *size, size_t n)
{
	static uint8_t head[64 + 5 * QUEUE_BYTES];
	size_t have = *size < n ? *size : n;

	must(n <= sizeof(head));
	memset(head, 0, sizeof(head));
	memcpy(head, *data, have);
	*data += have;
	*size -= have;
	return head;
}

/* The table of queue q and the order of its heads, from QUEUE_BYTES bytes: mostly within RAM and of
 * the ring, or each input would die on its first descriptor. */
static inline void queues_lay(uint16_t q, const uint8_t *data)
{
	uint8_t table[TABLE_BYTES];

	memcpy(table, data, sizeof(table));
	for (int i = 0; i < DESCS; i++) {
		uint8_t *d = table + 16 * i;

		le64_put(d, BUF + le16_get(d) % ROOM);
		if (d[15] < 0xf0)
			le32_put(d + 8, le16_get(d + 8));
		le16_put(d + 12, d[12] & 7);
		le16_put(d + 14, d[14] % (DESCS + 1));
	}
	rig_ok(gmem_write(rig.mem, GPA(Q_AT(q)), table, sizeof(table)));
	for (int i = 0; i < HEADS; i++)
		drv_offer(&rig, q, data[TABLE_BYTES + i] % DESCS);
	drv_kick(&rig, q);
}

static inline void queues_fill(const uint8_t *data, size_t size)
{
	rig_ok(gmem_write(rig.mem, GPA(BUF), data, size < ROOM ? size : ROOM));
}

static inline void queues_turn(int turns)
{
	struct loop *l = vdev_of(rig.d)->queues[0].loop;

	while (turns--) {
		loop_stop(l);
		loop_run(l);
	}
}

/* Whatever happened, a reset heals: then the chain from descriptor 0 of queue q is answered. */
static inline void queues_reset(void)
{
	drv_reset(&rig);
	must(!drv_status(&rig));
	drv_start(&rig, 0);
	must(drv_status(&rig) == 15);
}

static inline void queues_must_answer(uint16_t q)
{
	drv_offer(&rig, q, 0);
	drv_kick(&rig, q);
	queues_turn(3);
	must(drv_used(&rig, q) == 1 && drv_status(&rig) == 15);
	drv_reset(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
