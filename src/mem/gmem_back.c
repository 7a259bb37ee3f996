/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory and the host that gives it: blocks that become RAM and go again, pages that are touched
 * beforehand or given back, a file's that are shown in their place. The kernel is told where; nothing
 * here looks through a pointer into the guest. See gmem.h.
 */
#include "mem/gmem_map.h"

#include <assert.h>
#include <inttypes.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"

/* Pieces in which a view of a file may lie when pages are given back. Each is a mapping, and so is what
 * is between them; of the 65530 that Linux gives a process (vm.max_map_count) some thousands stay for
 * the rest. Large ranges are given back when small ones are not any more. */
#define PIECES_MAX 24000u
#define PIECES_LARGE_MAX 28000u
#define PIECE_LARGE MIB(2)

/* What a region has of a range: where it is, and where in what it is made of. */
struct part {
	gpa_t at;
	uint64_t size;
	const struct backing *backing;
	unsigned char *host;
	uint64_t off;
};

/* Of size 0 when the region has nothing of [a, a+len). */
static struct part part_of(const struct gmem *m, const struct gmem_region *r, gpa_t a, uint64_t len)
{
	uint64_t from = max_u64(a.v, r->base.v);
	uint64_t to = min_u64(a.v + len, r->base.v + r->size);

	if (from >= to)
		return (struct part){ 0 };
	return (struct part){
		.at = GPA(from),
		.size = to - from,
		.backing = &m->zone[r->zone],
		.host = (unsigned char *)r->host + (from - r->base.v),
		.off = r->fd_off + (from - r->base.v),
	};
}

/* Pages of a view that stay: what was written there goes, and zeros come where the file would show
 * again. */
static int wipe_views(const struct gmem *m, const struct part *p, struct err *e)
{
	uint64_t n, off;

	for (uint64_t at = 0; at < p->size; at += n) {
		bool is = views_at(m->views, p->at.v + at, p->size - at, &n, &off);

		if (is)
			gmem_wipe(p->host + at, n);
		else if (backing_discard(p->backing, p->host + at, p->off + at, n, e) < 0)
			return -1;
	}
	return 0;
}

/* Without its pages a private view shows the file's again, and the guest is to find zeros: new memory
 * takes the place of the view. That makes mappings of one, and a process may have so many; memory
 * that is locked would not be any more. */
static int replace_views(const struct gmem *m, const struct part *p, struct err *e)
{
	unsigned int now = views_count(m->views);
	unsigned int then = views_without(m->views, p->at.v, p->size);
	struct err why = { 0 };

	if (then > now && then > (p->size < PIECE_LARGE ? PIECES_MAX : PIECES_LARGE_MAX))
		err_set(&why, ERR_IO, "it lies in %u pieces", now);
	else if (backing_renew(p->backing, p->host, p->off, p->size, &why) == 0) {
		views_drop(m->views, p->at.v, p->size);
		return 0;
	}
	log_guest("memory that the guest gives back is kept for it: %s", err_frame(&why, 0));
	return wipe_views(m, p, e);
}

/* Nobody finds there again what a file has for it. */
static int give_back(const struct gmem *m, const struct part *p, struct err *e)
{
	uint64_t n, off;

	if (m->uffd)
		uffd_forget(m->uffd, p->host, p->size);
	if (m->views && (views_at(m->views, p->at.v, p->size, &n, &off) || n < p->size))
		return replace_views(m, p, e);
	return backing_discard(p->backing, p->host, p->off, p->size, e);
}

