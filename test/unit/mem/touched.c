/* SPDX-License-Identifier: Apache-2.0 */
/* A record of what was touched: read as it was written, or taken for none. */
#include "mem/touched.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"
#include "test.h"

TEST(what_was_written_is_read_in_its_order)
{
	AUTO_FD int fd = memfd_create("touched", MFD_CLOEXEC);
	struct touched t = { 0 }, back;
	struct err e = { 0 };

	for (uint32_t i = 0; i < TOUCHED_MAX + 5; i++)
		touched_add(&t, i * 7919 % 20000);
	touched_add(&t, 1ull << 40);
	assert_int_equal(t.count, TOUCHED_MAX);
	assert_int_equal(touched_write(&t, fd, GIB(2), &e), 0);
	assert_int_equal(touched_read(&back, fd, GIB(2), &e), 0);
	assert_int_equal(back.count, t.count);
	assert_memory_equal(back.piece, t.piece, t.count * sizeof(t.piece[0]));
	touched_fini(&back);
	/* a shorter one leaves nothing of the longer */
	t.count = 3;
	assert_int_equal(touched_write(&t, fd, GIB(2), &e), 0);
	assert_int_equal(touched_read(&back, fd, GIB(2), &e), 0);
	assert_int_equal(back.count, 3);
	touched_fini(&back);
	assert_int_equal(touched_read(&back, fd, GIB(1), &e), -1);
	assert_int_equal(back.count, 0);
	touched_fini(&t);
}

TEST(what_is_none_is_taken_for_none)
{
	static const char *const bad[] = {
		"",
		"touched 1 1048576",
		"touched 1 1048576\n",
		"touched 2 1048576\nend 0\n",
		"touched 1 1048577\nend 0\n",
		"touched 1 1048576\nend 1\n",
		"touched 1 1048576\n0\n1\nend 1\n",
		"touched 1 1048576\n0\nend 1",
		"touched 1 1048576\n0\nend 1\nx",
		"touched 1 1048576\n0\nend\n",
		"touched 1 1048576\n\nend 1\n",
		"touched 1 1048576\n10\nend 1\n", /* behind its end */
		"touched 1 1048576\n-1\nend 1\n",
		"touched 1 1048576\n0x1\nend 1\n",
		"touched 1 1048576\n10000000000000000\nend 1\n",
		"touched 1 1048576\n1000000000000000000000000000001\nend 1\n",
	};
	struct touched t;
	struct err e = { 0 };

	assert_int_equal(touched_parse(&t, "touched 1 1048576\n0\nf\nend 2\n", MIB(1), &e), 0);
	assert_int_equal(t.count, 2);
	assert_int_equal(t.piece[1], 15);
	touched_fini(&t);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (touched_parse(&t, bad[i], MIB(1), &e) == 0)
			fail_msg("%s", bad[i]);
		assert_null(t.piece);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_was_written_is_read_in_its_order),
		T(what_is_none_is_taken_for_none),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
