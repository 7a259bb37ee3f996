/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rate.h. The lock guards the buckets and the line. A user's timer is its loop's; when another
 * thread makes a user the first, a message asks that loop to set it. The message is posted under the
 * lock, so that a user that parts has none on its way.
 */
#include "core/rate.h"

#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

#define MIN_WAIT_NS 500000
#define MAX_WAIT_NS 1000000000ull /* then the limits may be others */
#define TURN_NS 1000000		  /* of one user, when others wait */
/* A user stays the first until it had these, so that small requests get as much as large ones. */
#define SHARE_BYTES 65536
#define SLACK_NS 20000000 /* how late a wake may be without cost to the rate */

static void buckets_init(struct rate *r, const struct rate_limiter_conf *c)
{
	const struct token_bucket_conf none = { 0 };
	const struct token_bucket_conf *bytes = c && c->bandwidth ? c->bandwidth : &none;
	const struct token_bucket_conf *ops = c && c->ops ? c->ops : &none;
	uint64_t now = loop_now_ns();

	bucket_init(&r->bytes, bytes->size, bytes->one_time_burst, bytes->refill_time, now);
	bucket_init(&r->ops, ops->size, ops->one_time_burst, ops->refill_time, now);
	atomic_store(&r->limits, r->bytes.size || r->ops.size);
}

struct rate *rate_new(const char *id, const struct rate_limiter_conf *c)
{
	struct rate *r = NEW(struct rate);

	r->id = id;
	pthread_mutex_init(&r->lock, NULL);
	list_init(&r->line);
	list_init(&r->link);
	buckets_init(r, c);
	return r;
}

void rate_free(struct rate *r)
{
	if (!r)
		return;
	list_drop(&r->link);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct rate *rate_find(struct link *groups, const char *id)
{
	list_each (at, groups) {
		struct rate *r = container_of(at, struct rate, link);

		if (!strcmp(r->id, id))
			return r;
	}
	return NULL;
}

static struct rate_user *first(struct rate *r)
{
	return list_empty(&r->line) ? NULL : container_of(r->line.next, struct rate_user, link);
}

/* Is there something to be had now? Lock held. */
static bool open_now(struct rate *r)
{
	uint64_t now = loop_now_ns(), slack = list_empty(&r->line) ? 0 : SLACK_NS;

	if (!atomic_load(&r->limits))
		return true;
	bucket_refill(&r->bytes, now, slack);
	bucket_refill(&r->ops, now, slack);
	return bucket_open(&r->bytes) && bucket_open(&r->ops);
}

static void on_time(void *arg);

/* In the user's loop: it is the first, and waits. Lock held. */
static void wait_for_turn(struct rate_user *u)
{
	uint64_t wait = max_u64(bucket_wait_ns(&u->rate->bytes), bucket_wait_ns(&u->rate->ops));

	if (wait)
		wait = min_u64(max_u64(wait, MIN_WAIT_NS), MAX_WAIT_NS);
	loop_timer_set(u->loop, &u->timer, loop_now_ns() + wait, on_time, u);
}

static void on_first(void *arg)
{
	struct rate_user *u = arg;
	struct rate *r = u->rate;

	pthread_mutex_lock(&r->lock);
	if (u->waits && !u->turn && first(r) == u)
		wait_for_turn(u);
	pthread_mutex_unlock(&r->lock);
}

/* Whoever is the first now is to wait for its turn. Lock held. */
static void call_first(struct rate *r)
{
	struct rate_user *u = first(r);

	if (u && !u->turn)
		loop_post(u->loop, &u->msg, on_first, u);
}

static void on_time(void *arg)
{
	struct rate_user *u = arg;
	struct rate *r = u->rate;
	bool now;

	pthread_mutex_lock(&r->lock);
	now = u->waits && first(r) == u && open_now(r);
	u->turn = now;
	u->turn_ns = loop_now_ns();
	if (!now && u->waits && first(r) == u)
		wait_for_turn(u);
	pthread_mutex_unlock(&r->lock);
	if (now)
		u->go(u->arg);
}

void rate_set(struct rate *r, const struct rate_limiter_conf *c)
{
	pthread_mutex_lock(&r->lock);
	buckets_init(r, c);
	call_first(r);
	pthread_mutex_unlock(&r->lock);
}

void rate_join(struct rate_user *u, struct rate *r, struct loop *loop, void (*go)(void *arg),
	       void *arg)
{
	*u = (struct rate_user){ .rate = r, .loop = loop, .go = go, .arg = arg };
	list_init(&u->link);
}

/* Lock held. */
static void to_the_end(struct rate_user *u)
{
	list_drop(&u->link);
	list_add_tail(&u->rate->line, &u->link);
	u->turn = false;
	u->waits = true;
	u->spent = 0;
	call_first(u->rate);
}

/* Is it this user's to take what there is? A turn has an end when others wait, so that one that
 * never finds its bucket or its ring empty does not keep it. Lock held. */
static bool may_take(const struct rate_user *u)
{
	const struct rate *r = u->rate;

	if (!u->turn)
		return list_empty(&r->line);
	return r->line.next == r->line.prev || loop_now_ns() - u->turn_ns < TURN_NS;
}

/* Lock held. */
static bool try_open(struct rate_user *u)
{
	bool may = may_take(u);

	if (may && open_now(u->rate))
		return true;
	if (may && u->turn && u->rate->bytes.size && u->spent < SHARE_BYTES) {
		u->turn = false;
		call_first(u->rate);
	} else if (u->turn || !u->waits) {
		to_the_end(u);
	}
	return false;
}

void rate_leave(struct rate_user *u)
{
	struct rate *r = u->rate;
	bool was_first;

	if (!u->waits)
		return;
	loop_timer_stop(&u->timer);
	pthread_mutex_lock(&r->lock);
	was_first = first(r) == u;
	list_drop(&u->link);
	u->waits = u->turn = false;
	if (was_first)
		call_first(r);
	pthread_mutex_unlock(&r->lock);
}

/* Nothing to count, and no line to stand in. */
static bool is_free(struct rate_user *u)
{
	if (u->rate && atomic_load(&u->rate->limits))
		return false;
	rate_leave(u);
	return true;
}

bool rate_open(struct rate_user *u)
{
	bool yes;

	if (is_free(u))
		return true;
	pthread_mutex_lock(&u->rate->lock);
	yes = try_open(u);
	pthread_mutex_unlock(&u->rate->lock);
	return yes;
}

static void pay(struct rate_user *u, uint64_t bytes)
{
	struct rate *r = u->rate;

	u->spent += bytes;
	bucket_pay(&r->bytes, bytes);
	bucket_pay(&r->ops, 1);
}

void rate_pay(struct rate_user *u, uint64_t bytes)
{
	if (!u->rate || !atomic_load(&u->rate->limits))
		return;
	pthread_mutex_lock(&u->rate->lock);
	pay(u, bytes);
	pthread_mutex_unlock(&u->rate->lock);
}

bool rate_take(struct rate_user *u, uint64_t bytes)
{
	bool yes;

	if (is_free(u))
		return true;
	pthread_mutex_lock(&u->rate->lock);
	yes = try_open(u);
	if (yes)
		pay(u, bytes);
	pthread_mutex_unlock(&u->rate->lock);
	return yes;
}

void rate_part(struct rate_user *u)
{
	if (!u->rate)
		return;
	rate_leave(u);
	loop_unpost(u->loop, &u->msg);
	u->rate = NULL;
}