static const struct gmem_region *region_at(const struct gmem *m, gpa_t a)
{
	for (unsigned int i = 0; i < m->regions; i++)
		if (a.v >= m->region[i].base.v && a.v - m->region[i].base.v < m->region[i].size)
			return &m->region[i];
	return NULL;
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

int gmem_prefault_range(const struct gmem *m, gpa_t a, uint64_t len, struct work *w, struct err *e)
{
	struct prefault_range range[GMEM_PARTS_MAX];
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->regions; i++) {
		struct part p = part_of(m, &m->region[i], a, len);

		if (p.size)
			range[n++] = (struct prefault_range){ p.host, p.size, m->region[i].page };
	}
	return prefault(range, n, w, e);
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

/* The run of whole blocks [a, a+len), and their place. */
static const struct run *blocks_at(struct part *p, const struct gmem *m, gpa_t a, uint64_t len)
{
	const struct run *r = gmem_run_at(m, a);

	assert(r && r->block && len <= r->size - (a.v - r->base));
	assert((a.v - r->base) % r->block == 0 && len % r->block == 0);
	*p = part_of(m, region_at(m, a), a, len);
	return r;
}

int gmem_plug(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	struct err ignored = { 0 };
	struct part p;
	const struct run *run = blocks_at(&p, m, a, len);

	if (backing_take(p.backing, p.off, len, e) < 0) {
		/* a part may have been taken */
		if (give_back(m, &p, &ignored) < 0)
			log_debug("%s", err_frame(&ignored, 0));
		return -1;
	}
	mark_blocks(run, a.v - run->base, len, true);
	return 0;
}

/* Nobody finds a page there any more by the time it is given back. */
int gmem_unplug(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	struct part p;
	const struct run *run = blocks_at(&p, m, a, len);

	mark_blocks(run, a.v - run->base, len, false);
	return give_back(m, &p, e);
}

int gmem_discard(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	if (!gmem_ok(m, a, len))
		return err_set(e, ERR_BAD, "no guest memory at 0x%" PRIx64, a.v);
	for (unsigned int i = 0; i < m->regions; i++) {
		/* a region begins at a page, in the guest and in what it is made of */
		uint64_t page = m->region[i].page, from = align_up(a.v, page);
		uint64_t to = align_down(a.v + len, page);
		struct part p = part_of(m, &m->region[i], GPA(from), from < to ? to - from : 0);

		if (p.size && give_back(m, &p, e) < 0)
			return -1;
	}
	return 0;
}

uint64_t gmem_page(const struct gmem *m, gpa_t a)
{
	const struct gmem_region *r = gmem_ok(m, a, 1) ? region_at(m, a) : NULL;

	return r ? r->page : 0;
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

int gmem_map_file(struct gmem *m, gpa_t a, uint64_t len, uint64_t off, struct err *e)
{
	for (unsigned int i = 0; i < m->regions; i++) {
		struct part p = part_of(m, &m->region[i], a, len);
		uint64_t at = off + (p.at.v - a.v);

		if (!p.size)
			continue;
		if (backing_show(p.backing, p.host, p.size, m->source.fd, at, e) < 0)
			return -1;
		if (!m->views)
			m->views = views_new();
		views_add(m->views, p.at.v, p.size, at);
	}
	return 0;
}

bool gmem_is_shown(const struct gmem *m, gpa_t a)
{
	uint64_t n, off;

	return m->views && views_at(m->views, a.v, 1, &n, &off);
}

bool gmem_shows(const struct gmem *m)
{
	return m->views;
}

int gmem_watch_source(struct gmem *m)
{
	if (m->views && m->watch < 0)
		m->watch = source_watch(&m->source);
	return m->watch;
}

/* --- from a file, as it is touched --- */

int gmem_set_source(struct gmem *m, int fd, void (*lost)(void *arg, const char *why), void *arg,
		    struct err *e)
{
	m->lost = lost;
	m->lost_arg = arg;
	return source_open(&m->source, fd, e);
}

int gmem_serve_with(struct gmem *m, int fd, enum gmem_prefetch prefetch, int touched, struct err *e)
{
	static const enum uffd_prefetch of[] = {
		[GMEM_PREFETCH_NONE] = UFFD_PREFETCH_NONE,
		[GMEM_PREFETCH_RECORDED] = UFFD_PREFETCH_RECORDED,
		[GMEM_PREFETCH_ALL] = UFFD_PREFETCH_ALL,
	};
	const struct uffd_args a = {
		.fd = fd,
		.source = &m->source,
		.prefetch = of[prefetch],
		.touched = touched,
		.lost = m->lost,
		.arg = m->lost_arg,
	};

	m->touched = touched;
	return uffd_new(&m->uffd, &a, e);
}

int gmem_may_serve(const struct gmem *m, gpa_t a, uint64_t len, struct err *e)
{
	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		const struct backing *b = &m->zone[r->zone];

		if (ranges_meet(a.v, len, r->base.v, r->size) && b->how.file &&
		    !(b->how.shared && backing_is_memory(b)))
			return err_set(e, ERR_BAD,
				       "memory that lies in %s cannot come from another file",
				       b->how.file);
	}
	return 0;
}

/* What was read there before, or is of a file's past, would not be missed: it goes first. */
static int serve_part(struct gmem *m, const struct part *p, uint64_t off, struct err *e)
{
	if (backing_discard(p->backing, p->host, p->off, p->size, e) < 0)
		return -1;
	return uffd_add(m->uffd, p->host, p->size, p->backing->page, off, e);
}

int gmem_serve(struct gmem *m, gpa_t a, uint64_t len, uint64_t off, struct err *e)
{
	if (gmem_may_serve(m, a, len, e) < 0)
		return -1;
	for (unsigned int i = 0; i < m->regions; i++) {
		struct part p = part_of(m, &m->region[i], a, len);

		if (p.size && serve_part(m, &p, off + (p.at.v - a.v), e) < 0)
			return -1;
	}
	return 0;
}

int gmem_serve_start(struct gmem *m, struct err *e)
{
	return uffd_start(m->uffd, e);
}

int gmem_check_source(const struct gmem *m, struct err *e)
{
	bool needed = (m->views && views_count(m->views)) || (m->uffd && uffd_left(m->uffd));

	return needed ? source_check(&m->source, e) : 0;
}
