/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a debugger wants of a vCPU, on the machine's own /dev/kvm: registers are what the guest made
 * them and it finds what was put there; steps, points and breakpoint instructions stop it; what is
 * not the debugger's is passed on to the guest.
 */
#include "base/log.h"
#include "hv/guest.h"
#include "hv/kvm/kvm.h"
#include "test.h"

static const uint8_t adding[] = {
	0xb8, 0x78, 0x56, 0x34, 0x12, /* 1000: mov $0x12345678, %eax */
	0x05, 0x01, 0x00, 0x00, 0x00, /* 1005: add $1, %eax */
	0xa3, 0x00, 0x20, 0x00, 0x00, /* 100a: mov %eax, 0x2000 */
	0xa1, 0x00, 0x20, 0x00, 0x00, /* 100f: mov 0x2000, %eax */
	0xe7, 0x84,		      /* 1014: out %eax, $0x84 */
	0xeb, 0xea,		      /* 1016: jmp 1002 (never) */
};

static void expect_stop(struct guest *g, enum hv_debug_cause cause, uint64_t at)
{
	run(g);
	if (g->x.kind == HV_EXIT_FAIL)
		fail_msg("%s", g->x.why);
	assert_int_equal(g->x.kind, HV_EXIT_DEBUG);
	assert_int_equal(g->x.cause, cause);
	assert_int_equal(g->x.addr, at);
}

TEST(registers_are_what_the_guest_made_them)
{
	struct hv_x86_regs r;
	struct err e = { 0 };
	struct guest g;

	start(&g, adding, sizeof adding);
	expect_port(&g, true, 0x84, 4, 1);
	hv_vcpu_interrupt(g.cpu);
	hv_vcpu_run(g.cpu, &g.x);
	hv_vcpu_clear_interrupt(g.cpu);
	ok(hv_vcpu_get_regs(g.cpu, &r, &e), &e);
	assert_int_equal(r.gpr[0], 0x12345679);
	assert_int_equal(r.gpr[4], 0x8000);
	assert_int_equal(r.rip, CODE + 0x16);
	assert_int_equal(r.cr0, 0x11);
	assert_int_equal(r.seg[HV_CS].selector, 0x10);
	assert_int_equal(r.seg[HV_SS].selector, 0x18);
	assert_int_equal(r.seg[HV_CS].limit, 0xffffffff);
	assert_int_equal(r.tss.selector, 8);
	end(&g);
}

TEST(registers_that_are_set_are_the_guests)
{
	static const uint8_t code[] = {
		0xe6, 0x80, /* out %al, $0x80 */
		0x90, 0x90, /* where it would go on */
		0xe7, 0x84, /* 1004: out %eax, $0x84 */
	};
	struct hv_x86_regs r, again;
	struct err e = { 0 };
	struct guest g;

	start(&g, code, sizeof code);
	ok(hv_vcpu_get_regs(g.cpu, &r, &e), &e);
	r.gpr[0] = 0xcafe;
	r.gpr[3] = 0x1234;
	r.rip = CODE + 4;
	r.seg[HV_FS].base = 0x4000;
	r.cr2 = 0x5000;
	r.kernel_gs_base = 0x6000;
	ok(hv_vcpu_set_regs(g.cpu, &r, &e), &e);
	ok(hv_vcpu_get_regs(g.cpu, &again, &e), &e);
	assert_int_equal(again.seg[HV_FS].base, 0x4000);
	assert_int_equal(again.cr2, 0x5000);
	assert_int_equal(again.kernel_gs_base, 0x6000);
	assert_int_equal(again.gpr[3], 0x1234);
	expect_port(&g, true, 0x84, 4, 1);
	assert_int_equal(le32_get(g.x.data), 0xcafe);
	end(&g);
}

