/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: time fills it, use empties it. Exact in whole numbers: what a period does not
 * bring as a whole token is carried over, so that no rate drifts, and no value of 63 bits overflows.
 * It is asked before a use and pays after it, so that a use may cost more than there is; the debt is
 * paid off before the next. Over any time t no more than size + t × size / refill_time + one use goes
 * through, after the burst. Time is the caller's; no clock, no lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	uint64_t size;	/* tokens; 0: no limit */
	uint64_t burst; /* extra tokens, used first and never refilled */
	int64_t level;	/* tokens; below zero: owed */
	unsigned __int128 refill_ns,
		carry; /* carry: refill_ns-ths of size tokens, less than one token */
	uint64_t last_ns;
};

/* Full. A size or time of 0 is no limit; others are at most INT64_MAX. */
void bucket_init(struct bucket *b, uint64_t size, uint64_t burst, uint64_t refill_ms,
		 uint64_t now_ns);
/* Brings it up to now. It holds size tokens at most, and those that slack_ns bring when somebody
 * waits for them, whom a late wake shall not cost his rate. */
void bucket_refill(struct bucket *b, uint64_t now_ns, uint64_t slack_ns);
/* May something be used? As of the last refill. */
static inline bool bucket_open(const struct bucket *b)
{
	return !b->size || b->burst || b->level > 0;
}
void bucket_pay(struct bucket *b, uint64_t tokens);
/* Nanoseconds from the last refill until it is open; UINT64_MAX stands for all that are more. */
uint64_t bucket_wait_ns(const struct bucket *b);
