/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest memory map, and the only file with pointers into the guest. Every entrance goes through
 * find(), which proves that an address and a length lie in RAM before a pointer exists. See gmem.h.
 */
#include "mem/gmem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

/* RAM without a seam: adjoining regions that lie side by side in the host too. */
struct run {
	uint64_t base, size;
	unsigned char *host;
	struct backing_span span;
	uint64_t block;	   /* of a part with blocks, which has a run of its own; or 0 */
	uint64_t *plugged; /* a bit for each block, atomic */
	bool is_device;	   /* came by gmem_grow */
};

/* All runs at one time. What is published does not change, and is kept: who found it may look at it
 * as long as he likes. */
struct map {
	struct map *older;
	unsigned int runs;
	struct run run[]; /* sorted by base */
};

/* Memory of a device. */
struct grown {
	struct link link;
	uint64_t base;
	struct backing backing;
};

/* Host addresses of a device's memory that has gone: still there for who looks, and for the next. */
struct spare {
	struct link link;
	struct backing_span span;
};

struct gmem {
	unsigned int regions, zones;
	struct gmem_region region[GMEM_PARTS_MAX]; /* sorted by base */
	struct backing zone[GMEM_PARTS_MAX];	   /* gmem_add brings one for each region */
	struct map *_Atomic map;
	struct map *old; /* maps that were */
	struct link grown, spare;
	struct work *work; /* of loading, or NULL */
};

_Static_assert(sizeof(struct kiov) == sizeof(struct iovec), "kiov is what the kernel takes");

int gmem_new(struct gmem **out, struct err *e)
{
	struct gmem *m = NEW(struct gmem);

	(void)e;
	atomic_init(&m->map, NEW(struct map));
	list_init(&m->grown);
	list_init(&m->spare);
	*out = m;
	return 0;
}

static const struct map *map_of(const struct gmem *m)
{
	return atomic_load_explicit(&m->map, memory_order_acquire);
}

void gmem_free(struct gmem *m)
{
	struct map *map, *older;

	if (!m)
		return;
	map = atomic_load(&m->map);
	for (unsigned int i = 0; i < map->runs; i++) {
		backing_span_drop(&map->run[i].span);
		free(map->run[i].plugged);
	}
	free(map);
	for (map = m->old; map; map = older) {
		older = map->older;
		free(map);
	}
	for (unsigned int i = 0; i < m->zones; i++)
		backing_close(&m->zone[i]);
	list_each (at, &m->grown) {
		struct grown *g = container_of(at, struct grown, link);

		backing_close(&g->backing);
		free(g);
	}
	list_each (at, &m->spare) {
		struct spare *s = container_of(at, struct spare, link);

		backing_span_drop(&s->span);
		free(s);
	}
	free(m);
}

/* --- maps --- */

static struct map *map_new(unsigned int runs)
{
	struct map *map = mem_new(sizeof(*map) + runs * sizeof(map->run[0]));

	map->runs = runs;
	return map;
}

static struct map *map_with(const struct map *from, const struct run *r)
{
	struct map *to = map_new(from->runs + 1);
	unsigned int i = 0;

	for (; i < from->runs && from->run[i].base < r->base; i++)
		to->run[i] = from->run[i];
	to->run[i] = *r;
	for (; i < from->runs; i++)
		to->run[i + 1] = from->run[i];
	return to;
}

static struct map *map_without(const struct map *from, uint64_t base)
{
	struct map *to = map_new(from->runs - 1);
	unsigned int n = 0;

	for (unsigned int i = 0; i < from->runs; i++)
		if (from->run[i].base != base)
			to->run[n++] = from->run[i];
	return to;
}

static bool map_same(const struct map *a, const struct map *b)
{
	if (a->runs != b->runs)
		return false;
	for (unsigned int i = 0; i < a->runs; i++)
		if (a->run[i].base != b->run[i].base || a->run[i].size != b->run[i].size ||
		    a->run[i].host != b->run[i].host)
			return false;
	return true;
}

/* From here on everyone finds this one, which is the map's owner's. One that was there before is
 * taken again, so that what comes and goes a hundred times leaves two maps and not two hundred. */
