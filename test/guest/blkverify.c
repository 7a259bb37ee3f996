/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk under random load on all queues at once, every sector of it remembered: reads, writes,
 * zeroes, discards and flushes of 1 to 24 sectors, from memory that begins anywhere and is cut
 * anywhere. Requests in flight never share a sector, but they do share the host's blocks, and each
 * must leave its neighbours alone. At the end the whole window is read back. Settings: rounds=N,
 * through (writes are kept at once), full (writes may fail; nothing else may), page (no request
 * crosses a border of 4 KiB).
 */
#include "drivers.h"
#include "guest.h"

#define SLOTS 8 /* of each queue */
#define SLOT_DESCS 6
#define SLOT_DATA 0x8000ul
#define SECTORS_MAX 24u
#define WINDOW_MAX 4096u
#define UNKNOWN 0xff /* a generation: the sector may hold anything */

enum { IN = 0, OUT = 1, FLUSH = 4, DISCARD = 11, ZEROES = 13 };
#define F_DISCARD (1ul << 13)
#define F_ZEROES (1ul << 14)

struct slot {
	uint32_t type, sector, count, gen;
	uint64_t data;
	bool flying;
};

static struct load {
	struct vdev d;
	uint32_t window, asked, failed, bad;
	uint8_t gen[WINDOW_MAX]; /* of what each sector holds; 0: zeros */
	bool busy[WINDOW_MAX];
	struct slot slot[QUEUES_MAX][SLOTS];
} load;

static uint64_t word_of(uint32_t sector, uint32_t gen, uint32_t i)
{
	return gen ? (uint64_t)sector << 32 | gen << 8 | i : 0;
}

static void lay(uint64_t at, uint32_t sector, uint32_t count, uint32_t gen)
{
	for (uint32_t s = 0; s < count; s++)
		for (uint32_t i = 0; i < 64; i++)
			wr64(at + s * 512 + i * 8, word_of(sector + s, gen, i));
}

static void look(const struct load *l, uint64_t at, uint32_t sector, uint32_t count)
{
	for (uint32_t s = 0; s < count; s++) {
		uint32_t gen = l->gen[sector + s], wrong = 0;

		for (uint32_t i = 0; gen != UNKNOWN && i < 64; i++)
			wrong += rd64(at + s * 512 + i * 8) != word_of(sector + s, gen, i);
		if (wrong && load.bad++ < 5)
			print("R3 BAD sector=%u gen=%u got=%lx\n", sector + s, gen,
			      rd64(at + s * 512));
	}
}

static bool is_free(const struct load *l, uint32_t sector, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (l->busy[sector + i])
			return false;
	return true;
}

static void mark_busy(struct load *l, const struct slot *s, bool busy)
{
	for (uint32_t i = 0; i < s->count; i++)
		l->busy[s->sector + i] = busy;
}

static uint32_t choose(const struct load *l)
{
	static const uint32_t types[] = { OUT, OUT, OUT, OUT, IN, IN, IN, IN, ZEROES, DISCARD };
	uint32_t type = types[rnd() % 10];

	if (rnd() % 64 == 0)
		return FLUSH;
	if (type == DISCARD && !(l->d.features & F_DISCARD))
		return OUT;
	return type == ZEROES && !(l->d.features & F_ZEROES) ? OUT : type;
}

