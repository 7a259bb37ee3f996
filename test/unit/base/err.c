/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the error value (src/base/err.c): order of frames, bounds, kinds. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

TEST(err_line_reads_from_the_outside_to_the_root)
{
	struct err e = { 0 };
	char line[128];

	errno = ENOENT;
	assert_int_equal(err_os(&e, ERR_IO, "open %s", "/x.qcow2"), -1);
	assert_int_equal(err_in(&e, "disk %s", "d0"), -1);
	err_in(&e, "vm.add-disk");
	assert_string_equal(err_line(&e, line, sizeof(line)),
			    "vm.add-disk: disk d0: open /x.qcow2: No such file or directory");
	assert_string_equal(err_frame(&e, 0), "vm.add-disk");
	assert_string_equal(err_frame(&e, 2), "open /x.qcow2: No such file or directory");
	assert_null(err_frame(&e, 3));
	assert_int_equal(e.os, ENOENT);
	assert_int_equal(e.kind, ERR_IO);
}

TEST(err_of_a_missing_right_is_of_kind_denied)
{
	struct err e = { 0 };

	errno = EACCES;
	err_os(&e, ERR_IO, "open /dev/kvm");
	assert_int_equal(e.kind, ERR_DENIED);
	errno = EPERM;
	err_os(&e, ERR_BAD, "open /dev/kvm");
	assert_int_equal(e.kind, ERR_BAD);
}

TEST(err_set_drops_what_was_there_and_may_quote_it)
{
	struct err e = { 0 };

	err_set(&e, ERR_BAD, "first");
	err_in(&e, "frame");
	err_set(&e, ERR_STATE, "second after %s", err_frame(&e, 1));
	assert_int_equal(e.count, 1);
	assert_int_equal(e.kind, ERR_STATE);
	assert_int_equal(e.os, 0);
	assert_string_equal(err_frame(&e, 0), "second after first");
}

TEST(err_keeps_the_cause_of_a_long_name)
{
	static char name[4000];
	struct err e = { 0 };
	const char *root;

	memset(name, 'n', sizeof(name) - 1);
	errno = ENOSPC;
	err_os(&e, ERR_IO, "write %s", name);
	root = err_frame(&e, 0);
	assert_string_equal(root + strlen(root) - 25, ": No space left on device");
	assert_true(e.used <= ERR_TEXT);
}

TEST(err_drops_frames_that_do_not_fit_but_never_the_root)
{
	static char name[1000];
	struct err e = { 0 };

	memset(name, 'n', sizeof(name) - 1);
	err_set(&e, ERR_BAD, "root");
	for (int i = 0; i < 40; i++)
		err_in(&e, "frame %d", i);
	assert_int_equal(e.count, ERR_FRAMES);
	assert_string_equal(err_frame(&e, ERR_FRAMES - 1), "root");
	err_set(&e, ERR_BAD, "root");
	err_in(&e, "%s", name);
	err_in(&e, "%s", name);
	assert_int_equal(e.count, 2);
	err_in(&e, "small");
	assert_string_equal(err_frame(&e, 0), "small");
}

TEST(err_line_is_cut_to_the_buffer)
{
	struct err e = { 0 };
	char line[8];

	err_set(&e, ERR_BAD, "a long sentence");
	err_in(&e, "frame");
	assert_string_equal(err_line(&e, line, sizeof(line)), "frame: ");
	err_clear(&e);
	assert_string_equal(err_line(&e, line, sizeof(line)), "");
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(err_line_reads_from_the_outside_to_the_root),
		T(err_of_a_missing_right_is_of_kind_denied),
		T(err_set_drops_what_was_there_and_may_quote_it),
		T(err_keeps_the_cause_of_a_long_name),
		T(err_drops_frames_that_do_not_fit_but_never_the_root),
		T(err_line_is_cut_to_the_buffer),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
