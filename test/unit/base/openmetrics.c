/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the form of metrics (src/base/openmetrics.c). */
#include "test.h"

#include <string.h>

#include "base/openmetrics.h"

static const struct om_family bytes = { "a_read_bytes", OM_COUNTER, "bytes",
					"what was \"read\"\\\n" };
static const struct om_family time_s = { "a_time_seconds", OM_GAUGE, "seconds", "how long" };
static const struct om_family plain = { "a_things", OM_GAUGE, NULL, "things" };
static const struct om_family build = { "a_build", OM_INFO, NULL, "which" };
static const struct om_family took = { "a_took_seconds", OM_HISTOGRAM, "seconds", "how long" };

TEST(a_family_says_type_unit_and_meaning)
{
	AUTO_STR struct str s = { 0 };

	om_begin(&s, &bytes);
	om_put(&s, &bytes, NULL, 18446744073709551615ull);
	om_end(&s);
	assert_string_equal(str_text(&s), "# TYPE a_read_bytes counter\n"
					  "# UNIT a_read_bytes bytes\n"
					  "# HELP a_read_bytes what was \\\"read\\\"\\\\\\n\n"
					  "a_read_bytes_total 18446744073709551615\n"
					  "# EOF\n");
}

TEST(labels_are_quoted)
{
	const struct om_label l[] = { { "id", "a\"b\\c\nd" }, { "vcpu", "0" }, { NULL, NULL } };
	AUTO_STR struct str s = { 0 };

	om_put(&s, &plain, l, 3);
	om_put(&s, &build, l + 1, 1);
	om_put_ns(&s, &time_s, l + 2, 1000000001);
	assert_string_equal(str_text(&s), "a_things{id=\"a\\\"b\\\\c\\nd\",vcpu=\"0\"} 3\n"
					  "a_build_info{vcpu=\"0\"} 1\n"
					  "a_time_seconds 1.000000001\n");
}

TEST(steps_of_times_add_up)
{
	const struct om_label l[] = { { "route", "vm.info" }, { NULL, NULL } };
	AUTO_STR struct str s = { 0 };
	struct om_times t = { 0 };

	om_time(&t, 1);
	om_time(&t, 100000);
	om_time(&t, 100001);
	om_time(&t, 11000000000);
	assert_int_equal(t.max_ns, 11000000000);
	om_put_times(&s, &took, l, &t);
	assert_non_null(
		strstr(str_text(&s), "a_took_seconds_bucket{route=\"vm.info\",le=\"0.0001\"} 2\n"));
	assert_non_null(strstr(str_text(&s), "le=\"0.00025\"} 3\n"));
	assert_non_null(strstr(str_text(&s), "le=\"10.0\"} 3\n"));
	assert_non_null(strstr(str_text(&s), "le=\"+Inf\"} 4\n"));
	assert_non_null(strstr(str_text(&s), "a_took_seconds_count{route=\"vm.info\"} 4\n"));
	assert_non_null(
		strstr(str_text(&s), "a_took_seconds_sum{route=\"vm.info\"} 11.000200002\n"));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_family_says_type_unit_and_meaning),
		T(labels_are_quoted),
		T(steps_of_times_add_up),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
