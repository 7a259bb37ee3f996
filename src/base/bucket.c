/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See bucket.h. In a time dt the bucket gains dt × size / refill_ns tokens: below 2^64 × 2^63 plus a
 * carry below 2^84, which 128 bits hold.
 */
#include "base/bucket.h"

#include "base/bits.h"

#define NS_PER_MS 1000000

typedef unsigned __int128 u128;

void bucket_init(struct bucket *b, uint64_t size, uint64_t burst, uint64_t refill_ms,
		 uint64_t now_ns)
{
	*b = (struct bucket){ .last_ns = now_ns };
	if (!size || !refill_ms)
		return;
	b->size = min_u64(size, INT64_MAX);
	b->burst = burst;
	b->level = (int64_t)b->size;
	b->refill_ns = (u128)refill_ms * NS_PER_MS;
}

/* What it may hold. */
static int64_t brim(const struct bucket *b, uint64_t slack_ns)
{
	u128 all = b->size + (u128)b->size * slack_ns / b->refill_ns;

	return all > INT64_MAX ? INT64_MAX : (int64_t)all;
}

void bucket_refill(struct bucket *b, uint64_t now_ns, uint64_t slack_ns)
{
	uint64_t dt = now_ns > b->last_ns ? now_ns - b->last_ns : 0;
	int64_t most;
	u128 sum, room;

	if (!b->size)
		return;
	b->last_ns += dt;
	most = brim(b, slack_ns);
	if (b->level >= most) {
		b->carry = 0;
		return;
	}
	room = (u128)((__int128)most - b->level);
	sum = (u128)dt * b->size + b->carry;
	if (sum / b->refill_ns >= room) {
		b->level = most;
		b->carry = 0;
	} else {
		b->level = (int64_t)(b->level + (__int128)(sum / b->refill_ns));
		b->carry = sum % b->refill_ns;
	}
}

void bucket_pay(struct bucket *b, uint64_t tokens)
{
	uint64_t extra = min_u64(b->burst, tokens);

	if (!b->size)
		return;
	b->burst -= extra;
	tokens = min_u64(tokens - extra, INT64_MAX);
	if (__builtin_sub_overflow(b->level, (int64_t)tokens, &b->level))
		b->level = INT64_MIN;
}

uint64_t bucket_wait_ns(const struct bucket *b)
{
	u128 owed, parts;

	if (bucket_open(b))
		return 0;
	owed = (u128)(1 - (__int128)b->level);
	if (__builtin_mul_overflow(owed, b->refill_ns, &parts))
		return UINT64_MAX;
	parts = (parts - b->carry + b->size - 1) / b->size;
	return parts > UINT64_MAX ? UINT64_MAX : (uint64_t)parts;
}
