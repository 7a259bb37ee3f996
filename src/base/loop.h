/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll loop is one thread: descriptors, timers, messages posted from other threads, calls that
 * wait. A loop owns its data; nothing else touches it but by loop_post and loop_call. Except for
 * these two (and loop_stop), every function is for the loop's own thread, or for its maker before
 * it runs.
 *
 * One turn: run what was posted, run the descriptors that are ready, run the timers that are due,
 * then the drain hooks (batches are flushed there), then sleep. Handlers may add and drop anything,
 * themselves included.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"
#include "base/list.h"

struct loop;

/* Makes a loop that sleeps until it is run; name is for thread and log. */
MUST int loop_new(struct loop **out, const char *name, struct err *e);
/* From now on calls wait for the thread that loop_start is to make; without it they are carried out
 * at once, by the caller. For a loop whose thread can be made after the first who calls. Who opened a
 * loop starts it or, when there is to be no thread, frees it when nobody calls any more. */
void loop_open(struct loop *l);
/* Starts a thread for it, under the filter named (base/thread.h). When that fails, what was posted
 * has been carried out by the caller. */
MUST int loop_start(struct loop *l, const char *profile, struct err *e);
MUST int loop_pin(struct loop *l, const uint32_t *cpus, unsigned int count, struct err *e);
/* Runs it in the calling thread until loop_stop. */
void loop_run(struct loop *l);
/* Any thread: ask it to end after this turn. */
void loop_stop(struct loop *l);
/* Stops, joins its thread if it has one, runs what is still posted (and what that posts, up to 64
 * times over), frees. NULL is fine. */
void loop_free(struct loop *l);
/* Is the caller this loop's thread? */
bool loop_here(const struct loop *l);
const char *loop_name(const struct loop *l);

/* A watched descriptor; embedded by its owner, zeroed before first use. The descriptor stays the
 * owner's. */
struct loop_fd {
	struct loop *loop; /* NULL when not watched */
	int fd;
	void (*fn)(void *arg, uint32_t events);
	void *arg;
};
MUST int loop_watch(struct loop *l, struct loop_fd *h, int fd, uint32_t events,
		    void (*fn)(void *arg, uint32_t events), void *arg, struct err *e);
/* Changes the events waited for (0: none, but errors and hang-ups). */
void loop_rewatch(struct loop_fd *h, uint32_t events);
/* Not called again after this, even when already ready in this turn. Twice is fine. */
void loop_unwatch(struct loop_fd *h);

/* A timer; embedded, zeroed before first use. One shot: its function may set it again. */
struct loop_timer {
	struct loop *loop; /* NULL when not set */
	struct link link;  /* in the loop's list, sorted by time */
	uint64_t due_ns;   /* CLOCK_MONOTONIC */
	void (*fn)(void *arg);
	void *arg;
};
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ns, void (*fn)(void *arg),
		    void *arg);
void loop_timer_stop(struct loop_timer *t);
/* CLOCK_MONOTONIC now, in nanoseconds. */
uint64_t loop_now_ns(void);
/* The host's time of day, CLOCK_REALTIME; it may jump. */
uint64_t loop_real_ns(void);

/* Runs at the end of every turn, before the loop sleeps; returns true when there may be more to do
 * now, then the loop takes another turn without sleeping. Embedded, zeroed before first use. */
struct loop_hook {
	struct link link;
	struct loop *loop;
	bool (*fn)(void *arg);
	void *arg;
};
void loop_hook_add(struct loop *l, struct loop_hook *h, bool (*fn)(void *arg), void *arg);
void loop_hook_drop(struct loop_hook *h);

/* A message; embedded in what it speaks of, zeroed before first use. Posting one that is already on
 * its way does nothing: it is delivered once. Any thread. */
struct loop_msg {
	struct link link;
	bool queued;
	void (*fn)(void *arg);
	void *arg;
};
void loop_post(struct loop *l, struct loop_msg *m, void (*fn)(void *arg), void *arg);
/* Takes back a message that nobody posts any more, so that what it is embedded in can be freed: it
 * is not delivered, whether it was on its way or not. For the loop's thread, or while the loop does
 * not run. */
void loop_unpost(struct loop *l, struct loop_msg *m);

/* Runs fn(arg) in the loop's thread and waits for it; on the loop's own thread, or when the loop
 * has no thread running, calls it at once. Downward only: control -> any, vCPU -> device loop. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);
