/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about zones of time (src/base/zone.c), most of them beside the C library's opinion. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/zone.h"

#define YEAR_S 31556952

/* As the C library has it, for the zone in TZ. */
static void assert_as_libc(const struct zone *z, int64_t at)
{
	time_t t = (time_t)at;
	struct tm want, got;

	localtime_r(&t, &want);
	zone_date(&got, at, zone_offset(z, at));
	if (got.tm_gmtoff != want.tm_gmtoff || got.tm_year != want.tm_year ||
	    got.tm_mon != want.tm_mon || got.tm_mday != want.tm_mday ||
	    got.tm_hour != want.tm_hour || got.tm_min != want.tm_min || got.tm_sec != want.tm_sec ||
	    got.tm_wday != want.tm_wday || got.tm_yday != want.tm_yday)
		fail_msg(
			"%s at %lld: %d-%02d-%02d %02d:%02d:%02d, should be %d-%02d-%02d %02d:%02d:%02d",
			getenv("TZ"), (long long)at, got.tm_year, got.tm_mon, got.tm_mday,
			got.tm_hour, got.tm_min, got.tm_sec, want.tm_year, want.tm_mon,
			want.tm_mday, want.tm_hour, want.tm_min, want.tm_sec);
}

/* From now on, a moment every five days and odd seconds, and all around changes. */
static void assert_zone_as_libc(const char *name)
{
	struct zone z;
	int64_t from = time(NULL);
	int32_t before, now;

	setenv("TZ", name, 1);
	tzset();
	zone_read_host(&z);
	before = zone_offset(&z, from);
	for (int64_t at = from; at < from + 25ll * YEAR_S; at += 432017) {
		int64_t low = at - 432017, high = at;

		assert_as_libc(&z, at);
		now = zone_offset(&z, at);
		if (now == before)
			continue;
		while (high - low > 1) {
			int64_t middle = low + (high - low) / 2;

			if (zone_offset(&z, middle) == before)
				low = middle;
			else
				high = middle;
		}
		assert_as_libc(&z, low);
		assert_as_libc(&z, high);
		before = now;
	}
}

TEST(zone_changes_when_the_rule_says)
{
	static const char *const rules[] = {
		"UTC0",
		"XYZ-05:30",
		"ABC08",
		"<+0330>-3:30",
		"CET-1CEST,M3.5.0,M10.5.0/3",
		"EST5EDT,M3.2.0,M11.1.0",
		"PST8PDT",
		"AEST-10AEDT,M10.1.0,M4.1.0/3",
		"NZST-12NZDT,M9.5.0,M4.1.0/3",
		"IST-2IDT,M3.4.4/26,M10.5.0",
		"<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
		"AAA3BBB,J60/12:30:15,J300",
		"AAA3BBB,59,299/23",
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		assert_zone_as_libc(rules[i]);
	unsetenv("TZ");
}

TEST(zone_of_a_file_is_that_of_the_c_library)
{
	static const char *const names[] = {
		"Europe/Berlin",     "America/New_York",  "Asia/Kolkata",
		"Australia/Sydney",  "America/Sao_Paulo", "Africa/Cairo",
		"Africa/Casablanca", "Pacific/Apia",	  "UTC"
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_zone_as_libc(names[i]);
	unsetenv("TZ");
	assert_zone_as_libc("");
	assert_zone_as_libc(":No/Such");
}

TEST(zone_dates_know_leap_years)
{
	struct tm t, want;

	for (int64_t at = -40ll * YEAR_S; at < 600ll * YEAR_S; at += 86400 * 7 + 3601) {
		time_t then = (time_t)at;

		gmtime_r(&then, &want);
		zone_date(&t, at, 0);
		assert_int_equal(t.tm_year, want.tm_year);
		assert_int_equal(t.tm_yday, want.tm_yday);
		assert_int_equal(t.tm_mday, want.tm_mday);
		assert_int_equal(t.tm_sec, want.tm_sec);
	}
	zone_date(&t, INT64_MAX, 0);
	assert_int_equal(t.tm_year, 70);
	zone_date(&t, INT64_MIN, -86399);
	assert_int_equal(t.tm_year, 69);
}

TEST(zone_refuses_what_is_no_rule)
{
	static const char *const bad[] = { "",
					   "A0",
					   "ABC",
					   "ABC25",
					   "ABC1:60",
					   "<AB>",
					   "<>1",
					   "ABC1DEF,",
					   "ABC1DEF,M3.5.0",
					   "ABC1DEF,M13.1.0,M4.1.0",
					   "ABC1DEF,M3.6.0,M4.1.0",
					   "ABC1DEF,J0,J1",
					   "ABC1DEF,M3.5.0,M4.1.0x",
					   "ABC1DEF,M3.5.0/168,M4.1.0",
					   "ABC99999999999" };
	struct zone z;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = { 0 };

		assert_int_equal(zone_read_rule(&z, bad[i], &e), -1);
		assert_int_equal(e.kind, ERR_BAD);
	}
}

/* A file of version 1 with one change, cut anywhere. */
TEST(zone_refuses_a_file_that_is_cut)
{
	uint8_t file[44 + 4 + 1 + 12 + 4] = "TZif";
	struct err e = { 0 };
	struct zone z;

	file[35] = 1; /* times */
	file[39] = 2; /* types */
	file[43] = 4; /* bytes of names */
	file[47] = 100;
	file[48] = 1;
	file[49 + 6 + 2] = 0x0e; /* 3600 s */
	file[49 + 6 + 3] = 0x10;
	assert_int_equal(zone_read_file(&z, file, sizeof(file), 0, &e), 0);
	assert_int_equal(zone_offset(&z, 99), 0);
	assert_int_equal(zone_offset(&z, 100), 3600);
	for (size_t n = 0; n < sizeof(file); n++)
		assert_int_equal(zone_read_file(&z, file, n, 0, &e), -1);
	file[48] = 2;
	assert_int_equal(zone_read_file(&z, file, sizeof(file), 0, &e), -1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(zone_changes_when_the_rule_says), T(zone_of_a_file_is_that_of_the_c_library),
		T(zone_dates_know_leap_years),	    T(zone_refuses_what_is_no_rule),
		T(zone_refuses_a_file_that_is_cut),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
