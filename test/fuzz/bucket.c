/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any history of a token bucket: numbers of 63 bits, times and uses, against what it owes whatever
 * comes: it never holds more than it may, never gives more than size, burst, rate and one use, and
 * is open when it said that it would be.
 */
#include "base/bucket.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t take(const uint8_t **data, size_t *len)
{
	uint64_t v = 0;
	size_t n = *len < 8 ? *len : 8;

	memcpy(&v, *data, n);
	*data += n;
	*len -= n;
	return v & INT64_MAX;
}

static void must(bool fact)
{
	if (!fact)
		abort();
}

static void waits_enough(struct bucket b)
{
	uint64_t wait = bucket_wait_ns(&b);

	must((wait == 0) == bucket_open(&b));
	if (wait == UINT64_MAX || wait > UINT64_MAX - b.last_ns)
		return;
	bucket_refill(&b, b.last_ns + wait, 0);
	must(bucket_open(&b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t size = take(&data, &len), burst = take(&data, &len), ms = take(&data, &len),
		 now = 0;
	struct bucket b;

	bucket_init(&b, size, burst, ms, 0);
	while (len) {
		uint64_t dt = take(&data, &len), use = take(&data, &len);
		int64_t was = b.level;

		now = dt > UINT64_MAX - now ? UINT64_MAX : now + dt;
		bucket_refill(&b, now, 0);
		must(!b.size ||
		     (b.level >= was && b.level <= (int64_t)size && b.carry < b.refill_ns));
		if (bucket_open(&b))
			bucket_pay(&b, use);
		must(b.burst <= burst);
		waits_enough(b);
	}
	return 0;
}
