/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IOAPIC: a window of two registers, 24 redirection entries, and what each pin is at. A pin's
 * interrupt is sent as a message when its line rises (edge) or while it is high and the last one
 * has been ended (level). The routes told to core/irq make the hypervisor report ends of level
 * interrupts. Any thread; one lock, under which messages are sent. Intel 82093AA: version 0x11, so
 * without an EOI register.
 */
#include "chip/ioapic.h"

#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/mem.h"

/* Direct registers. */
#define WIN_SELECT 0x00
#define WIN_DATA 0x10
#define WIN_LEN 0x20

/* Indirect registers. */
#define REG_ID 0x00
#define REG_VERSION 0x01
#define REG_ARBITRATION 0x02
#define REG_REDIRECTION 0x10
#define VERSION 0x11
#define ID_BITS 0x0f000000u

/* Redirection entry. */
#define RED_VECTOR 0xffull
#define RED_MODE_SHIFT 8
#define RED_MODE 0x700ull
#define RED_DEST_LOGICAL (1ull << 11)
#define RED_SENT (1ull << 12) /* delivery status: never pending here */
#define RED_REMOTE_IRR (1ull << 14)
#define RED_LEVEL (1ull << 15)
#define RED_MASKED (1ull << 16)
#define RED_DEST_SHIFT 56
#define RED_DEST_EXT_SHIFT                                                                         \
	48 /* 55..49: destination id bits 14..8; 48: format of interrupt remapping */
#define RED_READ_ONLY (RED_SENT | RED_REMOTE_IRR)
#define RED_WRITABLE 0xffff00000001ffffull

/* Delivery modes that have a vector of their own making, or none here. */
#define MODE_FIXED 0
#define MODE_LOWEST 1
#define VECTOR_FIRST 16

/* Message. */
#define MSI_BASE 0xfee00000ull
#define MSI_DEST_SHIFT 12
#define MSI_DEST_EXT_SHIFT 5
#define MSI_DEST_LOGICAL (1ull << 2)
#define MSI_REDIRECT_HINT (1ull << 3)
#define MSI_LEVEL (1u << 15)
#define MSI_ASSERT (1u << 14)

struct ioapic_state {
	uint32_t select;
	uint32_t id;
	uint32_t lines; /* levels of the pins, a bit each */
	uint32_t owed;	/* edges that came while their pin was masked */
	uint64_t redirection[IRQ_PINS];
};

/* What has passed so far. */
struct ioapic_counters {
	uint64_t interrupts;
};

struct ioapic {
	struct dev dev;
	pthread_mutex_t lock;
	struct ioapic_state s;
	struct ioapic_counters n;
};

static struct ioapic *ioapic_of(struct dev *d)
{
	return container_of(d, struct ioapic, dev);
}

struct message {
	uint64_t addr;
	uint32_t data;
};

static struct message entry_message(uint64_t red)
{
	uint32_t mode = (uint32_t)(red & RED_MODE);
	struct message m;

	m.addr = MSI_BASE | (red >> RED_DEST_SHIFT) << MSI_DEST_SHIFT |
		 (red >> (RED_DEST_EXT_SHIFT + 1) & 0x7f) << MSI_DEST_EXT_SHIFT;
	if (red & RED_DEST_LOGICAL)
		m.addr |= MSI_DEST_LOGICAL;
	if (mode >> RED_MODE_SHIFT == MODE_LOWEST)
		m.addr |= MSI_REDIRECT_HINT;
	m.data = (uint32_t)(red & RED_VECTOR) | mode;
	if (red & RED_LEVEL)
		m.data |= MSI_LEVEL | MSI_ASSERT;
	return m;
}

/* A level pin whose interrupt can be ended: fixed or lowest priority, with a vector that a LAPIC
 * takes. */
static bool entry_is_level(uint64_t red)
{
	return red & RED_LEVEL && (red & RED_MODE) >> RED_MODE_SHIFT <= MODE_LOWEST &&
	       (red & RED_VECTOR) >= VECTOR_FIRST;
}

