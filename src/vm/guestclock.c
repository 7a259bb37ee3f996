/* SPDX-License-Identifier: Apache-2.0 */
/* Clock and counter, read and set within less than a millisecond of each other. See guestclock.h. */
#include "vm/guestclock.h"

#include "base/log.h"
#include "base/loop.h"
#include "vm/vcpu.h"

#define TRIES 8
#define SECOND_NS 1000000000ull
#define GUESSED_KHZ 3000000u

struct clocks {
	struct guestclock *at;
	struct hv_vm *vm;
	struct vcpu *cpus;
	uint32_t n;
};

/* Ticks of a millisecond. */
static uint64_t tick_ms(const struct clocks *c)
{
	uint32_t khz = hv_vcpu_tsc_khz(c->cpus[0].hv);

	return khz ? khz : GUESSED_KHZ;
}

static bool read_counter(const struct clocks *c, uint64_t *out)
{
	struct err e = { 0 };

	return hv_vcpu_counter(c->cpus[0].hv, out, &e) == 0;
}

/* False where there is no counter to be read. */
static bool read_both(struct clocks *c)
{
	uint64_t before, ms = tick_ms(c);
	struct err e = { 0 };

	for (int i = 0; i < TRIES; i++) {
		if (!read_counter(c, &before))
			return false;
		c->at->has_clock = hv_clock(c->vm, &c->at->clock_ns, &e) == 0;
		if (!read_counter(c, &c->at->counter))
			return false;
		if (c->at->counter - before < ms)
			break;
	}
	return true;
}

void guestclock_stop(struct guestclock *g, struct hv_vm *vm, struct vcpu *cpus, uint32_t n)
{
	struct clocks c = { .at = g, .vm = vm, .cpus = cpus, .n = n };

	g->has_counter = read_both(&c);
	g->real_ns = loop_real_ns();
}

uint64_t guestclock_pass(struct guestclock *g, struct vcpu *cpus)
{
	uint64_t now = loop_real_ns(), ns = now > g->real_ns ? now - g->real_ns : 0;
	uint64_t khz = hv_vcpu_tsc_khz(cpus[0].hv);

	/* split at seconds, so that no product overflows */
	g->counter += ns / SECOND_NS * khz * 1000 + ns % SECOND_NS * khz / 1000000;
	g->clock_ns += ns;
	g->real_ns = now;
	return ns;
}

/* All counters to where the first one stood. The counters of hosts that cannot do that go on. */
static void set_counters(struct clocks *c)
{
	struct guestclock *g = c->at;
	struct err e = { 0 };
	uint64_t now;

	if (!g->has_counter || !read_counter(c, &now))
		return;
	for (uint32_t i = 0; i < c->n && g->has_counter; i++)
		g->has_counter = hv_vcpu_counter_back(c->cpus[i].hv, now - g->counter, &e) == 0;
}

static void set_clock(const struct clocks *c)
{
	char line[ERR_TEXT];
	struct err e = { 0 };

	if (c->at->has_clock && hv_set_clock(c->vm, c->at->clock_ns, &e) < 0)
		log_warn("the guest's clock has gone on: %s", err_line(&e, line, sizeof(line)));
}

/* Again when we were kept from the processor in between. */
void guestclock_start(struct guestclock *g, struct hv_vm *vm, struct vcpu *cpus, uint32_t n)
{
	struct clocks c = { .at = g, .vm = vm, .cpus = cpus, .n = n };
	uint64_t now, ms = tick_ms(&c);

	for (int i = 0; i < TRIES; i++) {
		set_counters(&c);
		set_clock(&c);
		if (!g->has_counter || !read_counter(&c, &now) || now - g->counter < ms)
			break;
	}
	/* now and not when they stop: what goes on may be another machine */
	for (uint32_t i = 0; i < n; i++)
		hv_vcpu_paused(cpus[i].hv);
}
