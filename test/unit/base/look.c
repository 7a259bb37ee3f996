/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking before sleeping: what it may cost when it never pays, and that it goes on while it does.
 */
#include "base/look.h"

#include "test.h"

#include "base/mem.h"

#define MS 1000000ull

/* One look wherever one is allowed, among chances that come every gap; how many. */
static unsigned int looks(struct look *l, uint64_t *now, uint64_t gap, uint64_t span, bool found)
{
	uint64_t end = *now + span;
	unsigned int n = 0;

	for (; *now < end; *now += gap) {
		if (!look_pays(l, *now))
			continue;
		n++;
		if (found)
			look_found(l);
		else
			look_missed(l, *now);
	}
	return n;
}

TEST(it_starts_by_looking_and_goes_on_while_it_pays)
{
	struct look l = { 0 };
	uint64_t now = 5 * MS;

	assert_int_equal(looks(&l, &now, 1000, MS, true), 1000);
	for (int i = 0; i < 1000; i++) {
		assert_true(look_pays(&l, now));
		look_missed(&l, now);
		look_found(&l);
		look_found(&l);
	}
}

TEST(half_of_them_in_vain_are_too_many)
{
	struct look l = { 0 };
	int i;

	for (i = 0; i < 100 && look_pays(&l, MS); i++) {
		look_missed(&l, MS);
		look_found(&l);
	}
	assert_in_range(i, 4, 10);
}

TEST(in_vain_they_cost_less_than_a_hundredth_of_the_time)
{
	static const uint64_t gaps[] = { LOOK_NS, 200000, MS, 10 * MS };

	for (size_t i = 0; i < ARRAY_LEN(gaps); i++) {
		struct look l = { 0 };
		uint64_t now = MS, span = 2000 * MS;
		unsigned int n = looks(&l, &now, gaps[i], span, false);

		assert_true(n >= 4);
		assert_true(n * LOOK_NS < span / 100);
	}
}

TEST(after_the_first_rest_it_tries_again_soon_and_forgives)
{
	struct look l = { 0 };
	uint64_t now = MS;

	assert_int_equal(looks(&l, &now, 100, 50 * 100, false), 4);
	assert_int_equal(looks(&l, &now, 1000, 500000, true), 0);
	assert_true(looks(&l, &now, 1000, MS, true) > 400);
	assert_int_equal(looks(&l, &now, 100, 50 * 100, false), 4);
	now += MS;
	assert_true(look_pays(&l, now));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(it_starts_by_looking_and_goes_on_while_it_pays),
		T(half_of_them_in_vain_are_too_many),
		T(in_vain_they_cost_less_than_a_hundredth_of_the_time),
		T(after_the_first_rest_it_tries_again_soon_and_forgives),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
