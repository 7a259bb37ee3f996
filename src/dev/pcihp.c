/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four bit sets for each segment, and a segment that is selected. One lock, taken before that of
 * the PCI segments. See pcihp.h.
 */
#include "dev/pcihp.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/mem.h"
#include "dev/ged.h"
#include "dev/hp.h"
#include "fw/acpi.h"
#include "pci/pci.h"

enum { REG_UP, REG_DOWN, REG_EJECT, REG_SEGMENT };

struct pcihp_segment {
	uint32_t up;	 /* the guest has not read of them yet */
	uint32_t down;	 /* the same */
	uint32_t asked;	 /* it has not let go of them yet */
	uint32_t let_go; /* it has, and they are still there */
};

struct pcihp_state {
	LIST(struct pcihp_segment) segments;
	uint32_t selected;
	uint32_t pad;
};

/* What has passed so far. */
struct pcihp_counters {
	uint64_t looks, requests, ejects, refusals;
};

struct pcihp {
	struct dev dev;
	pthread_mutex_t lock;
	struct pcihp_state s;
	struct pcihp_counters n;
};

static struct pcihp *pcihp_of(const struct dev *d)
{
	return container_of(d, struct pcihp, dev);
}

/* Lock held. */
static struct pcihp_segment *selected(struct pcihp *p)
{
	return &p->s.segments.items[p->s.selected];
}

static uint32_t take_bits(uint32_t *bits)
{
	uint32_t was = *bits;

	*bits = 0;
	return was;
}

/* Lock held. */
static uint32_t reg_read(struct pcihp *p, uint64_t reg)
{
	switch (reg) {
	case REG_UP:
		return take_bits(&selected(p)->up);
	case REG_DOWN:
		return take_bits(&selected(p)->down);
	case REG_SEGMENT:
		return p->s.selected;
	default:
		return 0;
	}
}

static void pcihp_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct pcihp *p = pcihp_of(arg);

	memset(data, 0, len);
	if (off % 4 || len != 4)
		return;
	pthread_mutex_lock(&p->lock);
	le32_put(data, reg_read(p, off / 4));
	pthread_mutex_unlock(&p->lock);
}

/* Out of the guest's sight at once, so that a look at the bus right behind finds nothing; the rest is
 * the control thread's. Lock held, so that nobody else puts a device there meanwhile. */
static bool eject(struct pcihp *p, uint32_t slots)
{
	struct pcihp_segment *s = selected(p);
	uint32_t go = slots & s->asked;

	counter_add(&p->n.refusals, (uint64_t)__builtin_popcount(slots & ~s->asked));
	counter_add(&p->n.ejects, (uint64_t)__builtin_popcount(go));
	s->asked &= ~go;
	s->down &= ~go;
	s->let_go |= go;
	for (uint32_t rest = go; rest; rest &= rest - 1)
		pci_slot_hide(p->dev.board->pci, (uint16_t)p->s.selected,
			      (uint8_t)__builtin_ctz(rest));
	return go;
}

static void pcihp_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct pcihp *p = pcihp_of(arg);
	const struct board_up *up = &p->dev.board->up;
	uint32_t v = len == 4 ? le32_get(data) : 0;
	bool any = false;

	if (off % 4 || len != 4)
		return;
	pthread_mutex_lock(&p->lock);
	if (off / 4 == REG_SEGMENT && v < p->s.segments.count)
		p->s.selected = v;
	else if (off / 4 == REG_EJECT)
		any = eject(p, v);
	pthread_mutex_unlock(&p->lock);
	if (any && up->let_go)
		up->let_go(up->arg);
}

/* --- for who has the machine --- */

void pcihp_look(struct dev *hp, uint16_t segment, uint8_t slot)
{
	struct pcihp *p = pcihp_of(hp);

	pthread_mutex_lock(&p->lock);
	p->s.segments.items[segment].up |= 1u << slot;
	counter_add(&p->n.looks, 1);
	pthread_mutex_unlock(&p->lock);
	ged_tell(hp->board, GED_PCI);
}

void pcihp_ask(struct dev *hp, uint16_t segment, uint8_t slot)
{
	struct pcihp *p = pcihp_of(hp);
	struct pcihp_segment *s = &p->s.segments.items[segment];

	pthread_mutex_lock(&p->lock);
	if (!(s->let_go >> slot & 1)) {
		s->asked |= 1u << slot;
		s->down |= 1u << slot;
		counter_add(&p->n.requests, 1);
	}
	pthread_mutex_unlock(&p->lock);
	ged_tell(hp->board, GED_PCI);
}

