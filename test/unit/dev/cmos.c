/* SPDX-License-Identifier: Apache-2.0 */
/* CMOS: the clock is the host's, sizes are where firmware looks, and memory is memory. */
#include "test.h"

#include <time.h>

#include "dev/cmos.h"
#include "fakeboard.h"

static struct cmos_conf conf = { .at.place[0] = { FIXED_PIO, 0x70 },
				 .ram_low = 3ull << 30,
				 .ram_high = 5ull << 30 };

static void begin(void)
{
	fake_begin();
	fake_add(&cmos_class, &conf);
}
static uint32_t rd(uint32_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}
static void wr(uint32_t reg, uint32_t v)
{
	outb(0x70, reg);
	outb(0x71, v);
}
static int bcd(uint32_t v)
{
	return (int)((v >> 4) * 10 + (v & 15));
}
static time_t clock_read(void)
{
	struct tm t = { .tm_sec = bcd(rd(0)),
			.tm_min = bcd(rd(2)),
			.tm_hour = bcd(rd(4)),
			.tm_mday = bcd(rd(7)),
			.tm_mon = bcd(rd(8)) - 1,
			.tm_year = bcd(rd(9)) + bcd(rd(0x32)) * 100 - 1900 };

	return timegm(&t);
}

TEST(the_clock_is_the_hosts_in_utc)
{
	time_t now, seen;

	begin();
	/* not in the last quarter of a millisecond of a second */
	while (rd(0x0a) & 0x80)
		;
	seen = clock_read();
	now = time(NULL);
	assert_true(seen >= now - 2 && seen <= now + 1);
	assert_int_equal(bcd(rd(6)), gmtime(&now)->tm_wday + 1);
	assert_int_equal(rd(0x0a) & 0x7f, 0x26);
	assert_int_equal(rd(0x0b), 2);
	assert_int_equal(rd(0x0d), 0x80);
	fake_end();
}

TEST(the_clock_speaks_binary_and_twelve_hours_when_told)
{
	time_t now;
	struct tm t;
	uint32_t hour, month;

	begin();
	wr(0x0b, 0x04);
	do {
		now = time(NULL);
		hour = rd(4);
		month = rd(8);
	} while (now != time(NULL));
	gmtime_r(&now, &t);
	assert_int_equal(month, t.tm_mon + 1);
	assert_int_equal(hour & 0x7f, (t.tm_hour + 11) % 12 + 1);
	assert_int_equal(hour >> 7, t.tm_hour >= 12);
	fake_end();
}

TEST(memory_sizes_are_told_in_64_kib)
{
	begin();
	assert_int_equal(rd(0x34) | rd(0x35) << 8, ((3u << 30) - (16u << 20)) >> 16);
	assert_int_equal(rd(0x5b) | rd(0x5c) << 8 | rd(0x5d) << 16, (5ull << 30) >> 16);
	fake_end();
	conf.ram_low = 1 << 20;
	conf.ram_high = 1ull << 50;
	begin();
	assert_int_equal(rd(0x34) | rd(0x35) << 8, 0);
	assert_int_equal(rd(0x5b) | rd(0x5c) << 8 | rd(0x5d) << 16, 0xffffff);
	fake_end();
}

TEST(other_bytes_are_memory)
{
	begin();
	wr(0x7f, 0xa5);
	wr(0x0f, 0x0a);
	assert_int_equal(rd(0x7f), 0xa5);
	assert_int_equal(rd(0xff), 0xa5);
	assert_int_equal(rd(0x0f), 0x0a);
	assert_int_equal(inb(0x70), 0x0f);
	wr(0, 0x77);
	assert_int_not_equal(rd(0), 0x77);
	wr(0x0d, 0);
	assert_int_equal(rd(0x0d), 0x80);
	fake_end();
}

TEST(zero_at_0x8f_resets)
{
	begin();
	wr(0x0f, 0);
	wr(0x8f, 1);
	assert_int_equal(fake.resets, 0);
	wr(0x8f, 0);
	assert_int_equal(fake.resets, 1);
	fake_end();
}

TEST(registers_take_harm_without_harm)
{
	begin();
	fake_hammer(fake.board.pio, 0x6e, 6, 100000);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_clock_is_the_hosts_in_utc),
		T(the_clock_speaks_binary_and_twelve_hours_when_told),
		T(memory_sizes_are_told_in_64_kib),
		T(other_bytes_are_memory),
		T(zero_at_0x8f_resets),
		T(registers_take_harm_without_harm),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
