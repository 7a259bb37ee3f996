/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about reading OpenMetrics text (src/base/omread.c). */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/omread.h"
#include "base/openmetrics.h"

TEST(what_we_write_is_read_back)
{
	static const struct om_family f = { "a_read_bytes", OM_COUNTER, "bytes", "what was read" };
	const struct om_label l[] = { { "device", "_disk\"0\\" }, { "x", "" }, { NULL, NULL } };
	AUTO_STR struct str s = { 0 };
	struct omread_sample o;
	const char *at;

	om_begin(&s, &f);
	om_put(&s, &f, l, 7);
	om_put_ns(&s, &f, NULL, 1500000000);
	om_end(&s);
	at = str_text(&s);
	assert_true(omread_next(&at, &o));
	assert_string_equal(o.name, "a_read_bytes_total");
	assert_int_equal(o.labels, 2);
	assert_string_equal(omread_label(&o, "device"), "_disk\"0\\");
	assert_string_equal(omread_label(&o, "x"), "");
	assert_string_equal(omread_label(&o, "y"), "");
	assert_true(o.value == 7);
	assert_true(omread_next(&at, &o));
	assert_int_equal(o.labels, 0);
	assert_true(o.value == 1.5);
	assert_false(omread_next(&at, &o));
	assert_false(omread_next(&at, &o));
}

TEST(lines_that_are_none_are_passed_over)
{
	static const char *const bad[] = {
		"",	      "# HELP x y",  "a",	    "a ",
		"a  1",	      "a x",	     "a{ 1",	    "a{b} 1",
		"a{b=1} 1",   "a{b=\"c} 1",  "a{b=\"c\" 1", "a{b=\"\\x\"} 1",
		"{b=\"\"} 1", "a{b=\"c\"}1", "a{b=\"\\",    "a 1x",
		"a{,} 1",
	};
	struct omread_sample o;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_FREE char *text = mem_fmt("%s\ngood 2\n", bad[i]);
		const char *at = text;

		if (!omread_next(&at, &o) || strcmp(o.name, "good") != 0)
			fail_msg("\"%s\" is taken for a sample", bad[i]);
	}
}

TEST(what_is_too_long_or_steers_a_terminal_does_not_get_through)
{
	char text[4000];
	struct omread_sample o;
	const char *at = text;

	memset(text, 'a', sizeof(text));
	snprintf(text + 3000, 1000, " 1\nb{c=\"\033[2J\t\"} 1 99\nd 1");
	assert_true(omread_next(&at, &o));
	assert_string_equal(o.name, "b");
	assert_string_equal(omread_label(&o, "c"), "?[2J?");
	/* a last line that is cut is none */
	assert_false(omread_next(&at, &o));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_we_write_is_read_back),
		T(lines_that_are_none_are_passed_over),
		T(what_is_too_long_or_steers_a_terminal_does_not_get_through),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