static void publish(struct gmem *m, struct map *map)
{
	struct map *was = atomic_load(&m->map);

	for (struct map **at = &m->old; *at; at = &(*at)->older) {
		struct map *old = *at;

		if (!map_same(old, map))
			continue;
		*at = old->older;
		free(map);
		map = old;
		break;
	}
	atomic_store_explicit(&m->map, map, memory_order_release);
	was->older = m->old;
	m->old = was;
}

/* --- building --- */

static int judge_place(const struct gmem *m, uint64_t base, uint64_t size, struct err *e)
{
	uint64_t end;

	if (base % KIB(4) || !size || size % KIB(4) || add_overflows(&end, base, size))
		return err_set(e, ERR_BAD, "guest memory at 0x%" PRIx64 " of 0x%" PRIx64 " bytes",
			       base, size);
	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];

		if (ranges_meet(base, size, r->base.v, r->size))
			return err_set(e, ERR_TAKEN, "guest memory at 0x%" PRIx64 " is there twice",
				       base);
	}
	for (unsigned int i = 0; i < map_of(m)->runs; i++) {
		const struct run *r = &map_of(m)->run[i];

		if (r->is_device && ranges_meet(base, size, r->base, r->size))
			return err_set(e, ERR_TAKEN,
				       "at 0x%" PRIx64 " is the memory of a device already", base);
	}
	return 0;
}

/* A run for the parts given, which adjoin; it is empty yet. NULL on failure. Nobody looks yet. */
static const struct run *add_run(struct gmem *m, const struct gmem_part *p, unsigned int parts,
				 struct err *e)
{
	struct map *was = atomic_load(&m->map), *now;
	struct run r = { .base = p->base.v, .block = p->block };
	uint64_t align = MIB(2);

	for (unsigned int i = 0; i < parts; i++) {
		r.size += p[i].size;
		align = max_u64(align, m->zone[p[i].zone].page);
	}
	if (backing_span(&r.span, r.size, align, r.base, e) < 0)
		return NULL;
	r.host = r.span.host;
	if (r.block)
		r.plugged = mem_array(BITMAP_WORDS(r.size / r.block), sizeof(uint64_t));
	now = map_with(was, &r);
	atomic_store_explicit(&m->map, now, memory_order_release);
	free(was);
	for (unsigned int i = 0;; i++)
		if (now->run[i].base == r.base)
			return &now->run[i];
}

static int add_region(struct gmem *m, const struct run *run, const struct gmem_part *p,
		      struct err *e)
{
	const struct backing *b = &m->zone[p->zone];
	unsigned char *host = run->host + (p->base.v - run->base);
	unsigned int at;

	if (p->base.v % b->page || p->off % b->page || p->size % b->page)
		return err_set(e, ERR_BAD,
			       "guest memory at 0x%" PRIx64 " is not at a page of %" PRIu64 " KiB",
			       p->base.v, b->page >> 10);
	if (backing_map(b, host, p->off, p->size, e) < 0)
		return -1;
	for (at = m->regions++; at > 0 && m->region[at - 1].base.v > p->base.v; at--)
		m->region[at] = m->region[at - 1];
	m->region[at] = (struct gmem_region){
		.base = p->base,
		.size = p->size,
		.host = (uintptr_t)host,
		.fd = b->fd,
		.fd_off = p->off,
		.zone = p->zone,
		.block = p->block,
		.page = b->page,
	};
	return 0;
}

/* Makes the run that begins with the first part, and returns how many parts it has; 0 on
 * failure. */
static unsigned int lay_run(struct gmem *m, const struct gmem_part *p, unsigned int parts,
			    struct err *e)
{
	unsigned int n = 1;
	const struct run *run;

	while (n < parts && !p[0].block && !p[n].block &&
	       p[n].base.v == p[n - 1].base.v + p[n - 1].size)
		n++;
	run = add_run(m, p, n, e);
	for (unsigned int i = 0; run && i < n; i++)
		if (add_region(m, run, &p[i], e) < 0)
			return 0;
	return run ? n : 0;
}

