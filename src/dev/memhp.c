/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight slots, filled one after the other, and one that is selected. One lock. See memhp.h.
 */
#include "dev/memhp.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/mem.h"
#include "dev/ged.h"
#include "dev/hp.h"
#include "fw/acpi.h"

#define REG_BASE 0
#define REG_LENGTH 8
#define REG_STATUS 20

/* in a descriptor of addresses, ACPI 6.5 §6.4.3.5.1 */
#define RES_MIN 14
#define RES_MAX 22
#define RES_LENGTH 38

struct memhp_state {
	uint64_t base[MEMHP_SLOTS], size[MEMHP_SLOTS];
	uint8_t status[MEMHP_SLOTS]; /* HP_THERE, HP_COMING */
	uint32_t selected;
	uint32_t pad;
};

/* What has passed so far. */
struct memhp_counters {
	uint64_t arrivals, bytes, refusals;
};

struct memhp {
	struct dev dev;
	pthread_mutex_t lock;
	struct memhp_state s;
	struct memhp_counters n;
};

static struct memhp *memhp_of(const struct dev *d)
{
	return container_of(d, struct memhp, dev);
}

/* All registers as they read, of the selected slot. Lock held. */
static void fill(const struct memhp *p, uint8_t reg[MEMHP_LEN])
{
	uint32_t i = p->s.selected;

	memset(reg, 0, MEMHP_LEN);
	if (i >= MEMHP_SLOTS)
		return;
	le64_put(reg + REG_BASE, p->s.base[i]);
	le64_put(reg + REG_LENGTH, p->s.size[i]);
	reg[REG_STATUS] = p->s.status[i];
}

static void memhp_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct memhp *p = memhp_of(arg);
	uint8_t reg[MEMHP_LEN];

	pthread_mutex_lock(&p->lock);
	fill(p, reg);
	pthread_mutex_unlock(&p->lock);
	memcpy(data, reg + off, len);
}

static void memhp_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct memhp *p = memhp_of(arg);

	pthread_mutex_lock(&p->lock);
	if (off == REG_BASE && len == 4)
		p->s.selected = le32_get(data);
	if (off == REG_STATUS && p->s.selected < MEMHP_SLOTS) {
		p->s.status[p->s.selected] &= (uint8_t) ~(data[0] & (HP_COMING | HP_GOING));
		if (data[0] & HP_EJECT)
			counter_add(&p->n.refusals, 1);
	}
	pthread_mutex_unlock(&p->lock);
}

/* --- for who has the machine --- */

/* Lock held, or nobody else changes it. */
static uint32_t used(const struct memhp *p)
{
	uint32_t n = 0;

	while (n < MEMHP_SLOTS && p->s.size[n])
		n++;
	return n;
}

uint32_t memhp_free(const struct dev *hp)
{
	return MEMHP_SLOTS - used(memhp_of(hp));
}

void memhp_come(struct dev *hp, uint64_t base, uint64_t size)
{
	struct memhp *p = memhp_of(hp);
	uint32_t i;

	pthread_mutex_lock(&p->lock);
	i = used(p);
	assert(i < MEMHP_SLOTS);
	p->s.base[i] = base;
	p->s.size[i] = size;
	p->s.status[i] = HP_THERE | HP_COMING;
	counter_add(&p->n.arrivals, 1);
	counter_add(&p->n.bytes, size);
	pthread_mutex_unlock(&p->lock);
	ged_tell(hp->board, GED_MEMORY);
}

/* --- what the guest is told of it --- */

static void put_registers(struct aml *a, uint64_t base)
{
	aml_mutex(a, "MLCK");
	hp_registers(a, "MHPR", base, MEMHP_LEN);
	aml_fields(a, "MHPR", 4);
	aml_unit(a, "MHBA", 64);
	aml_unit(a, "MHLE", 64);
	aml_unit(a, "MHPX", 32);
	aml_end(a);
	aml_fields(a, "MHPR", 1);
	aml_unit(a, NULL, 8 * REG_STATUS);
	aml_unit(a, "MEN_", 1);
	aml_unit(a, "MINS", 1);
	aml_unit(a, "MRMV", 1);
	aml_unit(a, "MEJ0", 1);
	aml_unit(a, NULL, 4);
	aml_end(a);
	aml_fields(a, "MHPR", 4);
	aml_unit(a, "MSEL", 32);
	aml_end(a);
}

static void slot_name(char out[5], uint32_t slot)
{
	snprintf(out, 5, "M%03u", slot % MEMHP_SLOTS);
}

