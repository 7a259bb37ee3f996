/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets: every small one in every small history against exact fractions, and the largest
 * values there are. The facts are those that a rate limiter owes whoever pays for it: it never
 * brings more than its size and its rate, never less than its rate, and forgets no fraction.
 */
#include "base/bucket.h"

#include "test.h"

#include <stdlib.h>

#define MS 1000000ull

typedef __int128 i128;

/* The same in fractions: 'have' counts refill_ns-ths of a token, so that nothing is ever rounded. */
struct model {
	i128 have, size, refill_ns;
	uint64_t burst, last;
};

static void model_refill(struct model *m, uint64_t now)
{
	m->have += (i128)(now - m->last) * m->size;
	m->last = now;
	if (m->have > m->size * m->refill_ns)
		m->have = m->size * m->refill_ns;
}

static void model_pay(struct model *m, uint64_t n)
{
	uint64_t extra = n < m->burst ? n : m->burst;

	m->burst -= extra;
	m->have -= (i128)(n - extra) * m->refill_ns;
}

static void same(const struct bucket *b, const struct model *m)
{
	assert_true((i128)b->level * m->refill_ns + (i128)b->carry == m->have);
	assert_true(b->carry < b->refill_ns);
	assert_true(b->level <= (int64_t)b->size);
	assert_int_equal(b->burst, m->burst);
	assert_int_equal(bucket_open(b), m->burst || m->have >= m->refill_ns);
}

/* Waiting as long as it says is enough, and a nanosecond less is not. */
static void waits_just_enough(const struct bucket *b)
{
	uint64_t wait = bucket_wait_ns(b);
	struct bucket later = *b, sooner = *b;

	if (!wait) {
		assert_true(bucket_open(b));
		return;
	}
	if (wait == UINT64_MAX || wait > UINT64_MAX - b->last_ns)
		return;
	bucket_refill(&later, b->last_ns + wait, 0);
	assert_true(bucket_open(&later));
	bucket_refill(&sooner, b->last_ns + wait - 1, 0);
	assert_false(bucket_open(&sooner));
}

/* All histories of four steps, each of one of these times and uses. */
static void walk(struct bucket b, struct model m, int depth)
{
	static const uint64_t dts[] = { 0, 1, 333333, MS, 3 * MS + 1 };
	static const uint64_t uses[] = { 0, 1, 3, 10 };

	same(&b, &m);
	waits_just_enough(&b);
	if (!depth)
		return;
	for (size_t i = 0; i < sizeof(dts) / sizeof(dts[0]); i++) {
		for (size_t k = 0; k < sizeof(uses) / sizeof(uses[0]); k++) {
			struct bucket b2 = b;
			struct model m2 = m;

			bucket_refill(&b2, b.last_ns + dts[i], 0);
			model_refill(&m2, m.last + dts[i]);
			same(&b2, &m2);
			bucket_pay(&b2, uses[k]);
			model_pay(&m2, uses[k]);
			walk(b2, m2, depth - 1);
		}
	}
}

TEST(every_small_history_is_that_of_exact_fractions)
{
	for (uint64_t size = 1; size <= 5; size++)
		for (uint64_t refill = 1; refill <= 4; refill++)
			for (uint64_t burst = 0; burst <= 2; burst++) {
				struct bucket b;
				struct model m = { .size = (i128)size,
						   .refill_ns = (i128)(refill * MS),
						   .burst = burst,
						   .last = 7 };

				m.have = m.size * m.refill_ns;
				bucket_init(&b, size, burst, refill, 7);
				walk(b, m, 3);
			}
}

TEST(no_split_of_time_makes_a_difference)
{
	srandom(1);
	for (int i = 0; i < 200; i++) {
		uint64_t size = (uint64_t)random() % 1000 + 1, ms = (uint64_t)random() % 500 + 1;
		struct bucket once, often;
		uint64_t t = 0, end = ms * MS / 2;

		bucket_init(&once, size, 0, ms, 0);
		bucket_pay(&once, 3 * size);
		often = once;
		while (t < end) {
			t += (uint64_t)random() % (MS / 7) + 1;
			bucket_refill(&often, t < end ? t : end, 0);
		}
		bucket_refill(&once, end, 0);
		assert_int_equal(once.level, often.level);
		assert_true(once.carry == often.carry);
	}
}