TEST(the_fpu_is_read_as_it_was_set)
{
	struct hv_x86_fpu f, again;
	struct err e = { 0 };
	struct guest g;

	start(&g, adding, sizeof adding);
	ok(hv_vcpu_get_fpu(g.cpu, &f, &e), &e);
	assert_int_equal(f.cw, 0x37f);
	assert_int_equal(f.mxcsr, 0x1f80);
	f.mxcsr = 0x1fc0;
	f.xmm[0][0] = 1;
	f.xmm[15][15] = 2;
	f.st[7][9] = 0x40;
	f.used = 0x80;
	ok(hv_vcpu_set_fpu(g.cpu, &f, &e), &e);
	ok(hv_vcpu_get_fpu(g.cpu, &again, &e), &e);
	assert_int_equal(again.mxcsr, 0x1fc0);
	assert_int_equal(again.xmm[0][0], 1);
	assert_int_equal(again.xmm[15][15], 2);
	assert_int_equal(again.st[7][9], 0x40);
	assert_int_equal(again.used, 0x80);
	end(&g);
}

TEST(a_step_is_one_instruction)
{
	struct hv_debug d = { .step = true };
	struct err e = { 0 };
	struct guest g;

	start(&g, adding, sizeof adding);
	ok(hv_vcpu_debug(g.cpu, &d, &e), &e);
	expect_stop(&g, HV_DEBUG_STEP, CODE + 5);
	expect_stop(&g, HV_DEBUG_STEP, CODE + 0xa);
	expect_stop(&g, HV_DEBUG_STEP, CODE + 0xf);
	ok(hv_vcpu_debug(g.cpu, NULL, &e), &e);
	expect_port(&g, true, 0x84, 4, 1);
	assert_int_equal(le32_get(g.x.data), 0x12345679);
	end(&g);
}

/* An emulated processor may not look at debug registers when it runs a guest of a guest. */
static bool stops_at_point(struct guest *g, uint64_t at)
{
	run(g);
	if (g->x.kind == HV_EXIT_IO || g->x.kind == HV_EXIT_RESET) {
		end(g);
		print_message("this host's KVM does not stop at points\n");
		return false;
	}
	assert_int_equal(g->x.kind, HV_EXIT_DEBUG);
	assert_int_equal(g->x.cause, HV_DEBUG_POINT);
	assert_int_equal(g->x.addr, at);
	return true;
}

TEST(a_point_stops_before_its_instruction)
{
	struct hv_debug d = { .points = 2, .point = { { .addr = 0x3000, .size = 1 } } };
	struct hv_x86_regs r;
	struct err e = { 0 };
	struct guest g;

	d.point[1] = (struct hv_point){ .addr = CODE + 5, .size = 1 };
	start(&g, adding, sizeof adding);
	ok(hv_vcpu_debug(g.cpu, &d, &e), &e);
	if (!stops_at_point(&g, CODE + 5))
		return;
	assert_int_equal(g.x.point, 1);
	ok(hv_vcpu_get_regs(g.cpu, &r, &e), &e);
	assert_int_equal(r.gpr[0], 0x12345678);
	/* it would stop there again: who goes on takes it out for a step */
	ok(hv_vcpu_debug(g.cpu, NULL, &e), &e);
	expect_port(&g, true, 0x84, 4, 1);
	end(&g);
}

/* SDM volume 3 §18.2.4: enable bits in pairs from bit 0, then kind and length from bit 16. */
TEST(points_are_laid_into_the_debug_registers)
{
	struct hv_debug d = {
		.points = 4,
		.point = {
			{ .addr = 0x1005, .kind = HV_POINT_EXECUTE, .size = 1 },
			{ .addr = 0x2000, .kind = HV_POINT_WRITE, .size = 4 },
			{ .addr = 0x2008, .kind = HV_POINT_ACCESS, .size = 8 },
			{ .addr = 0x2002, .kind = HV_POINT_WRITE, .size = 2 },
		},
	};
	const struct kvm_guest_debug *k;
	struct err e = { 0 };
	struct guest g;

	start(&g, adding, sizeof adding);
	ok(hv_vcpu_debug(g.cpu, &d, &e), &e);
	k = &kvm_vcpu_of(g.cpu)->debug;
	assert_int_equal(k->arch.debugreg[7], 0x600 | 0xaa | 0x5bd00000);
	assert_int_equal(k->arch.debugreg[3], 0x2002);
	d.points = 0;
	ok(hv_vcpu_debug(g.cpu, &d, &e), &e);
	assert_int_equal(k->control, 0);
	end(&g);
}

