/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads and the exit table. See vcpu.h.
 */
#include "vm/vcpu.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/counter.h"
#include "base/desc.h"
#include "base/log.h"

static void on_io(struct vcpu *c, struct hv_exit *x)
{
	counter_add(&c->counts.io, 1);
	for (uint32_t i = 0; i < x->count; i++) {
		uint8_t *p = x->data + (size_t)i * x->size;

		if (x->write)
			bus_write(c->team->pio, x->addr, p, x->size);
		else
			bus_read(c->team->pio, x->addr, p, x->size);
	}
}

static void on_mmio(struct vcpu *c, struct hv_exit *x)
{
	counter_add(&c->counts.mmio, 1);
	if (x->write)
		bus_write(c->team->mmio, x->addr, x->data, x->size);
	else
		bus_read(c->team->mmio, x->addr, x->data, x->size);
}

static void on_eoi(struct vcpu *c, struct hv_exit *x)
{
	counter_add(&c->counts.eoi, 1);
	irq_eoi(c->team->irqs, (uint8_t)x->addr);
}

static void on_halt(struct vcpu *c, struct hv_exit *x)
{
	(void)x;
	counter_add(&c->counts.halt, 1);
}

static void on_interrupt(struct vcpu *c, struct hv_exit *x)
{
	(void)x;
	counter_add(&c->counts.interrupt, 1);
}

static void end(struct vcpu *c, enum vcpu_end how, const char *why)
{
	counter_add(&c->counts.other, 1);
	vcpus_halt(c->team);
	c->team->ended(c->team->arg, how, why);
}

static void on_reset(struct vcpu *c, struct hv_exit *x)
{
	(void)x;
	end(c, VCPU_RESET, NULL);
}

static void on_shutdown(struct vcpu *c, struct hv_exit *x)
{
	(void)x;
	end(c, VCPU_SHUTDOWN, NULL);
}

static void on_crash(struct vcpu *c, struct hv_exit *x)
{
	end(c, VCPU_CRASH, x->why);
}

static void on_fail(struct vcpu *c, struct hv_exit *x)
{
	end(c, VCPU_FAIL, x->why);
}

static void (*const exit_table[])(struct vcpu *c, struct hv_exit *x) = {
	[HV_EXIT_INTR] = on_interrupt,	  [HV_EXIT_IO] = on_io,	      [HV_EXIT_MMIO] = on_mmio,
	[HV_EXIT_EOI] = on_eoi,		  [HV_EXIT_HALT] = on_halt,   [HV_EXIT_RESET] = on_reset,
	[HV_EXIT_SHUTDOWN] = on_shutdown, [HV_EXIT_CRASH] = on_crash, [HV_EXIT_FAIL] = on_fail,
};

static const struct field counts_fields[] = {
	S(struct vcpu_counts, io, .doc = "exits for a port"),
	S(struct vcpu_counts, mmio, .doc = "exits for a memory-mapped register"),
	S(struct vcpu_counts, eoi, .doc = "exits for the end of an interrupt"),
	S(struct vcpu_counts, halt, .doc = "exits because the processor halts"),
	S(struct vcpu_counts, interrupt, .doc = "exits because virga or a signal wanted it"),
	S(struct vcpu_counts, other, .doc = "exits that ended the guest's run"),
};
const struct desc vcpu_counts_desc = DESC_OF(struct vcpu_counts, counts_fields, "vcpu counters");

static void vcpu_main(void *arg)
{
	struct vcpu *c = arg;
	struct err e = { 0 };
	struct hv_exit x;
	char why[ERR_TEXT];

	if (coresched_join(&c->team->cores, &e))
		end(c, VCPU_FAIL, err_line(&e, why, sizeof(why)));
	while (!vcpus_halted(c->team)) {
		hv_vcpu_run(c->hv, &x);
		exit_table[x.kind](c, &x);
	}
}

int vcpu_new(struct vcpu *c, struct hv_vm *vm, struct vcpu_team *team, uint32_t index,
	     uint32_t apic_id, struct err *e)
{
	*c = (struct vcpu){ .team = team, .index = index };
	if (hv_vcpu_new(&c->hv, vm, apic_id, e) < 0)
		return err_in(e, "vCPU %" PRIu32, index);
	return 0;
}

static int pin(struct vcpu *c, const struct cpus_conf *conf, struct err *e)
{
	for (uint32_t i = 0; i < conf->affinity.count; i++) {
		const struct cpu_affinity_conf *a = &conf->affinity.items[i];

		if (a->vcpu == c->index &&
		    thread_pin(&c->thread, a->host_cpus.items, a->host_cpus.count, e))
			return err_in(e, "--cpus affinity");
	}
	return 0;
}

int vcpu_start(struct vcpu *c, const struct cpus_conf *conf, struct err *e)
{
	char name[THREAD_NAME_MAX + 1];

	snprintf(name, sizeof(name), "vcpu%" PRIu32, c->index);
	if (thread_start(&c->thread, name, "vcpu", vcpu_main, c, e) < 0)
		return err_in(e, "vCPU %" PRIu32, c->index);
	c->started = true;
	return pin(c, conf, e);
}

void vcpus_halt(struct vcpu_team *t)
{
	atomic_store_explicit(&t->halted, true, memory_order_release);
}

bool vcpus_halted(const struct vcpu_team *t)
{
	return atomic_load_explicit(&t->halted, memory_order_acquire);
}

void vcpu_kick(struct vcpu *c)
{
	if (!c->started)
		return;
	hv_vcpu_interrupt(c->hv);
	thread_kick(&c->thread);
}

void vcpu_free(struct vcpu *c)
{
	if (c->started)
		thread_join(&c->thread);
	hv_vcpu_free(c->hv);
	*c = (struct vcpu){ 0 };
}
