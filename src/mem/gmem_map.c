/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of guest memory: how RAM lies and what is laid beside it while the guest runs. Here pointers
 * into the guest are made; nothing here looks through one. See gmem.h. A map that is found does not
 * change: memory of devices that come and go makes another, which takes its place in one step.
 */
#include "mem/gmem_map.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/mem.h"

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

int gmem_new(struct gmem **out, struct err *e)
{
	struct gmem *m = NEW(struct gmem);

	(void)e;
	atomic_init(&m->map, NEW(struct map));
	list_init(&m->grown);
	list_init(&m->spare);
	m->source.fd = m->watch = m->touched = -1;
	*out = m;
	return 0;
}

void gmem_free(struct gmem *m)
{
	struct map *map, *older;

	if (!m)
		return;
	uffd_free(m->uffd);
	source_close(&m->source);
	fd_close(&m->watch);
	fd_close(&m->touched);
	views_free(m->views);
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
	for (unsigned int i = 0; i < gmem_map(m)->runs; i++) {
		const struct run *r = &gmem_map(m)->run[i];

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
	publish(m, map_with(gmem_map(m), &r));
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
	const struct run *r = gmem_run_at(m, base);
	struct backing_span span;

	assert(r && r->is_device && r->base == base.v);
	span = r->span;
	publish(m, map_without(gmem_map(m), base.v));
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

/* --- what lies where --- */

unsigned int gmem_regions(const struct gmem *m)
{
	return m->regions;
}

const struct gmem_region *gmem_region(const struct gmem *m, unsigned int i)
{
	return i < m->regions ? &m->region[i] : NULL;
}

uint64_t gmem_end(const struct gmem *m)
{
	const struct gmem_region *last = m->regions ? &m->region[m->regions - 1] : NULL;

	return last ? last->base.v + last->size : 0;
}