static void slot_path(struct aml *a, uint32_t slot)
{
	char name[5];

	slot_name(name, slot);
	aml_path(a, name);
}

static const struct hp_names names = {
	.lock = "MLCK",
	.select = "MSEL",
	.there = "MEN_",
	.coming = "MINS",
	.going = "MRMV",
	.sta = "MSTA",
	.notify = "MTFY",
	.scan = "MSCN",
	.path = slot_path,
};

/* MCRS (slot): a descriptor of addresses, whose numbers are the registers'. */
static void put_crs(struct aml *a)
{
	aml_method(a, "MCRS", 1, true);
	hp_select(a, &names);
	aml_name(a, "MR64");
	aml_resources(a);
	aml_res_ram64(a, 0, 0);
	aml_end(a);
	aml_qword_field(a, "MR64", RES_MIN, "MINQ");
	aml_qword_field(a, "MR64", RES_MAX, "MAXQ");
	aml_qword_field(a, "MR64", RES_LENGTH, "LENQ");
	aml_op(a, AML_STORE);
	aml_path(a, "MHBA");
	aml_path(a, "MINQ");
	aml_op(a, AML_STORE);
	aml_path(a, "MHLE");
	aml_path(a, "LENQ");
	aml_op(a, AML_ADD);
	aml_path(a, "MINQ");
	aml_path(a, "LENQ");
	aml_local(a, 0);
	aml_op(a, AML_SUBTRACT);
	aml_local(a, 0);
	aml_int(a, 1);
	aml_path(a, "MAXQ");
	aml_release(a, names.lock);
	aml_op(a, AML_RETURN);
	aml_path(a, "MR64");
	aml_end(a);
}

static void put_slot(struct aml *a, uint32_t slot)
{
	char name[5];

	slot_name(name, slot);
	aml_device(a, name);
	aml_name(a, "_HID");
	aml_eisa(a, "PNP0C80");
	aml_name(a, "_UID");
	aml_int(a, slot);
	hp_forward(a, "_STA", names.sta, slot);
	hp_forward(a, "_CRS", "MCRS", slot);
	aml_end(a);
}

static int memhp_describe(struct dev *d, struct aml *a)
{
	struct fixed_place at = fixed_place(d, 0);

	if (at.bus != FIXED_MMIO)
		return 0;
	hp_device(a, "MHPC", "Memory Hotplug Controller");
	put_registers(a, at.base);
	hp_sta(a, &names);
	put_crs(a);
	hp_notify(a, &names, MEMHP_SLOTS);
	hp_scan(a, &names, MEMHP_SLOTS);
	for (uint32_t i = 0; i < MEMHP_SLOTS; i++)
		put_slot(a, i);
	aml_end(a);
	return 0;
}

/* --- the class --- */

static int memhp_init(struct dev *d, struct err *e)
{
	(void)e;
	pthread_mutex_init(&memhp_of(d)->lock, NULL);
	return 0;
}

static void memhp_fini(struct dev *d)
{
	pthread_mutex_destroy(&memhp_of(d)->lock);
}

static const struct field state_f[] = {
	S_ARRAY(struct memhp_state, base),   S_ARRAY(struct memhp_state, size),
	S_ARRAY(struct memhp_state, status), S(struct memhp_state, selected),
	S_PAD(struct memhp_state, pad),
};
static const struct desc state_desc = DESC_OF(struct memhp_state, state_f, "MemoryHotplugState");

static const struct field counter_fields[] = {
	S(struct memhp_counters, arrivals, .doc = "times that memory came while the guest ran"),
	S(struct memhp_counters, bytes, .unit = "bytes", .doc = "memory that came so"),
	S(struct memhp_counters, refusals, .doc = "times that the guest wanted to let go of some"),
};
static const struct desc counter_rows =
	DESC_OF(struct memhp_counters, counter_fields, "memhp counters");

static const struct bus_ops ops = { .read = memhp_read, .write = memhp_write };

const struct fixed_class memhp_class = {
	.dev = {
		.name = "memhp",
		.state = &state_desc,
		.size = sizeof(struct memhp),
		.counters = &counter_rows,
		.counters_off = offsetof(struct memhp, n),
		.state_off = offsetof(struct memhp, s),
		.init = memhp_init,
		.fini = memhp_fini,
		.describe = memhp_describe,
		.plug = &fixed_plug,
	},
	.bank = {[0] = {.len = MEMHP_LEN, .ops = &ops}},
};
