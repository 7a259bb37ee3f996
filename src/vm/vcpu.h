/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU thread: it runs the guest, and every exit goes through a const table to the buses and the
 * interrupt chip. When a device or the hypervisor says that the machine is to stop, vCPUs leave the
 * guest and end their threads.
 *
 * A vCPU can be held: it leaves the guest, brings the access of its last exit to its end, and stands
 * still until it is released. While it stands, hv_vcpu_* may be called for it by who holds it, and
 * the guest sees nothing of it. Holds are counted, so that a pause, a debugger and a core dump do
 * not undo each other; one vCPU can be let go for a step while the others stand.
 *
 * vcpu_new, vcpu_start, vcpu_wait, vcpu_gather and vcpu_free are for who has the machine;
 * vcpus_halt, vcpu_leave, vcpu_hold, vcpu_release and vcpu_stands for any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/thread.h"
#include "core/dev.h"
#include "hv/hv.h"
#include "vm/coresched.h"

/* Why a vCPU could not go on by itself. */
enum vcpu_end { VCPU_RESET, VCPU_SHUTDOWN, VCPU_CRASH, VCPU_FAIL };

/* What all vCPUs of a machine share. */
struct vcpu_team {
	struct bus *pio, *mmio;
	struct irqs *irqs;
	/* any vCPU's thread; why is a sentence or NULL */
	void (*ended)(void *arg, enum vcpu_end how, const char *why);
	/* any vCPU's thread: it has met what hv_vcpu_debug asked for, and holds itself */
	void (*stopped)(void *arg);
	void *arg;
	_Atomic bool halted;
	struct coresched cores;
};

/* Exits to us by kind, each with a row; what the hypervisor answers by itself is not in them. Written
 * by the vCPU's thread alone, as base/counter.h wants it. */
struct vcpu_counts {
	uint64_t io, mmio, eoi, halt, interrupt, debug, other;
};
extern const struct desc vcpu_counts_desc;

struct vcpu {
	struct hv_vcpu *hv;
	struct vcpu_team *team;
	uint32_t index;
	bool started;
	struct thread thread;
	struct vcpu_counts counts;
	/* for who holds it, once it stands: it holds itself too, for this; who has seen it clears
	 * `stopped` and releases it */
	bool stopped;
	struct vcpu_stop {
		enum hv_debug_cause cause;
		uint8_t point;
		uint64_t addr;
	} stop;
	_Atomic uint32_t still; /* VCPU_STANDS, VCPU_LEAVES, and VCPU_HOLD for each hold */
};
enum { VCPU_STANDS = 1, VCPU_LEAVES = 2, VCPU_HOLD = 4 };

MUST int vcpu_new(struct vcpu *c, struct hv_vm *vm, struct vcpu_team *team, uint32_t index,
		  uint32_t apic_id, struct err *e);
/* Starts the thread `vcpuN`, on the host CPUs that the list has for it; the guest runs from here
 * on. */
MUST int vcpu_start(struct vcpu *c, const struct cpus_conf *conf, struct err *e);

/* Asks it to stand still, and returns. A vCPU that has not been started stands, and will when it is.
 * From its own thread: once its exit has been served. */
void vcpu_hold(struct vcpu *c);
void vcpu_release(struct vcpu *c);
/* For who holds it: has it come to stand? It stays so until released. */
bool vcpu_stands(const struct vcpu *c);
/* For who holds it: waits until it stands, at most until then (CLOCK_MONOTONIC). Not on a vCPU's
 * thread and not on a device's loop: it may be waiting for them. */
MUST int vcpu_wait(struct vcpu *c, uint64_t until_ns, struct err *e);

/* All vCPUs leave the guest after their present exit and enter it no more. */
void vcpus_halt(struct vcpu_team *t);
bool vcpus_halted(const struct vcpu_team *t);
/* Makes a halted vCPU leave the guest now, or wherever it stands; then joins and frees it. */
void vcpu_kick(struct vcpu *c);
/* The same for one alone, from any thread, also its own: it ends at its next look and runs no more.
 * Only a vCPU that was started, and not while others gather or free it. */
void vcpu_leave(struct vcpu *c);
/* After vcpu_leave: waits for its thread; from then on it is as one that was not started yet. */
void vcpu_gather(struct vcpu *c);
void vcpu_free(struct vcpu *c);
