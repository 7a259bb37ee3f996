/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts: GSIs and the routes behind them. Pins 0..23 are inputs of the IOAPIC (chip/ioapic),
 * which turns them into messages; GSIs from 24 up are message vectors of PCI functions, each with
 * an eventfd that the hypervisor listens to. The table of routes is rewritten as a whole when one
 * changes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct hv_vm;
struct irqs;

#define IRQ_PINS 24
#define IRQ_ROUTES_MAX 4096

MUST int irqs_new(struct irqs **out, struct hv_vm *vm, struct err *e);
void irqs_free(struct irqs *q);

/* Pins. The IOAPIC registers as the one who is told of level changes; devices raise and lower. Any
 * thread. */
struct irq_chip {
	void (*pin)(void *arg, uint32_t gsi, bool level);
	void (*eoi)(void *arg, uint8_t vector);
	void *arg;
};
/* NULL takes it off. Before vCPUs run, or after. */
void irqs_set_chip(struct irqs *q, const struct irq_chip *chip);
/* The end of an interrupt of a level-triggered vector, from a vCPU's exit. */
void irq_eoi(struct irqs *q, uint8_t vector);
void irq_pin(struct irqs *q, uint32_t gsi, bool level);
/* Edge: up and down. */
void irq_pulse(struct irqs *q, uint32_t gsi);
/* Hands out the next free pin (5 upwards: PCI INTx pool, GED, ...); fails when none is left. */
MUST int irq_pin_alloc(struct irqs *q, uint32_t *gsi, struct err *e);
/* The IOAPIC's: the message that pin gsi sends (for the hypervisor's EOI bookkeeping). masked: no
 * EOI of this pin is waited for. A level pin keeps its route while the guest masks it, or an EOI in
 * that time would be missed. */
void irq_pin_route(struct irqs *q, uint32_t gsi, uint64_t addr, uint32_t data, bool masked);
/* Delivers a message at once. */
void irq_msi_now(struct irqs *q, uint64_t addr, uint32_t data);

/* A message vector; embedded, zeroed before first use. Made lazily on the first unmasked route. */
struct irq_vec {
	struct irqs *irqs;
	int fd; /* eventfd; -1 when not made */
	uint32_t gsi;
	bool wired; /* the hypervisor listens */
	uint64_t addr;
	uint32_t data;
};
/* Routes the vector to (addr, data); makes descriptor and GSI the first time. */
MUST int irq_vec_route(struct irq_vec *v, struct irqs *q, uint64_t addr, uint32_t data,
		       struct err *e);
/* Takes it off (masked); the descriptor and GSI stay. */
void irq_vec_mask(struct irq_vec *v);
/* Raises it; any thread. Nothing happens when not routed. */
void irq_vec_fire(struct irq_vec *v);
void irq_vec_fini(struct irq_vec *v);
