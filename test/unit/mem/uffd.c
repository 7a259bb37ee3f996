/* SPDX-License-Identifier: Apache-2.0 */
/* Pages come from the file when they are touched, once, and never again after they were given back; what
 * cannot be had is told and fails who touches it. */
#include "mem/uffd.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "test.h"

#define SIZE MIB(16)
#define PAGE KIB(4)

struct scene {
	int file;
	struct source source;
	struct uffd *u;
	unsigned char *mem;
	uint64_t size, page;
	_Atomic uint32_t lost;
	char why[300];
};

static void on_lost(void *arg, const char *why)
{
	struct scene *s = arg;

	strncpy(s->why, why, sizeof(s->why) - 1);
	s->lost++;
}

/* Page n begins with n + 1, but those of the second quarter, which are a hole. */
static void make_file(struct scene *s)
{
	s->file = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(ftruncate(s->file, (off_t)s->size), 0);
	for (uint64_t at = 0; at < s->size; at += PAGE) {
		uint64_t n = at / PAGE + 1;

		if (at < s->size / 4 || at >= s->size / 2)
			assert_int_equal(pwrite(s->file, &n, sizeof(n), (off_t)at), sizeof(n));
	}
}

static uint64_t want(const struct scene *s, uint64_t at)
{
	return at < s->size / 4 || at >= s->size / 2 ? at / PAGE + 1 : 0;
}

static bool may_serve(void)
{
	struct err e = { 0 };
	int fd = uffd_open(&e);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void begin(struct scene *s, int flags, enum uffd_prefetch prefetch)
{
	struct uffd_args a = {
		.source = &s->source, .touched = -1, .prefetch = prefetch, .lost = on_lost, .arg = s
	};
	struct err e = { 0 };
	int fd = -1;

	*s = (struct scene){ .size = SIZE, .page = PAGE };
	make_file(s);
	assert_int_equal(source_open(&s->source, s->file, &e), 0);
	if (flags & MAP_SHARED) {
		fd = memfd_create("ram", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fd, SIZE), 0);
	}
	s->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);
	assert_true(s->mem != MAP_FAILED);
	fd_close(&fd);
	a.fd = uffd_open(&e);
	assert_int_equal(uffd_new(&s->u, &a, &e), 0);
	/* in two ranges, the second one first */
	assert_int_equal(uffd_add(s->u, s->mem + MIB(1), SIZE - MIB(1), PAGE, MIB(1), &e), 0);
	assert_int_equal(uffd_add(s->u, s->mem, MIB(1), PAGE, 0, &e), 0);
	assert_int_equal(uffd_start(s->u, &e), 0);
}

static void end(struct scene *s)
{
	uffd_free(s->u);
	source_close(&s->source);
	munmap(s->mem, s->size);
	close(s->file);
}

static uint64_t value(const struct scene *s, uint64_t at)
{
	return *(volatile uint64_t *)(void *)(s->mem + at);
}

static const int kinds[] = { MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED };

TEST(every_page_is_what_the_file_has)
{
	struct scene s;

	for (size_t k = 0; k < ARRAY_LEN(kinds) && may_serve(); k++) {
		begin(&s, kinds[k], UFFD_PREFETCH_NONE);
		assert_int_equal(uffd_left(s.u), SIZE);
		for (uint64_t at = SIZE; at; at -= PAGE)
			assert_int_equal(value(&s, at - PAGE), want(&s, at - PAGE));
		assert_int_equal(uffd_left(s.u), 0);
		end(&s);
	}
}

TEST(only_what_is_touched_comes)
{
	struct scene s;
	uint64_t n, off;

	if (!may_serve())
		return;
	begin(&s, kinds[0], UFFD_PREFETCH_NONE);
	assert_int_equal(value(&s, MIB(12) + 16), want(&s, MIB(12)) ? 0 : 1);
	assert_int_equal(uffd_left(s.u), SIZE - KIB(64));
	assert_true(uffd_is_in_file(s.u, s.mem, SIZE, &n, &off));
	assert_int_equal(n, MIB(1)); /* of the first range */
	assert_true(uffd_is_in_file(s.u, s.mem + MIB(1), SIZE - MIB(1), &n, &off));
	assert_int_equal(off, MIB(1));
	assert_int_equal(n, MIB(11));
	assert_false(uffd_is_in_file(s.u, s.mem + MIB(12), MIB(4), &n, &off));
	assert_int_equal(n, KIB(64));
	end(&s);
}

