/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accessors, and the only file that looks through pointers into the guest. Every entrance goes
 * through find(), which proves that an address and a length lie in RAM before a pointer exists. How
 * RAM lies is gmem_map.c's; what the host gives and takes back, gmem_back.c's. See gmem.h.
 */
#include "mem/gmem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mem/gmem_map.h"
#include "mem/pagemap.h"

#define PAGE 4096u

_Static_assert(sizeof(struct kiov) == sizeof(struct iovec), "kiov is what the kernel takes");

/* --- looking --- */

static bool is_plugged(const struct run *r, uint64_t block)
{
	return __atomic_load_n(&r->plugged[block / 64], __ATOMIC_RELAXED) >> block % 64 & 1;
}

uint64_t gmem_total(const struct gmem *m)
{
	const struct map *map = gmem_map(m);
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

/* Where a lies in the host, with *room bytes from there to the end of its run, or enough for want;
 * NULL and 0 outside RAM. */
static unsigned char *find(const struct gmem *m, gpa_t a, uint64_t want, uint64_t *room)
{
	const struct run *r = gmem_run_at(m, a);

	*room = r ? run_room(r, a.v - r->base, want) : 0;
	return *room ? r->host + (a.v - r->base) : NULL;
}

uint64_t gmem_run(const struct gmem *m, gpa_t a)
{
	uint64_t sum = 0, room;

	for (; find(m, gpa_add(a, sum), UINT64_MAX, &room); sum += room)
		if (gmem_run_at(m, gpa_add(a, sum))->is_device)
			break;
	return sum;
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

void gmem_wipe(void *host, uint64_t size)
{
	memset(host, 0, size);
}

void gmem_tell(struct gmem *m, struct work *w)
{
	m->work = w;
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

/* --- what is there --- */

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

/* In [from, end) of one region, all of which is there; offsets. */
static uint64_t find_here(const struct gmem *m, const struct gmem_region *r, uint64_t *from,
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

/* The same, all of which is in the file, at where's off. */
static uint64_t find_in_file(const struct gmem *m, uint64_t *from, uint64_t end, uint64_t max,
			     struct gmem_place *where)
{
	uint64_t data, hole, off_end = where->off + (end - *from);

	source_data(m->source.fd, &where->run, where->off, off_end, &data, &hole);
	data &= ~(uint64_t)(PAGE - 1);
	*from += data - where->off;
	if (data >= off_end)
		return 0;
	where->source = &m->source;
	where->off = data;
	return min_u64(max, align_up(hole, PAGE) - data);
}

enum whereabouts { IS_HERE, IS_IN_FILE, IS_NOWHERE };

/* Whether pages that the kernel does not have for us are zeros: not where others may have written
 * them, nor where a file of the zone's own has them. */
static bool is_ours_alone(const struct gmem *m, const struct gmem_region *r)
{
	const struct backing *b = &m->zone[r->zone];

	return r->fd < 0 || (b->how.hugepages && !b->how.shared && !b->has_past);
}

/* Where the pages of [from, from + *n) are, n at most up to end; off: in the file. */
static enum whereabouts whereabouts(const struct gmem *m, const struct gmem_region *r,
				    uint64_t from, uint64_t end, struct gmem_place *where,
				    uint64_t *n)
{
	bool is_view = false;
	uint64_t room = end - from;

	*n = room;
	if (m->uffd && uffd_is_in_file(m->uffd, (void *)(r->host + from), room, n, &where->off))
		return IS_IN_FILE;
	if (!where->pages)
		return IS_HERE;
	/* what has been served by now may have come after the kernel was asked */
	if (m->uffd)
		pagemap_forget(where->pages);
	if (m->views)
		is_view = views_at(m->views, r->base.v + from, *n, n, &where->off);
	if (is_view)
		return pagemap_is(where->pages, r->host + from, *n, PAGEMAP_OWN, n) ? IS_HERE
										    : IS_IN_FILE;
	if (is_ours_alone(m, r) && !pagemap_is(where->pages, r->host + from, *n, PAGEMAP_ANY, n))
		return IS_NOWHERE;
	return IS_HERE;
}

static uint64_t find_data(const struct gmem *m, const struct gmem_region *r, uint64_t *from,
			  uint64_t end, uint64_t max, struct gmem_place *where)
{
	uint64_t n, found = 0;

	for (uint64_t next; *from < end && !found; *from = found ? *from : next) {
		enum whereabouts is = whereabouts(m, r, *from, end, where, &n);

		where->source = NULL;
		next = *from + n;
		if (is == IS_IN_FILE)
			found = find_in_file(m, from, next, max, where);
		else if (is == IS_HERE)
			found = find_here(m, r, from, next, max);
	}
	return found;
}

/* The next part of [*from, end) of a region that is RAM; its end, or 0 when there is none. */
static uint64_t next_part(const struct gmem *m, const struct gmem_region *r, uint64_t *from,
			  uint64_t end)
{
	const struct run *run = gmem_run_at(m, r->base);

	if (!r->block)
		return *from < end ? end : 0;
	for (; *from < end; *from = align_down(*from, r->block) + r->block) {
		uint64_t room = run_room(run, *from, end - *from);

		if (room)
			return min_u64(end, *from + room);
	}
	return 0;
}

uint64_t gmem_find_data(const struct gmem *m, gpa_t *a, uint64_t len, uint64_t max,
			struct gmem_place *where)
{
	uint64_t end = a->v + len;

	for (unsigned int i = 0; i < m->regions; i++) {
		const struct gmem_region *r = &m->region[i];
		uint64_t from = max_u64(a->v, r->base.v) - r->base.v, part, n;

		if (r->base.v >= end || r->base.v + r->size <= a->v)
			continue;
		while ((part = next_part(m, r, &from, min_u64(r->size, end - r->base.v)))) {
			n = find_data(m, r, &from, part, max, where);
			*a = gpa_add(r->base, from);
			if (n)
				return n;
			from = part;
		}
	}
	return 0;
}

/* --- windows --- */

int gmem_win(struct gwin *w, const struct gmem *m, gpa_t a, size_t len, size_t align)
{
	uint64_t room;
	unsigned char *host = find(m, a, len, &room);

	if (!host || room < len || !len || a.v % align)
		return -1;
	*w = (struct gwin){ .host = host, .len = len, .base = a };
	return 0;
}

void gwin_paged(struct gwin *w, gpa_t base, size_t len)
{
	size_t pages = (base.v % PAGE + len + PAGE - 1) / PAGE;

	*w = (struct gwin){ .len = len,
			    .base = base,
			    .page = mem_array(pages, sizeof(w->page[0])) };
}

int gwin_page(struct gwin *w, const struct gmem *m, size_t i, gpa_t a)
{
	uint64_t room;

	w->page[i] = find(m, a, PAGE, &room);
	return w->page[i] && room >= PAGE ? 0 : -1;
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
	off += w->base.v % PAGE;
	return w->page[off / PAGE] + off % PAGE;
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
		n = w->page ? min_u64(len, PAGE - (w->base.v + off) % PAGE) : len;
		memcpy(out, at(w, off), n);
	}
	return 0;
}

/* --- payload --- */

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
	const struct map *map = gmem_map(m);

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