/* What the hypervisor has to know of a pin. Lock held. */
static void pin_route(struct ioapic *c, uint32_t pin)
{
	uint64_t red = c->s.redirection[pin];
	struct message m = entry_message(red);

	irq_pin_route(c->dev.board->irqs, pin, m.addr, m.data, !entry_is_level(red));
}

/* Sends what the pin has to say, if it may. Lock held. */
static void pin_serve(struct ioapic *c, uint32_t pin)
{
	uint64_t *red = &c->s.redirection[pin];
	uint32_t bit = 1u << pin;
	bool level = *red & RED_LEVEL;
	struct message m;

	if (*red & RED_MASKED || !((level ? c->s.lines : c->s.owed) & bit))
		return;
	if (level && *red & RED_REMOTE_IRR)
		return;
	c->s.owed &= ~bit;
	if (entry_is_level(*red))
		*red |= RED_REMOTE_IRR;
	m = entry_message(*red);
	counter_add(&c->n.interrupts, 1);
	irq_msi_now(c->dev.board->irqs, m.addr, m.data);
}

static void ioapic_pin(void *arg, uint32_t pin, bool high)
{
	struct ioapic *c = arg;
	uint32_t bit = 1u << pin;

	pthread_mutex_lock(&c->lock);
	if (high && !(c->s.lines & bit))
		c->s.owed |= bit;
	c->s.lines = high ? c->s.lines | bit : c->s.lines & ~bit;
	pin_serve(c, pin);
	pthread_mutex_unlock(&c->lock);
}

static void ioapic_eoi(void *arg, uint8_t vector)
{
	struct ioapic *c = arg;

	pthread_mutex_lock(&c->lock);
	for (uint32_t pin = 0; pin < IRQ_PINS; pin++) {
		uint64_t *red = &c->s.redirection[pin];

		if (!(*red & RED_REMOTE_IRR) || (*red & RED_VECTOR) != vector)
			continue;
		*red &= ~RED_REMOTE_IRR;
		pin_serve(c, pin);
	}
	pthread_mutex_unlock(&c->lock);
}

static uint32_t reg_read(const struct ioapic *c)
{
	uint32_t reg = c->s.select, pin = (reg - REG_REDIRECTION) / 2;

	switch (reg) {
	case REG_ID:
	case REG_ARBITRATION:
		return c->s.id;
	case REG_VERSION:
		return VERSION | (IRQ_PINS - 1) << 16;
	}
	if (reg < REG_REDIRECTION || pin >= IRQ_PINS)
		return ~0u;
	return (uint32_t)(c->s.redirection[pin] >> (reg % 2 ? 32 : 0));
}

static void red_write(struct ioapic *c, uint32_t pin, bool high, uint32_t v)
{
	uint64_t was = c->s.redirection[pin], now;

	now = high ? (was & 0xffffffffull) | (uint64_t)v << 32 : (was & ~0xffffffffull) | v;
	now = (now & RED_WRITABLE & ~RED_READ_ONLY) | (was & RED_READ_ONLY);
	/* as an edge pin it has nothing to wait for; guests without an EOI register clear it this
	 * way */
	if (!(now & RED_LEVEL))
		now &= ~RED_REMOTE_IRR;
	/* an edge that came while the pin was level-triggered is part of that level */
	if (now & RED_LEVEL)
		c->s.owed &= ~(1u << pin);
	c->s.redirection[pin] = now;
	pin_route(c, pin);
	pin_serve(c, pin);
}

static void reg_write(struct ioapic *c, uint32_t v)
{
	uint32_t reg = c->s.select, pin = (reg - REG_REDIRECTION) / 2;

	if (reg == REG_ID)
		c->s.id = v & ID_BITS;
	else if (reg >= REG_REDIRECTION && pin < IRQ_PINS)
		red_write(c, pin, reg % 2, v);
}

