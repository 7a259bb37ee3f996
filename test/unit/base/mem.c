/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about allocation and arenas (src/base/mem.c). */
#include "test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

/* The sanitizers' allocators would end the process before ours can. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

TEST(mem_new_is_zeroed_and_never_null)
{
	AUTO_FREE char *p = mem_new(100);
	AUTO_FREE char *none = mem_new(0);

	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_non_null(none);
}

TEST(mem_resize_zeroes_the_new_tail)
{
	uint32_t *p = mem_resize(NULL, 0, 2, sizeof(*p));

	assert_int_equal(p[0] | p[1], 0);
	p[0] = 1;
	p[1] = 2;
	p = mem_resize(p, 2, 300, sizeof(*p));
	assert_int_equal(p[0], 1);
	assert_int_equal(p[1], 2);
	for (int i = 2; i < 300; i++)
		assert_int_equal(p[i], 0);
	p = mem_resize(p, 300, 1, sizeof(*p));
	assert_int_equal(p[0], 1);
	free(p);
}

TEST(mem_strings_are_copies)
{
	AUTO_FREE char *a = mem_str("hello");
	AUTO_FREE char *b = mem_strn("hello", 2);
	AUTO_FREE char *c = mem_fmt("%s-%d", a, 7);

	assert_string_equal(a, "hello");
	assert_string_equal(b, "he");
	assert_string_equal(c, "hello-7");
}

/* Runs fn in a child with a silent stderr; returns its wait status. */
static int in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		close(STDERR_FILENO);
		fn();
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void ask_too_much(void)
{
	volatile size_t count = SIZE_MAX / 2;

	free(mem_array(count, 16));
}

TEST(mem_that_the_host_has_not_ends_the_process_with_status_1)
{
	int status = in_child(ask_too_much);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

TEST(take_leaves_null_behind)
{
	char *p = mem_str("x");
	AUTO_FREE char *q = take(&p);

	assert_null(p);
	assert_string_equal(q, "x");
}

TEST(arena_serves_small_large_and_empty_aligned)
{
	struct arena a = { 0 };

	for (size_t i = 0; i < 3000; i++) {
		size_t size = i % 700 == 0 ? 9000 : i % 50;
		char *p = arena_new(&a, size);

		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t j = 0; j < size; j++)
			assert_int_equal(p[j], 0);
		memset(p, 0xff, size);
	}
	assert_string_equal(arena_strn(&a, "arena", 3), "are");
	arena_fini(&a);
	assert_null(a.head);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(mem_new_is_zeroed_and_never_null),
		T(mem_resize_zeroes_the_new_tail),
		T(mem_strings_are_copies),
		T(mem_that_the_host_has_not_ends_the_process_with_status_1),
		T(take_leaves_null_behind),
		T(arena_serves_small_large_and_empty_aligned),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
