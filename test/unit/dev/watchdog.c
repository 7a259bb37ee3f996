/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watchdog: what arms it, when it bites, how often, and whose time counts. Long silences are
 * not waited for: they come as saved state.
 */
#include "conf/conf.h"

#include "test.h"

#include <unistd.h>

#include "base/json.h"
#include "dev/watchdog.h"
#include "virtio/drive.h"

static uint32_t resets, told;

static void wish(void *arg, enum board_wish w)
{
	(void)arg;
	resets += w == WISH_RESET;
}

static void event(void *arg, const char *source, const char *name, const char *id)
{
	(void)arg;
	(void)id;
	told += !strcmp(source, "watchdog") && !strcmp(name, "expired");
}

static void up(struct rig *r)
{
	rig_init(r);
	r->size = 8;
	r->b.up = (struct board_up){ .wish = wish, .event = event };
	resets = told = 0;
	rig_add(r, &watchdog_class, NULL);
	drv_start(r, 0);
}

static void ping(struct rig *r, uint16_t flags, uint32_t len)
{
	uint16_t was = drv_used(r, 0);

	drv_desc(r, 0, 0, BUF, len, flags, 0);
	drv_offer(r, 0, 0);
	drv_kick(r, 0);
	for (int i = 0; i < 5 && drv_used(r, 0) == was; i++)
		rig_turn(r, 1);
}

static int64_t saved(struct rig *r, const char *key)
{
	AUTO_JSON struct json *j = dev_save(r->d);

	return json_int(json_get(json_get(j, "state"), key));
}

static void still(struct rig *r)
{
	struct err e = { 0 };

	rig_ok(r->d->class->quiesce(r->d, &e));
}

/* The same device, born anew with so much silence behind it and the next look so far ahead. */
static void reborn(struct rig *r, uint32_t silent_ms, uint32_t check_ms)
{
	struct json *j, *state;
	struct err e = { 0 };

	still(r);
	j = dev_save(r->d);
	state = (struct json *)(uintptr_t)json_get(j, "state");
	json_set_int(state, "silent_ms", silent_ms);
	json_set_int(state, "check_ms", check_ms);
	dev_remove(r->d);
	rig_ok(rig_add_saved(r, &watchdog_class, NULL, j, &e));
	json_put(j);
	r->d->class->resume(r->d);
	rig_turn(r, 2);
}

TEST(a_ping_is_answered_with_a_one)
{
	struct rig r;

	up(&r);
	ping(&r, F_WRITE, 1);
	assert_int_equal(drv_used(&r, 0), 1);
	assert_int_equal(drv_used_len(&r, 0, 0), 1);
	assert_int_equal(mem_rd(&r, BUF, 2), 1);
	ping(&r, F_WRITE, 16);
	assert_int_equal(drv_used_len(&r, 0, 1), 1);
	assert_int_equal(mem_rd(&r, BUF, 8), 1);
	rig_fini(&r);
}

TEST(a_ping_without_room_for_the_answer_is_none)
{
	struct rig r;

	up(&r);
	ping(&r, 0, 1);
	assert_int_equal(drv_status(&r), 15 | 64);
	drv_start(&r, 0);
	ping(&r, F_WRITE, 1);
	assert_int_equal(drv_used(&r, 0), 1);
	rig_fini(&r);
}

TEST(it_sleeps_until_the_first_ping)
{
	struct rig r;

	up(&r);
	reborn(&r, 3600000, 0);
	assert_int_equal(resets, 0);
	rig_fini(&r);
}

TEST(it_bites_once_when_a_look_finds_more_than_20_seconds)
{
	struct rig r;

	up(&r);
	ping(&r, F_WRITE, 1);
	reborn(&r, 15000, 0);
	assert_int_equal(resets, 0);
	reborn(&r, 20000 - 100, 0);
	assert_int_equal(resets, 0);
	reborn(&r, 25000, 10);
	assert_int_equal(resets, 0);
	usleep(15000);
	rig_turn(&r, 3);
	assert_int_equal(resets, 1);
	assert_int_equal(told, 1);
	usleep(5000);
	rig_turn(&r, 3);
	reborn(&r, 40000, 0);
	assert_int_equal(resets, 1);
	rig_fini(&r);
}

TEST(a_ping_in_time_holds_it_off)
{
	struct rig r;

	up(&r);
	ping(&r, F_WRITE, 1);
	reborn(&r, 19000, 20);
	ping(&r, F_WRITE, 1);
	usleep(25000);
	rig_turn(&r, 3);
	assert_int_equal(resets, 0);
	rig_fini(&r);
}

TEST(time_that_the_machine_stands_still_does_not_count)
{
	struct rig r;
	int64_t silent, left;

	up(&r);
	ping(&r, F_WRITE, 1);
	usleep(5000);
	still(&r);
	silent = saved(&r, "silent_ms");
	left = saved(&r, "check_ms");
	assert_in_range(silent, 5, 4000);
	assert_in_range(left, 10000, 15000 - 4);
	usleep(200000);
	r.d->class->resume(r.d);
	still(&r);
	assert_in_range(saved(&r, "silent_ms"), silent, silent + 150);
	assert_in_range(saved(&r, "check_ms"), left - 150, left);
	still(&r); /* twice is as once */
	assert_int_equal(saved(&r, "armed"), 1);
	rig_fini(&r);
}

TEST(a_driver_that_resets_the_device_disarms_it)
{
	struct rig r;

	up(&r);
	ping(&r, F_WRITE, 1);
	drv_reset(&r);
	still(&r);
	assert_int_equal(saved(&r, "armed"), 0);
	rig_fini(&r);
}

TEST(it_counts_on_when_its_ring_is_broken)
{
	struct rig r;

	up(&r);
	ping(&r, F_WRITE, 1);
	ping(&r, 0, 1);
	assert_int_equal(drv_status(&r), 15 | 64);
	reborn(&r, 21000, 0);
	assert_int_equal(resets, 1);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_ping_is_answered_with_a_one),
		T(a_ping_without_room_for_the_answer_is_none),
		T(it_sleeps_until_the_first_ping),
		T(it_bites_once_when_a_look_finds_more_than_20_seconds),
		T(a_ping_in_time_holds_it_off),
		T(time_that_the_machine_stands_still_does_not_count),
		T(a_driver_that_resets_the_device_disarms_it),
		T(it_counts_on_when_its_ring_is_broken),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
