/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A debugger's hands in the machine: it stops vCPUs and lets them go, reads and writes registers and
 * memory by virtual address, and places points. vm/gdb speaks with the person; no protocol is here.
 * Points of software are instructions in the guest's RAM, which readers here do not see, and which
 * are taken back one by one or all when it leaves.
 *
 * Control thread, and only while the control thread has the machine, except where said. A machine
 * that was freed meanwhile is noticed by debugger_sync.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/debug.h"
#include "base/err.h"
#include "hv/hv.h"

struct machine;
struct vm;

#define DEBUGGER_BREAKS_MAX 256

/* An instruction of ours in the guest's memory. */
struct debugger_break {
	uint64_t va;
	gpa_t at;
	uint8_t was[ARCH_BREAK_MAX];
};

/* What a vCPU is to do when the others go. */
enum debugger_way { DEBUGGER_STAY, DEBUGGER_RUN, DEBUGGER_STEP };

struct debugger_cpu {
	bool held;	       /* by us */
	enum debugger_way way; /* as it was last let go */
	struct hv_debug set;   /* what the hypervisor was told */
};

struct debugger {
	struct vm *vm;		 /* of the machine that we know; NULL without */
	struct machine *machine; /* the same */
	uint64_t boot;		 /* its number */
	uint32_t cpus;
	struct debugger_cpu *cpu;
	struct hv_debug points; /* those of the processor, for all vCPUs */
	unsigned int breaks;
	struct debugger_break brk[DEBUGGER_BREAKS_MAX];
	struct arch_cpu regs; /* of vCPU regs_of, if has_regs */
	uint32_t regs_of;
	bool has_regs;
};

/* Why the machine stopped, for vCPU cpu. */
struct debugger_stop {
	uint32_t cpu;
	enum hv_debug_cause cause; /* STEP, BREAK, or POINT */
	enum hv_point_kind kind;   /* of a point */
	uint64_t addr;		   /* of a point */
};

/* Looks which machine there is (vm may be NULL: none): true when it is not the one that we knew, and
 * what was known of that is forgotten. */
bool debugger_sync(struct debugger *d, struct vm *vm);
/* Forgets the machine, and touches nothing. */
void debugger_forget(struct debugger *d);
/* Lets go of everything: points are taken back, vCPUs run. */
void debugger_leave(struct debugger *d);

/* Stops all vCPUs. A vCPU that does not come to stand within a second is an error, and is held all
 * the same. */
MUST int debugger_stop(struct debugger *d, struct err *e);
/* After debugger_stop: has a vCPU stopped by itself, and why? What was the guest's own doing it gets,
 * and is no reason. */
bool debugger_why(struct debugger *d, struct debugger_stop *s);
/* All go on as they were let go the last time. */
void debugger_go_on(struct debugger *d);
/* Lets vCPUs go, those that are not to stay. */
MUST int debugger_go(struct debugger *d, const enum debugger_way *way, struct err *e);

/* Registers of a vCPU: borrowed until the next call; to be changed, then put back. */
MUST int debugger_regs(struct debugger *d, uint32_t cpu, struct arch_cpu **out, struct err *e);
MUST int debugger_put_regs(struct debugger *d, struct err *e);
/* As vCPU cpu sees memory. Returns the bytes that could be read: less where the rest is not mapped
 * or no RAM. */
size_t debugger_read(struct debugger *d, uint32_t cpu, uint64_t va, uint8_t *to, size_t len);
/* All or an error; what could be written before it is. */
MUST int debugger_write(struct debugger *d, uint32_t cpu, uint64_t va, const uint8_t *from,
			size_t len, struct err *e);

/* Adding what is there, and dropping what is not, is fine. */
MUST int debugger_break_add(struct debugger *d, uint32_t cpu, uint64_t va, struct err *e);
void debugger_break_drop(struct debugger *d, uint64_t va);
MUST int debugger_point_add(struct debugger *d, const struct hv_point *p, struct err *e);
void debugger_point_drop(struct debugger *d, const struct hv_point *p);
