/* SPDX-License-Identifier: Apache-2.0 */
/* Wishes for pages of guest memory: what is refused, and that marks are what a model says, and bounded. */
#include "mem/advice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/mem.h"
#include "test.h"

#define PAGE KIB(4)
#define PAGES 2048
#define BLOCKS MIB(32)

/* 8 MiB, and blocks of which one is plugged. */
static struct gmem *memory(void)
{
	const struct backing_args how = { .later = MIB(8) };
	struct gmem_plan plan = {
		.zones = 1,
		.parts = 2,
		.part = { { .size = PAGES * PAGE },
			  { GPA(BLOCKS), MIB(8), 0, PAGES * PAGE, MIB(2) } },
	};
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(backing_open(&plan.zone[0], PAGES * PAGE, &how, &e), 0);
	assert_int_equal(gmem_lay(m, &plan, &e), 0);
	assert_int_equal(gmem_plug(m, GPA(BLOCKS + MIB(2)), MIB(2), &e), 0);
	return m;
}

static void end(struct advice_marks *s, struct gmem *m)
{
	desc_free(&advice_desc, s);
	gmem_free(m);
}

TEST(only_whole_pages_of_memory_are_taken)
{
	static const struct {
		uint64_t at, len;
	} bad[] = {
		{ 0, 0 },
		{ 1, PAGE },
		{ 0, PAGE + 1 },
		{ 0, PAGES * PAGE + PAGE },
		{ PAGES * PAGE, PAGE },
		{ 0, UINT64_MAX - PAGE + 1 },
		{ UINT64_MAX - PAGE + 1, PAGE },
		{ BLOCKS, PAGE },
		{ BLOCKS + MIB(2), MIB(4) },
	};
	struct advice_marks s = { 0 };
	struct gmem *m = memory();

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		for (int what = 0; what <= ADVICE_NAME; what++)
			assert_int_equal(advice_give(&s, m, GPA(bad[i].at), bad[i].len,
						     (enum advice)what, 1),
					 EINVAL);
	assert_int_equal(s.marks.count, 0);
	assert_int_equal(advice_give(&s, m, GPA(BLOCKS + MIB(2)), MIB(2), ADVICE_LOCK, 0), 0);
	assert_int_equal(advice_give(&s, m, GPA(BLOCKS + MIB(2)), MIB(2), ADVICE_UNLOCK, 0), 0);
	assert_int_equal(s.marks.count, 0);
	end(&s, m);
}

TEST(pages_that_are_swapped_out_leave_no_mark)
{
	struct advice_marks s = { 0 };
	struct gmem *m = memory();

	assert_int_equal(gmem_write(m, GPA(PAGE), "kept", 4), 0);
	assert_int_equal(advice_give(&s, m, GPA(0), MIB(1), ADVICE_PAGEOUT, 0), 0);
	assert_int_equal(s.marks.count, 0);
	end(&s, m);
}

TEST(memory_that_is_locked_can_be_given_back)
{
	struct advice_marks s = { 0 };
	struct gmem *m = memory();
	struct err e = { 0 };
	char there[4];

	assert_int_equal(gmem_write(m, GPA(PAGE), "gone", 4), 0);
	assert_int_equal(advice_give(&s, m, GPA(0), MIB(1), ADVICE_LOCK, 0), 0);
	assert_int_equal(gmem_discard(m, GPA(0), MIB(1), &e), 0);
	assert_int_equal(gmem_read(m, GPA(PAGE), there, 4), 0);
	assert_memory_equal(there, "\0\0\0\0", 4);
	end(&s, m);
}

/* What each page is, by the marks. */
static bool locked_at(const struct advice_marks *s, uint64_t page)
{
	bool locked = false;

	for (uint32_t i = 0; i < s->marks.count && s->marks.items[i].from <= page * PAGE; i++)
		locked = s->marks.items[i].locked;
	return locked;
}

