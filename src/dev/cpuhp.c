/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four flags for each processor, and one that is selected. One lock, which is held while the board
 * is told of one that leaves: so who finds that it is gone need not wait for who tells. See cpuhp.h.
 */
#include "dev/cpuhp.h"

#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/mem.h"
#include "dev/ged.h"
#include "dev/hp.h"
#include "fw/acpi.h"

#define REG_SELECT 0
#define REG_STATUS 4

struct cpuhp_cpu {
	uint8_t status; /* HP_THERE, HP_COMING, HP_GOING */
	uint8_t asked;	/* 1 = it is to go and has not gone */
};

struct cpuhp_state {
	LIST(struct cpuhp_cpu) cpus;
	uint32_t selected;
	uint32_t pad;
};

/* What has passed so far. */
struct cpuhp_counters {
	uint64_t arrivals, requests, ejects, refusals;
};

struct cpuhp {
	struct dev dev;
	pthread_mutex_t lock;
	struct cpuhp_state s;
	struct cpuhp_counters n;
};

static struct cpuhp *cpuhp_of(const struct dev *d)
{
	return container_of(d, struct cpuhp, dev);
}

/* Lock held. NULL when the guest has selected one that there can not be. */
static struct cpuhp_cpu *selected(struct cpuhp *p)
{
	return p->s.selected < p->s.cpus.count ? &p->s.cpus.items[p->s.selected] : NULL;
}

static void cpuhp_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	struct cpuhp *p = cpuhp_of(arg);
	const struct cpuhp_cpu *c;

	memset(data, 0, len);
	pthread_mutex_lock(&p->lock);
	c = selected(p);
	if (off == REG_SELECT && len == 4)
		le32_put(data, p->s.selected);
	else if (off == REG_STATUS && c)
		data[0] = c->status;
	pthread_mutex_unlock(&p->lock);
}

/* Lock held. */
static void eject(struct cpuhp *p, struct cpuhp_cpu *c)
{
	const struct board_up *up = &p->dev.board->up;

	if (!c->asked) {
		counter_add(&p->n.refusals, 1);
		return;
	}
	*c = (struct cpuhp_cpu){ 0 };
	counter_add(&p->n.ejects, 1);
	if (up->cpu_left)
		up->cpu_left(up->arg, p->s.selected);
}

static void cpuhp_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct cpuhp *p = cpuhp_of(arg);
	struct cpuhp_cpu *c;

	pthread_mutex_lock(&p->lock);
	c = selected(p);
	if (off == REG_SELECT && len == 4)
		p->s.selected = le32_get(data);
	if (off == REG_STATUS && c) {
		c->status &= (uint8_t) ~(data[0] & (HP_COMING | HP_GOING));
		if (data[0] & HP_EJECT)
			eject(p, c);
	}
	pthread_mutex_unlock(&p->lock);
}

/* --- for who has the machine --- */

bool cpuhp_is_there(const struct dev *hp, uint32_t cpu)
{
	struct cpuhp *p = cpuhp_of(hp);
	bool is;

	pthread_mutex_lock(&p->lock);
	is = p->s.cpus.items[cpu].status & HP_THERE;
	pthread_mutex_unlock(&p->lock);
	return is;
}

bool cpuhp_is_pending(const struct dev *hp)
{
	struct cpuhp *p = cpuhp_of(hp);
	bool any = false;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->s.cpus.count && !any; i++)
		any = p->s.cpus.items[i].asked;
	pthread_mutex_unlock(&p->lock);
	return any;
}

void cpuhp_come(struct dev *hp, uint32_t cpu)
{
	struct cpuhp *p = cpuhp_of(hp);

	pthread_mutex_lock(&p->lock);
	p->s.cpus.items[cpu].status |= HP_THERE | HP_COMING;
	counter_add(&p->n.arrivals, 1);
	pthread_mutex_unlock(&p->lock);
}

void cpuhp_ask(struct dev *hp, uint32_t cpu)
{
	struct cpuhp *p = cpuhp_of(hp);

	pthread_mutex_lock(&p->lock);
	p->s.cpus.items[cpu].asked = 1;
	counter_add(&p->n.requests, 1);
	pthread_mutex_unlock(&p->lock);
}

void cpuhp_tell(struct dev *hp)
{
	struct cpuhp *p = cpuhp_of(hp);

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->s.cpus.count; i++)
		if (p->s.cpus.items[i].asked)
			p->s.cpus.items[i].status |= HP_GOING;
	pthread_mutex_unlock(&p->lock);
	ged_tell(hp->board, GED_CPU);
}

/* --- what the guest is told of it --- */

