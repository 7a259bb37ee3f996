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
