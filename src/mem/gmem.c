/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest memory map, and the only file with pointers into the guest. Every entrance goes through
 * find(), which proves that an address and a length lie in RAM before a pointer exists. See gmem.h.
 */
#include "mem/gmem.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"
#include "mem/backing.h"

#define REGIONS_MAX 64

struct gmem {
	unsigned int count;
	struct gmem_region region[REGIONS_MAX]; /* sorted by base */
	struct backing backing[REGIONS_MAX];
};

_Static_assert(sizeof(struct kiov) == sizeof(struct iovec), "kiov is what the kernel takes");

int gmem_new(struct gmem **out, struct err *e)
{
	(void)e;
	*out = NEW(struct gmem);
	return 0;
}

void gmem_free(struct gmem *m)
{
	if (!m)
		return;
	for (unsigned int i = 0; i < m->count; i++)
		backing_unmap(&m->backing[i]);
	free(m);
}

int gmem_add(struct gmem *m, gpa_t base, uint64_t size, const struct backing_args *b, struct err *e)
{
	unsigned int at = 0;
	uint64_t end;

	if (m->count == REGIONS_MAX)
		return err_set(e, ERR_BAD, "more than %d pieces of guest memory", REGIONS_MAX);
	if (base.v % KIB(4) || !size || add_overflows(&end, base.v, size))
		return err_set(e, ERR_BAD, "guest memory at 0x%" PRIx64 " of 0x%" PRIx64 " bytes",
			       base.v, size);
	for (unsigned int i = 0; i < m->count; i++) {
		const struct gmem_region *r = &m->region[i];

		if (ranges_meet(base.v, size, r->base.v, r->size))
			return err_set(e, ERR_TAKEN, "guest memory at 0x%" PRIx64 " is there twice",
				       base.v);
		if (r->base.v < base.v)
			at = i + 1;
	}
	struct backing made;
	if (backing_map(&made, size, b, e) < 0)
		return -1;
	memmove(&m->region[at + 1], &m->region[at], (m->count - at) * sizeof(m->region[0]));
	memmove(&m->backing[at + 1], &m->backing[at], (m->count - at) * sizeof(m->backing[0]));
	m->count++;
	m->backing[at] = made;
	m->region[at] = (struct gmem_region){
		.base = base,
		.size = size,
		.host = (uintptr_t)made.host,
		.fd = made.fd,
	};
	return 0;
}

unsigned int gmem_regions(const struct gmem *m)
{
	return m->count;
}

const struct gmem_region *gmem_region(const struct gmem *m, unsigned int i)
{
	return i < m->count ? &m->region[i] : NULL;
}

uint64_t gmem_total(const struct gmem *m)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < m->count; i++)
		sum += m->region[i].size;
	return sum;
}

/* The region that a lies in, with *room bytes from a to its end; NULL outside RAM. There are few
 * regions. */
static const struct gmem_region *find(const struct gmem *m, gpa_t a, uint64_t *room)
{
	for (unsigned int i = 0; i < m->count; i++) {
		const struct gmem_region *r = &m->region[i];

		if (a.v >= r->base.v && a.v - r->base.v < r->size) {
			*room = r->size - (a.v - r->base.v);
			return r;
		}
	}
	return NULL;
}

static unsigned char *at(const struct gmem_region *r, gpa_t a)
{
	return (unsigned char *)(r->host + (a.v - r->base.v));
}

bool gmem_ok(const struct gmem *m, gpa_t a, uint64_t len)
{
	uint64_t room;

	if (!len || a.v + len < a.v)
		return false;
	while (len) {
		if (!find(m, a, &room))
			return false;
		if (room >= len)
			return true;
		a = gpa_add(a, room);
		len -= room;
	}
	return true;
}

/* Calls for each contiguous piece of a range that gmem_ok approved. */
#define each_piece(m, a, len, host, n)                                                             \
	for (uint64_t room_, n = 0; (len) > 0; (a) = gpa_add((a), n), (len) -= n)                  \
		for (unsigned char *host = piece((m), (a), (len), &room_, &n); host; host = NULL)

static unsigned char *piece(const struct gmem *m, gpa_t a, uint64_t len, uint64_t *room,
			    uint64_t *n)
{
	const struct gmem_region *r = find(m, a, room);

	*n = min_u64(*room, len);
	return at(r, a);
}

