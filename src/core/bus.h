/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port and memory-mapped buses: a range of addresses belongs to one handler. An access is found by
 * its first byte and cut at the range's end; bytes past it, and whole accesses to nobody, read as
 * all ones and are dropped when written. Two buses exist per machine: ports and MMIO.
 *
 * bus_read and bus_write are for vCPU threads, many at once: the lookup holds a read lock and pins
 * the handler, then lets go of the lock before calling it. Adding, dropping and moving are for the
 * control thread and for vCPU threads that write BARs (they hold no pin of the range they move...
 * see bus_move).
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"

struct bus;

struct bus_ops {
	/* off is within the range; len 1..8 and never past the range's end. Little-endian bytes. */
	void (*read)(void *arg, uint64_t off, uint8_t *data, uint32_t len);
	void (*write)(void *arg, uint64_t off, const uint8_t *data, uint32_t len);
};

/* One range; embedded by its owner, zeroed before first use. */
struct bus_range {
	struct bus *bus; /* NULL when not on a bus */
	uint64_t base, len;
	const struct bus_ops *ops;
	void *arg;
	uint32_t pins; /* vCPUs inside, atomic */
};

/* A lock for tables that vCPUs read all the time: a writer that waits goes first, or guests could
 * keep it out for good. It is not taken twice by one thread. */
void bus_lock_init(pthread_rwlock_t *lock);

MUST int bus_new(struct bus **out, const char *name, struct err *e);
void bus_free(struct bus *b);
/* Fails when it meets another range. ops and arg are set by the caller in r. */
MUST int bus_add(struct bus *b, struct bus_range *r, uint64_t base, uint64_t len, struct err *e);
/* Unlinks at once, then waits until nobody is inside. Not from within the handler itself. Twice is
 * fine. */
void bus_drop(struct bus_range *r);
/* One exchange: at the new place or still at the old. May be called while other vCPUs are
 * inside. */
MUST int bus_move(struct bus_range *r, uint64_t base, struct err *e);
/* Like bus_drop, without waiting, for a range whose owner outlives every pin (a BAR switched off by
 * its own device). */
void bus_hide(struct bus_range *r);

void bus_read(struct bus *b, uint64_t addr, uint8_t *data, uint32_t len);
void bus_write(struct bus *b, uint64_t addr, const uint8_t *data, uint32_t len);
