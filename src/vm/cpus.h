/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All vCPUs of one machine: how many there are, who comes and who leaves, and how they are begun.
 * What one does is vm/vcpu's; what the guest hears of it is dev/cpuhp's.
 *
 * The thread that has the machine, but for cpus_left.
 */
#pragma once

#include <pthread.h>

#include "arch/arch.h"
#include "core/dev.h"
#include "vm/snapshot.h"
#include "vm/vcpu.h"

/* All borrowed. */
struct cpus_args {
	struct hv *hv;
	struct hv_vm *vm;
	struct board *board;
	const struct vm_conf *conf;
	const struct arch_payload *payload; /* full by cpus_start */
	const struct snapshot *from;	    /* until cpus_start_others has returned; NULL = boot */
	void (*ended)(void *arg, enum vcpu_end how, const char *why); /* vm/vcpu.h */
	void (*stopped)(void *arg);				      /* the same */
	void *arg;
};

struct cpus {
	struct cpus_args args;
	struct arch_cpus *arch;
	struct vcpu_team team;
	struct vcpu *vcpu;	 /* as many as there may be */
	uint32_t count;		 /* that were made: those that left count too */
	pthread_mutex_t leaving; /* none leaves by itself while the machine ends */
};

void cpus_init(struct cpus *s);
/* Makes those that the machine begins with, or had when it was saved. ERR_BAD for more than this host
 * can give. */
MUST int cpus_make(struct cpus *s, const struct cpus_args *a, struct err *e);
/* Does this host give a VM so many, with such ids? */
MUST int cpus_judge_host(struct hv *h, const struct arch_cpus *a, const struct cpus_conf *c,
			 struct err *e);
/* So many vCPUs were saved: can a machine of this config go on with them? Any thread. */
MUST int cpus_judge(const struct cpus_conf *c, size_t saved, struct err *e);
/* The guest begins with the first; one that goes on is held once. */
MUST int cpus_start(struct cpus *s, struct err *e);
/* The others are set up beside it: they exist, so that an INIT which comes before one has its thread
 * waits there. */
MUST int cpus_start_others(struct cpus *s, struct err *e);
/* As machine_judge_vcpus and machine_set_vcpus say. */
MUST int cpus_judge_set(const struct cpus *s, uint32_t n, struct err *e);
MUST int cpus_set(struct cpus *s, uint32_t n, struct err *e);
/* Is it there, or has it left? */
bool cpus_has(const struct cpus *s, uint32_t i);
/* The guest has let go of it. Any thread. */
void cpus_left(struct cpus *s, uint32_t i);
MUST int cpus_nmi(struct cpus *s, struct err *e);
/* Makes all stand, at most until then; after a failure none is held. */
MUST int cpus_hold(struct cpus *s, uint64_t until_ns, struct err *e);
void cpus_release(struct cpus *s);
/* Ends their threads, and them. Also after a failure of cpus_make, or without it. */
void cpus_free(struct cpus *s);