static const uint8_t user[] = {
	0xb8, 0x78, 0x56, 0x34, 0x12,		  /* 1000: mov $0x12345678, %eax */
	0x05, 0x01, 0x00, 0x00, 0x00,		  /* 1005: add $1, %eax */
	0x89, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, /* 100a: mov %eax, 0x2000 */
	0x8b, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, /* 1011: mov 0x2000, %eax */
	0xe7, 0x84,				  /* 1018: out %eax, $0x84 */
	0xcc,					  /* 101a: int3 */
};

/* A hypervisor that interprets ring 0 may give debug exceptions of ring 3, which the processor
 * runs, to the guest. */
static bool ring_3_stops(struct guest *g)
{
	struct hv_debug d = { .step = true };
	struct err e = { 0 };

	start_user(g, user, sizeof user);
	ok(hv_vcpu_debug(g->cpu, &d, &e), &e);
	run(g);
	if (g->x.kind == HV_EXIT_DEBUG)
		return true;
	end(g);
	print_message("this host's KVM does not stop ring 3\n");
	return false;
}

TEST(watchpoints_stop_after_the_access)
{
	struct hv_debug d = {
		.points = 2,
		.point = {
			{ .addr = 0x3000, .kind = HV_POINT_WRITE, .size = 4 },
			{ .addr = 0x2000, .kind = HV_POINT_WRITE, .size = 4 },
		},
	};
	struct err e = { 0 };
	struct guest g;

	if (!ring_3_stops(&g))
		return;
	ok(hv_vcpu_debug(g.cpu, &d, &e), &e);
	if (!stops_at_point(&g, CODE + 0x11))
		return;
	assert_int_equal(g.x.point, 1);
	d.point[0] = (struct hv_point){ .addr = 0x2000, .kind = HV_POINT_ACCESS, .size = 4 };
	d.points = 1;
	ok(hv_vcpu_debug(g.cpu, &d, &e), &e);
	expect_stop(&g, HV_DEBUG_POINT, CODE + 0x18);
	ok(hv_vcpu_debug(g.cpu, NULL, &e), &e);
	expect_port(&g, true, 0x84, 4, 1);
	assert_int_equal(le32_get(g.x.data), 0x12345679);
	end(&g);
}

TEST(a_breakpoint_instruction_stops_and_is_passed_on_when_it_is_the_guests)
{
	struct hv_debug d = { .breaks = true };
	struct err e = { 0 };
	struct guest g;

	if (!ring_3_stops(&g))
		return;
	ok(hv_vcpu_debug(g.cpu, &d, &e), &e);
	expect_port(&g, true, 0x84, 4, 1);
	run(&g);
	if (g.x.kind == HV_EXIT_RESET) {
		end(&g);
		print_message("this host's KVM does not stop at breakpoint instructions\n");
		return;
	}
	assert_int_equal(g.x.kind, HV_EXIT_DEBUG);
	assert_int_equal(g.x.cause, HV_DEBUG_BREAK);
	assert_int_equal(g.x.addr, CODE + 0x1a);
	/* there is nobody in the guest to take it */
	ok(hv_vcpu_debug_pass(g.cpu, HV_DEBUG_BREAK, &e), &e);
	run(&g);
	assert_int_equal(g.x.kind, HV_EXIT_RESET);
	end(&g);
}

TEST(a_step_in_ring_3_is_one_instruction)
{
	struct guest g;

	if (!ring_3_stops(&g))
		return;
	assert_int_equal(g.x.addr, CODE + 5);
	expect_stop(&g, HV_DEBUG_STEP, CODE + 0xa);
	expect_stop(&g, HV_DEBUG_STEP, CODE + 0x11);
	end(&g);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(registers_are_what_the_guest_made_them),
		T(registers_that_are_set_are_the_guests),
		T(the_fpu_is_read_as_it_was_set),
		T(a_step_is_one_instruction),
		T(a_point_stops_before_its_instruction),
		T(points_are_laid_into_the_debug_registers),
		T(watchpoints_stop_after_the_access),
		T(a_breakpoint_instruction_stops_and_is_passed_on_when_it_is_the_guests),
		T(a_step_in_ring_3_is_one_instruction),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
