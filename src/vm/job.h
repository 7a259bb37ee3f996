/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job: one long piece of work (a boot, a shutdown, a core dump) in a thread of its own, named
 * `job`, so that the control loop answers meanwhile. It has a number, progress, a way to break it
 * off, and a result that is kept: of the jobs that have ended, the last sixteen.
 *
 * The thread is under the control thread's own filter, because it does that thread's work. Which
 * work is done when, and who holds the VM, is vm/vmm's. Control thread, all of these; the function
 * that a job runs has the job's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/thread.h"
#include "base/work.h"
#include "conf/conf.h"

#define JOBS_KEPT 16

struct job {
	uint64_t id;	      /* from 1 on */
	const char *verb;     /* what it does: "boot"; static */
	enum job_state state; /* conf/enums.def */
	bool cancellable;
	struct work work;
	struct err err;				 /* once Failed or Cancelled: why */
	uint64_t asked_ns, started_ns, ended_ns; /* CLOCK_MONOTONIC; 0 = not yet */
	/* job.c's own */
	struct jobs *jobs;
	struct link link;
	struct thread thread;
	struct loop_msg over;
	int (*fn)(void *arg, struct job *j, struct err *e);
	void (*ended)(void *arg, struct job *j);
	void *arg;
	int result;
};

/* All of them, oldest first. */
struct jobs {
	struct loop *ctl;
	struct link list;
	uint64_t last_id;
	unsigned int ended;
};

void jobs_init(struct jobs *s, struct loop *ctl);
/* None runs. */
void jobs_fini(struct jobs *s);
/* NULL where there is none of that number (any more). */
struct job *job_find(struct jobs *s, uint64_t id);
/* Walks all: job_next(s, NULL) is the oldest. */
struct job *job_next(struct jobs *s, const struct job *after);

/* A new one, that waits. It stays until it has ended, and sixteen others after it. */
struct job *job_new(struct jobs *s, const char *verb);
/* Runs fn(arg) in the thread `job`, then ended(arg) in the control loop. fn returns 0 or -1 and a
 * reason, and looks at j->work. When no thread can be had nothing has begun. */
MUST int job_start(struct job *j, int (*fn)(void *arg, struct job *j, struct err *e),
		   void (*ended)(void *arg, struct job *j), void *arg, struct err *e);
/* Waits for its thread and calls `ended` before it returns. */
void job_join(struct job *j);
/* The same without a thread: fn has been run by the caller, and with this result. */
void job_finish(struct job *j, int result, const struct err *why);
