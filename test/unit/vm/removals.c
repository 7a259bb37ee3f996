/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a removal, and until when. */
#include "test.h"

#include <string.h>

#include "base/event.h"
#include "base/loop.h"
#include "vm/removals.h"

#define MS 1000000ull

static struct loop *loop;
static struct removals s;
static unsigned int answers;
static enum err_kind kind;

static void on_end(void *arg, const struct err *e)
{
	answers++;
	kind = e ? e->kind : ERR_NONE;
	if (arg)
		loop_stop(arg);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void run_for(uint64_t ns)
{
	struct loop_timer t = { 0 };

	loop_timer_set(loop, &t, loop_now_ns() + ns, stop, loop);
	loop_run(loop);
	loop_timer_stop(&t);
}

static void begin(void)
{
	struct err e = { 0 };

	assert_int_equal(loop_new(&loop, "test", &e), 0);
	removals_init(&s, loop);
	answers = 0;
	kind = ERR_NONE;
}

static void end(void)
{
	removals_end(&s);
	loop_free(loop);
}

/* How often it was told that a removal is ignored. */
static uint64_t ignored(void)
{
	for (unsigned int i = 0; i < event_kinds_count; i++)
		if (!strcmp(event_kinds[i].name, "device-removal-ignored"))
			return event_times(i);
	return 0;
}

TEST(all_who_wait_are_answered_when_it_has_left)
{
	begin();
	removals_wait(&s, "a", 1000 * MS, on_end, NULL);
	removals_wait(&s, "b", 1000 * MS, on_end, NULL);
	removals_wait(&s, "a", 1000 * MS, on_end, NULL);
	removals_gone(&s, "a");
	assert_int_equal(answers, 2);
	assert_int_equal(kind, ERR_NONE);
	end();
	assert_int_equal(answers, 3);
	assert_int_equal(kind, ERR_STATE);
}

TEST(who_waits_too_long_is_told_to_come_again)
{
	begin();
	removals_wait(&s, "a", 5 * MS, on_end, loop);
	loop_run(loop);
	assert_int_equal(answers, 1);
	assert_int_equal(kind, ERR_BUSY);
	removals_gone(&s, "a");
	assert_int_equal(answers, 1);
	end();
}

TEST(a_removal_that_is_ignored_is_told_once)
{
	uint64_t before = ignored();

	begin();
	removals_asked(&s, "a", 5 * MS);
	removals_asked(&s, "a", 10 * MS);
	run_for(40 * MS);
	assert_int_equal(ignored() - before, 1);
	removals_asked(&s, "a", 5 * MS);
	removals_gone(&s, "a");
	run_for(20 * MS);
	assert_int_equal(ignored() - before, 1);
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(all_who_wait_are_answered_when_it_has_left),
		T(who_waits_too_long_is_told_to_come_again),
		T(a_removal_that_is_ignored_is_told_once),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