TEST(what_was_given_back_is_zeros_and_not_the_files)
{
	struct scene s;
	uint64_t n, off;

	for (size_t k = 0; k < ARRAY_LEN(kinds) && may_serve(); k++) {
		int how = kinds[k] & MAP_SHARED ? MADV_REMOVE : MADV_DONTNEED;

		begin(&s, kinds[k], UFFD_PREFETCH_NONE);
		assert_int_equal(value(&s, MIB(9)), want(&s, MIB(9)));
		/* over the border of the ranges, never touched; and one that was */
		uffd_forget(s.u, s.mem + MIB(1) - KIB(8), KIB(16));
		assert_int_equal(madvise(s.mem + MIB(1) - KIB(8), KIB(16), how), 0);
		uffd_forget(s.u, s.mem + MIB(9), PAGE);
		assert_int_equal(madvise(s.mem + MIB(9), PAGE, how), 0);
		for (uint64_t at = MIB(1) - KIB(16); at < MIB(1) + KIB(16); at += PAGE)
			assert_int_equal(
				value(&s, at),
				at >= MIB(1) - KIB(8) && at < MIB(1) + KIB(8) ? 0 : want(&s, at));
		assert_int_equal(value(&s, MIB(9)), 0);
		assert_false(uffd_is_in_file(s.u, s.mem + MIB(9), PAGE, &n, &off));
		end(&s);
	}
}

/* Huge pages are looked at in smaller steps. */
TEST(the_answer_is_of_the_page_that_an_address_lies_in)
{
	struct uffd_args a = { .source = &(struct source){ .fd = -1 } };
	struct err e = { 0 };
	uint64_t n, off;
	struct uffd *u;
	unsigned char *mem;

	if (!may_serve())
		return;
	mem = mmap(NULL, MIB(10), PROT_READ | PROT_WRITE, kinds[0], -1, 0);
	mem += MIB(2) - (uintptr_t)mem % MIB(2);
	a.fd = uffd_open(&e);
	assert_int_equal(uffd_new(&u, &a, &e), 0);
	assert_int_equal(uffd_add(u, mem, MIB(8), MIB(2), MIB(1), &e), 0);
	uffd_forget(u, mem + MIB(2), MIB(2) + KIB(4));
	assert_true(uffd_is_in_file(u, mem + MIB(1), MIB(7), &n, &off));
	assert_int_equal(n, MIB(1));
	assert_int_equal(off, MIB(2));
	assert_false(uffd_is_in_file(u, mem + MIB(2) + KIB(4), KIB(8), &n, &off));
	assert_int_equal(n, KIB(8));
	assert_false(uffd_is_in_file(u, mem + MIB(2) + KIB(4), MIB(5), &n, &off));
	assert_int_equal(n, MIB(2) - KIB(4));
	assert_int_equal(uffd_left(u), MIB(6));
	uffd_free(u);
}

static void *touch_all(void *arg)
{
	struct scene *s = arg;
	uint64_t bad = 0;

	for (uint64_t at = 0; at < SIZE; at += PAGE)
		bad += value(s, at * 7 % SIZE) != want(s, at * 7 % SIZE);
	return (void *)(uintptr_t)bad;
}

TEST(many_who_touch_all_while_it_is_fetched_find_what_the_file_has)
{
	struct scene s;
	pthread_t t[4];
	void *bad;

	for (size_t k = 0; k < ARRAY_LEN(kinds) && may_serve(); k++) {
		begin(&s, kinds[k], UFFD_PREFETCH_ALL);
		for (size_t i = 0; i < ARRAY_LEN(t); i++)
			assert_int_equal(pthread_create(&t[i], NULL, touch_all, &s), 0);
		for (size_t i = 0; i < ARRAY_LEN(t); i++) {
			pthread_join(t[i], &bad);
			assert_null(bad);
		}
		end(&s);
	}
}

TEST(all_comes_untouched_when_it_is_asked_for)
{
	struct scene s;

	if (!may_serve())
		return;
	begin(&s, kinds[0], UFFD_PREFETCH_ALL);
	for (int i = 0; uffd_left(s.u) && i < 10000; i++)
		usleep(1000);
	assert_int_equal(uffd_left(s.u), 0);
	assert_int_equal(value(&s, SIZE - PAGE), want(&s, SIZE - PAGE));
	end(&s);
}