int gmem_lay(struct gmem *m, struct gmem_plan *p, struct err *e)
{
	assert(!m->zones);
	memcpy(m->zone, p->zone, p->zones * sizeof(p->zone[0]));
	m->zones = p->zones;
	p->zones = 0;
	for (unsigned int i = 0; i < p->parts; i++) {
		const struct gmem_part *part = &p->part[i];

		assert(part->zone < m->zones);
		if (judge_place(m, part->base.v, part->size, e) < 0)
			return -1;
		if (i && part->base.v < part[-1].base.v + part[-1].size)
			return err_set(e, ERR_TAKEN, "guest memory at 0x%" PRIx64 " is there twice",
				       part->base.v);
	}
	for (unsigned int i = 0, n; i < p->parts; i += n) {
		n = lay_run(m, &p->part[i], p->parts - i, e);
		if (!n)
			return -1;
	}
	return 0;
}

int gmem_add(struct gmem *m, gpa_t base, uint64_t size, const struct backing_args *b, struct err *e)
{
	struct gmem_part part = { .base = base, .size = size, .zone = m->zones };

	if (m->zones == GMEM_PARTS_MAX || m->regions == GMEM_PARTS_MAX)
		return err_set(e, ERR_BAD, "more than %d pieces of guest memory", GMEM_PARTS_MAX);
	if (judge_place(m, base.v, size, e) < 0 || backing_open(&m->zone[m->zones], size, b, e) < 0)
		return -1;
	m->zones++;
	return lay_run(m, &part, 1, e) ? 0 : -1;
}

void gmem_tell(struct gmem *m, struct work *w)
{
	m->work = w;
}

int gmem_prefault(const struct gmem *m, struct work *w, struct err *e)
{
	struct prefault_range range[GMEM_PARTS_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		const struct backing *b = &m->zone[r->zone];

		if (b->how.prefault && !r->block)
			range[n++] = (struct prefault_range){ (unsigned char *)r->host, r->size,
							      b->page };
	}
	return prefault(range, n, w, e);
}

/* --- looking --- */

unsigned int gmem_regions(const struct gmem *m)
{
	return m->regions;
}

const struct gmem_region *gmem_region(const struct gmem *m, unsigned int i)
{
	return i < m->regions ? &m->region[i] : NULL;
}

static bool is_plugged(const struct run *r, uint64_t block)
{
	return __atomic_load_n(&r->plugged[block / 64], __ATOMIC_RELAXED) >> block % 64 & 1;
}

uint64_t gmem_total(const struct gmem *m)
{
	const struct map *map = map_of(m);
	uint64_t sum = 0;

	for (unsigned int i = 0; i < map->runs; i++) {
		const struct run *r = &map->run[i];

		if (!r->block && !r->is_device)
			sum += r->size;
		for (uint64_t n = 0; r->block && n < r->size / r->block; n++)
			sum += is_plugged(r, n) ? r->block : 0;
	}
	return sum;
}

/* Bytes of RAM from off of a run on; whoever wants no more than so many need not be told more. */
static uint64_t run_room(const struct run *r, uint64_t off, uint64_t want)
{
	uint64_t end = off;

	if (!r->block)
		return r->size - off;
	while (end < r->size && end - off < want && is_plugged(r, end / r->block))
		end = align_down(end, r->block) + r->block;
	return end - off;
}

/* The run that holds a, or NULL. There are few. */
static const struct run *run_at(const struct gmem *m, gpa_t a)
{
	const struct map *map = map_of(m);

	for (unsigned int i = 0; i < map->runs; i++)
		if (a.v >= map->run[i].base && a.v - map->run[i].base < map->run[i].size)
			return &map->run[i];
	return NULL;
}

/* Where a lies in the host, with *room bytes from there to the end of its run, or enough for want;
 * NULL and 0 outside RAM. */
static unsigned char *find(const struct gmem *m, gpa_t a, uint64_t want, uint64_t *room)
{
	const struct run *r = run_at(m, a);

	*room = r ? run_room(r, a.v - r->base, want) : 0;
	return *room ? r->host + (a.v - r->base) : NULL;
}

uint64_t gmem_run(const struct gmem *m, gpa_t a)
{
	uint64_t sum = 0, room;

	for (; find(m, gpa_add(a, sum), UINT64_MAX, &room); sum += room)
		if (run_at(m, gpa_add(a, sum))->is_device)
			break;
	return sum;
}