/* A day at odd rates, asked every so often: not a token too many or few. */
TEST(a_day_later_nothing_has_drifted)
{
	struct bucket b;
	const uint64_t size = 997, ms = 331, day = 86400000ull * MS;
	uint64_t used = 0, t = 0;

	bucket_init(&b, size, 0, ms, 0);
	bucket_pay(&b, size);
	used = size;
	while (t < day) {
		uint64_t wait = bucket_wait_ns(&b);

		t += wait > 50 * MS ? wait : 50 * MS;
		t = t < day ? t : day;
		bucket_refill(&b, t, 0);
		while (bucket_open(&b)) {
			bucket_pay(&b, 10);
			used += 10;
		}
	}
	assert_true((i128)used + b.level == (i128)size + (i128)day * size / (i128)(ms * MS));
}

TEST(the_largest_values_do_not_overflow)
{
	static const uint64_t v[] = {
		1, 2, 1000, 1ull << 32, 1ull << 62, INT64_MAX - 1, INT64_MAX
	};
	const size_t n = sizeof(v) / sizeof(v[0]);

	for (size_t i = 0; i < n * n * n * n; i++) {
		uint64_t size = v[i % n], ms = v[i / n % n], use = v[i / n / n % n],
			 dt = v[i / n / n / n];
		struct bucket b;

		bucket_init(&b, size, use, ms, 0);
		for (int k = 0; k < 4; k++) {
			bucket_pay(&b, use);
			waits_just_enough(&b);
			const int64_t was = b.level,
				      most = was > (int64_t)size ? was : (int64_t)size;

			bucket_refill(&b, b.last_ns + dt, k % 2 ? dt : 0);
			assert_true(b.level >= was && (k % 2 || b.level <= most));
			assert_true(b.carry < b.refill_ns);
		}
	}
}

TEST(a_size_or_time_of_nothing_is_no_limit)
{
	struct bucket b;

	bucket_init(&b, 0, 5, 5, 0);
	bucket_pay(&b, UINT64_MAX);
	assert_true(bucket_open(&b));
	assert_int_equal(bucket_wait_ns(&b), 0);
	bucket_init(&b, 5, 5, 0, 0);
	bucket_pay(&b, UINT64_MAX);
	bucket_refill(&b, UINT64_MAX, 5);
	assert_true(bucket_open(&b));
}

TEST(the_burst_goes_first_and_does_not_come_back)
{
	struct bucket b;

	bucket_init(&b, 10, 100, 10, 0);
	bucket_pay(&b, 99);
	assert_int_equal(b.level, 10);
	bucket_pay(&b, 11);
	assert_int_equal(b.level, 0);
	assert_false(bucket_open(&b));
	bucket_refill(&b, 1000 * MS, 0);
	assert_int_equal(b.level, 10);
	assert_int_equal(b.burst, 0);
}

TEST(who_waits_loses_nothing_by_a_late_wake)
{
	struct bucket b;

	bucket_init(&b, 1, 0, 1, 0);
	bucket_pay(&b, 1);
	bucket_refill(&b, 5 * MS, 20 * MS);
	assert_int_equal(b.level, 5);
	bucket_refill(&b, 500 * MS, 20 * MS);
	assert_int_equal(b.level, 21);
	bucket_refill(&b, 501 * MS, 0);
	assert_int_equal(b.level, 21); /* what is there is not taken back */
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_small_history_is_that_of_exact_fractions),
		T(no_split_of_time_makes_a_difference),
		T(a_day_later_nothing_has_drifted),
		T(the_largest_values_do_not_overflow),
		T(a_size_or_time_of_nothing_is_no_limit),
		T(the_burst_goes_first_and_does_not_come_back),
		T(who_waits_loses_nothing_by_a_late_wake),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