bool pcihp_is_asked(const struct dev *hp, uint16_t segment, uint8_t slot)
{
	struct pcihp *p = pcihp_of(hp);
	const struct pcihp_segment *s = &p->s.segments.items[segment];
	bool is;

	pthread_mutex_lock(&p->lock);
	is = (s->asked | s->let_go) >> slot & 1;
	pthread_mutex_unlock(&p->lock);
	return is;
}

bool pcihp_let_go(struct dev *hp, uint16_t *segment, uint8_t *slot)
{
	struct pcihp *p = pcihp_of(hp);
	bool any = false;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->s.segments.count && !any; i++) {
		uint32_t bits = p->s.segments.items[i].let_go;

		if (!bits)
			continue;
		*segment = (uint16_t)i;
		*slot = (uint8_t)__builtin_ctz(bits);
		any = true;
	}
	pthread_mutex_unlock(&p->lock);
	return any;
}

void pcihp_gone(struct dev *hp, uint16_t segment, uint8_t slot)
{
	struct pcihp *p = pcihp_of(hp);
	struct pcihp_segment *s = &p->s.segments.items[segment];
	uint32_t others = ~(1u << slot);

	pthread_mutex_lock(&p->lock);
	s->up &= others;
	s->down &= others;
	s->asked &= others;
	s->let_go &= others;
	pthread_mutex_unlock(&p->lock);
}

/* --- what the guest is told of it --- */

/* The device of a segment's bridge. */
static void bridge_path(char out[11], uint32_t segment)
{
	snprintf(out, 11, "\\_SB_.PC%02X", segment & 0xffu);
}

static void put_registers(struct aml *a, uint64_t base)
{
	hp_registers(a, "PCST", base, PCIHP_LEN);
	aml_fields(a, "PCST", 4);
	aml_unit(a, "PCIU", 32);
	aml_unit(a, "PCID", 32);
	aml_unit(a, "B0EJ", 32);
	aml_unit(a, "PSEG", 32);
	aml_end(a);
	aml_mutex(a, "BLCK");
}

/* PCEJ (slot, segment): lets go of one. */
static void put_eject(struct aml *a)
{
	aml_method(a, "PCEJ", 2, true);
	aml_acquire(a, "BLCK");
	aml_op(a, AML_STORE);
	aml_arg(a, 1);
	aml_path(a, "PSEG");
	aml_op(a, AML_SHIFT_LEFT);
	aml_int(a, 1);
	aml_arg(a, 0);
	aml_path(a, "B0EJ");
	aml_release(a, "BLCK");
	aml_end(a);
}

static int pcihp_describe(struct dev *d, struct aml *a)
{
	struct fixed_place at = fixed_place(d, 0);

	if (at.bus != FIXED_MMIO)
		return 0;
	hp_device(a, "PHPR", "PCI Hotplug Controller");
	aml_name(a, "_STA");
	aml_int(a, 0xb); /* there, enabled, working; not shown */
	put_registers(a, at.base);
	put_eject(a);
	aml_method(a, "PSCN", 0, true);
	for (uint32_t i = 0; i < pcihp_of(d)->s.segments.count; i++) {
		char path[16];

		bridge_path(path, i);
		memcpy(path + 10, ".PCNT", 6);
		aml_path(a, path);
	}
	aml_end(a);
	aml_end(a);
	return 0;
}

static void slot_name(char out[5], uint32_t slot)
{
	snprintf(out, 5, "S%03u", slot & 0x1fu);
}

/* The host bridge has no slot. */
static uint32_t first_slot(uint16_t segment)
{
	return segment ? 0 : 1;
}

static void put_slot(struct aml *a, uint32_t slot, uint16_t segment)
{
	char name[5];

	slot_name(name, slot);
	aml_device(a, name);
	aml_name(a, "_SUN");
	aml_int(a, slot);
	aml_name(a, "_ADR");
	aml_int(a, slot << 16);
	aml_method(a, "_EJ0", 1, true);
	aml_path(a, "\\_SB_.PHPR.PCEJ");
	aml_int(a, slot);
	aml_int(a, segment);
	aml_end(a);
	aml_end(a);
}

