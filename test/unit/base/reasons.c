/* SPDX-License-Identifier: Apache-2.0 */
/* Several reasons as one error. */
#include "base/reasons.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

TEST(none_is_no_error)
{
	struct reasons r = { 0 };
	struct err e = { 0 };

	assert_int_equal(reasons_end(&r, &e), 0);
	assert_int_equal(e.kind, ERR_NONE);
}

TEST(one_is_told_as_it_came)
{
	struct reasons r = { 0 };
	struct err e = { 0 };

	err_set(&e, ERR_TAKEN, "root");
	err_in(&e, "outside");
	reasons_add(&r, &e);
	assert_int_equal(e.kind, ERR_NONE);
	assert_int_equal(reasons_end(&r, &e), -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	assert_string_equal(err_frame(&e, 0), "outside");
	assert_string_equal(err_frame(&e, 1), "root");
}

TEST(many_are_told_in_one_sentence_with_the_kind_of_the_first)
{
	struct reasons r = { 0 };
	struct err e = { 0 };

	err_set(&e, ERR_ABSENT, "a");
	reasons_add(&r, &e);
	err_set(&e, ERR_BAD, "b");
	err_in(&e, "c");
	reasons_add(&r, &e);
	assert_int_equal(reasons_end(&r, &e), -1);
	assert_int_equal(e.kind, ERR_ABSENT);
	assert_string_equal(err_frame(&e, 0), "2 things are in the way: (1) a (2) c: b");
}

TEST(more_than_fit_leave_room_for_who_tells_where_and_are_in_the_log)
{
	struct reasons r = { 0 };
	struct err e = { 0 };
	char line[256];
	size_t lines = 0;
	FILE *log = tmpfile();

	log_init(LOG_WARN, fileno(log));
	for (unsigned int i = 0; i < 5000; i++) {
		err_set(&e, ERR_BAD, "a reason of some length, which is number %u", i);
		reasons_add(&r, &e);
	}
	assert_int_equal(reasons_end(&r, &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "5000 things are in the way: (1) a reason"));
	assert_non_null(strstr(err_frame(&e, 0), " ... the others are in the log"));
	err_in(&e, "where");
	assert_string_equal(err_frame(&e, 0), "where");
	rewind(log);
	while (fgets(line, sizeof(line), log))
		lines += strstr(line, "in the way: (") != NULL;
	assert_true(lines >= 100); /* the log bounds itself */
	fclose(log);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(none_is_no_error),
		T(one_is_told_as_it_came),
		T(many_are_told_in_one_sentence_with_the_kind_of_the_first),
		T(more_than_fit_leave_room_for_who_tells_where_and_are_in_the_log),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