static int cpuhp_describe(struct dev *d, struct aml *a)
{
	struct fixed_place at = fixed_place(d, 0);

	if (at.bus != FIXED_MMIO)
		return 0;
	hp_device(a, "PRES", "CPU Hotplug Controller");
	aml_mutex(a, "CPLK");
	hp_registers(a, "PRST", at.base, CPUHP_LEN);
	aml_fields(a, "PRST", 1);
	aml_unit(a, NULL, 32);
	aml_unit(a, "CPEN", 1);
	aml_unit(a, "CINS", 1);
	aml_unit(a, "CRMV", 1);
	aml_unit(a, "CEJ0", 1);
	aml_unit(a, NULL, 4);
	aml_unit(a, "CCMD", 8);
	aml_end(a);
	aml_fields(a, "PRST", 4);
	aml_unit(a, "CSEL", 32);
	aml_unit(a, NULL, 32);
	aml_unit(a, "CDAT", 32);
	aml_end(a);
	aml_end(a);
	return 0;
}

static const struct hp_names names = {
	.lock = "\\_SB_.PRES.CPLK",
	.select = "\\_SB_.PRES.CSEL",
	.there = "\\_SB_.PRES.CPEN",
	.coming = "\\_SB_.PRES.CINS",
	.going = "\\_SB_.PRES.CRMV",
	.sta = "CSTA",
	.notify = "CTFY",
	.scan = "CSCN",
	.path = aml_processor_path,
};

/* CEJ0 (cpu): lets go of one. */
static void put_eject(struct aml *a)
{
	aml_method(a, "CEJ0", 1, true);
	hp_select(a, &names);
	aml_op(a, AML_STORE);
	aml_int(a, 1);
	aml_path(a, "\\_SB_.PRES.CEJ0");
	aml_release(a, names.lock);
	aml_end(a);
}

void cpuhp_describe_methods(struct aml *a, uint32_t cpus)
{
	hp_sta(a, &names);
	hp_notify(a, &names, cpus);
	put_eject(a);
	hp_scan(a, &names, cpus);
}

void cpuhp_describe_cpu(struct aml *a, uint32_t cpu)
{
	hp_forward(a, "_STA", names.sta, cpu);
	aml_method(a, "_EJ0", 1, false);
	aml_path(a, "CEJ0");
	aml_int(a, cpu);
	aml_end(a);
}

/* --- the class --- */

static int cpuhp_init(struct dev *d, struct err *e)
{
	const struct cpuhp_conf *c = d->conf;
	struct cpuhp *p = cpuhp_of(d);

	if (!d->restored) {
		p->s.cpus.items = mem_array(c->cpus, sizeof(p->s.cpus.items[0]));
		p->s.cpus.count = c->cpus;
		for (uint32_t i = 0; i < c->boot; i++)
			p->s.cpus.items[i].status = HP_THERE;
	}
	if (p->s.cpus.count != c->cpus)
		return err_set(e, ERR_BAD, "a saved state of %u processors, and there can be %u",
			       p->s.cpus.count, c->cpus);
	for (uint32_t i = 0; i < c->cpus; i++)
		if (p->s.cpus.items[i].asked && !(p->s.cpus.items[i].status & HP_THERE))
			return err_set(
				e, ERR_BAD,
				"processor %u is saved as one that is to go, and is not there", i);
	pthread_mutex_init(&p->lock, NULL);
	return 0;
}

static void cpuhp_fini(struct dev *d)
{
	pthread_mutex_destroy(&cpuhp_of(d)->lock);
}

static const struct field cpu_f[] = {
	S(struct cpuhp_cpu, status, .max = HP_THERE | HP_COMING | HP_GOING),
	S(struct cpuhp_cpu, asked, .max = 1),
};
static const struct desc cpu_desc = DESC_OF(struct cpuhp_cpu, cpu_f, "CpuHotplugCpu");
static const struct field state_f[] = {
	S_LIST(struct cpuhp_state, cpus, &cpu_desc),
	S(struct cpuhp_state, selected),
	S_PAD(struct cpuhp_state, pad),
};
static const struct desc state_desc = DESC_OF(struct cpuhp_state, state_f, "CpuHotplugState");

static const struct field counter_fields[] = {
	S(struct cpuhp_counters, arrivals, .doc = "vCPUs that came while the guest ran"),
	S(struct cpuhp_counters, requests, .doc = "vCPUs that the guest was asked to let go of"),
	S(struct cpuhp_counters, ejects, .doc = "vCPUs that the guest has let go of"),
	S(struct cpuhp_counters, refusals,
	  .doc = "times that the guest wanted to let go of one that nobody had asked for"),
};
static const struct desc counter_rows =
	DESC_OF(struct cpuhp_counters, counter_fields, "cpuhp counters");

static const struct bus_ops ops = { .read = cpuhp_read, .write = cpuhp_write };

const struct fixed_class cpuhp_class = {
	.dev = {
		.name = "cpuhp",
		.state = &state_desc,
		.size = sizeof(struct cpuhp),
		.counters = &counter_rows,
		.counters_off = offsetof(struct cpuhp, n),
		.state_off = offsetof(struct cpuhp, s),
		.init = cpuhp_init,
		.fini = cpuhp_fini,
		.describe = cpuhp_describe,
		.plug = &fixed_plug,
	},
	.bank = {[0] = {.len = CPUHP_LEN, .ops = &ops}},
};