/* Registers are 32 bits wide; a narrower or wider access takes what it covers of the one it begins
 * at. */
static void win_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct ioapic *c = ioapic_of(arg);
	uint8_t reg[8] = { 0 };

	memset(data, 0, len);
	pthread_mutex_lock(&c->lock);
	if ((off & ~3ull) == WIN_SELECT)
		le32_put(reg, c->s.select);
	else if ((off & ~3ull) == WIN_DATA)
		le32_put(reg, reg_read(c));
	pthread_mutex_unlock(&c->lock);
	memcpy(data, reg + off % 4, min_u64(len, 4 - off % 4));
}

static void win_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct ioapic *c = ioapic_of(arg);
	uint32_t v = (uint32_t)le_get(data, (uint32_t)min_u64(len, 4));

	pthread_mutex_lock(&c->lock);
	if (off == WIN_SELECT)
		c->s.select = v & 0xff;
	else if (off == WIN_DATA && len >= 4)
		reg_write(c, v);
	pthread_mutex_unlock(&c->lock);
}

static int ioapic_init(struct dev *d, struct err *e)
{
	struct ioapic *c = ioapic_of(d);

	(void)e;
	pthread_mutex_init(&c->lock, NULL);
	for (uint32_t pin = 0; pin < IRQ_PINS && !d->restored; pin++)
		c->s.redirection[pin] = RED_MASKED;
	for (uint32_t pin = 0; pin < IRQ_PINS && d->restored; pin++)
		pin_route(c, pin);
	irqs_set_chip(d->board->irqs,
		      &(struct irq_chip){ .pin = ioapic_pin, .eoi = ioapic_eoi, .arg = c });
	return 0;
}

static void ioapic_fini(struct dev *d)
{
	struct ioapic *c = ioapic_of(d);

	irqs_set_chip(d->board->irqs, NULL);
	for (uint32_t pin = 0; pin < IRQ_PINS; pin++)
		irq_pin_route(d->board->irqs, pin, 0, 0, true);
	pthread_mutex_destroy(&c->lock);
}

/* Bits that no guest could have written are not taken from a file either. */
static int ioapic_fix(void *obj, struct err *e)
{
	struct ioapic_state *s = obj;

	for (uint32_t pin = 0; pin < IRQ_PINS; pin++)
		if (s->redirection[pin] & ~(RED_WRITABLE | RED_REMOTE_IRR))
			return err_set(e, ERR_BAD, "redirection entry %u has reserved bits", pin);
	return 0;
}

static const struct field ioapic_state_f[] = {
	S(struct ioapic_state, select, .max = 0xff),
	S(struct ioapic_state, id, .max = ID_BITS),
	S(struct ioapic_state, lines, .max = (1u << IRQ_PINS) - 1),
	S(struct ioapic_state, owed, .max = (1u << IRQ_PINS) - 1),
	S_ARRAY(struct ioapic_state, redirection),
};
static const struct desc ioapic_state_desc =
	DESC_OF(struct ioapic_state, ioapic_state_f, "IoapicState", .fix = ioapic_fix);

static const struct bus_ops win_ops = { .read = win_read, .write = win_write };

static const struct field counter_fields[] = {
	S(struct ioapic_counters, interrupts, .doc = "interrupts that its pins have sent"),
};
static const struct desc counter_rows =
	DESC_OF(struct ioapic_counters, counter_fields, "ioapic counters");

const struct fixed_class ioapic_class = {
	.dev = {
		.name = "ioapic",
		.state = &ioapic_state_desc,
		.size = sizeof(struct ioapic),
		.counters = &counter_rows,
		.counters_off = offsetof(struct ioapic, n),
		.state_off = offsetof(struct ioapic, s),
		.init = ioapic_init,
		.fini = ioapic_fini,
		.plug = &fixed_plug,
	},
	.bank = {{.len = WIN_LEN, .ops = &win_ops}},
};
