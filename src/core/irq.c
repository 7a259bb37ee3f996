/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of routes from GSIs to messages, and who may change it. Pins are handed to the
 * interrupt chip, which sends messages itself; their rows in the table exist for the hypervisor's
 * sake only, which has to know the vectors whose EOI it must report. Message vectors get GSIs
 * behind the pins, lazily. Any thread; one lock, held across the system call that replaces the
 * table, so that tables reach the hypervisor in order.
 */
#include "core/irq.h"

#include <pthread.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "hv/hv.h"

/* The pins below belong to fixed devices: timer, keyboard, cascade, COM2, COM1. */
#define PIN_FIRST_FREE 5
#define ROWS_STEP 64

struct irqs {
	struct hv_vm *vm;
	pthread_mutex_t lock;
	struct irq_chip chip;
	uint32_t next_pin;
	struct hv_irq_route *row; /* row[gsi] */
	uint32_t count, room;	  /* rows in use, rows allocated */
	uint64_t taken[BITMAP_WORDS(IRQ_ROUTES_MAX)];
};

int irqs_new(struct irqs **out, struct hv_vm *vm, struct err *e)
{
	struct irqs *q = NEW(struct irqs);

	(void)e;
	q->vm = vm;
	pthread_mutex_init(&q->lock, NULL);
	q->next_pin = PIN_FIRST_FREE;
	q->room = ROWS_STEP;
	q->row = mem_array(q->room, sizeof(q->row[0]));
	q->count = IRQ_PINS;
	for (uint32_t i = 0; i < IRQ_PINS; i++) {
		q->row[i].gsi = i;
		q->row[i].masked = true;
		bit_set(q->taken, i);
	}
	*out = q;
	return 0;
}

void irqs_free(struct irqs *q)
{
	if (!q)
		return;
	pthread_mutex_destroy(&q->lock);
	free(q->row);
	free(q);
}

void irqs_set_chip(struct irqs *q, const struct irq_chip *chip)
{
	q->chip = chip ? *chip : (struct irq_chip){ 0 };
}

void irq_pin(struct irqs *q, uint32_t gsi, bool level)
{
	if (q->chip.pin && gsi < IRQ_PINS)
		q->chip.pin(q->chip.arg, gsi, level);
}

void irq_pulse(struct irqs *q, uint32_t gsi)
{
	irq_pin(q, gsi, true);
	irq_pin(q, gsi, false);
}

void irq_eoi(struct irqs *q, uint8_t vector)
{
	if (q->chip.eoi)
		q->chip.eoi(q->chip.arg, vector);
}

int irq_pin_alloc(struct irqs *q, uint32_t *gsi, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&q->lock);
	if (q->next_pin < IRQ_PINS)
		*gsi = q->next_pin++;
	else
		rc = err_set(e, ERR_TAKEN, "all %d interrupt pins are in use", IRQ_PINS);
	pthread_mutex_unlock(&q->lock);
	return rc;
}

static bool route_same(const struct hv_irq_route *r, uint64_t addr, uint32_t data, bool masked)
{
	if (masked || r->masked)
		return masked == r->masked;
	return r->addr == addr && r->data == data;
}

/* Changes one row and hands the table over; on failure the row is as before. Lock held. */
static int route_set(struct irqs *q, uint32_t gsi, uint64_t addr, uint32_t data, bool masked,
		     struct err *e)
{
	struct hv_irq_route was = q->row[gsi];

	if (route_same(&was, addr, data, masked))
		return 0;
	q->row[gsi].addr = addr;
	q->row[gsi].data = data;
	q->row[gsi].masked = masked;
	if (!hv_set_routes(q->vm, q->row, q->count, e))
		return 0;
	q->row[gsi] = was;
	return -1;
}

static void route_log(const struct err *e)
{
	char line[256];

	log_guest("interrupt routes: %s", err_line(e, line, sizeof(line)));
}

void irq_pin_route(struct irqs *q, uint32_t gsi, uint64_t addr, uint32_t data, bool masked)
{
	struct err e = { 0 };

	if (gsi >= IRQ_PINS)
		return;
	pthread_mutex_lock(&q->lock);
	if (route_set(q, gsi, addr, data, masked, &e))
		route_log(&e);
	pthread_mutex_unlock(&q->lock);
}

void irq_msi_now(struct irqs *q, uint64_t addr, uint32_t data)
{
	if (hv_msi(q->vm, addr, data))
		log_guest("nobody took the interrupt message 0x%x at 0x%llx", data,
			  (unsigned long long)addr);
}

/* Lock held. */
static int gsi_take(struct irqs *q, uint32_t *gsi, struct err *e)
{
	uint32_t i = IRQ_PINS;

	while (i < IRQ_ROUTES_MAX && bit_get(q->taken, i))
		i++;
	if (i == IRQ_ROUTES_MAX)
		return err_set(e, ERR_TAKEN, "all %d interrupt routes are in use", IRQ_ROUTES_MAX);
	if (i >= q->room) {
		q->row = mem_resize(q->row, q->room, q->room + ROWS_STEP, sizeof(q->row[0]));
		q->room += ROWS_STEP;
	}
	bit_set(q->taken, i);
	q->row[i] = (struct hv_irq_route){ .gsi = i, .masked = true };
	if (i >= q->count)
		q->count = i + 1;
	*gsi = i;
	return 0;
}

static void gsi_give(struct irqs *q, uint32_t gsi)
{
	bit_clear(q->taken, gsi);
	while (q->count > IRQ_PINS && !bit_get(q->taken, q->count - 1))
		q->count--;
}

/* Descriptor and GSI of a vector that has none yet. Lock held. */
static int vec_make(struct irq_vec *v, struct irqs *q, struct err *e)
{
	AUTO_FD int fd = fd_event(e);

	if (fd < 0 || gsi_take(q, &v->gsi, e))
		return -1;
	v->irqs = q;
	v->fd = fd_take(&fd);
	return 0;
}

int irq_vec_route(struct irq_vec *v, struct irqs *q, uint64_t addr, uint32_t data, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&q->lock);
	if (!v->irqs)
		rc = vec_make(v, q, e);
	if (!rc)
		rc = route_set(q, v->gsi, addr, data, false, e);
	if (!rc && !v->wired) {
		rc = hv_irqfd(q->vm, v->fd, v->gsi, true, e);
		v->wired = !rc;
	}
	if (!rc) {
		v->addr = addr;
		v->data = data;
	}
	pthread_mutex_unlock(&q->lock);
	return rc;
}

void irq_vec_mask(struct irq_vec *v)
{
	struct irqs *q = v->irqs;
	struct err e = { 0 };

	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	if (route_set(q, v->gsi, 0, 0, true, &e))
		route_log(&e);
	pthread_mutex_unlock(&q->lock);
}

void irq_vec_fire(struct irq_vec *v)
{
	if (v->wired)
		fd_signal(v->fd);
}

void irq_vec_fini(struct irq_vec *v)
{
	struct irqs *q = v->irqs;
	struct err e = { 0 };

	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	if (v->wired && hv_irqfd(q->vm, v->fd, v->gsi, false, &e))
		route_log(&e);
	if (route_set(q, v->gsi, 0, 0, true, &e))
		route_log(&e);
	gsi_give(q, v->gsi);
	pthread_mutex_unlock(&q->lock);
	fd_close(&v->fd);
	*v = (struct irq_vec){ .fd = -1 };
}
