/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio clock: what it says of itself and of the time, and to requests that are wrong. virtio
 * 1.4, RTC device.
 */
#include "conf/conf.h"

#include "test.h"

#include <time.h>

#include "dev/rtc.h"
#include "virtio/drive.h"

#define ANSWER (BUF + 0x100)
#define UNTOUCHED 0x5a5a5a5a5a5a5a5aull

static struct rtc_conf conf;

static void up(struct rig *r)
{
	rig_init(r);
	rig_add(r, &rtc_class, &conf);
	drv_start(r, 0);
}

/* One request with rlen bytes and room for wlen; returns the bytes written. */
static uint32_t ask(struct rig *r, uint32_t head, uint32_t which, uint32_t rlen, uint32_t wlen)
{
	uint16_t n = drv_used(r, 0);

	mem_wr(r, BUF, 8, head);
	mem_wr(r, BUF + 8, 8, which);
	for (uint64_t i = 0; i < 64; i += 8)
		mem_wr(r, ANSWER + i, 8, UNTOUCHED);
	drv_desc(r, 0, 0, BUF, rlen, F_NEXT, 1);
	drv_desc(r, 0, 1, ANSWER, wlen, F_WRITE, 0);
	drv_offer(r, 0, 0);
	drv_kick(r, 0);
	rig_turn(r, 3);
	return drv_used(r, 0) == n ? 0 : drv_used_len(r, 0, n);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

TEST(it_reads_as_the_wall_clock)
{
	uint64_t before = now();
	struct rig r;

	up(&r);
	assert_int_equal(ask(&r, 1, 0, 16, 16), 16);
	assert_int_equal(mem_rd(&r, ANSWER, 8), 0);
	assert_in_range(mem_rd(&r, ANSWER + 8, 8), before, now());
	rig_fini(&r);
}

TEST(it_tells_of_one_clock_without_alarm_or_counter)
{
	struct rig r;

	up(&r);
	assert_int_equal(ask(&r, 0x1000, 0, 8, 16), 16);
	assert_int_equal(mem_rd(&r, ANSWER + 8, 8), 1);
	assert_int_equal(ask(&r, 0x1001, 0, 16, 16), 16);
	assert_int_equal(mem_rd(&r, ANSWER + 8, 8), 4);
	assert_int_equal(ask(&r, 0x1002, 1u << 16, 16, 16), 16);
	assert_int_equal(mem_rd(&r, ANSWER + 8, 8), 0);
	rig_fini(&r);
}

TEST(a_wrong_request_gets_a_status_and_nothing_else)
{
	static const struct {
		uint32_t head, which, rlen, wlen, status;
	} bad[] = {
		{ 1, 1, 16, 16, 3 },	  { 0x1001, 0xffff, 16, 16, 3 }, { 0x1002, 1, 16, 16, 3 },
		{ 2, 0, 16, 16, 2 },	  { 0x1005, 0, 16, 16, 2 },	 { 0, 0, 16, 16, 2 },
		{ 0xffff, 0, 16, 16, 2 }, { 1, 0, 15, 16, 4 },		 { 1, 0, 7, 16, 4 },
		{ 1, 0, 1, 16, 4 },	  { 1, 0, 16, 15, 4 },		 { 0x1000, 0, 8, 8, 4 },
	};
	struct rig r;

	up(&r);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(ask(&r, bad[i].head, bad[i].which, bad[i].rlen, bad[i].wlen), 8);
		assert_int_equal(mem_rd(&r, ANSWER, 8), bad[i].status);
		assert_int_equal(mem_rd(&r, ANSWER + 8, 8), UNTOUCHED);
	}
	assert_int_equal(ask(&r, 1, 0, 16, 3), 3); /* as much of the status as there is room for */
	assert_int_equal(mem_rd(&r, ANSWER, 8), UNTOUCHED >> 24 << 24 | 4);
	rig_fini(&r);
}

TEST(more_than_is_needed_does_no_harm)
{
	struct rig r;

	up(&r);
	assert_int_equal(ask(&r, 1, 0, 48, 48), 16);
	assert_int_equal(mem_rd(&r, ANSWER, 8), 0);
	assert_int_equal(mem_rd(&r, ANSWER + 16, 8), UNTOUCHED);
	rig_fini(&r);
}

TEST(a_request_without_room_for_a_status_breaks_it_off)
{
	struct rig r;

	up(&r);
	drv_desc(&r, 0, 0, BUF, 16, 0, 0);
	drv_offer(&r, 0, 0);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_status(&r), 15 | 64);
	drv_start(&r, 0);
	assert_int_equal(ask(&r, 1, 0, 16, 16), 16);
	rig_fini(&r);
}

TEST(a_ring_full_of_requests_is_answered_in_order)
{
	struct rig r;

	up(&r);
	for (uint16_t i = 0; i < 8; i++) {
		mem_wr(&r, BUF + i * 64u, 8, 1);
		mem_wr(&r, BUF + i * 64u + 8, 8, 0);
		drv_desc(&r, 0, 2u * i, BUF + i * 64u, 16, F_NEXT, (uint16_t)(2 * i + 1));
		drv_desc(&r, 0, 2u * i + 1, BUF + i * 64u + 32, 16, F_WRITE, 0);
		drv_offer(&r, 0, (uint16_t)(2 * i));
	}
	drv_kick(&r, 0);
	rig_turn(&r, 4);
	assert_int_equal(drv_used(&r, 0), 8);
	for (uint16_t i = 0; i < 8; i++)
		assert_int_equal(drv_used_head(&r, 0, i), 2 * i);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(it_reads_as_the_wall_clock),
		T(it_tells_of_one_clock_without_alarm_or_counter),
		T(a_wrong_request_gets_a_status_and_nothing_else),
		T(more_than_is_needed_does_no_harm),
		T(a_request_without_room_for_a_status_breaks_it_off),
		T(a_ring_full_of_requests_is_answered_in_order),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
