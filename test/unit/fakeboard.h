/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A board without a hypervisor, for unit tests of devices: the interrupt calls of hv/ are taken
 * over here and remembered, wishes are counted. One test program, one board. Include it in the
 * test's own file only.
 */
#pragma once

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "core/dev.h"
#include "core/fixed.h"
#include "core/snap.h"
#include "hv/hv.h"

#define FAKE_MSIS 64
#define FAKE_FDS 64

struct fake_msi {
	uint64_t addr;
	uint32_t data;
};
static struct fake {
	struct board board;
	pthread_mutex_t lock;
	struct fake_msi msi[FAKE_MSIS]; /* delivered at once, oldest first */
	uint32_t msis;
	struct hv_irq_route route[256];
	uint32_t routes; /* unmasked rows in the table as last set */
	uint32_t sets;	 /* tables set */
	struct {
		int fd;
		uint32_t gsi;
	} irqfd[FAKE_FDS];
	uint32_t irqfds;
	bool refuse; /* tables are refused */
	uint32_t resets, shutdowns;
	uint32_t slots;		     /* of memory, that there are; the last: */
	uint64_t slot_at, slot_host; /* where the guest and we see it */
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

int hv_msi(struct hv_vm *vm, uint64_t addr, uint32_t data)
{
	(void)vm;
	pthread_mutex_lock(&fake.lock);
	fake.msi[fake.msis++ % FAKE_MSIS] = (struct fake_msi){ addr, data };
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

int hv_set_routes(struct hv_vm *vm, const struct hv_irq_route *routes, uint32_t count,
		  struct err *e)
{
	(void)vm;
	if (fake.refuse)
		return err_set(e, ERR_IO, "the hypervisor refuses");
	fake.sets++;
	fake.routes = 0;
	for (uint32_t i = 0; i < count; i++)
		if (!routes[i].masked && fake.routes < ARRAY_LEN(fake.route))
			fake.route[fake.routes++] = routes[i];
	return 0;
}

int hv_irqfd(struct hv_vm *vm, int fd, uint32_t gsi, bool on, struct err *e)
{
	(void)vm;
	(void)e;
	for (uint32_t i = 0; !on && i < fake.irqfds; i++)
		if (fake.irqfd[i].gsi == gsi)
			fake.irqfd[i--] = fake.irqfd[--fake.irqfds];
	if (on && fake.irqfds < FAKE_FDS) {
		fake.irqfd[fake.irqfds].fd = fd;
		fake.irqfd[fake.irqfds++].gsi = gsi;
	}
	return 0;
}

int hv_slot_add(struct hv_vm *vm, uint32_t *slot, uint64_t gpa, uint64_t size, uintptr_t host,
		bool readonly, struct err *e)
{
	(void)vm, (void)size, (void)readonly;
	if (fake.refuse)
		return err_set(e, ERR_IO, "the hypervisor refuses");
	fake.slot_at = gpa;
	fake.slot_host = host;
	*slot = fake.slots++;
	return 0;
}

int hv_slot_drop(struct hv_vm *vm, uint32_t slot, struct err *e)
{
	(void)vm, (void)slot, (void)e;
	fake.slots--;
	return 0;
}

/* The route of a GSI in the table as last set, or NULL. */
static inline const struct hv_irq_route *fake_route(uint32_t gsi)
{
	for (uint32_t i = 0; i < fake.routes; i++)
		if (fake.route[i].gsi == gsi)
			return &fake.route[i];
	return NULL;
}

/* What the hypervisor would do now: events that were signalled and have a route, as data of the
 * last; 0 = none. */
static inline uint32_t fake_events(void)
{
	uint32_t data = 0;

	for (uint32_t i = 0; i < fake.irqfds; i++) {
		const struct hv_irq_route *r = fake_route(fake.irqfd[i].gsi);

		if (fd_drain(fake.irqfd[i].fd) && r)
			data = r->data;
	}
	return data;
}

static inline void fake_wish(void *arg, enum board_wish w)
{
	(void)arg;
	__atomic_fetch_add(w == WISH_RESET ? &fake.resets : &fake.shutdowns, 1, __ATOMIC_RELAXED);
}

/* The pins of the board, for devices tested without an IOAPIC. */
static uint32_t fake_pins, fake_rises;
static inline void fake_pin(void *arg, uint32_t gsi, bool level)
{
	(void)arg;
	if (level && !(fake_pins >> gsi & 1))
		fake_rises++;
	fake_pins = level ? fake_pins | 1u << gsi : fake_pins & ~(1u << gsi);
}

static inline void fake_sound(int rc, const struct err *e)
{
	char line[512];

	if (rc)
		fail_msg("%s", err_line(e, line, sizeof(line)));
}

static inline void fake_begin(void)
{
	struct board *b = &fake.board;
	struct err e = { 0 };

	memset(&fake.msi, 0, sizeof(fake.msi));
	fake.slots = fake.msis = fake.routes = fake.sets = fake.irqfds = fake.resets =
		fake.shutdowns = 0;
	fake.refuse = false;
	fake_pins = fake_rises = 0;
	board_init(b);
	fake_sound(bus_new(&b->pio, "ports", &e), &e);
	fake_sound(bus_new(&b->mmio, "mmio", &e), &e);
	fake_sound(irqs_new(&b->irqs, NULL, &e), &e);
	irqs_set_chip(b->irqs, &(struct irq_chip){ .pin = fake_pin });
	b->up = (struct board_up){ .wish = fake_wish };
}

static inline void fake_end(void)
{
	dev_remove_all(&fake.board);
	irqs_free(fake.board.irqs);
	bus_free(fake.board.pio);
	bus_free(fake.board.mmio);
}

/* Adds a device of a class with fixed places. */
static inline struct dev *fake_add(const struct fixed_class *c, const void *conf)
{
	struct dev *d = NULL;
	struct err e = { 0 };

	fake_sound(dev_add(&d, &fake.board, &c->dev, &(struct dev_args){ .id = "it", .conf = conf },
			   &e),
		   &e);
	return d;
}

static inline uint32_t in(uint64_t port, uint32_t len)
{
	uint8_t b[8];

	bus_read(fake.board.pio, port, b, len);
	return (uint32_t)le_get(b, len);
}
static inline void out(uint64_t port, uint32_t v, uint32_t len)
{
	uint8_t b[8];

	le_put(b, len, v);
	bus_write(fake.board.pio, port, b, len);
}
static inline uint32_t inb(uint64_t port)
{
	return in(port, 1);
}
static inline void outb(uint64_t port, uint32_t v)
{
	out(port, v, 1);
}

/* A guest that means harm: accesses of any size, anywhere near, to any value. */
static inline void fake_hammer(struct bus *b, uint64_t base, uint64_t span, unsigned int rounds)
{
	uint64_t x = 0x9e3779b97f4a7c15ull;

	for (unsigned int i = 0; i < rounds; i++) {
		uint8_t data[8];

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		le_put(data, 8, x * 0x2545f4914f6cdd1dull);
		if (x & 1)
			bus_write(b, base + (x >> 8) % span, data, (uint32_t)(x >> 1 & 7) + 1);
		else
			bus_read(b, base + (x >> 8) % span, data, (uint32_t)(x >> 1 & 7) + 1);
	}
}
