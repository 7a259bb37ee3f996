/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon by hand: gives memory, takes it back, reports it, tells numbers; with the word `look`
 * it stands still in between. Specification: virtio 1.3 §5.5.
 */
#include "drivers.h"
#include "guest.h"

#define BASE (HEAP + (48ul << 20)) /* what is given, behind the queues' memory */
#define PAGE 4096ul
#define CHAIN_PAGES 256u
#define PIECE 0x100000ul /* of a report */
#define PIECES 32
#define SAFE 0xc0000ul /* pages in a queue's buffer that nobody minds to lose */
#define LONG 20000000

enum { INFLATE, DEFLATE, STATS, REPORT };
enum { HINT = 3 }; /* and reports behind it */
enum { STOP, DONE, FIRST };

/* §5.5.3: tell the host, statistics, report */
#define FEATURES (1ul << 0 | 1ul << 1 | 1ul << 5)
#define F_HINTS (1ul << 3)

void balloon_chain(struct vq *q)
{
	memset((void *)q->buf, 0, 64);
	for (uint64_t i = 0; i < 4; i++)
		wr32(q->buf + 4 * i, (uint32_t)((q->buf + SAFE) / PAGE + i));
	vq_desc(q, 0, (struct desc){ q->buf, 16, 0, 0 });
}

void balloon_report_chain(struct vq *q)
{
	vq_desc(q, 0, (struct desc){ q->buf + SAFE, 0x4000, D_WRITE, 0 });
}

/* A page of a run that was never asked for. */
void balloon_hint_chain(struct vq *q)
{
	wr32(q->buf, 7);
	vq_desc(q, 0, (struct desc){ q->buf, 4, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + SAFE, 0x4000, D_WRITE, 0 });
}

/* Nothing is taken of it. */
bool balloon_hint_works(struct vdev *d, struct vq *q)
{
	(void)d;
	wr8(q->buf + SAFE, 1);
	balloon_hint_chain(q);
	return vq_once(q, LONG) == 0 && rd8(q->buf + SAFE) == 1;
}

/* Gives pages and finds them empty. */
bool balloon_works(struct vdev *d, struct vq *q)
{
	(void)d;
	wr8(q->buf + SAFE, 1);
	q->index >= REPORT ? balloon_report_chain(q) : balloon_chain(q);
	if (vq_once(q, LONG) != 0)
		return false;
	return q->index == DEFLATE || !rd8(q->buf + SAFE);
}

void balloon_stats_chain(struct vq *q)
{
	memset((void *)q->buf, 0, 64);
	wr16(q->buf, 4);
	wr64(q->buf + 2, 0x1234000);
	wr16(q->buf + 10, 5);
	wr64(q->buf + 12, 0x5678000);
	vq_desc(q, 0, (struct desc){ q->buf, 20, 0, 0 });
	vq_desc(q, 1, (struct desc){ q->buf, 20, 0, 0 });
}

/* Numbers come back when newer ones come. */
bool balloon_stats_works(struct vdev *d, struct vq *q)
{
	uint32_t len;

	(void)d;
	balloon_stats_chain(q);
	vq_put(q, 0);
	vq_put(q, 1);
	vq_publish(q);
	return vq_wait(q, LONG) && vq_take(q, &len) == 0;
}

/* Tells the device of all pages from BASE on. */
static bool tell_pages(struct vq *q, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i += CHAIN_PAGES) {
		for (uint64_t k = 0; k < CHAIN_PAGES; k++)
			wr32(q->buf + 4 * k, (uint32_t)(BASE / PAGE + i + k));
		vq_desc(q, 0, (struct desc){ q->buf, 4 * CHAIN_PAGES, 0, 0 });
		if (vq_once(q, LONG) != 0)
			return false;
	}
	return true;
}

static bool report_pages(struct vq *q, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += PIECES * PIECE) {
		for (uint16_t i = 0; i < PIECES; i++)
			vq_desc(q, i,
				(struct desc){ BASE + at + i * PIECE, PIECE,
					       D_WRITE | (i + 1 < PIECES ? D_NEXT : 0),
					       (uint16_t)(i + 1) });
		if (vq_once(q, LONG) != 0)
			return false;
	}
	return true;
}

static void write_all(uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += PAGE)
		wr64(BASE + at, ~at);
}

static bool all_zero(uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += PAGE)
		if (rd64(BASE + at))
			return false;
	return true;
}