TEST(every_history_of_locks_is_what_its_model_says)
{
	static bool model[PAGES];
	struct advice_marks s = { 0 };
	struct gmem *m = memory();

	srand(1);
	for (int i = 0; i < 600; i++) {
		uint64_t from = (uint64_t)rand() % 64, n = (uint64_t)rand() % (64 - from) + 1;
		bool lock = rand() % 2;

		assert_int_equal(advice_give(&s, m, GPA(from * PAGE), n * PAGE,
					     lock ? ADVICE_LOCK : ADVICE_UNLOCK, 0),
				 0);
		memset(model + from, lock, n);
		for (uint64_t p = 0; p < 66; p++)
			assert_int_equal(locked_at(&s, p), model[p]);
		assert_true(advice_sound(&s));
		for (uint32_t k = 1; k < s.marks.count; k++)
			assert_true(s.marks.items[k].locked != s.marks.items[k - 1].locked);
	}
	end(&s, m);
}

TEST(marks_are_bounded_and_become_fewer_even_then)
{
	struct advice_marks s = { 0 };
	struct gmem *m = memory();
	uint64_t n = 0;

	while (n < PAGES / 2 && !advice_give(&s, m, GPA(2 * n * PAGE), PAGE, ADVICE_LOCK, 0))
		n++;
	assert_int_equal(n, ADVICE_MARKS_MAX / 2);
	assert_int_equal(s.marks.count, ADVICE_MARKS_MAX);
	assert_int_equal(advice_give(&s, m, GPA(2 * n * PAGE), PAGE, ADVICE_LOCK, 0), ENOMEM);
	assert_int_equal(advice_give(&s, m, GPA(0), PAGES * PAGE, ADVICE_UNLOCK, 0), 0);
	assert_int_equal(s.marks.count, 0);
	end(&s, m);
}

static bool is_locked(const struct gmem *m, uint64_t page)
{
	char *host = (char *)gmem_region(m, 0)->host;

	return madvise(host + page * PAGE, PAGE, MADV_DONTNEED) < 0;
}

TEST(marks_are_set_again_for_new_memory)
{
	struct advice_marks s = { 0 };
	struct gmem *m = memory();

	assert_int_equal(advice_give(&s, m, GPA(PAGE), 4 * PAGE, ADVICE_LOCK, 0), 0);
	assert_int_equal(advice_give(&s, m, GPA(2 * PAGE), PAGE, ADVICE_UNMERGE, 0), 0);
	assert_int_equal(s.marks.count, 4);
	gmem_free(m);
	m = memory();
	assert_int_equal(advice_again(&s, m, GPA(2 * PAGE), PAGE), 0);
	for (uint64_t n = 0; n < 6; n++)
		assert_int_equal(is_locked(m, n), n == 2);
	assert_int_equal(advice_again(&s, m, GPA(0), gmem_end(m)), 0);
	for (uint64_t n = 0; n < 6; n++)
		assert_int_equal(is_locked(m, n), n >= 1 && n < 5);
	end(&s, m);
}

TEST(marks_that_cannot_be_are_found)
{
	struct advice_mark k[] = { { .from = PAGE, .locked = 1 }, { .from = 2 * PAGE } };
	struct advice_marks s = { .marks = { ARRAY_LEN(k), k } };

	assert_true(advice_sound(&s));
	k[1].from = PAGE;
	assert_false(advice_sound(&s));
	k[1].from = 2 * PAGE + 1;
	assert_false(advice_sound(&s));
	s.marks.count = ADVICE_MARKS_MAX + 1;
	assert_false(advice_sound(&s));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(only_whole_pages_of_memory_are_taken),
		T(pages_that_are_swapped_out_leave_no_mark),
		T(memory_that_is_locked_can_be_given_back),
		T(every_history_of_locks_is_what_its_model_says),
		T(marks_are_bounded_and_become_fewer_even_then),
		T(marks_are_set_again_for_new_memory),
		T(marks_that_cannot_be_are_found),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
