/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads and the exit table. See vcpu.h.
 */
#include "vm/vcpu.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/counter.h"
#include "base/desc.h"
#include "base/event.h"
#include "base/futex.h"
#include "base/log.h"
#include "base/loop.h"

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
	log_info("vCPU %u met a triple fault, or asked for a reset", c->index);
	end(c, VCPU_RESET, NULL);
}

static void on_shutdown(struct vcpu *c, struct hv_exit *x)
{
	(void)x;
	end(c, VCPU_SHUTDOWN, NULL);
}

static void on_crash(struct vcpu *c, struct hv_exit *x)
{
	event_with("guest", "failed", "reason", x->why);
	end(c, VCPU_CRASH, x->why);
}

static void on_fail(struct vcpu *c, struct hv_exit *x)
{
	event_with("guest", "failed", "reason", x->why);
	end(c, VCPU_FAIL, x->why);
}

/* The first reason stays: what an access that is brought to its end meets comes on top. */
static void on_debug(struct vcpu *c, struct hv_exit *x)
{
	counter_add(&c->counts.debug, 1);
	if (c->stopped)
		return;
	c->stop = (struct vcpu_stop){ .cause = x->cause, .point = x->point, .addr = x->addr };
	c->stopped = true;
	vcpu_hold(c);
	c->team->stopped(c->team->arg);
}

static void (*const exit_table[])(struct vcpu *c, struct hv_exit *x) = {
	[HV_EXIT_INTR] = on_interrupt,	  [HV_EXIT_IO] = on_io,	      [HV_EXIT_MMIO] = on_mmio,
	[HV_EXIT_EOI] = on_eoi,		  [HV_EXIT_HALT] = on_halt,   [HV_EXIT_RESET] = on_reset,
	[HV_EXIT_SHUTDOWN] = on_shutdown, [HV_EXIT_CRASH] = on_crash, [HV_EXIT_FAIL] = on_fail,
	[HV_EXIT_DEBUG] = on_debug,
};

static const struct field counts_fields[] = {
	S(struct vcpu_counts, io, .doc = "exits for a port"),
	S(struct vcpu_counts, mmio, .doc = "exits for a memory-mapped register"),
	S(struct vcpu_counts, eoi, .doc = "exits for the end of an interrupt"),
	S(struct vcpu_counts, halt, .doc = "exits because the processor halts"),
	S(struct vcpu_counts, interrupt, .doc = "exits because virga or a signal wanted it"),
	S(struct vcpu_counts, debug, .doc = "exits that a debugger asked for"),
	S(struct vcpu_counts, other, .doc = "exits that ended the guest's run"),
};
const struct desc vcpu_counts_desc = DESC_OF(struct vcpu_counts, counts_fields, "vcpu counters");

static enum hv_exit_kind run_by(struct vcpu *c, void (*how)(struct hv_vcpu *, struct hv_exit *))
{
	struct hv_exit x;

	how(c->hv, &x);
	exit_table[x.kind](c, &x);
	return x.kind;
}

static enum hv_exit_kind run(struct vcpu *c)
{
	return run_by(c, hv_vcpu_run);
}

/* --- standing still --- */

static bool is_held(const struct vcpu *c)
{
	return atomic_load(&c->still) >= VCPU_HOLD;
}

/* The hypervisor completes an access when the vCPU enters the guest again, and some take several
 * exits; interrupted, it comes back before the first instruction. One whose last exit was an
 * interruption has nothing left to complete. */
static void settle(struct vcpu *c, enum hv_exit_kind last)
{
	hv_vcpu_interrupt(c->hv);
	do {
		while (last != HV_EXIT_INTR && !vcpus_halted(c->team))
			last = run(c);
		if (!vcpus_halted(c->team))
			last = run_by(c, hv_vcpu_settle);
	} while (last != HV_EXIT_INTR && !vcpus_halted(c->team));
}

static bool leaves(const struct vcpu *c)
{
	return atomic_load(&c->still) & VCPU_LEAVES;
}

/* Stands while somebody holds it. A hold that comes after the last look here finds the interruption
 * cleared already, and the caller looks again before the guest is entered. */
static void stand(struct vcpu *c)
{
	uint32_t w = VCPU_STANDS;

	while (!atomic_compare_exchange_weak(&c->still, &w, 0)) {
		if (w & VCPU_LEAVES)
			break;
		if (w >= VCPU_HOLD)
			futex_wait(&c->still, w, 0);
		w = VCPU_STANDS;
	}
	hv_vcpu_clear_interrupt(c->hv);
}

/* Tells those who wait. */
static void come_to_stand(struct vcpu *c)
{
	atomic_fetch_or(&c->still, VCPU_STANDS);
	futex_wake(&c->still);
}

void vcpu_hold(struct vcpu *c)
{
	uint32_t before = atomic_fetch_add(&c->still, VCPU_HOLD);

	/* one that stands looks at the holds before it goes */
	if (before & VCPU_STANDS)
		return;
	hv_vcpu_interrupt(c->hv);
	thread_kick(&c->thread);
}

void vcpu_release(struct vcpu *c)
{
	if (atomic_fetch_sub(&c->still, VCPU_HOLD) < 2 * VCPU_HOLD)
		futex_wake(&c->still);
}

bool vcpu_stands(const struct vcpu *c)
{
	return atomic_load(&c->still) & VCPU_STANDS;
}

int vcpu_wait(struct vcpu *c, uint64_t until_ns, struct err *e)
{
	for (;;) {
		uint32_t w = atomic_load(&c->still);
		uint64_t now;

		if (w & VCPU_STANDS)
			return 0;
		now = loop_now_ns();
		if (now >= until_ns)
			return err_set(e, ERR_IO, "vCPU %" PRIu32 " does not come to a halt",
				       c->index);
		futex_wait(&c->still, w, until_ns - now);
	}
}

/* --- the thread --- */

static void vcpu_main(void *arg)
{
	enum hv_exit_kind last = HV_EXIT_INTR; /* it has not run */
	struct vcpu *c = arg;
	struct err e = { 0 };
	char why[ERR_TEXT];

	if (coresched_join(&c->team->cores, &e))
		end(c, VCPU_FAIL, err_line(&e, why, sizeof(why)));
	stand(c);
	while (!vcpus_halted(c->team) && !leaves(c)) {
		if (!is_held(c)) {
			last = run(c);
			continue;
		}
		settle(c, last);
		last = HV_EXIT_INTR;
		come_to_stand(c);
		stand(c);
	}
	/* one that leaves alone may come again, and is to begin with nothing left to do */
	settle(c, last);
	come_to_stand(c);
}

int vcpu_new(struct vcpu *c, struct hv_vm *vm, struct vcpu_team *team, uint32_t index,
	     uint32_t apic_id, struct err *e)
{
	*c = (struct vcpu){ .team = team, .index = index, .still = VCPU_STANDS };
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
	if (c->started)
		vcpu_leave(c);
}

void vcpu_leave(struct vcpu *c)
{
	atomic_fetch_or(&c->still, VCPU_LEAVES);
	futex_wake(&c->still);
	hv_vcpu_interrupt(c->hv);
	thread_kick(&c->thread);
}

void vcpu_gather(struct vcpu *c)
{
	if (!c->started)
		return;
	thread_join(&c->thread);
	c->started = false;
	c->thread = (struct thread){ 0 };
	atomic_fetch_and(&c->still, ~(uint32_t)VCPU_LEAVES);
}

void vcpu_free(struct vcpu *c)
{
	if (c->started)
		thread_join(&c->thread);
	hv_vcpu_free(c->hv);
	*c = (struct vcpu){ 0 };
}