/* DVNT (slots, code): notifies each. */
static void put_notify(struct aml *a, uint16_t segment)
{
	aml_method(a, "DVNT", 2, true);
	for (uint32_t i = first_slot(segment); i < PCI_SLOTS; i++) {
		char name[5];

		slot_name(name, i);
		aml_if(a);
		aml_op(a, AML_AND);
		aml_arg(a, 0);
		aml_int(a, 1u << i);
		aml_op(a, AML_NOWHERE);
		aml_op(a, AML_NOTIFY);
		aml_path(a, name);
		aml_arg(a, 1);
		aml_end(a);
	}
	aml_end(a);
}

/* DVNT (register, code) */
static void put_look(struct aml *a, const char *reg, uint8_t code)
{
	aml_path(a, "DVNT");
	aml_path(a, reg);
	aml_int(a, code);
}

/* PCNT: asks the controller about this segment. */
static void put_count(struct aml *a, uint16_t segment)
{
	aml_method(a, "PCNT", 0, true);
	aml_acquire(a, "\\_SB_.PHPR.BLCK");
	aml_op(a, AML_STORE);
	aml_int(a, segment);
	aml_path(a, "\\_SB_.PHPR.PSEG");
	put_look(a, "\\_SB_.PHPR.PCIU", HP_NOTIFY_CHECK);
	put_look(a, "\\_SB_.PHPR.PCID", HP_NOTIFY_EJECT);
	aml_release(a, "\\_SB_.PHPR.BLCK");
	aml_end(a);
}

void pcihp_describe_slots(struct aml *a, uint16_t segment)
{
	for (uint32_t i = first_slot(segment); i < PCI_SLOTS; i++)
		put_slot(a, i, segment);
	put_notify(a, segment);
	put_count(a, segment);
}

/* --- the class --- */

static int pcihp_init(struct dev *d, struct err *e)
{
	const struct pcihp_conf *c = d->conf;
	struct pcihp *p = pcihp_of(d);

	if (!d->restored) {
		p->s.segments.items = mem_array(c->segments, sizeof(p->s.segments.items[0]));
		p->s.segments.count = c->segments;
	}
	if (p->s.segments.count != c->segments || p->s.selected >= c->segments)
		return err_set(e, ERR_BAD, "a saved state of %u PCI segments, and there are %u",
			       p->s.segments.count, c->segments);
	pthread_mutex_init(&p->lock, NULL);
	return 0;
}

static void pcihp_fini(struct dev *d)
{
	pthread_mutex_destroy(&pcihp_of(d)->lock);
}

static const struct field segment_f[] = {
	S(struct pcihp_segment, up),
	S(struct pcihp_segment, down),
	S(struct pcihp_segment, asked),
	S(struct pcihp_segment, let_go),
};
static const struct desc segment_desc =
	DESC_OF(struct pcihp_segment, segment_f, "PciHotplugSegment");
static const struct field state_f[] = {
	S_LIST(struct pcihp_state, segments, &segment_desc),
	S(struct pcihp_state, selected),
	S_PAD(struct pcihp_state, pad),
};
static const struct desc state_desc = DESC_OF(struct pcihp_state, state_f, "PciHotplugState");

static const struct field counter_fields[] = {
	S(struct pcihp_counters, looks, .doc = "times that the guest was told to look at a slot"),
	S(struct pcihp_counters, requests,
	  .doc = "times that the guest was asked to let go of one"),
	S(struct pcihp_counters, ejects, .doc = "devices that the guest has let go of"),
	S(struct pcihp_counters, refusals,
	  .doc = "slots that the guest wanted to let go of and nobody had asked for"),
};
static const struct desc counter_rows =
	DESC_OF(struct pcihp_counters, counter_fields, "pcihp counters");

static const struct bus_ops ops = { .read = pcihp_read, .write = pcihp_write };

const struct fixed_class pcihp_class = {
	.dev = {
		.name = "pcihp",
		.state = &state_desc,
		.size = sizeof(struct pcihp),
		.counters = &counter_rows,
		.counters_off = offsetof(struct pcihp, n),
		.state_off = offsetof(struct pcihp, s),
		.init = pcihp_init,
		.fini = pcihp_fini,
		.describe = pcihp_describe,
		.plug = &fixed_plug,
	},
	.bank = {[0] = {.len = PCIHP_LEN, .ops = &ops}},
};