/* Header, up to three pieces of payload, status. */
static void send(struct load *l, uint16_t n, uint32_t k)
{
	struct slot *s = &l->slot[n][k];
	struct vq *q = &l->d.q[n];
	uint64_t head = q->buf + k * 64ul;
	uint32_t len = s->type == FLUSH ? 0 : s->type < FLUSH ? s->count * 512 : 16, at = 0;
	uint16_t first = (uint16_t)(k * SLOT_DESCS), d = first;
	uint16_t way = s->type == IN ? D_WRITE : 0;

	wr32(head, s->type);
	wr32(head + 4, 0);
	wr64(head + 8, s->type == IN || s->type == OUT ? s->sector : 0);
	wr8(head + 32, 0xee);
	vq_desc(q, d, (struct desc){ head, 16, D_NEXT, (uint16_t)(d + 1) });
	for (int piece = 0; at < len; piece++) {
		uint32_t part = piece < 2 ? (uint32_t)(rnd() % (len - at)) + 1 : len - at;

		d++;
		vq_desc(q, d,
			(struct desc){ s->data + at, part, (uint16_t)(D_NEXT | way),
				       (uint16_t)(d + 1) });
		at += part;
	}
	d++;
	vq_desc(q, d, (struct desc){ head + 32, 1, D_WRITE, 0 });
	s->flying = true;
	l->asked++;
	vq_put(q, first);
}

/* A request that is free to be made now, or none. */
static void make(struct load *l, uint16_t n, uint32_t k)
{
	struct slot *s = &l->slot[n][k];
	uint32_t most = l->window < SECTORS_MAX ? l->window : SECTORS_MAX;

	s->type = choose(l);
	s->count = s->type == FLUSH ? 0 : (uint32_t)(rnd() % most) + 1;
	if (s->count && rnd() % 4 == 0)
		s->count = (s->count + 7) & ~7u;
	s->sector = (uint32_t)(rnd() % (l->window - s->count + 1));
	if (rnd() % 4 == 0)
		s->sector &= ~7u;
	if (word("page", NULL) && s->count) {
		s->count = s->count % 8 + 1;
		s->sector = (s->sector & ~7u) + (uint32_t)(rnd() % (9 - s->count));
	}
	if (!is_free(l, s->sector, s->count))
		return;
	mark_busy(l, s, true);
	s->data = l->d.q[n].buf + 0x10000 + k * SLOT_DATA + (rnd() & 1 ? rnd() % 4096 : 0);
	s->gen = (uint32_t)(rnd() % 254) + 1;
	if (s->type == OUT)
		lay(s->data, s->sector, s->count, s->gen);
	if (s->type > FLUSH) {
		wr64(s->data, s->sector);
		wr32(s->data + 8, s->count);
		wr32(s->data + 12, s->type == ZEROES ? rnd() & 1 : 0);
	}
	send(l, n, k);
}

static void ended(struct load *l, uint16_t n, uint32_t k)
{
	struct slot *s = &l->slot[n][k];
	uint8_t status = rd8(l->d.q[n].buf + k * 64ul + 32);
	uint8_t gen = s->type == OUT ? (uint8_t)s->gen : s->type == ZEROES ? 0 : UNKNOWN;

	s->flying = false;
	mark_busy(l, s, false);
	if (status) {
		l->failed++;
		if (s->type == IN || s->type == FLUSH || !word("full", NULL))
			l->bad++;
		gen = UNKNOWN;
	}
	if (s->type == IN && !status)
		look(l, s->data, s->sector, s->count);
	if (s->type != IN)
		for (uint32_t i = 0; i < s->count; i++)
			l->gen[s->sector + i] = gen;
}

static bool reap(struct load *l, uint16_t n)
{
	struct vq *q = &l->d.q[n];
	uint32_t len;
	bool any = false;

	while (q->used[1] != q->last_used) {
		barrier();
		ended(l, n, vq_take(q, &len) / SLOT_DESCS);
		any = true;
	}
	return any;
}

static bool flying(const struct load *l)
{
	for (uint32_t n = 0; n < QUEUES_MAX; n++)
		for (uint32_t k = 0; k < SLOTS; k++)
			if (l->slot[n][k].flying)
				return true;
	return false;
}

/* Until all has ended; false when nothing does for ten seconds. */
static bool settle(struct load *l)
{
	uint64_t since = rdtsc();

	while (flying(l) && !lapse(since, 10000000)) {
		bool any = false;

		for (uint16_t n = 0; n < l->d.num_queues && n < QUEUES_MAX; n++)
			any |= reap(l, n);
		if (any)
			since = rdtsc();
		else
			cpu_relax();
	}
	return !flying(l);
}

