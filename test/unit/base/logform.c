/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about templates of log lines (src/base/logform.c). */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/logform.h"
#include "base/mem.h"

/* 2024-01-15 10:30:45.123456 UTC */
static const struct log_record record = {
	.level = LOG_INFO,
	.file = "disk.c",
	.thread = "vcpu0",
	.msg = "it {works}",
	.line = 42,
	.since_ns = 1234567890,
	.wall = { .tv_sec = 1705314645, .tv_nsec = 123456789 },
};

static const char *filled(const char *template)
{
	static char text[256];
	struct log_form f;
	struct err e = { 0 };

	assert_int_equal(log_form_parse(&f, template, &e), 0);
	text[log_form_fill(text, sizeof(text) - 1, &f, &record)] = '\0';
	return text;
}

TEST(log_form_fills_in_every_token)
{
	static const struct {
		const char *template, *want;
	} cases[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "{boottime}", "  1.234567" },
		{ "{wallclock}", "2024-01-15T10:30:45.123456Z" },
		{ "{glog}", "0115 10:30:45.123456" },
		{ "{thread}|{level}|{levelchar}", "vcpu0|INFO|I" },
		{ "{location} -- {msg}", "disk.c:42 -- it {works}" },
		{ "{year}-{month}-{day} {hour}:{minute}:{second}.{micros}{offset}",
		  "2024-01-15 10:30:45.123456+00:00" },
		{ "{{{level}}}", "{INFO}" },
		{ "a{{b}}c", "a{b}c" },
		{ "{msg}{msg}", "it {works}it {works}" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(filled(cases[i].template), cases[i].want);
}

TEST(log_form_says_who_speaks)
{
	char want[64];

	snprintf(want, sizeof(want), "%d %d", (int)getpid(), (int)gettid());
	assert_string_equal(filled("{pid} {tid}"), want);
}

TEST(log_form_has_a_local_time)
{
	setenv("TZ", "XYZ-05:30", 1);
	assert_string_equal(filled("{localglog}"), "0115 16:00:45.123456");
	assert_string_equal(filled("{localyear}{localmonth}{localday} {localhour}{localminute}"
				   "{localsecond} {localmicros} {localoffset}"),
			    "20240115 160045 123456 +05:30");
	setenv("TZ", "ABC08", 1);
	assert_string_equal(filled("{localoffset} {hour} {localhour}"), "-08:00 10 02");
	unsetenv("TZ");
}

TEST(log_form_refuses_what_it_does_not_know)
{
	static const char *const bad[] = { "{",	    "}",	 "{msg",	   "msg}",
					   "{}",    "{message}", "{localmsg}",	   "{local}",
					   "{Msg}", "{msg }",	 "{localboottime}" };
	struct log_form f;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = { 0 };

		assert_int_equal(log_form_parse(&f, bad[i], &e), -1);
		assert_int_equal(e.kind, ERR_BAD);
	}
}

TEST(log_form_is_bounded)
{
	char many[LOG_FORM_PIECES * 6], longer[LOG_FORM_BYTES + 2], out[8];
	struct err e = { 0 };
	struct log_form f;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(log_form_parse(&f, longer, &e), -1);
	many[0] = '\0';
	for (int i = 0; i < LOG_FORM_PIECES; i++)
		strcat(many, "{msg}");
	assert_int_equal(log_form_parse(&f, many, &e), 0);
	memset(out, '#', sizeof(out));
	assert_int_equal(log_form_fill(out, 5, &f, &record), 4);
	assert_memory_equal(out, "it {", 4);
	assert_int_equal(out[5], '#');
	strcat(many, "x");
	assert_int_equal(log_form_parse(&f, many, &e), -1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(log_form_fills_in_every_token), T(log_form_says_who_speaks),
		T(log_form_has_a_local_time),	  T(log_form_refuses_what_it_does_not_know),
		T(log_form_is_bounded),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