/* Where a huge page lies in the file is no multiple of its size when smaller ones come before it. */
TEST(a_recorded_piece_that_lies_in_two_huge_pages_brings_both)
{
	static const char record[] = "touched 1 16777216\n20\nend 1\n";
	struct scene s = { .size = SIZE, .page = MIB(2) };
	struct uffd_args a = { .source = &s.source, .prefetch = UFFD_PREFETCH_RECORDED };
	struct err e = { 0 };
	unsigned char *all;

	if (!may_serve())
		return;
	make_file(&s);
	assert_int_equal(source_open(&s.source, s.file, &e), 0);
	all = mmap(NULL, MIB(6), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(all != MAP_FAILED);
	s.mem = (unsigned char *)align_up((uintptr_t)all, s.page);
	a.touched = memfd_create("touched", MFD_CLOEXEC);
	assert_int_equal(write(a.touched, record, strlen(record)), strlen(record));
	a.fd = uffd_open(&e);
	assert_int_equal(uffd_new(&s.u, &a, &e), 0);
	assert_int_equal(uffd_add(s.u, s.mem, MIB(4), s.page, PAGE, &e), 0);
	assert_int_equal(uffd_start(s.u, &e), 0);
	for (int i = 0; uffd_left(s.u) && i < 10000; i++)
		usleep(1000);
	assert_int_equal(uffd_left(s.u), 0);
	for (uint64_t at = 0; at < MIB(4) - PAGE; at += PAGE)
		assert_int_equal(value(&s, at), want(&s, at + PAGE));
	uffd_free(s.u);
	source_close(&s.source);
	munmap(all, MIB(6));
	close(a.touched);
	close(s.file);
}

/* In a child, which it ends. Its memory is not ours, nor is its thread. */
static int end_of_touching(struct scene *s, void (*spoil)(struct scene *s))
{
	int status;
	pid_t child = fork();

	if (!child) {
		signal(SIGBUS, SIG_DFL);
		begin(s, kinds[0], UFFD_PREFETCH_NONE);
		if (value(s, 0) != 1)
			_exit(1);
		spoil(s);
		value(s, MIB(12));
		_exit(2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void make_shorter(struct scene *s)
{
	if (ftruncate(s->file, MIB(10)) < 0)
		_exit(3);
}

static void write_there(struct scene *s)
{
	usleep(20000); /* a tick of the file system's clock */
	if (pwrite(s->file, "x", 1, 0) != 1)
		_exit(3);
}

TEST(a_page_that_cannot_be_had_fails_who_touches_it)
{
	struct scene s;

	if (!may_serve())
		return;
	log_init(LOG_ERROR, open("/dev/null", 1));
	assert_int_equal(end_of_touching(&s, make_shorter), -SIGBUS);
	assert_int_equal(end_of_touching(&s, write_there), -SIGBUS);
}

/* The kernel's accesses fail instead. */
TEST(a_page_that_cannot_be_had_is_told_first)
{
	struct scene s;
	int fd[2];

	if (!may_serve())
		return;
	begin(&s, kinds[1], UFFD_PREFETCH_NONE);
	make_shorter(&s);
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], s.mem + MIB(12), 8), -1);
	assert_int_equal(s.lost, 1);
	assert_non_null(strstr(s.why, "was changed"));
	assert_int_equal(write(fd[1], s.mem + MIB(13), 8), -1);
	assert_int_equal(s.lost, 1);
	close(fd[0]);
	close(fd[1]);
	end(&s);
}

TEST(what_was_never_started_ends)
{
	struct uffd_args a = { 0 };
	struct err e = { 0 };
	struct source none = { .fd = -1 };
	struct uffd *u;

	source_close(&none);
	uffd_free(NULL);
	if (!may_serve())
		return;
	a.source = &none;
	a.fd = uffd_open(&e);
	assert_int_equal(uffd_new(&u, &a, &e), 0);
	assert_int_equal(uffd_add(u, (void *)0x1000, MIB(2) + PAGE, MIB(2), 0, &e), -1);
	uffd_free(u);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_page_is_what_the_file_has),
		T(only_what_is_touched_comes),
		T(what_was_given_back_is_zeros_and_not_the_files),
		T(the_answer_is_of_the_page_that_an_address_lies_in),
		T(many_who_touch_all_while_it_is_fetched_find_what_the_file_has),
		T(all_comes_untouched_when_it_is_asked_for),
		T(a_recorded_piece_that_lies_in_two_huge_pages_brings_both),
		T(a_page_that_cannot_be_had_fails_who_touches_it),
		T(a_page_that_cannot_be_had_is_told_first),
		T(what_was_never_started_ends),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
