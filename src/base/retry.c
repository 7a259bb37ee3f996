/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See retry.h. The object lies apart from its owner and belongs to the loop, which frees it by the
 * last message posted; a lock is held over each attempt, so that an owner who leaves knows that
 * none is under way.
 */
#include "base/retry.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

struct retry {
	struct loop *loop;
	uint64_t period_ns;
	struct loop_msg start, end;
	pthread_mutex_t lock;
	bool (*try)(void *arg); /* NULL: its owner has left; under the lock */
	void *arg;
	struct loop_timer timer; /* the loop's */
};

static void attempt(void *arg)
{
	struct retry *r = arg;
	bool done;

	pthread_mutex_lock(&r->lock);
	done = !r->try || r->try(r->arg);
	pthread_mutex_unlock(&r->lock);
	if (!done)
		loop_timer_set(r->loop, &r->timer, loop_now_ns() + r->period_ns, attempt, r);
}

static void start(void *arg)
{
	struct retry *r = arg;

	if (!r->timer.loop)
		loop_timer_set(r->loop, &r->timer, loop_now_ns() + r->period_ns, attempt, r);
}

static void end(void *arg)
{
	struct retry *r = arg;

	loop_timer_stop(&r->timer);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct retry *retry_new(struct loop *l, uint64_t period_ns, bool (*try)(void *arg), void *arg)
{
	struct retry *r = NEW(struct retry);

	r->loop = l;
	r->period_ns = period_ns;
	r->try = try;
	r->arg = arg;
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void retry_start(struct retry *r)
{
	loop_post(r->loop, &r->start, start, r);
}

void retry_free(struct retry *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->try = NULL;
	pthread_mutex_unlock(&r->lock);
	loop_post(r->loop, &r->end, end, r);
}