/* The whole window, in order: written, or read and compared. */
static bool sweep(struct load *l, uint32_t type)
{
	struct slot *s = &l->slot[0][0];

	for (uint32_t at = 0; at < l->window; at += s->count) {
		s->type = type;
		s->sector = at;
		s->count = l->window - at < 32 ? l->window - at : 32;
		s->gen = 1;
		s->data = l->d.q[0].buf + 0x10000;
		if (type == OUT)
			lay(s->data, at, s->count, 1);
		send(l, 0, 0);
		vq_publish(&l->d.q[0]);
		if (!settle(l))
			return false;
	}
	return true;
}

static void describe(const struct vdev *d, uint32_t nth)
{
	print("R3 DISK %u features=%lx sectors=%lu blk_size=%u physical_exp=%u min_io=%u opt_io=%u "
	      "wce=%u queues=%u discard=%u align=%u zeroes=%u unmap=%u\n",
	      nth, d->features, blk_sectors(d), rd32(d->config + 20), rd8(d->config + 24),
	      rd16(d->config + 26), rd32(d->config + 28), rd8(d->config + 32), d->num_queues,
	      rd32(d->config + 36), rd32(d->config + 44), rd32(d->config + 48),
	      rd8(d->config + 56));
}

static void torture(struct load *l, uint64_t rounds)
{
	uint16_t queues = l->d.num_queues < QUEUES_MAX ? l->d.num_queues : QUEUES_MAX;
	bool alive = sweep(l, OUT);

	for (uint64_t r = 0; r < rounds && alive; r++) {
		for (uint16_t n = 0; n < queues; n++) {
			for (uint32_t k = 0; k < SLOTS; k++)
				if (!l->slot[n][k].flying)
					make(l, n, k);
			vq_publish(&l->d.q[n]);
		}
		for (uint16_t n = 0; n < queues; n++)
			reap(l, n);
		if (r % 8 == 0)
			alive = settle(l);
	}
	check(alive && settle(l) && sweep(l, IN), "blkverify gets every answer");
}

void blk_verify(void)
{
	struct load *l = &load;
	uint64_t rounds = 300;

	word("rounds", &rounds);
	for (uint32_t nth = 0; memset(l, 0, sizeof *l), vdev_find(&l->d, VIRTIO_BLK, nth); nth++) {
		if (!check(vdev_start(&l->d, ~(F_INDIRECT | 1ul << 33)), "blkverify %u starts",
			   nth))
			return;
		if (word("through", NULL))
			wr8(l->d.config + 32, 0);
		describe(&l->d, nth);
		l->window = (uint32_t)(blk_sectors(&l->d) < WINDOW_MAX ? blk_sectors(&l->d)
								       : WINDOW_MAX);
		memset(l->gen, UNKNOWN, sizeof l->gen);
		torture(l, rounds);
		print("R3 VERIFIED %u asked=%u failed=%u bad=%u\n", nth, l->asked, l->failed,
		      l->bad);
		check(!l->bad, "blkverify %u finds what it wrote", nth);
		vdev_reset(&l->d);
	}
}

/* Every sector of the first disk is given back. */
void blk_discard(void)
{
	struct load *l = &load;
	struct slot *s = &l->slot[0][0];

	memset(l, 0, sizeof *l);
	if (!check(vdev_find(&l->d, VIRTIO_BLK, 0) && vdev_start(&l->d, F_DISCARD | F_ZEROES),
		   "blkdiscard starts"))
		return;
	memset(l->gen, UNKNOWN, sizeof l->gen);
	*s = (struct slot){ .type = DISCARD, .data = l->d.q[0].buf + 0x10000 };
	wr64(s->data, 0);
	wr32(s->data + 8, (uint32_t)blk_sectors(&l->d));
	wr32(s->data + 12, 0);
	send(l, 0, 0);
	vq_publish(&l->d.q[0]);
	check(settle(l) && !l->failed, "blkdiscard discards");
	vdev_reset(&l->d);
}