/* Somebody looks from outside, with the word `look`. */
static void look(void)
{
	if (word("look", NULL))
		pause_run();
}

void balloon_run(void)
{
	static struct vdev d;
	uint64_t pages, bytes;

	if (!check(vdev_find(&d, VIRTIO_BALLOON, 0) && vdev_start(&d, FEATURES), "balloon starts"))
		return;
	pages = rd32(d.config);
	bytes = pages * PAGE;
	print("R3 BALLOON pages=%lu features=%lx queues=%u\n", pages, d.features, d.num_queues);
	balloon_stats_chain(&d.q[STATS]);
	vq_put(&d.q[STATS], 0);
	vq_publish(&d.q[STATS]);
	map(BASE, bytes);
	write_all(bytes);
	look();
	check(tell_pages(&d.q[INFLATE], pages), "balloon takes all pages");
	wr32(d.config + 4, (uint32_t)pages);
	look();
	check(tell_pages(&d.q[DEFLATE], pages), "balloon gives all pages");
	wr32(d.config + 4, 0);
	check(all_zero(bytes), "what comes back is empty");
	print("R3 STATS returned=%u\n", d.q[STATS].used[1]);
	write_all(bytes);
	look();
	if (d.features & 1ul << 5) {
		check(report_pages(&d.q[REPORT], bytes), "reports are answered");
		look();
		check(all_zero(bytes), "what was reported is empty");
	}
	vdev_reset(&d);
}

/* --- hints --- */

/* What the driver says between pages: the number of the run, or that it has told all. */
static bool say(struct vq *q, uint32_t number)
{
	wr32(q->buf, number);
	vq_desc(q, 0, (struct desc){ q->buf, 4, 0, 0 });
	return vq_once(q, LONG) == 0;
}

/* One page block: gone, and answered, as soon as the doorbell has been rung. */
static bool hint(struct vq *q, uint64_t at, bool gone)
{
	uint32_t len;

	wr64(at, 1);
	vq_desc(q, 0, (struct desc){ at, 4 * PIECE, D_WRITE, 0 });
	vq_put(q, 0);
	vq_publish(q);
	return q->used[1] != q->last_used && vq_take(q, &len) == 0 && (rd64(at) == 0) == gone;
}

static uint32_t hint_all(struct vq *q, uint64_t bytes, bool gone)
{
	uint32_t bad = 0;

	for (uint64_t at = 0; at < bytes; at += 4 * PIECE)
		bad += !hint(q, BASE + at, gone);
	return bad;
}

/* The number that stands in config space, once it is another. */
static uint32_t asked(struct vdev *d, uint32_t was)
{
	uint64_t t = rdtsc();

	while (rd32(d->config + 8) == was && !lapse(t, LONG))
		cpu_relax();
	return rd32(d->config + 8);
}

void balloon_hints(void)
{
	static struct vdev d;
	uint64_t bytes = 64ul << 20;
	struct vq *q = &d.q[HINT];
	uint32_t n, next;

	if (!check(vdev_find(&d, VIRTIO_BALLOON, 0) && vdev_start(&d, FEATURES | F_HINTS) &&
			   d.features & F_HINTS,
		   "balloon takes hints"))
		return;
	map(BASE, bytes);
	write_all(bytes);
	check(rd32(d.config + 8) == STOP, "nobody asks yet");
	check(!hint_all(q, bytes, false), "what nobody asked for stays");
	look();
	n = asked(&d, STOP);
	check(n >= FIRST, "it is asked");
	check(say(q, n + 1) && hint(q, BASE, false), "another run's pages stay");
	check(say(q, n) && !hint_all(q, bytes, true), "what is hinted at is gone at once");
	look();
	next = asked(&d, n);
	check(next >= FIRST && next != n, "it is asked anew in the midst");
	write_all(bytes);
	check(say(q, n) && hint(q, BASE, false), "the old run is over");
	check(say(q, next) && !hint_all(q, bytes, true), "the new one is not");
	check(say(q, STOP) && rd32(d.config + 8) == DONE, "it is told that all is done");
	check(all_zero(bytes), "what was hinted at is empty");
	write_all(bytes);
	check(!hint_all(q, bytes, false), "what comes too late stays");
	look();
	vdev_reset(&d);
	check(rd32(d.config + 8) == STOP, "a new driver is asked for nothing");
}
