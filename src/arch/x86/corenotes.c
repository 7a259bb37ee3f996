/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A processor's notes in a core file. "CORE" has what a process would have, for gdb; "QEMU" has the
 * system's registers too, for crash and its like, in a layout that they know by that name. See
 * arch/debug.h. Specification: System V ABI, AMD64 supplement (struct elf_prstatus in
 * sys/procfs.h); the second is QEMU's, version 1.
 */
#include <elf.h>
#include <string.h>

#include "arch/debug.h"
#include "base/bits.h"
#include "base/mem.h"

#define PRSTATUS_SIZE 336
#define PRSTATUS_PID 32
#define PRSTATUS_REGS 112
#define STATE_SIZE 440
#define STATE_VERSION 1
#define NAME_ROOM 8 /* five bytes, rounded up to a multiple of four */

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

struct pen {
	uint8_t *at;
};

static void put32(struct pen *p, uint32_t v)
{
	le32_put(p->at, v);
	p->at += 4;
}

static void put64(struct pen *p, uint64_t v)
{
	le64_put(p->at, v);
	p->at += 8;
}

static void put_head(struct pen *p, const char *name, uint32_t size, uint32_t type)
{
	put32(p, (uint32_t)strlen(name) + 1);
	put32(p, size);
	put32(p, type);
	memcpy(p->at, name, strlen(name));
	p->at += NAME_ROOM;
}

static void put_status(struct pen *p, const struct hv_x86_regs *r, uint32_t index)
{
	static const uint8_t order[] = { 15, 14, 13,  12,  RBP, RBX, 11, 10,
					 9,  8,	 RAX, RCX, RDX, RSI, RDI };
	static const uint8_t data[] = { HV_DS, HV_ES, HV_FS, HV_GS };
	struct pen q = { p->at + PRSTATUS_REGS };

	le32_put(p->at + PRSTATUS_PID, index + 1);
	p->at += PRSTATUS_SIZE;
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		put64(&q, r->gpr[order[i]]);
	put64(&q, UINT64_MAX); /* it is in no system call */
	put64(&q, r->rip);
	put64(&q, r->seg[HV_CS].selector);
	put64(&q, r->rflags);
	put64(&q, r->gpr[RSP]);
	put64(&q, r->seg[HV_SS].selector);
	put64(&q, r->seg[HV_FS].base);
	put64(&q, r->seg[HV_GS].base);
	for (size_t i = 0; i < ARRAY_LEN(data); i++)
		put64(&q, r->seg[data[i]].selector);
}

/* The attributes stand as in the upper half of a descriptor: SDM volume 3 §3.4.5. */
static void put_segment(struct pen *p, const struct hv_segment *s)
{
	put32(p, s->selector);
	put32(p, s->limit);
	put32(p, (uint32_t)(s->type << 8 | s->s << 12 | s->dpl << 13 | s->present << 15 |
			    s->avl << 20 | s->l << 21 | s->db << 22 | s->g << 23));
	put32(p, 0);
	put64(p, s->base);
}

static void put_state(struct pen *p, const struct hv_x86_regs *r)
{
	static const uint8_t order[] = { RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP,
					 8,   9,   10,	11,  12,  13,  14,  15 };
	static const uint8_t segs[] = { HV_CS, HV_DS, HV_ES, HV_FS, HV_GS, HV_SS };
	const struct hv_segment gdt = { .base = r->gdt_base, .limit = r->gdt_limit };
	const struct hv_segment idt = { .base = r->idt_base, .limit = r->idt_limit };

	put32(p, STATE_VERSION);
	put32(p, STATE_SIZE);
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		put64(p, r->gpr[order[i]]);
	put64(p, r->rip);
	put64(p, r->rflags);
	for (size_t i = 0; i < ARRAY_LEN(segs); i++)
		put_segment(p, &r->seg[segs[i]]);
	put_segment(p, &r->ldt);
	put_segment(p, &r->tss);
	put_segment(p, &gdt);
	put_segment(p, &idt);
	put64(p, r->cr0);
	put64(p, 0);
	put64(p, r->cr2);
	put64(p, r->cr3);
	put64(p, r->cr4);
	put64(p, r->kernel_gs_base);
}

uint16_t arch_core_machine(void)
{
	return EM_X86_64;
}

void arch_core_notes(uint8_t out[ARCH_CORE_NOTES], const struct arch_cpu *c, uint32_t index)
{
	struct pen p = { out };

	memset(out, 0, ARCH_CORE_NOTES);
	put_head(&p, "CORE", PRSTATUS_SIZE, NT_PRSTATUS);
	put_status(&p, &c->r, index);
	put_head(&p, "QEMU", STATE_SIZE, 0);
	put_state(&p, &c->r);
}
