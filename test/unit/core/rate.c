/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits with users in threads of their own, against the clock; and the line, turn by turn, in one
 * thread.
 */
#include "core/rate.h"

#include "test.h"

#include <stdatomic.h>
#include <unistd.h>

#define USERS 4
#define MS 1000000ull

struct worker {
	struct rate_user u;
	struct loop *loop;
	struct loop_msg begin;
	uint64_t bytes; /* of each of its operations */
	uint64_t left;	/* operations that it still has to do */
	_Atomic uint64_t done;
	bool works;
};

/* Waits until so much is done, however busy the machine. */
static void await_done(const struct worker *w, uint64_t ops)
{
	while (atomic_load(&w->done) < ops)
		usleep(1000);
}

/* Does what it may; the rest when it is told that there is more. */
static void work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; w->left; i++) {
		if (!rate_take(&w->u, w->bytes))
			return;
		w->left--;
		atomic_fetch_add(&w->done, 1);
		/* without a limit there is no end: let go of the loop now and then */
		if (i == 1000) {
			loop_post(w->loop, &w->begin, work, w);
			return;
		}
	}
	rate_leave(&w->u);
}

static void part(void *arg)
{
	rate_part(&((struct worker *)arg)->u);
}

static void hire(struct worker *w, struct rate *r, uint64_t bytes, uint64_t ops)
{
	struct err e = { 0 };

	*w = (struct worker){ .bytes = bytes, .left = ops };
	assert_int_equal(loop_new(&w->loop, "w", &e), 0);
	rate_join(&w->u, r, w->loop, work, w);
	assert_int_equal(loop_start(w->loop, "none", &e), 0);
	loop_post(w->loop, &w->begin, work, w);
}

static void fire(struct worker *w)
{
	loop_call(w->loop, part, w);
	loop_free(w->loop);
}

static struct rate_limiter_conf limit(struct token_bucket_conf *bw, struct token_bucket_conf *ops)
{
	return (struct rate_limiter_conf){ .bandwidth = bw, .ops = ops };
}

/* No more than what is owed, by a few per cent. That it is no less is said in full by the tests of
 * the bucket, whose clock is their own: on a loaded machine threads do not get to use what they
 * may. */
static void is_about(uint64_t got, double want, int off)
{
	double per_cent = (double)got * 100 / want;

	if (per_cent < 20 || ((double)got - 1) * 100 / want > 100 + off)
		fail_msg("%llu of %.0f: %.1f %%", (unsigned long long)got, want, per_cent);
}

TEST(steady_rates_are_kept_whatever_the_bucket)
{
	static const struct {
		uint64_t size, ms, bytes;
		double per_s;
	} rows[] = {
		{ 1000, 1000, 0, 1000 },   { 10, 10, 0, 1000 },	  { 1, 1, 0, 1000 },
		{ 50, 1000, 0, 50 },	   { 100, 1, 0, 100000 }, { 1 << 20, 100, 4096, 2560 },
		{ 4096, 10, 65536, 6.25 }, /* each larger than the bucket */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct token_bucket_conf b = { .size = rows[i].size, .refill_time = rows[i].ms };
		struct rate_limiter_conf c = rows[i].bytes ? limit(&b, NULL) : limit(NULL, &b);
		uint64_t began = loop_now_ns(), full = rows[i].size, got;
		struct rate *r = rate_new(NULL, &c);
		struct worker w;

		if (rows[i].bytes)
			full /= rows[i].bytes;
		hire(&w, r, rows[i].bytes, UINT64_MAX);
		usleep(rows[i].per_s < 20 ? 1600000 : 450000);
		/* A bucket that was full at first, and all that has come since: a worker who was kept
		 * waiting by others takes what he has missed, and never more. */
		got = atomic_load(&w.done);
		is_about(got > full ? got - full : 0,
			 rows[i].per_s * (double)(loop_now_ns() - began) / 1e9, 10);
		fire(&w);
		rate_free(r);
	}
}

TEST(a_group_shares_alike_however_large_the_requests)
{
	struct token_bucket_conf b = { .size = 1 << 20, .refill_time = 100 };
	struct rate_limiter_conf c = limit(&b, NULL);
	struct rate *r = rate_new("g", &c);
	static const uint64_t bytes[USERS] = { 4096, 4096, 16384, 65536 };
	struct worker w[USERS];
	uint64_t all = 0, began;

	usleep(1000);
	for (int i = 0; i < USERS; i++)
		hire(&w[i], r, bytes[i], UINT64_MAX);
	usleep(100000);
	for (int i = 0; i < USERS; i++)
		atomic_store(&w[i].done, 0);
	began = loop_now_ns();
	usleep(1500000);
	double owed = 10.0 * (1 << 20) * (double)(loop_now_ns() - began) / 1e9;

	for (int i = 0; i < USERS; i++) {
		uint64_t got = atomic_load(&w[i].done) * bytes[i];

		all += got;
		if ((double)got < owed / USERS / 4)
			fail_msg("user %d got %llu of %.0f", i, (unsigned long long)got, owed);
	}
	is_about(all, owed, 20);
	for (int i = 0; i < USERS; i++)
		fire(&w[i]);
	rate_free(r);
}

