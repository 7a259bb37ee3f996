/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much a disk or a card lets through in a time: every queue of every disk (or the sending queue
 * of the first card, or with `in` the receiving one) is kept full from one CPU, and what is done is counted. Settings: len=N bytes a
 * request, warm=N milliseconds that do not count but are reported, ms=N that do.
 */
#include "drivers.h"
#include "guest.h"

#define LANES 8
#define DEPTH 8

/* One queue that is kept full. */
struct lane {
	struct vq *q;
	uint32_t disk;
	uint64_t done;
};

static struct lane lanes[LANES];
static uint32_t count;
static uint64_t len = 4096;

/* Requests lie at q->buf, 256 bytes each; all read into the same buffer behind them. */
static void lay_read(struct vq *q, uint32_t s)
{
	uint64_t m = q->buf + s * 0x100ul;
	uint16_t k = (uint16_t)(3 * s);

	wr32(m, 0);
	wr32(m + 4, 0);
	wr64(m + 8, 0);
	vq_desc(q, k, (struct desc){ m, 16, D_NEXT, (uint16_t)(k + 1) });
	vq_desc(q, (uint16_t)(k + 1),
		(struct desc){ q->buf + 0x10000, (uint32_t)len, D_NEXT | D_WRITE,
			       (uint16_t)(k + 2) });
	vq_desc(q, (uint16_t)(k + 2), (struct desc){ m + 16, 1, D_WRITE, 0 });
	vq_put(q, k);
}

/* A header of nothing and a frame to everybody. */
static void lay_frame(struct vq *q, uint32_t s)
{
	memset((void *)q->buf, 0, 12);
	memset((void *)(q->buf + 12), 0xff, 12);
	vq_desc(q, (uint16_t)(3 * s), (struct desc){ q->buf, (uint32_t)len + 12, 0, 0 });
	vq_put(q, (uint16_t)(3 * s));
}

/* Room for a frame from outside. */
static void lay_room(struct vq *q, uint32_t s)
{
	vq_desc(q, (uint16_t)(3 * s), (struct desc){ q->buf + s * 4096, 4096, D_WRITE, 0 });
	vq_put(q, (uint16_t)(3 * s));
}

static void turn(struct lane *l)
{
	uint32_t n = 0, written;

	for (; l->q->used[1] != l->q->last_used; n++) {
		barrier();
		vq_put(l->q, (uint16_t)vq_take(l->q, &written));
	}
	l->done += n;
	if (n)
		vq_publish(l->q);
}

/* Keeps all full for a time; returns how long it was, in microseconds. */
static uint64_t keep_full(uint64_t ms)
{
	uint64_t t = rdtsc();

	for (uint32_t i = 0; i < count; i++)
		lanes[i].done = 0;
	while (!lapse(t, ms * 1000))
		for (uint32_t i = 0; i < count; i++)
			turn(&lanes[i]);
	return tsc_ns(rdtsc() - t) / 1000;
}

static void report(const char *what, uint64_t us)
{
	for (uint32_t i = 0; i < count; i++)
		print("R3 %s disk=%u done=%lu us=%lu\n", what, lanes[i].disk, lanes[i].done, us);
}

static void add(struct vq *q, uint32_t disk)
{
	if (count < LANES)
		lanes[count++] = (struct lane){ .q = q, .disk = disk };
}

static void measure(void (*lay)(struct vq *q, uint32_t s))
{
	uint64_t warm = 300, ms = 1000;

	word("warm", &warm);
	word("ms", &ms);
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t s = 0; s < DEPTH; s++)
			lay(lanes[i].q, s);
		vq_publish(lanes[i].q);
	}
	report("WARM", keep_full(warm));
	report("RATE", keep_full(ms));
}

void rate_blk(void)
{
	static struct vdev d[LANES];

	word("len", &len);
	for (uint32_t n = 0; n < LANES && vdev_find(&d[n], VIRTIO_BLK, n); n++) {
		d[n].home = (uint16_t)count;
		if (!check(vdev_start(&d[n], F_EVENT_IDX), "disk %u starts", n))
			return;
		for (uint32_t i = 0; i < d[n].num_queues; i++)
			add(&d[n].q[i], n);
	}
	measure(lay_read);
	for (uint32_t n = 0; n < LANES && d[n].common; n++)
		vdev_reset(&d[n]);
}

void rate_net(void)
{
	static struct vdev d;

	word("len", &len);
	if (!check(vdev_find(&d, VIRTIO_NET, 0) && vdev_start(&d, F_EVENT_IDX), "the card starts"))
		return;
	print("R3 FLOOD\n");
	add(&d.q[word("in", NULL) ? 0 : 1], 0);
	measure(word("in", NULL) ? lay_room : lay_frame);
	vdev_reset(&d);
}
