/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest of a few instructions on the machine's own /dev/kvm, for tests of back ends: one vCPU,
 * 1 MiB of RAM, and steps from exit to exit. Without /dev/kvm such tests cannot be made and say so.
 */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "hv/hv.h"
#include "test.h"

#define RAM MIB(1)
#define CODE 0x1000

struct guest {
	struct hv *h;
	struct hv_vm *vm;
	struct hv_vcpu *cpu;
	uint8_t *ram;
	struct hv_exit x;
};

static inline void ok(int r, struct err *e)
{
	char line[400];

	if (r)
		fail_msg("%s", err_line(e, line, sizeof line));
}

/* A VM with one vCPU that starts in flat 32-bit protected mode at the code given. */
static inline void start(struct guest *g, const void *code, size_t n)
{
	const struct hv_vm_args a = {
		.tss_addr = 0xf8000000,
		.identity_map_addr = 0xf8003000,
		.ioapic_pins = 24,
	};
	const struct hv_x86_start s = {
		.rip = CODE,
		.rsp = 0x8000,
		.rflags = 2,
		.cr0 = 0x11,
		.cs = { .limit = 0xffffffff,
			.selector = 0x10,
			.type = 11,
			.present = 1,
			.db = 1,
			.s = 1,
			.g = 1 },
		.ds = { .limit = 0xffffffff,
			.selector = 0x18,
			.type = 3,
			.present = 1,
			.db = 1,
			.s = 1,
			.g = 1 },
		.tss = { .limit = 0x67, .selector = 8, .type = 11, .present = 1 },
	};
	struct hv_cpuid *cpuid;
	struct err e = { 0 };
	uint32_t count;

	memset(g, 0, sizeof *g);
	if (access("/dev/kvm", R_OK | W_OK)) {
		print_message("no right to /dev/kvm, or none there\n");
		skip();
	}
	ok(hv_open(&g->h, &e), &e);
	ok(hv_vm_new(&g->vm, g->h, &a, &e), &e);
	g->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(g->ram, MAP_FAILED);
	memcpy(g->ram + CODE, code, n);
	uint32_t slot;

	ok(hv_slot_add(g->vm, &slot, 0, RAM, (uintptr_t)g->ram, false, &e), &e);
	ok(hv_vcpu_new(&g->cpu, g->vm, 0, &e), &e);
	ok(hv_supported_cpuid(g->h, &cpuid, &count, &e), &e);
	ok(hv_vcpu_cpuid(g->cpu, cpuid, count, &e), &e);
	free(cpuid);
	ok(hv_vcpu_lint(g->cpu, &e), &e);
	ok(hv_vcpu_start(g->cpu, &s, &e), &e);
}

/* The same in ring 3 of 64-bit mode, with ports open, which software hypervisors too leave to the
 * processor itself. Page tables are at 0x10000, an IDT there is not. */
static inline void start_user(struct guest *g, const void *code, size_t n)
{
	struct hv_x86_start s = {
		.rip = CODE,
		.rsp = 0x8000,
		.rflags = 0x3002,
		.cr0 = 0x80000033,
		.cr3 = 0x10000,
		.cr4 = 0x620,
		.efer = 0x500,
		.cs = { .limit = 0xffffffff,
			.selector = 0x33,
			.type = 11,
			.present = 1,
			.dpl = 3,
			.s = 1,
			.l = 1,
			.g = 1 },
		.ds = { .limit = 0xffffffff,
			.selector = 0x2b,
			.type = 3,
			.present = 1,
			.dpl = 3,
			.db = 1,
			.s = 1,
			.g = 1 },
		.tss = { .limit = 0x67, .selector = 0x40, .type = 11, .present = 1 },
	};
	struct err e = { 0 };

	start(g, code, n);
	le64_put(g->ram + 0x10000, 0x11067);
	le64_put(g->ram + 0x11000, 0x12067);
	le64_put(g->ram + 0x12000, 0xe7);
	ok(hv_vcpu_start(g->cpu, &s, &e), &e);
}

static inline void end(struct guest *g)
{
	hv_vcpu_free(g->cpu);
	hv_vm_free(g->vm);
	hv_close(g->h);
	munmap(g->ram, RAM);
}

/* Runs to the next exit that is not a mere interruption. */
static inline void run(struct guest *g)
{
	for (int i = 0; i < 100; i++) {
		hv_vcpu_run(g->cpu, &g->x);
		if (g->x.kind != HV_EXIT_INTR)
			return;
	}
	fail_msg("the vCPU does not go on");
}

static inline void expect_port(struct guest *g, bool write, uint16_t port, uint8_t size,
			       uint32_t count)
{
	run(g);
	if (g->x.kind == HV_EXIT_FAIL)
		fail_msg("%s", g->x.why);
	assert_int_equal(g->x.kind, HV_EXIT_IO);
	assert_int_equal(g->x.write, write);
	assert_int_equal(g->x.addr, port);
	assert_int_equal(g->x.size, size);
	assert_int_equal(g->x.count, count);
}