TEST(a_burst_goes_through_at_once)
{
	struct token_bucket_conf b = { .size = 100, .one_time_burst = 5000, .refill_time = 1000 };
	struct rate_limiter_conf c = limit(NULL, &b);
	struct rate *r = rate_new(NULL, &c);
	uint64_t began, got;
	struct worker w;

	began = loop_now_ns();
	hire(&w, r, 0, UINT64_MAX);
	await_done(&w, 5100);
	got = atomic_load(&w.done);
	assert_true(got <= 5100 + (loop_now_ns() - began) / MS / 10 + 20);
	fire(&w);
	rate_free(r);
}

static uint64_t all_of(const struct worker w[2])
{
	return atomic_load(&w[0].done) + atomic_load(&w[1].done);
}

TEST(limits_change_under_those_who_wait)
{
	struct token_bucket_conf slow = { .size = 1, .refill_time = 3600000 };
	struct token_bucket_conf quick = { .size = 1000, .refill_time = 100 };
	struct rate_limiter_conf c = limit(NULL, &slow), d = limit(NULL, &quick);
	struct rate *r = rate_new(NULL, &c);
	uint64_t began, got;
	struct worker w[2];

	hire(&w[0], r, 0, UINT64_MAX);
	hire(&w[1], r, 0, UINT64_MAX);
	while (!all_of(w))
		usleep(1000);
	usleep(50000);
	assert_int_equal(all_of(w), 1);
	began = loop_now_ns();
	rate_set(r, &d);
	while (all_of(w) < 1500)
		usleep(1000);
	got = all_of(w);
	assert_true(got <= 1100 + (loop_now_ns() - began) / MS * 10 + 200);
	rate_set(r, NULL);
	await_done(&w[0], 20000);
	await_done(&w[1], 20000);
	rate_set(r, &c);
	fire(&w[0]);
	fire(&w[1]);
	rate_free(r);
}

static unsigned int gone;

static void count_go(void *arg)
{
	(void)arg;
	gone++;
}

static void turns(struct loop *l, int ms)
{
	for (int i = 0; i < ms; i++) {
		loop_stop(l);
		loop_run(l);
		usleep(1000);
	}
}

TEST(who_leaves_or_parts_does_not_stop_those_behind)
{
	struct token_bucket_conf b = { .size = 10, .refill_time = 100 };
	struct rate_limiter_conf c = limit(NULL, &b);
	struct rate *r = rate_new(NULL, &c);
	struct rate_user u[3];
	struct loop *l;
	struct err e = { 0 };

	assert_int_equal(loop_new(&l, "l", &e), 0);
	for (int i = 0; i < 3; i++)
		rate_join(&u[i], r, l, count_go, NULL);
	for (int i = 0; i < 10; i++)
		assert_true(rate_take(&u[0], 1));
	for (int i = 0; i < 3; i++)
		assert_false(rate_take(&u[i], 1));
	rate_leave(&u[0]);
	rate_part(&u[1]);
	gone = 0;
	turns(l, 30);
	assert_int_equal(gone, 1);
	assert_true(rate_take(&u[2], 1));
	assert_false(rate_take(&u[0], 1)); /* nobody overtakes who has the turn */
	rate_leave(&u[2]);
	turns(l, 30);
	assert_int_equal(gone, 2);
	assert_true(rate_take(&u[0], 1));
	rate_leave(&u[0]);
	assert_true(rate_take(&u[2], 1));
	rate_part(&u[0]);
	rate_part(&u[2]);
	turns(l, 3);
	loop_free(l);
	rate_free(r);
}

TEST(groups_are_found_by_name)
{
	struct link groups;
	struct rate *a = rate_new("a", NULL), *b = rate_new("b", NULL);

	list_init(&groups);
	list_add_tail(&groups, &a->link);
	list_add_tail(&groups, &b->link);
	assert_ptr_equal(rate_find(&groups, "b"), b);
	assert_null(rate_find(&groups, "c"));
	rate_free(a);
	rate_free(b);
	assert_true(list_empty(&groups));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(steady_rates_are_kept_whatever_the_bucket),
		T(a_group_shares_alike_however_large_the_requests),
		T(a_burst_goes_through_at_once),
		T(limits_change_under_those_who_wait),
		T(who_leaves_or_parts_does_not_stop_those_behind),
		T(groups_are_found_by_name),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