uint64_t gmem_end(const struct gmem *m)
{
	const struct gmem_region *last = m->regions ? &m->region[m->regions - 1] : NULL;

	return last ? last->base.v + last->size : 0;
}

bool gmem_ok(const struct gmem *m, gpa_t a, uint64_t len)
{
	uint64_t room;

	if (!len || a.v + len < a.v)
		return false;
	for (; find(m, a, len, &room); a = gpa_add(a, room), len -= room)
		if (room >= len)
			return true;
	return false;
}

/* --- copying --- */

/* What is done to a range, piece by piece: a range that gmem_ok approved crosses a seam only where
 * gmem_add put RAM beside other RAM. */
typedef int piece_fn(void *arg, unsigned char *host, uint64_t n);

static int each_piece(const struct gmem *m, gpa_t a, uint64_t len, piece_fn *fn, void *arg)
{
	uint64_t room;

	if (!len)
		return 0;
	if (!gmem_ok(m, a, len))
		return -1;
	for (uint64_t n; len; a = gpa_add(a, n), len -= n) {
		unsigned char *host = find(m, a, len, &room);

		n = min_u64(room, len);
		/* a block may have been unplugged just now */
		if (!host || fn(arg, host, n) < 0)
			return -1;
	}
	return 0;
}

static int copy_out(void *arg, unsigned char *host, uint64_t n)
{
	unsigned char **to = arg;

	memcpy(*to, host, n);
	*to += n;
	return 0;
}

static int copy_in(void *arg, unsigned char *host, uint64_t n)
{
	const unsigned char **from = arg;

	memcpy(host, *from, n);
	*from += n;
	return 0;
}

static int put_zeros(void *arg, unsigned char *host, uint64_t n)
{
	(void)arg;
	memset(host, 0, n);
	return 0;
}

struct load {
	int fd;
	uint64_t off;
	struct work *work;
	struct err *e;
};

#define LOAD_PART MIB(8) /* some milliseconds */

static int load_piece(void *arg, unsigned char *host, uint64_t n)
{
	struct load *l = arg;
	uint64_t part;

	for (uint64_t at = 0; at < n; at += part) {
		part = min_u64(n - at, LOAD_PART);
		if (work_is_stopped(l->work))
			return err_set(l->e, ERR_STATE, "loading was broken off");
		if (fd_read_at(l->fd, host + at, part, l->off + at, l->e))
			return -1;
		work_did(l->work, part);
	}
	l->off += n;
	return 0;
}

int gmem_read(const struct gmem *m, gpa_t a, void *to, size_t len)
{
	return each_piece(m, a, len, copy_out, &to);
}

int gmem_write(const struct gmem *m, gpa_t a, const void *from, size_t len)
{
	return each_piece(m, a, len, copy_in, &from);
}

int gmem_zero(const struct gmem *m, gpa_t a, uint64_t len)
{
	return each_piece(m, a, len, put_zeros, NULL);
}

int gmem_clear(const struct gmem *m, gpa_t a, uint64_t len)
{
	if (len && !gmem_ok(m, a, len))
		return -1;
	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		uint64_t from = max_u64(a.v, r->base.v);
		uint64_t to = min_u64(a.v + len, r->base.v + r->size);

		if (from < to && !r->block && m->zone[r->zone].has_past &&
		    gmem_zero(m, GPA(from), to - from) < 0)
			return -1;
	}
	return 0;
}

int gmem_load(const struct gmem *m, gpa_t a, uint64_t len, int fd, uint64_t off, struct err *e)
{
	struct load l = { fd, off, m->work, e };

	if (len && !gmem_ok(m, a, len))
		return err_set(e, ERR_BAD,
			       "0x%" PRIx64 " bytes at 0x%" PRIx64 " do not fit into guest memory",
			       len, a.v);
	work_expect(m->work, len);
	return each_piece(m, a, len, load_piece, &l);
}

/* --- coming and going --- */

