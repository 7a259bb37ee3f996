/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Task state segments and interrupt gates. CPU 0 gets here already in ring 3 with its TSS loaded
 * and both tables still empty: nothing can arrive before, because interrupts are off.
 * Specification: Intel SDM volume 3, chapters 6 and 8.
 */
#include "guest.h"

/*
 * One TSS for each CPU, then one I/O permission bitmap that all of them reach. Ports are opened
 * by the bitmap, all zero, because some hosts lose IOPL between ring 0 and ring 3.
 */
struct tss {
	uint32_t rsv0;
	uint32_t rsp0[2], rsp1[2], rsp2[2];
	uint32_t ist[16];
	uint32_t rsv1[2];
	uint16_t rsv2, iomap;
	uint8_t fill[24];
};
_Static_assert(sizeof(struct tss) == 128, "guest.lds and desc_cpu rely on it");

_Static_assert(CPUS_MAX * 128 + 8192 == 49152, "guest.lds has it as the limit of CPU 0's");

struct tss_block {
	struct tss cpu[CPUS_MAX];
	uint8_t bitmap[8192 + 8];
};

struct gate {
	uint16_t lo, selector;
	uint8_t ist, type;
	uint16_t mid;
	uint32_t hi, rsv;
};

struct tss_block tss __attribute__((aligned(4096)));
struct gate idt[256] __attribute__((aligned(16)));
volatile uint32_t irq_counts[256];
extern uint64_t gdt[];
extern uint8_t stacks[], exc_stubs[], irq_stubs[];
extern kfn isr_gp, isr_call, isr_spurious;

static void gate_set(uint32_t vector, const void *fn, uint32_t dpl)
{
	uint64_t a = (uint64_t)fn;

	idt[vector].lo = (uint16_t)a;
	idt[vector].mid = (uint16_t)(a >> 16);
	idt[vector].hi = (uint32_t)(a >> 32);
	idt[vector].selector = SEL_KCODE;
	idt[vector].type = (uint8_t)(0x8e | dpl << 5);
}

void desc_cpu(uint32_t cpu)
{
	struct tss *t = &tss.cpu[cpu];
	uint64_t base = (uint64_t)t, limit = (uint64_t)&tss.bitmap[8192] - base;

	t->rsp0[0] = (uint32_t)((uint64_t)stacks + ((uint64_t)cpu << STACK_SHIFT) +
				(1u << STACK_SHIFT) / 4);
	t->iomap = (uint16_t)((uint64_t)tss.bitmap - base);
	if (cpu) {
		gdt[SEL_TSS / 8 + 2 * cpu] =
			limit | (base & 0xffffff) << 16 | 0x89ul << 40 | (base >> 24 & 0xff) << 56;
		return;
	}
	for (uint32_t i = 0; i < 32; i++)
		gate_set(i, exc_stubs + 16 * i, 0);
	for (uint32_t i = 32; i < 256; i++)
		gate_set(i, irq_stubs + 16 * (i - 32), 0);
	gate_set(13, (const void *)(uintptr_t)isr_gp, 0);
	gate_set(3, (const void *)(uintptr_t)isr_call, 3);
	gate_set(255, (const void *)(uintptr_t)isr_spurious, 0);
}
