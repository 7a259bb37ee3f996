/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam to the architecture for those who look at a stopped guest: debuggers and core files. A
 * processor's registers as numbered ones, virtual addresses to physical ones, notes of a core file.
 * One implementation is chosen at build (arch/x86). Which thread: who holds the vCPU, which is
 * parked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "hv/hv.h"
#include "mem/gmem.h"

/* A processor at rest. */
struct arch_cpu {
	struct hv_x86_regs r;
	struct hv_x86_fpu f;
};
MUST int arch_cpu_get(struct arch_cpu *c, struct hv_vcpu *v, struct err *e);
MUST int arch_cpu_put(struct hv_vcpu *v, const struct arch_cpu *c, struct err *e);
/* Address of its next instruction. */
uint64_t arch_cpu_pc(const struct arch_cpu *c);
void arch_cpu_set_pc(struct arch_cpu *c, uint64_t pc);

/* Registers as gdb numbers them: by their order in the description, an XML text that the caller
 * frees. */
char *arch_gdb_description(void);
unsigned int arch_gdb_registers(void);
#define ARCH_GDB_REGISTER_MAX 16
/* Bytes of register n in the target's order; returns how many there are: 0 when there is none of
 * that number. */
size_t arch_gdb_get(const struct arch_cpu *c, unsigned int n, uint8_t out[ARCH_GDB_REGISTER_MAX]);
/* False when there is none of that number, or of another size. */
bool arch_gdb_put(struct arch_cpu *c, unsigned int n, const uint8_t *bytes, size_t len);

/* The instruction that stops a processor. */
#define ARCH_BREAK_MAX 4
extern const uint8_t arch_break[];
extern const size_t arch_break_len;

/* Walks the page tables that c uses: the physical address of va, and how many bytes from there on
 * are in the same page. -1 when nothing is mapped there. The guest's tables are foreign: the walk
 * has as many steps as there are levels. */
MUST int arch_translate(gpa_t *out, uint64_t *run, const struct arch_cpu *c, const struct gmem *m,
			uint64_t va);

/* What a core file calls this machine (e_machine), and its notes on one processor, of which
 * ARCH_CORE_NOTES bytes are written: "CORE" as of a process, "QEMU" with all registers. */
#define ARCH_CORE_NOTES (12 + 8 + 336 + 12 + 8 + 440)
uint16_t arch_core_machine(void);
void arch_core_notes(uint8_t out[ARCH_CORE_NOTES], const struct arch_cpu *c, uint32_t index);