/* Says of blocks that they are RAM, or that they are not. */
static void mark_blocks(const struct run *r, uint64_t off, uint64_t len, bool plugged)
{
	for (uint64_t n = off / r->block; n < (off + len) / r->block; n++) {
		uint64_t bit = 1ull << n % 64;

		if (plugged)
			__atomic_fetch_or(&r->plugged[n / 64], bit, __ATOMIC_RELEASE);
		else
			__atomic_fetch_and(&r->plugged[n / 64], ~bit, __ATOMIC_RELEASE);
	}
}

/* The run of whole blocks [a, a+len). */
static const struct run *blocks_at(const struct gmem *m, gpa_t a, uint64_t len)
{
	const struct run *r = run_at(m, a);

	assert(r && r->block && len <= r->size - (a.v - r->base));
	assert((a.v - r->base) % r->block == 0 && len % r->block == 0);
	return r;
}

static const struct gmem_region *region_at(const struct gmem *m, gpa_t a)
{
	for (unsigned int i = 0; i < m->regions; i++)
		if (a.v >= m->region[i].base.v && a.v - m->region[i].base.v < m->region[i].size)
			return &m->region[i];
	return NULL;
}

int gmem_plug(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	const struct run *run = blocks_at(m, a, len);
	const struct gmem_region *r = region_at(m, a);
	uint64_t off = r->fd_off + (a.v - r->base.v);
	const struct backing *b = &m->zone[r->zone];
	struct err ignored = { 0 };

	if (backing_take(b, off, len, e) < 0) {
		/* a part may have been taken */
		if (backing_discard(b, run->host + (a.v - run->base), off, len, &ignored) < 0)
			log_debug("%s", err_frame(&ignored, 0));
		return -1;
	}
	mark_blocks(run, a.v - run->base, len, true);
	return 0;
}

/* Nobody finds a page there any more by the time it is given back. */
int gmem_unplug(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	const struct run *run = blocks_at(m, a, len);
	const struct gmem_region *r = region_at(m, a);

	mark_blocks(run, a.v - run->base, len, false);
	return backing_discard(&m->zone[r->zone], run->host + (a.v - run->base),
			       r->fd_off + (a.v - r->base.v), len, e);
}

int gmem_discard(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	if (!gmem_ok(m, a, len))
		return err_set(e, ERR_BAD, "no guest memory at 0x%" PRIx64, a.v);
	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		const struct backing *b = &m->zone[r->zone];
		uint64_t from = max_u64(a.v, r->base.v) - r->base.v;
		uint64_t to = min_u64(a.v + len, r->base.v + r->size) - r->base.v;

		if (a.v + len <= r->base.v || a.v >= r->base.v + r->size)
			continue;
		from = align_up(from, b->page);
		to = align_down(to, b->page);
		if (from < to && backing_discard(b, (unsigned char *)r->host + from,
						 r->fd_off + from, to - from, e) < 0)
			return -1;
	}
	return 0;
}

uint64_t gmem_page(const struct gmem *m, gpa_t a)
{
	const struct gmem_region *r = gmem_ok(m, a, 1) ? region_at(m, a) : NULL;

	return r ? m->zone[r->zone].page : 0;
}

/* --- devices' memory --- */

/* Addresses of the host for it: those of one that has gone, if they fit. */
static int take_span(struct gmem *m, struct backing_span *out, uint64_t base, uint64_t size,
		     uint64_t align, struct err *e)
{
	list_each (at, &m->spare) {
		struct spare *s = container_of(at, struct spare, link);

		if (s->span.size != size || ((uintptr_t)s->span.host - base) % align)
			continue;
		*out = s->span;
		list_drop(&s->link);
		free(s);
		return 0;
	}
	return backing_span(out, size, align, base, e);
}

/* Who still has a window there finds memory that is nobody's. */
static void spare_span(struct gmem *m, const struct backing_span *span)
{
	struct spare *s = NEW(struct spare);

	backing_blank(span);
	s->span = *span;
	list_add_tail(&m->spare, &s->link);
}

static int map_grown(struct gmem *m, struct run *r, const struct backing *b, struct err *e)
{
	uint64_t align = max_u64(MIB(2), b->page);

	if (judge_place(m, r->base, r->size, e) < 0 ||
	    take_span(m, &r->span, r->base, r->size, align, e) < 0)
		return -1;
	r->host = r->span.host;
	if (backing_map(b, r->host, 0, r->size, e) == 0)
		return 0;
	spare_span(m, &r->span);
	return -1;
}

