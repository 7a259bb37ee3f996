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
#include "fw/acpi.h"

#define REG_SELECT 0
#define REG_STATUS 4
#define THERE (1u << 0)
#define COMING (1u << 1)
#define GOING (1u << 2)
#define EJECT (1u << 3)

#define ACPI_SPACE_MEMORY 0
#define NOTIFY_DEVICE_CHECK 1
#define NOTIFY_EJECT 3
#define STA_ALL 0xf

struct cpuhp_cpu {
	uint8_t status; /* THERE, COMING, GOING */
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
		c->status &= (uint8_t) ~(data[0] & (COMING | GOING));
		if (data[0] & EJECT)
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
	is = p->s.cpus.items[cpu].status & THERE;
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
	p->s.cpus.items[cpu].status |= THERE | COMING;
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
	struct dev *ged = dev_find(hp->board, GED_ID);
	struct cpuhp *p = cpuhp_of(hp);

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->s.cpus.count; i++)
		if (p->s.cpus.items[i].asked)
			p->s.cpus.items[i].status |= GOING;
	pthread_mutex_unlock(&p->lock);
	if (ged)
		ged_raise(ged, GED_CPU);
}

/* --- what the guest is told of it --- */

static int cpuhp_describe(struct dev *d, struct aml *a)
{
	struct fixed_place at = fixed_place(d, 0);

	if (at.bus != FIXED_MMIO)
		return 0;
	aml_device(a, "PRES");
	aml_name(a, "_HID");
	aml_eisa(a, "PNP0A06");
	aml_name(a, "_UID");
	aml_str(a, "CPU Hotplug Controller");
	aml_mutex(a, "CPLK");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_memory64(a, at.base, CPUHP_LEN);
	aml_end(a);
	aml_region(a, "PRST", ACPI_SPACE_MEMORY, at.base, CPUHP_LEN);
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

/* Takes the mutex and selects Arg0; the caller gives it back. */
static void put_select(struct aml *a)
{
	aml_acquire(a, "\\_SB_.PRES.CPLK");
	aml_store(a);
	aml_arg(a, 0);
	aml_path(a, "\\_SB_.PRES.CSEL");
}

/* CSTA (cpu): what _STA says of one. */
static void put_sta(struct aml *a)
{
	aml_method(a, "CSTA", 1, true);
	put_select(a);
	aml_store(a);
	aml_int(a, 0);
	aml_local(a, 0);
	aml_if(a);
	aml_equal(a);
	aml_path(a, "\\_SB_.PRES.CPEN");
	aml_int(a, 1);
	aml_store(a);
	aml_int(a, STA_ALL);
	aml_local(a, 0);
	aml_end(a);
	aml_release(a, "\\_SB_.PRES.CPLK");
	aml_return(a);
	aml_local(a, 0);
	aml_end(a);
}

/* CTFY (cpu, code): notifies one. */
static void put_notify(struct aml *a, uint32_t cpus)
{
	aml_method(a, "CTFY", 2, true);
	for (uint32_t i = 0; i < cpus; i++) {
		aml_if(a);
		aml_equal(a);
		aml_arg(a, 0);
		aml_int(a, i);
		aml_notify(a);
		aml_processor_path(a, i);
		aml_arg(a, 1);
		aml_end(a);
	}
	aml_end(a);
}

/* CEJ0 (cpu): lets go of one. */
static void put_eject(struct aml *a)
{
	aml_method(a, "CEJ0", 1, true);
	put_select(a);
	aml_store(a);
	aml_int(a, 1);
	aml_path(a, "\\_SB_.PRES.CEJ0");
	aml_release(a, "\\_SB_.PRES.CPLK");
	aml_end(a);
}

/* If the flag is set for the processor Local0: tells of it, and acknowledges. */
static void put_look(struct aml *a, const char *flag, uint8_t code)
{
	aml_if(a);
	aml_equal(a);
	aml_path(a, flag);
	aml_int(a, 1);
	aml_path(a, "CTFY");
	aml_local(a, 0);
	aml_int(a, code);
	aml_store(a);
	aml_int(a, 1);
	aml_path(a, flag);
	aml_end(a);
}

/* CSCN: looks at all. */
static void put_scan(struct aml *a, uint32_t cpus)
{
	aml_method(a, "CSCN", 0, true);
	aml_acquire(a, "\\_SB_.PRES.CPLK");
	aml_store(a);
	aml_int(a, 0);
	aml_local(a, 0);
	aml_while(a);
	aml_less(a);
	aml_local(a, 0);
	aml_int(a, cpus);
	aml_store(a);
	aml_local(a, 0);
	aml_path(a, "\\_SB_.PRES.CSEL");
	put_look(a, "\\_SB_.PRES.CINS", NOTIFY_DEVICE_CHECK);
	put_look(a, "\\_SB_.PRES.CRMV", NOTIFY_EJECT);
	aml_add(a);
	aml_local(a, 0);
	aml_int(a, 1);
	aml_local(a, 0);
	aml_end(a);
	aml_release(a, "\\_SB_.PRES.CPLK");
	aml_end(a);
}

void cpuhp_describe_methods(struct aml *a, uint32_t cpus)
{
	put_sta(a);
	put_notify(a, cpus);
	put_eject(a);
	put_scan(a, cpus);
}

void cpuhp_describe_cpu(struct aml *a, uint32_t cpu)
{
	aml_method(a, "_STA", 0, false);
	aml_return(a);
	aml_path(a, "CSTA");
	aml_int(a, cpu);
	aml_end(a);
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
			p->s.cpus.items[i].status = THERE;
	}
	if (p->s.cpus.count != c->cpus)
		return err_set(e, ERR_BAD, "a saved state of %u processors, and there can be %u",
			       p->s.cpus.count, c->cpus);
	pthread_mutex_init(&p->lock, NULL);
	return 0;
}

static void cpuhp_fini(struct dev *d)
{
	pthread_mutex_destroy(&cpuhp_of(d)->lock);
}

static const struct field cpu_f[] = {
	S(struct cpuhp_cpu, status, .max = THERE | COMING | GOING),
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
