/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A named thread that is born under its system-call filter: the filter is loaded before the
 * thread's own function sees its first instruction. Loops (base/loop.h), vCPUs and jobs are made of
 * these. The filter itself comes from a hook that guard/ sets, because base/ knows no policy.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "base/err.h"

#define THREAD_NAME_MAX 15

struct thread {
	pthread_t id;
	char name[THREAD_NAME_MAX + 1];
	const char *profile; /* name of a filter, e.g. "vcpu", "blk"; static. NULL = its maker's */
	void (*fn)(void *arg);
	void *arg;
};

/* Loads the filter of a profile into the calling thread; 0 or an errno. The default does
 * nothing. */
typedef int thread_filter_fn(const char *profile);
/* Once, before the first thread. */
void thread_set_filter(thread_filter_fn *fn);
/* Loads a profile's filter into the calling thread. */
MUST int thread_confine(const char *profile, struct err *e);

/* Starts t (zeroed by the caller, at a stable address until thread_join). Names longer than 15
 * bytes are cut for the kernel. With a profile it has that filter on top of its maker's. All signals but those of its own faults and the kick are blocked in
 * it. Does not wait until it runs. A filter that cannot be loaded ends the process: the control
 * thread has loaded its own by then, so nothing but a broken kernel is in the way. */
MUST int thread_start(struct thread *t, const char *name, const char *profile,
		      void (*fn)(void *arg), void *arg, struct err *e);
void thread_join(struct thread *t);

/* The signal that interrupts KVM_RUN and nothing else; its handler does nothing. */
int thread_kick_signal(void);
void thread_kick(struct thread *t);

/* Pins t to the host CPUs given; count 0 does nothing. */
MUST int thread_pin(struct thread *t, const uint32_t *cpus, unsigned int count, struct err *e);

/* Could that be done? The calling thread tries it for a moment. */
MUST int thread_may_pin(const uint32_t *cpus, unsigned int count, struct err *e);

/* Name of the calling thread, for logs. */
const char *thread_name(void);