int gmem_grow(struct gmem *m, gpa_t base, struct backing *b, struct gmem_region *out, struct err *e)
{
	struct run r = { .base = base.v, .size = b->size, .is_device = true };
	struct grown *g;

	if (map_grown(m, &r, b, e) < 0) {
		backing_close(b);
		return -1;
	}
	g = NEW(struct grown);
	g->base = base.v;
	g->backing = *b;
	*b = (struct backing){ .fd = -1 };
	list_add_tail(&m->grown, &g->link);
	publish(m, map_with(map_of(m), &r));
	*out = (struct gmem_region){
		.base = base,
		.size = r.size,
		.host = (uintptr_t)r.host,
		.fd = g->backing.fd,
	};
	return 0;
}

void gmem_shrink(struct gmem *m, gpa_t base)
{
	const struct run *r = run_at(m, base);
	struct backing_span span;

	assert(r && r->is_device && r->base == base.v);
	span = r->span;
	publish(m, map_without(map_of(m), base.v));
	spare_span(m, &span);
	list_each (at, &m->grown) {
		struct grown *g = container_of(at, struct grown, link);

		if (g->base != base.v)
			continue;
		backing_close(&g->backing);
		list_drop(&g->link);
		free(g);
	}
}

/* --- what is there --- */

#define PAGE 4096u

/* Where in [off, end) of a region something may be: whole pages of its file that were never written
 * are left out. end when there is nothing. */
static uint64_t skip_hole(const struct gmem_region *r, const struct backing *b, uint64_t off,
			  uint64_t end)
{
	off_t at;

	if (r->fd < 0 || !b->how.shared || b->how.hugepages)
		return off;
	at = lseek(r->fd, (off_t)(r->fd_off + off), SEEK_DATA);
	if (at < 0)
		return errno == ENXIO ? end : off;
	return min_u64(end, max_u64(off, ((uint64_t)at - r->fd_off) & ~(uint64_t)(PAGE - 1)));
}

static bool is_zero(const unsigned char *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

/* In [from, end) of one region; offsets. */
static uint64_t find_data(const struct gmem *m, const struct gmem_region *r, uint64_t *from,
			  uint64_t end, uint64_t max)
{
	const unsigned char *host = (const unsigned char *)r->host;
	uint64_t n = 0;

	/* holes are asked for now and then: a call for each page of zeros would cost more */
	for (uint64_t at = *from; at < end; at += PAGE) {
		if (at == *from || at % MIB(2) == 0)
			at = skip_hole(r, &m->zone[r->zone], at, end);
		*from = at;
		if (at < end && !is_zero(host + at))
			break;
	}
	if (*from >= end)
		return 0;
	while (n < max && *from + n < end && !is_zero(host + *from + n))
		n += PAGE;
	return n;
}

/* The next part of [*from, end) of a region that is RAM; its end, or 0 when there is none. */
static uint64_t next_part(const struct gmem *m, const struct gmem_region *r, uint64_t *from,
			  uint64_t end)
{
	const struct run *run = run_at(m, r->base);

	if (!r->block)
		return *from < end ? end : 0;
	for (; *from < end; *from = align_down(*from, r->block) + r->block) {
		uint64_t room = run_room(run, *from, end - *from);

		if (room)
			return min_u64(end, *from + room);
	}
	return 0;
}

uint64_t gmem_find_data(const struct gmem *m, gpa_t *a, uint64_t len, uint64_t max)
{
	uint64_t end = a->v + len;

	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		uint64_t from = max_u64(a->v, r->base.v) - r->base.v, part, n;

		if (r->base.v >= end || r->base.v + r->size <= a->v)
			continue;
		while ((part = next_part(m, r, &from, min_u64(r->size, end - r->base.v)))) {
			n = find_data(m, r, &from, part, max);
			*a = gpa_add(r->base, from);
			if (n)
				return n;
			from = part;
		}
	}
	return 0;
}

int gmem_win(struct gwin *w, const struct gmem *m, gpa_t a, size_t len, size_t align)
{
	uint64_t room;
	unsigned char *host = find(m, a, len, &room);

	if (!host || room < len || !len || a.v % align)
		return -1;
	*w = (struct gwin){ .host = host, .len = len, .base = a };
	return 0;
}

