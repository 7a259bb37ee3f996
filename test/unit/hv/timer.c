/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is saved of a local APIC's timer that counts down once: one that runs, one that has fired, and
 * one of which nobody can tell. The guest takes no interrupts, so what its timer brought stays to be
 * seen. The code is hv/kvm/timer.c.
 */
#include <signal.h>

#include "base/thread.h"
#include "hv/guest.h"
#include "hv/saved.h"

#define MOVL(reg, value)                                                                           \
	0xc7, 0x05, (reg)&0xff, (reg) >> 8, 0xe0, 0xfe, (value)&0xff, (value) >> 8 & 0xff,         \
		(value) >> 16 & 0xff, (value) >> 24 /* movl $value, 0xfee00000 + reg */
#define IRR 0x200
#define LVT_TIMER 0x320
#define INITIAL_COUNT 0x380
#define CURRENT_COUNT 0x390
#define VECTOR 0x60
#define SOON 1000000 /* ns of KVM's clock */
#define NOT_YET 2000000000

/* Runs its timer, and says when that was begun and when it has given it another vector. */
#define CODE_OF(count)                                                                             \
	{                                                                                          \
		MOVL(0xf0, 0x1ff), MOVL(0x3e0, 0xb), MOVL(LVT_TIMER, VECTOR),                      \
			MOVL(INITIAL_COUNT, count), 0xe6, 0x80, MOVL(LVT_TIMER, VECTOR + 1), 0xe6, \
			0x81, 0xeb, 0xfe                                                           \
	}

static uint32_t saved(struct guest *g, uint32_t reg)
{
	struct hv_x86_saved s;
	struct err e = { 0 };

	ok(hv_vcpu_save(g->cpu, &s, &e), &e);
	free(s.xsave.items);
	free(s.msrs.items);
	assert_int_equal(s.run, HV_RUN_ON);
	return le32_get(s.lapic + reg);
}

/* As a vCPU's thread does that is to stand. */
static void settle(struct guest *g)
{
	hv_vcpu_interrupt(g->cpu);
	hv_vcpu_run(g->cpu, &g->x);
	assert_int_equal(g->x.kind, HV_EXIT_INTR);
	hv_vcpu_settle(g->cpu, &g->x);
	assert_int_equal(g->x.kind, HV_EXIT_INTR);
	hv_vcpu_clear_interrupt(g->cpu);
}

static bool is_requested(struct guest *g)
{
	return saved(g, IRR + VECTOR / 32 * 16) >> VECTOR % 32 & 1;
}

TEST(a_timer_that_runs_is_saved_as_it_is)
{
	static const uint8_t code[] = CODE_OF(NOT_YET);
	struct guest g;

	start(&g, code, sizeof code);
	expect_port(&g, true, 0x80, 1, 1);
	settle(&g);
	assert_int_equal(saved(&g, INITIAL_COUNT), NOT_YET);
	assert_in_range(saved(&g, CURRENT_COUNT), 1, NOT_YET);
	assert_false(is_requested(&g));
	end(&g);
}

TEST(a_timer_that_ran_out_is_saved_as_one_that_stopped_once_its_interrupt_has_come)
{
	static const uint8_t code[] = CODE_OF(SOON);
	struct guest g;

	start(&g, code, sizeof code);
	expect_port(&g, true, 0x80, 1, 1);
	usleep(20000);
	/* the interrupt is inside KVM, and comes when the timer is put back as it is */
	assert_int_equal(saved(&g, CURRENT_COUNT), 0);
	assert_int_equal(saved(&g, INITIAL_COUNT), SOON);
	assert_false(is_requested(&g));
	settle(&g);
	assert_true(is_requested(&g));
	assert_int_equal(saved(&g, INITIAL_COUNT), 0);

	/* now the registers do not show that there was one */
	expect_port(&g, true, 0x81, 1, 1);
	assert_int_equal(saved(&g, INITIAL_COUNT), SOON);
	settle(&g);
	assert_int_equal(saved(&g, INITIAL_COUNT), 0);
	assert_true(is_requested(&g));
	end(&g);
}

TEST(a_timer_that_ran_out_and_was_saved_so_brings_nothing_more)
{
	static const uint8_t code[] = CODE_OF(SOON);
	struct hv_x86_saved s;
	struct err e = { 0 };
	struct guest g, other;

	start(&g, code, sizeof code);
	expect_port(&g, true, 0x80, 1, 1);
	usleep(20000);
	settle(&g);
	expect_port(&g, true, 0x81, 1, 1);
	settle(&g);
	ok(hv_vcpu_save(g.cpu, &s, &e), &e);
	/* as if the guest had taken it */
	le32_put(s.lapic + IRR + VECTOR / 32 * 16, 0);
	start(&other, code, sizeof code);
	ok(hv_vcpu_load(other.cpu, &s, &e), &e);
	free(s.xsave.items);
	free(s.msrs.items);
	usleep(20000);
	settle(&other);
	assert_int_equal(saved(&other, IRR + VECTOR / 32 * 16), 0);
	end(&other);
	end(&g);
}

static void kicked(int sig __attribute__((unused)))
{
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_timer_that_runs_is_saved_as_it_is),
		T(a_timer_that_ran_out_is_saved_as_one_that_stopped_once_its_interrupt_has_come),
		T(a_timer_that_ran_out_and_was_saved_so_brings_nothing_more),
	};

	signal(thread_kick_signal(), kicked); /* as every thread of ours has it */
	return cmocka_run_group_tests(t, NULL, NULL);
}
