/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device for tests: what it reads from a chain it writes back into it. Two queues of 64 in
 * the board's loop, eight bytes of configuration of which the driver may write the last four.
 */
#pragma once

#include "drive.h"

#define ECHO_QUEUES 2
#define ECHO_SIZE 64
#define ECHO_FEATURE 1ull

struct echo {
	struct vdev v; /* first member */
	uint32_t starts, stops, resets, wrote, chains;
};

static inline struct echo *echo_of(struct vdev *v)
{
	return container_of(v, struct echo, v);
}

static inline void echo_start(struct vqueue *q)
{
	echo_of(q->vdev)->starts++;
}

static inline void echo_stop(struct vqueue *q)
{
	assert(q->q.flying == 0);
	echo_of(q->vdev)->stops++;
}

static inline void echo_kick(struct vqueue *q)
{
	struct chain c;

	do {
		enum vq_result r;

		vq_mute(&q->q);
		while ((r = vq_pop(&q->q, &c)) == VQ_CHAIN) {
			uint8_t b[256];
			size_t n = chain_get(&c, 0, b, sizeof(b));

			vq_push(&q->q, c.head, (uint32_t)chain_put(&c, 0, b, n));
			echo_of(q->vdev)->chains++;
		}
		if (r == VQ_BAD) {
			vdev_broken(q->vdev, "test");
			return;
		}
	} while (vq_listen(&q->q));
	vqueue_notify(q);
}

static inline void echo_wrote(struct vdev *v, uint32_t off, uint32_t len)
{
	(void)off;
	(void)len;
	echo_of(v)->wrote++;
}

static inline void echo_reset(struct vdev *v)
{
	echo_of(v)->resets++;
	memset(v->config + 4, 0xee, 4);
}

static inline int echo_init(struct dev *d, struct err *e)
{
	struct vdev *v = vdev_of(d);

	v->offered = ECHO_FEATURE | VF_INDIRECT_DESC | VF_EVENT_IDX;
	v->config_len = 8;
	memcpy(v->config, "virtio\0\0", 8);
	memset(v->config + 4, 0xee, 4);
	memset(v->config_mask + 4, 0xff, 4);
	if (vdev_queues(v, ECHO_QUEUES, ECHO_SIZE, e))
		return -1;
	for (int i = 0; i < ECHO_QUEUES; i++)
		v->queues[i].loop = d->board->io;
	return 0;
}

static inline void echo_fini(struct dev *d)
{
	vdev_fini(vdev_of(d));
}

static const struct virtio_class echo_class = {
	.dev = {
		.name = "echo", .size = sizeof(struct echo), .init = echo_init, .fini = echo_fini,
		.plug = &vpci_plug,
	},
	.type = 42, .pci_class = 0xff, .pci_subclass = 0xff,
	.start = echo_start, .stop = echo_stop, .kick = echo_kick, .wrote = echo_wrote, .reset = echo_reset,
};

/* The driver's request with bytes at BUF, answered at BUF+0x100; offered, not rung. */
static inline void echo_offer(struct rig *r, uint16_t q, uint16_t head)
{
	rig_ok(gmem_write(r->mem, GPA(BUF), "0123456789abcdef", 16));
	drv_desc(r, q, head, BUF, 16, F_NEXT, (uint16_t)(head + 1));
	drv_desc(r, q, head + 1u, BUF + 0x100, 16, F_WRITE, 0);
	drv_offer(r, q, head);
}

/* Does queue q answer? */
static inline bool echo_works(struct rig *r, uint16_t q)
{
	uint16_t before = drv_used(r, q);

	echo_offer(r, q, 4);
	drv_kick(r, q);
	rig_turn(r, 3);
	return drv_used(r, q) == (uint16_t)(before + 1) && drv_used_len(r, q, before) == 16 &&
	       mem_rd(r, BUF + 0x100, 8) == mem_rd(r, BUF, 8);
}