#define WIN_PAGE 4096u

void gwin_paged(struct gwin *w, gpa_t base, size_t len)
{
	size_t pages = (base.v % WIN_PAGE + len + WIN_PAGE - 1) / WIN_PAGE;

	*w = (struct gwin){ .len = len,
			    .base = base,
			    .page = mem_array(pages, sizeof(w->page[0])) };
}

int gwin_page(struct gwin *w, const struct gmem *m, size_t i, gpa_t a)
{
	uint64_t room;

	w->page[i] = find(m, a, WIN_PAGE, &room);
	return w->page[i] && room >= WIN_PAGE ? 0 : -1;
}

void gwin_fini(struct gwin *w)
{
	free(w->page);
	*w = (struct gwin){ 0 };
}

static unsigned char *at(const struct gwin *w, size_t off)
{
	if (__builtin_expect(!w->page, 1))
		return w->host + off;
	off += w->base.v % WIN_PAGE;
	return w->page[off / WIN_PAGE] + off % WIN_PAGE;
}

static bool fits(const struct gwin *w, size_t off, size_t n)
{
	return off % n == 0 && w->len >= n && off <= w->len - n;
}

uint16_t gwin_ld16(const struct gwin *w, size_t off)
{
	return fits(w, off, 2) ? __atomic_load_n((uint16_t *)(void *)at(w, off), __ATOMIC_RELAXED)
			       : 0;
}

uint32_t gwin_ld32(const struct gwin *w, size_t off)
{
	return fits(w, off, 4) ? __atomic_load_n((uint32_t *)(void *)at(w, off), __ATOMIC_RELAXED)
			       : 0;
}

uint64_t gwin_ld64(const struct gwin *w, size_t off)
{
	return fits(w, off, 8) ? __atomic_load_n((uint64_t *)(void *)at(w, off), __ATOMIC_RELAXED)
			       : 0;
}

void gwin_st16(const struct gwin *w, size_t off, uint16_t v)
{
	if (fits(w, off, 2))
		__atomic_store_n((uint16_t *)(void *)at(w, off), v, __ATOMIC_RELAXED);
}

void gwin_st32(const struct gwin *w, size_t off, uint32_t v)
{
	if (fits(w, off, 4))
		__atomic_store_n((uint32_t *)(void *)at(w, off), v, __ATOMIC_RELAXED);
}

uint16_t gwin_ld16_acquire(const struct gwin *w, size_t off)
{
	return fits(w, off, 2) ? __atomic_load_n((uint16_t *)(void *)at(w, off), __ATOMIC_ACQUIRE)
			       : 0;
}

void gwin_st16_release(const struct gwin *w, size_t off, uint16_t v)
{
	if (fits(w, off, 2))
		__atomic_store_n((uint16_t *)(void *)at(w, off), v, __ATOMIC_RELEASE);
}

int gwin_copy(const struct gwin *w, size_t off, void *to, size_t len)
{
	uint8_t *out = to;

	if (off > w->len || len > w->len - off)
		return -1;
	/* at most one step but over pages */
	for (size_t n; len; off += n, out += n, len -= n) {
		n = w->page ? min_u64(len, WIN_PAGE - (w->base.v + off) % WIN_PAGE) : len;
		memcpy(out, at(w, off), n);
	}
	return 0;
}

int gmem_iov(const struct gmem *m, struct kiov *out, unsigned int *n, unsigned int max, gpa_t a,
	     uint32_t len)
{
	uint64_t left = len, room;

	if (a.v + left < a.v)
		return -1;
	while (left) {
		unsigned char *host = find(m, a, left, &room);

		if (!host || *n >= max)
			return -1;
		room = min_u64(room, left);
		out[*n].v.iov_base = host;
		out[*n].v.iov_len = room;
		++*n;
		a = gpa_add(a, room);
		left -= room;
	}
	return 0;
}

