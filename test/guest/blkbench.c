/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk at depth: random 4 KiB and sequential 128 KiB reads for some tenths of a second each,
 * polled, three descriptors a request. Every 8-byte word of the disk holds its own byte offset;
 * the first and last word of each answer are checked. Settings: secs10=N, noevent, write, depth=N.
 */
#include "drivers.h"
#include "guest.h"

#define SLOTS 128
#define SLOT_DATA 0x20000ul
#define DATA_BASE (HEAP + 0x2000000ul)

struct load {
	const char *name;
	uint32_t type, len, depth;
	bool at_random;
};

struct run {
	const struct load *load;
	struct vq *q;
	uint64_t sectors, next, done, bad, kicks;
	uint64_t sector[SLOTS];
};

static uint64_t slot_head(const struct run *r, uint32_t s)
{
	return r->q->buf + s * 0x100ul;
}

/* Mark a block so that the words that are checked hold their offsets. */
static void mark(uint64_t at, uint64_t off, uint32_t len)
{
	for (uint32_t i = 0; i < len; i += 4096) {
		wr64(at + i, off + i);
		wr64(at + i + 4088, off + i + 4088);
	}
}

static void submit(struct run *r, uint32_t s)
{
	const struct load *l = r->load;
	uint64_t per = l->len / 512, blocks = r->sectors / per, m = slot_head(r, s);
	uint64_t data = DATA_BASE + s * SLOT_DATA;
	uint16_t k = (uint16_t)(3 * s);

	r->sector[s] = (l->at_random ? rnd() : r->next++) % blocks * per;
	if (l->type)
		mark(data, r->sector[s] * 512, l->len);
	wr32(m, l->type);
	wr32(m + 4, 0);
	wr64(m + 8, r->sector[s]);
	wr8(m + 16, 0xff);
	vq_desc(r->q, k, (struct desc){ m, 16, D_NEXT, (uint16_t)(k + 1) });
	vq_desc(r->q, (uint16_t)(k + 1),
		(struct desc){ data, l->len, D_NEXT | (l->type ? 0 : D_WRITE), (uint16_t)(k + 2) });
	vq_desc(r->q, (uint16_t)(k + 2), (struct desc){ m + 16, 1, D_WRITE, 0 });
	vq_put(r->q, k);
}

/* Take everything the device has used; returns how many. */
static uint32_t reap(struct run *r, bool again)
{
	uint32_t n = 0, len;

	while (r->q->used[1] != r->q->last_used) {
		barrier();
		uint32_t s = vq_take(r->q, &len) / 3;
		uint64_t data = DATA_BASE + s * SLOT_DATA, off = r->sector[s] * 512;

		if (rd8(slot_head(r, s) + 16) ||
		    (!r->load->type && (rd64(data) != off ||
					rd64(data + r->load->len - 8) != off + r->load->len - 8)))
			r->bad++;
		n++;
		if (again)
			submit(r, s);
	}
	r->done += n;
	return n;
}

static void run_load(struct vdev *d, const struct load *l, uint64_t tenths)
{
	static struct run r;
	uint64_t start = rdtsc();
	uint32_t flying = l->depth;

	memset(&r, 0, sizeof r);
	r.load = l;
	r.q = &d->q[0];
	r.sectors = blk_sectors(d);
	for (uint32_t s = 0; s < l->depth; s++)
		submit(&r, s);
	vq_publish(r.q);
	while (flying) {
		bool again = !lapse(start, tenths * 100000);
		uint32_t n = reap(&r, again);

		if (!n)
			cpu_relax();
		else if (again)
			vq_publish(r.q);
		else
			flying -= n;
	}
	uint64_t ns = tsc_ns(rdtsc() - start);

	print("R3 IO %s depth=%u iops=%lu kbps=%lu bad=%lu\n", l->name, l->depth,
	      (uint64_t)((unsigned __int128)r.done * 1000000000 / ns),
	      (uint64_t)((unsigned __int128)r.done * l->len * 1000000 / ns), r.bad);
	check(!r.bad, "blkbench %s", l->name);
}

void blk_bench(void)
{
	static const struct load loads[] = {
		{ "read4k", 0, 4096, 1, true },	      { "read4k", 0, 4096, 32, true },
		{ "read128k", 0, 131072, 32, false }, { "write4k", 1, 4096, 1, true },
		{ "write4k", 1, 4096, 32, true },
	};
	static struct vdev d;
	uint64_t tenths = 10, only = 0;

	word("secs10", &tenths);
	word("depth", &only);
	if (!check(vdev_find(&d, VIRTIO_BLK, 0) &&
			   vdev_start(&d, word("noevent", NULL) ? 0 : F_EVENT_IDX),
		   "blkbench starts"))
		return;
	uint32_t fit = d.q[0].size / 3u;

	for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
		struct load l = loads[i];

		if ((l.type && !word("write", NULL)) || (only && l.depth != only))
			continue;
		l.depth = l.depth < fit ? l.depth : fit;
		run_load(&d, &l, tenths);
	}
	vdev_reset(&d);
}
