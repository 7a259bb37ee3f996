/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU thread: it runs the guest, and every exit goes through a const table to the buses and the
 * interrupt chip. When a device or the hypervisor says that the machine is to stop, vCPUs leave the
 * guest and end their threads.
 *
 * vcpu_new, vcpu_start and vcpu_free are for the control thread; vcpus_halt for any thread.
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
	void *arg;
	_Atomic bool halted;
	struct coresched cores;
};

/* Exits to us by kind, each with a row; what the hypervisor answers by itself is not in them. Written
 * by the vCPU's thread alone, as base/counter.h wants it. */
struct vcpu_counts {
	uint64_t io, mmio, eoi, halt, interrupt, other;
};
extern const struct desc vcpu_counts_desc;

struct vcpu {
	struct hv_vcpu *hv;
	struct vcpu_team *team;
	uint32_t index;
	bool started;
	struct thread thread;
	struct vcpu_counts counts;
};

MUST int vcpu_new(struct vcpu *c, struct hv_vm *vm, struct vcpu_team *team, uint32_t index,
		  uint32_t apic_id, struct err *e);
/* Starts the thread `vcpuN`, on the host CPUs that the list has for it; the guest runs from here
 * on. */
MUST int vcpu_start(struct vcpu *c, const struct cpus_conf *conf, struct err *e);
/* All vCPUs leave the guest after their present exit and enter it no more. */
void vcpus_halt(struct vcpu_team *t);
bool vcpus_halted(const struct vcpu_team *t);
/* Makes a halted vCPU leave the guest now; then joins and frees it. */
void vcpu_kick(struct vcpu *c);
void vcpu_free(struct vcpu *c);
