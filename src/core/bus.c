/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buses: a sorted array of ranges behind a read-write lock, and a count of the vCPUs inside each
 * range. The lock is held for the lookup only; the handler runs with the range pinned, so it may
 * itself add, hide and move ranges. Nothing is allocated on an access.
 *
 * pins: the low 31 bits count who is inside, the top bit says that bus_drop sleeps until they are
 * gone.
 */
#include "core/bus.h"

#include <linux/futex.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"

#define PIN_WAITER (1u << 31)
#define BUS_ACCESS_MAX 8

struct bus {
	char *name;
	pthread_rwlock_t lock;
	struct bus_range **range; /* sorted by base, never overlapping */
	uint32_t count, room;
};

void bus_lock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

/* Index of the first range that ends behind addr; count when there is none. */
static uint32_t bus_find(const struct bus *b, uint64_t addr)
{
	uint32_t lo = 0, hi = b->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct bus_range *r = b->range[mid];

		if (r->base + (r->len - 1) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The range at addr with the caller counted in, or NULL. *off and *room are the place within and
 * the bytes left. */
static struct bus_range *bus_pin(struct bus *b, uint64_t addr, uint64_t *off, uint64_t *room)
{
	struct bus_range *r = NULL;
	uint32_t i;

	pthread_rwlock_rdlock(&b->lock);
	i = bus_find(b, addr);
	if (i < b->count && b->range[i]->base <= addr) {
		r = b->range[i];
		*off = addr - r->base;
		*room = r->len - *off;
		__atomic_fetch_add(&r->pins, 1, __ATOMIC_ACQUIRE);
	}
	pthread_rwlock_unlock(&b->lock);
	return r;
}

/* After the decrement the range may be gone; only its address is still used, to wake. */
static void bus_unpin(struct bus_range *r)
{
	uint32_t *pins = &r->pins;

	if (__atomic_sub_fetch(pins, 1, __ATOMIC_RELEASE) == PIN_WAITER)
		syscall(SYS_futex, pins, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void bus_wait_empty(struct bus_range *r)
{
	uint32_t now = __atomic_or_fetch(&r->pins, PIN_WAITER, __ATOMIC_ACQUIRE);

	while (now != PIN_WAITER) {
		syscall(SYS_futex, &r->pins, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
		now = __atomic_load_n(&r->pins, __ATOMIC_ACQUIRE);
	}
	__atomic_store_n(&r->pins, 0, __ATOMIC_RELEASE);
}

/* The one that [base, base+len) would meet, other than self; NULL when the place is free. Lock
 * held. */
static const struct bus_range *bus_meets(const struct bus *b, const struct bus_range *self,
					 uint64_t base, uint64_t len)
{
	for (uint32_t i = bus_find(b, base); i < b->count; i++) {
		const struct bus_range *r = b->range[i];

		if (r->base > base + (len - 1))
			break;
		if (r != self)
			return r;
	}
	return NULL;
}

static void bus_unlink(struct bus *b, const struct bus_range *r)
{
	uint32_t i = bus_find(b, r->base);

	memmove(&b->range[i], &b->range[i + 1], (b->count - i - 1) * sizeof(b->range[0]));
	b->count--;
}

static void bus_link(struct bus *b, struct bus_range *r)
{
	uint32_t i = bus_find(b, r->base);

	memmove(&b->range[i + 1], &b->range[i], (b->count - i) * sizeof(b->range[0]));
	b->range[i] = r;
	b->count++;
}

static int bus_check(const struct bus *b, const struct bus_range *self, uint64_t base, uint64_t len,
		     struct err *e)
{
	const struct bus_range *other;
	uint64_t last;

	if (len == 0 || add_overflows(&last, base, len - 1))
		return err_set(e, ERR_BAD, "%s: range 0x%llx+0x%llx is none", b->name,
			       (unsigned long long)base, (unsigned long long)len);
	other = bus_meets(b, self, base, len);
	if (other)
		return err_set(e, ERR_TAKEN, "%s: range 0x%llx+0x%llx meets 0x%llx+0x%llx", b->name,
			       (unsigned long long)base, (unsigned long long)len,
			       (unsigned long long)other->base, (unsigned long long)other->len);
	return 0;
}

int bus_new(struct bus **out, const char *name, struct err *e)
{
	struct bus *b = NEW(struct bus);

	(void)e;
	bus_lock_init(&b->lock);
	b->name = mem_str(name);
	*out = b;
	return 0;
}

void bus_free(struct bus *b)
{
	if (!b)
		return;
	pthread_rwlock_destroy(&b->lock);
	free(b->range);
	free(b->name);
	free(b);
}

int bus_add(struct bus *b, struct bus_range *r, uint64_t base, uint64_t len, struct err *e)
{
	int rc;

	pthread_rwlock_wrlock(&b->lock);
	rc = bus_check(b, NULL, base, len, e);
	if (!rc) {
		if (b->count == b->room) {
			uint32_t room = b->room ? b->room * 2 : 16;

			b->range = mem_resize(b->range, b->room, room, sizeof(b->range[0]));
			b->room = room;
		}
		r->bus = b;
		r->base = base;
		r->len = len;
		bus_link(b, r);
	}
	pthread_rwlock_unlock(&b->lock);
	return rc;
}

void bus_hide(struct bus_range *r)
{
	struct bus *b = r->bus;

	if (!b)
		return;
	pthread_rwlock_wrlock(&b->lock);
	bus_unlink(b, r);
	r->bus = NULL;
	pthread_rwlock_unlock(&b->lock);
}

void bus_drop(struct bus_range *r)
{
	bus_hide(r);
	bus_wait_empty(r);
}

int bus_move(struct bus_range *r, uint64_t base, struct err *e)
{
	struct bus *b = r->bus;
	int rc;

	if (!b)
		return err_set(e, ERR_STATE, "a range that is on no bus cannot move");
	pthread_rwlock_wrlock(&b->lock);
	rc = bus_check(b, r, base, r->len, e);
	if (!rc) {
		bus_unlink(b, r);
		r->base = base;
		bus_link(b, r);
	}
	pthread_rwlock_unlock(&b->lock);
	return rc;
}

void bus_read(struct bus *b, uint64_t addr, uint8_t *data, uint32_t len)
{
	struct bus_range *r;
	uint64_t off, room;

	memset(data, 0xff, len);
	r = bus_pin(b, addr, &off, &room);
	if (!r)
		return;
	r->ops->read(r->arg, off, data, (uint32_t)min_u64(min_u64(len, BUS_ACCESS_MAX), room));
	bus_unpin(r);
}

void bus_write(struct bus *b, uint64_t addr, const uint8_t *data, uint32_t len)
{
	struct bus_range *r;
	uint64_t off, room;

	r = bus_pin(b, addr, &off, &room);
	if (!r)
		return;
	r->ops->write(r->arg, off, data, (uint32_t)min_u64(min_u64(len, BUS_ACCESS_MAX), room));
	bus_unpin(r);
}