int gmem_read(const struct gmem *m, gpa_t a, void *to, size_t len)
{
	unsigned char *p = to;
	uint64_t left = len;

	if (!len)
		return 0;
	if (!gmem_ok(m, a, len))
		return -1;
	each_piece(m, a, left, host, n)
	{
		memcpy(p, host, n);
		p += n;
	}
	return 0;
}

int gmem_write(const struct gmem *m, gpa_t a, const void *from, size_t len)
{
	const unsigned char *p = from;
	uint64_t left = len;

	if (!len)
		return 0;
	if (!gmem_ok(m, a, len))
		return -1;
	each_piece(m, a, left, host, n)
	{
		memcpy(host, p, n);
		p += n;
	}
	return 0;
}

int gmem_zero(const struct gmem *m, gpa_t a, uint64_t len)
{
	if (!len)
		return 0;
	if (!gmem_ok(m, a, len))
		return -1;
	each_piece(m, a, len, host, n) memset(host, 0, n);
	return 0;
}

int gmem_load(const struct gmem *m, gpa_t a, uint64_t len, int fd, uint64_t off, struct err *e)
{
	if (!len)
		return 0;
	if (!gmem_ok(m, a, len))
		return err_set(e, ERR_BAD,
			       "0x%" PRIx64 " bytes at 0x%" PRIx64 " do not fit into guest memory",
			       len, a.v);
	each_piece(m, a, len, host, n)
	{
		if (fd_read_at(fd, host, n, off, e) < 0)
			return -1;
		off += n;
	}
	return 0;
}

int gmem_win(struct gwin *w, const struct gmem *m, gpa_t a, size_t len, size_t align)
{
	uint64_t room;
	const struct gmem_region *r = find(m, a, &room);

	if (!r || room < len || !len || a.v % align)
		return -1;
	*w = (struct gwin){ .host = at(r, a), .len = len, .base = a };
	return 0;
}

static bool fits(const struct gwin *w, size_t off, size_t n)
{
	return off % n == 0 && w->len >= n && off <= w->len - n;
}

uint16_t gwin_ld16(const struct gwin *w, size_t off)
{
	return fits(w, off, 2)
		       ? __atomic_load_n((uint16_t *)(void *)(w->host + off), __ATOMIC_RELAXED)
		       : 0;
}

uint32_t gwin_ld32(const struct gwin *w, size_t off)
{
	return fits(w, off, 4)
		       ? __atomic_load_n((uint32_t *)(void *)(w->host + off), __ATOMIC_RELAXED)
		       : 0;
}

uint64_t gwin_ld64(const struct gwin *w, size_t off)
{
	return fits(w, off, 8)
		       ? __atomic_load_n((uint64_t *)(void *)(w->host + off), __ATOMIC_RELAXED)
		       : 0;
}

void gwin_st16(const struct gwin *w, size_t off, uint16_t v)
{
	if (fits(w, off, 2))
		__atomic_store_n((uint16_t *)(void *)(w->host + off), v, __ATOMIC_RELAXED);
}

void gwin_st32(const struct gwin *w, size_t off, uint32_t v)
{
	if (fits(w, off, 4))
		__atomic_store_n((uint32_t *)(void *)(w->host + off), v, __ATOMIC_RELAXED);
}

uint16_t gwin_ld16_acquire(const struct gwin *w, size_t off)
{
	return fits(w, off, 2)
		       ? __atomic_load_n((uint16_t *)(void *)(w->host + off), __ATOMIC_ACQUIRE)
		       : 0;
}

void gwin_st16_release(const struct gwin *w, size_t off, uint16_t v)
{
	if (fits(w, off, 2))
		__atomic_store_n((uint16_t *)(void *)(w->host + off), v, __ATOMIC_RELEASE);
}

int gwin_copy(const struct gwin *w, size_t off, void *to, size_t len)
{
	if (off > w->len || len > w->len - off)
		return -1;
	memcpy(to, w->host + off, len);
	return 0;
}

int gmem_iov(const struct gmem *m, struct kiov *out, unsigned int *n, unsigned int max, gpa_t a,
	     uint32_t len)
{
	uint64_t left = len, room;

	if (a.v + left < a.v)
		return -1;
	while (left) {
		const struct gmem_region *r = find(m, a, &room);

		if (!r || *n >= max)
			return -1;
		room = min_u64(room, left);
		out[*n].v.iov_base = at(r, a);
		out[*n].v.iov_len = room;
		++*n;
		a = gpa_add(a, room);
		left -= room;
	}
	return 0;
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
