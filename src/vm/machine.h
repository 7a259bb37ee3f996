/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: guest memory, buses, interrupts, devices and vCPUs, built from a config and torn
 * down as a whole. A reboot frees one and builds the next; what outlives it (config, terminals, the
 * open hypervisor) is vm/vm's.
 *
 * One thread at a time, the control thread or that of a job (vm/job.h); nothing here touches the
 * control loop but by loop_post. Upward talk comes on any thread, when the machine has already
 * halted itself: no vCPU enters the guest again after a wish or an end was told.
 */
#pragma once

#include "base/err.h"
#include "base/reasons.h"
#include "base/work.h"
#include "conf/conf.h"
#include "core/dev.h"
#include "hv/hv.h"
#include "vm/chars.h"
#include "vm/vcpu.h"

struct arch_cpus;
struct guestclock;
struct machine;

struct snapshot; /* vm/snapshot.h */
struct machine_args {
	struct hv *hv;
	const struct vm_conf *conf; /* borrowed */
	struct chars *chars;	    /* borrowed */
	struct loop *ctl;	    /* the control loop, borrowed */
	struct link *kept;	    /* listeners that outlive machines, borrowed */
	const uint8_t *generation;  /* VMGENID_BYTES, borrowed */
	/* go on from there: it is paused then, as by machine_pause; NULL = boot. Borrowed until
	 * machine_start has returned. */
	const struct snapshot *from;
	struct board_up up;
	void (*cpu_ended)(void *arg, enum vcpu_end how, const char *why); /* arg is up.arg */
	void (*cpu_stopped)(void *arg); /* the same; see vm/vcpu.h */
};

/* Builds everything; vCPUs are ready and not running. w (NULL is fine) is told of long steps, and
 * asked during them whether to break off. On failure nothing is left. */
MUST int machine_new(struct machine **out, const struct machine_args *a, struct work *w,
		     struct err *e);
/* Would that succeed, from the snapshot that a names? Adds each reason against it, and takes, makes and
 * changes nothing of the host. Needs neither loop nor functions. Control thread. */
void machine_rehearse(struct reasons *r, const struct machine_args *a);
/* Lets the vCPUs run. */
MUST int machine_start(struct machine *m, struct err *e);
/* Whether machine_set_vcpus would take the number now; a guest that holds it up is asked again. */
MUST int machine_judge_vcpus(const struct machine *m, uint32_t n, struct err *e);
/* Makes vCPUs come, which run before the guest is told, or asks the guest to let go of some, so that
 * there are n of them. ERR_BAD for a number that can not be, ERR_BUSY while it has not let go of
 * those that it was asked for before. The machine is not paused. */
MUST int machine_set_vcpus(struct machine *m, uint32_t n, struct err *e);
/* Whether machine_add_memory would take so much now. */
MUST int machine_judge_memory(struct machine *m, uint64_t bytes, struct err *e);
/* Makes more memory come, which is there before the guest is told by ACPI. ERR_BAD for what is not
 * whole 128 MiB, more than hotplug_size, or one time more than there are slots. */
MUST int machine_add_memory(struct machine *m, uint64_t bytes, struct err *e);
/* Bytes of memory that the machine began with, and those that have come by ACPI since. */
uint64_t machine_booted_with(const struct machine *m);
uint64_t machine_added(const struct machine *m);
/* A non-maskable interrupt for every vCPU. */
MUST int machine_nmi(struct machine *m, struct err *e);
/* Makes every vCPU stand still, as vcpu_hold says, at most ten seconds long; after a failure none is
 * held. Holds are counted. */
MUST int machine_park(struct machine *m, struct err *e);
void machine_unpark(struct machine *m);
/* Parks, then lets the devices come to rest: nothing is executed, nothing is in flight, the clock
 * stands. After a failure all goes on. */
MUST int machine_pause(struct machine *m, struct err *e);
/* The way back. The guest's clocks go on where they stood, the counter of the processor too where the
 * host can do that; only the time of day has gone on. */
void machine_resume(struct machine *m);
/* The clocks of a paused machine; and what its processors have told the guest. */
const struct guestclock *machine_clock(const struct machine *m);
struct arch_cpus *machine_cpus(struct machine *m);
/* For those who look: the board with its devices, and the vCPUs. */
struct board *machine_board(struct machine *m);
/* All that were made: one that left stays, and stands. */
uint32_t machine_vcpus(const struct machine *m);
/* Is it there, or has it left? */
bool machine_has_vcpu(struct machine *m, uint32_t i);
struct vcpu *machine_vcpu(struct machine *m, uint32_t i);
/* Tells the guest through ACPI that the power button was pressed. */
MUST int machine_power_button(struct machine *m, struct err *e);
/* Halts, takes the devices out the way they came, frees. NULL is fine. */
void machine_free(struct machine *m);