/* The address in the guest of a piece of payload; UINT64_MAX of one that is ours. */
static uint64_t guest_address(const struct gmem *m, const struct kiov *k)
{
	uintptr_t at = (uintptr_t)k->v.iov_base;
	const struct map *map = map_of(m);

	for (unsigned int i = 0; i < map->runs; i++) {
		uintptr_t host = (uintptr_t)map->run[i].host;

		if (at >= host && at - host < map->run[i].size)
			return map->run[i].base + (at - host);
	}
	return UINT64_MAX;
}

int gmem_discard_iov(const struct gmem *m, const struct kiov *k, unsigned int n, struct err *e)
{
	uint64_t from = 0, to = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t at = guest_address(m, &k[i]);

		if (at != to) {
			if (from < to && gmem_discard(m, GPA(from), to - from, e) < 0)
				return -1;
			from = at;
		}
		to = at + k[i].v.iov_len;
	}
	return from < to ? gmem_discard(m, GPA(from), to - from, e) : 0;
}

bool kiov_join(struct kiov *a, const struct kiov *b)
{
	if ((char *)a->v.iov_base + a->v.iov_len != b->v.iov_base)
		return false;
	a->v.iov_len += b->v.iov_len;
	return true;
}

enum way { WAY_OUT, WAY_IN };

/* Moves up to len bytes between the pieces, from byte off of the whole, and buf. */
static size_t kiov_move(const struct kiov *k, unsigned int n, size_t off, unsigned char *buf,
			size_t len, enum way way)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		size_t have = k[i].v.iov_len;

		if (off >= have) {
			off -= have;
			continue;
		}
		size_t take_n = min_u64(have - off, len - done);
		unsigned char *p = (unsigned char *)k[i].v.iov_base + off;

		if (way == WAY_OUT)
			memcpy(buf + done, p, take_n);
		else
			memcpy(p, buf + done, take_n);
		done += take_n;
		off = 0;
	}
	return done;
}

size_t kiov_get(const struct kiov *k, unsigned int n, size_t off, void *to, size_t len)
{
	return kiov_move(k, n, off, to, len, WAY_OUT);
}

size_t kiov_put(const struct kiov *k, unsigned int n, size_t off, const void *from, size_t len)
{
	return kiov_move(k, n, off, (unsigned char *)(uintptr_t)from, len, WAY_IN);
}

size_t kiov_total(const struct kiov *k, unsigned int n)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < n; i++)
		sum += k[i].v.iov_len;
	return sum;
}

int kiov_slice(const struct kiov *k, unsigned int n, size_t off, size_t len, struct kiov *out,
	       unsigned int max)
{
	unsigned int made = 0;

	for (unsigned int i = 0; i < n && len; i++) {
		size_t have = k[i].v.iov_len;

		if (off >= have) {
			off -= have;
			continue;
		}
		if (made == max)
			return -1;
		size_t take_n = min_u64(have - off, len);

		out[made++] = kiov_of((unsigned char *)k[i].v.iov_base + off, take_n);
		len -= take_n;
		off = 0;
	}
	return len ? -1 : (int)made;
}

struct kiov kiov_of(void *buf, size_t len)
{
	return (struct kiov){ .v = { .iov_base = buf, .iov_len = len } };
}

/* --- shown from a file --- */

int gmem_may_map(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		const struct backing_args *how = &m->zone[r->zone].how;

		if (!ranges_meet(a.v, len, r->base.v, r->size))
			continue;
		if (how->hugepages)
			return err_set(e, ERR_BAD, "huge pages cannot be shown from a file");
		if (how->file)
			return err_set(e, ERR_BAD,
				       "memory that lies in %s cannot be shown from "
				       "another file",
				       how->file);
		if (how->shared)
			return err_set(e, ERR_BAD,
				       "memory that other processes share cannot be "
				       "shown from a file");
	}
	return 0;
}

int gmem_map_file(const struct gmem *m, gpa_t a, uint64_t len, int fd, uint64_t off, struct err *e)
{
	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		uint64_t from = max_u64(a.v, r->base.v);
		uint64_t to = min_u64(a.v + len, r->base.v + r->size);

		if (from < to &&
		    backing_show(&m->zone[r->zone], (unsigned char *)r->host + (from - r->base.v),
				 to - from, fd, off + (from - a.v), e) < 0)
			return -1;
	}
	return 0;
}
