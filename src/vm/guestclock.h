/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's clocks while its machine stands: the hypervisor's clock and the processors' counters are
 * read together and set together, so that a guest which compares them finds neither wrong. The PM
 * timer, the CMOS clock and others are their devices'.
 *
 * The thread that has the machine; the vCPUs stand.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hv/hv.h"

struct vcpu;

/* Where they stood. A host may give either, both, or none. */
struct guestclock {
	uint64_t real_ns; /* the host's time of day then */
	bool has_clock;
	uint64_t clock_ns;
	bool has_counter;
	uint64_t counter; /* that of the first vCPU, in its ticks */
};

/* Reads where they stand. */
void guestclock_stop(struct guestclock *g, struct hv_vm *vm, struct vcpu *cpus, uint32_t n);
/* As they would have gone on by themselves since then, by the host's time of day; by how much. They
 * are not set by that. */
uint64_t guestclock_pass(struct guestclock *g, struct vcpu *cpus);
/* Lets them go on from where they stood. What the host can not set has gone on; a warning says so of the
 * clock. Guests that have the hypervisor's clock are told of the pause, so that their watchdogs do not
 * bite. */
void guestclock_start(struct guestclock *g, struct hv_vm *vm, struct vcpu *cpus, uint32_t n);
