/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about things tried again (src/base/retry.c). Meant to be run under TSan as well. */
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/loop.h"
#include "base/retry.h"
#include "run_for.h"

#define MS 1000000ull

struct door {
	_Atomic int knocks;
	int opens_at; /* this knock; 0: never */
};

static bool knock(void *arg)
{
	struct door *d = arg;

	return ++d->knocks == d->opens_at;
}

static struct loop *loop_made(void)
{
	struct err e = { 0 };
	struct loop *l;

	assert_int_equal(loop_new(&l, "ctl", &e), 0);
	return l;
}

TEST(it_is_tried_until_it_succeeds_and_can_begin_anew)
{
	struct door d = { .opens_at = 3 };
	struct loop *l = loop_made();
	struct retry *r = retry_new(l, MS, knock, &d);

	run_loop_for(l, 10 * MS);
	assert_int_equal(d.knocks, 0);
	retry_start(r);
	retry_start(r);
	run_loop_for(l, 100 * MS);
	assert_int_equal(d.knocks, 3);
	d.opens_at = 5;
	retry_start(r);
	run_loop_for(l, 100 * MS);
	assert_int_equal(d.knocks, 5);
	retry_free(r);
	loop_free(l);
}

TEST(starting_what_has_begun_does_not_put_it_off)
{
	struct door d = { 0 };
	struct loop *l = loop_made();
	struct retry *r = retry_new(l, 20 * MS, knock, &d);

	for (int i = 0; i < 10; i++) {
		retry_start(r);
		run_loop_for(l, 10 * MS);
	}
	assert_true(d.knocks >= 2);
	retry_free(r);
	loop_free(l);
}

TEST(one_that_was_freed_is_tried_no_more_even_when_its_loop_never_runs_again)
{
	struct door d = { 0 };
	struct loop *l = loop_made();
	struct retry *r = retry_new(l, MS, knock, &d), *other = retry_new(l, MS, knock, &d);
	int knocks;

	retry_start(r);
	run_loop_for(l, 20 * MS);
	knocks = d.knocks;
	assert_true(knocks > 0);
	retry_free(r);
	retry_start(other);
	retry_free(other);
	run_loop_for(l, 20 * MS);
	assert_int_equal(d.knocks, knocks);
	r = retry_new(l, MS, knock, &d);
	retry_start(r);
	retry_free(r);
	loop_free(l);
	retry_free(NULL);
}

/* Owners that come and go in another thread, at any moment of an attempt. */
static void *come_and_go(void *arg)
{
	struct loop *l = arg;

	for (int i = 0; i < 300; i++) {
		struct door *d = calloc(1, sizeof(*d));
		struct retry *r = retry_new(l, MS / 20, knock, d);

		retry_start(r);
		nanosleep(&(struct timespec){ .tv_nsec = 50000 + i * 300 }, NULL);
		retry_free(r);
		free(d);
	}
	loop_stop(l);
	return NULL;
}

TEST(an_owner_in_another_thread_may_leave_at_any_time)
{
	struct loop *l = loop_made();
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, come_and_go, l), 0);
	loop_run(l);
	pthread_join(t, NULL);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(it_is_tried_until_it_succeeds_and_can_begin_anew),
		T(starting_what_has_begun_does_not_put_it_off),
		T(one_that_was_freed_is_tried_no_more_even_when_its_loop_never_runs_again),
		T(an_owner_in_another_thread_may_leave_at_any_time),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
