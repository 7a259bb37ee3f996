/* SPDX-License-Identifier: Apache-2.0 */
/* Running a loop for a while in the test's own thread. Include after test.h. */
#pragma once

#include "base/loop.h"

static inline void stop(void *arg)
{
	loop_stop(arg);
}

/* Runs l in this thread for at most this long. */
static inline void run_loop_for(struct loop *l, uint64_t ns)
{
	struct loop_timer end = { 0 };

	loop_timer_set(l, &end, loop_now_ns() + ns, stop, l);
	loop_run(l);
	loop_timer_stop(&end);
}

#define LAST_TURNS 16

struct run_end {
	struct loop_timer timer;
	struct loop *loop;
	int turns;
};

static inline void near_end(void *arg)
{
	struct run_end *r = arg;

	if (r->turns--)
		loop_timer_set(r->loop, &r->timer, loop_now_ns(), near_end, r);
	else
		loop_stop(r->loop);
}

/* Runs l for this long and some turns more, so that what has come by then is looked at, and what
 * follows from it: on a busy host nothing may have had its turn in that time. */
static inline void run_loop_past(struct loop *l, uint64_t ns)
{
	struct run_end end = { .loop = l, .turns = LAST_TURNS };

	loop_timer_set(l, &end.timer, loop_now_ns() + ns, near_end, &end);
	loop_run(l);
	loop_timer_stop(&end.timer);
}
