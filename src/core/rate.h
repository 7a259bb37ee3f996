/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits on what devices move in a time: bytes and operations, each a token bucket. One limit may be
 * shared by queues in several threads, of one device or of a group of disks. Each queue is a user
 * with a loop of its own. One that is refused stands in a line; the first in it is woken when there
 * are tokens, uses them up (for a millisecond at most), and if it has more to do goes to the line's
 * end, so that all get the same. Nobody overtakes the line. Who finds the bucket empty waits half a
 * millisecond at least, for what has gathered by then.
 *
 *	if (!rate_take(u, bytes))
 *		stop; go is called in u's loop when there is more to be had
 *	nothing left to do: rate_leave(u)
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/bucket.h"
#include "base/list.h"
#include "base/loop.h"
#include "conf/conf.h"

struct rate {
	struct link link; /* of a group, in its board's list */
	const char *id;	  /* borrowed; NULL: not a group's */
	pthread_mutex_t lock;
	_Atomic bool limits; /* without, nothing is counted */
	struct bucket bytes, ops;
	struct link line; /* struct rate_user; the first is waited for or has its turn */
};

struct rate_user {
	struct rate *rate;
	struct loop *loop;
	void (*go)(void *arg);
	void *arg;
	struct link link;
	bool waits; /* stands in the line */
	bool turn;  /* is first, and was woken */
	uint64_t turn_ns;
	uint64_t spent; /* bytes, since it came to the line's end */
	struct loop_timer timer;
	struct loop_msg msg;
};

/* c may be NULL: no limit for now. id is borrowed; NULL unless it is a group. */
struct rate *rate_new(const char *id, const struct rate_limiter_conf *c);
/* Its users have parted. NULL is fine. */
void rate_free(struct rate *r);
/* Any thread: other limits from now on, with full buckets. c may be NULL. */
void rate_set(struct rate *r, const struct rate_limiter_conf *c);
/* The group of a name in a list of groups, or NULL. */
struct rate *rate_find(struct link *groups, const char *id);

/* Before u's loop runs, or in it; so is everything below. */
void rate_join(struct rate_user *u, struct rate *r, struct loop *loop, void (*go)(void *arg),
	       void *arg);
/* May an operation start? If not, go is called when it may. */
bool rate_open(struct rate_user *u);
/* One operation of so many bytes is started. */
void rate_pay(struct rate_user *u, uint64_t bytes);
/* Both at once. */
bool rate_take(struct rate_user *u, uint64_t bytes);
/* There is nothing left to do: out of the line, go is not called any more. */
void rate_leave(struct rate_user *u);
/* The end of a user; also when its loop runs no more. */
void rate_part(struct rate_user *u);
