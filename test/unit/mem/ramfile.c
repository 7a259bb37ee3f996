/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory through a file and back: byte for byte, holes for zeros, and refusals. */
#include "mem/ramfile.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "test.h"

#define SIZE MIB(16)

static struct gmem *memory(bool shared)
{
	const struct backing_args b = { .shared = shared };
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	/* two regions that adjoin */
	assert_int_equal(gmem_add(m, GPA(0), MIB(1), &b, &e), 0);
	assert_int_equal(gmem_add(m, GPA(MIB(1)), SIZE - MIB(1), &b, &e), 0);
	return m;
}

/* Some pages, and pieces over borders of pages and regions. */
static void fill(struct gmem *m)
{
	static uint8_t piece[KIB(12)];

	for (uint32_t i = 0; i < sizeof(piece); i++)
		piece[i] = (uint8_t)(i * 7 + i / 256 + 1);
	assert_int_equal(gmem_write(m, GPA(0), piece, 100), 0);
	assert_int_equal(gmem_write(m, GPA(MIB(1) - KIB(5)), piece, sizeof(piece)), 0);
	assert_int_equal(gmem_write(m, GPA(MIB(9) + 17), piece, KIB(5)), 0);
	assert_int_equal(gmem_write(m, GPA(SIZE - 1), piece, 1), 0);
}

static void same(struct gmem *a, struct gmem *b)
{
	static uint8_t x[KIB(64)], y[KIB(64)];

	for (uint64_t at = 0; at < SIZE; at += sizeof(x)) {
		assert_int_equal(gmem_read(a, GPA(at), x, sizeof(x)), 0);
		assert_int_equal(gmem_read(b, GPA(at), y, sizeof(y)), 0);
		assert_memory_equal(x, y, sizeof(x));
	}
}

static int file_of(uint64_t size)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

TEST(memory_comes_back_byte_for_byte_and_zeros_are_holes)
{
	AUTO_FD int fd = file_of(KIB(8) + SIZE);
	struct work w = { 0 };
	struct err e = { 0 };
	struct stat st;

	for (int shared = 0; shared < 2; shared++) {
		struct gmem *a = memory(shared), *b = memory(!shared);

		fill(a);
		assert_int_equal(ramfile_save(a, GPA(0), SIZE, fd, KIB(8), &w, &e), 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_true((uint64_t)st.st_blocks * 512 <= KIB(64));
		assert_int_equal(ramfile_load(b, GPA(0), SIZE, fd, KIB(8), &w, &e), 0);
		same(a, b);
		gmem_free(a);
		gmem_free(b);
	}
	assert_int_equal(w.done, 4 * SIZE);
}

TEST(a_part_lies_where_the_caller_says)
{
	AUTO_FD int fd = file_of(MIB(1));
	struct gmem *a = memory(false), *b = memory(false);
	uint8_t x[100], y[100];
	struct err e = { 0 };

	fill(a);
	assert_int_equal(ramfile_save(a, GPA(MIB(9)), KIB(512), fd, KIB(4), NULL, &e), 0);
	assert_int_equal(ramfile_load(b, GPA(KIB(512)), KIB(512), fd, KIB(4), NULL, &e), 0);
	assert_int_equal(gmem_read(a, GPA(MIB(9) + 17), x, sizeof(x)), 0);
	assert_int_equal(gmem_read(b, GPA(KIB(512) + 17), y, sizeof(y)), 0);
	assert_memory_equal(x, y, sizeof(x));
	gmem_free(a);
	gmem_free(b);
}

TEST(a_file_that_ends_early_is_refused_with_nothing_written)
{
	AUTO_FD int fd = file_of(SIZE - 1);
	struct gmem *m = memory(false);
	struct err e = { 0 };
	char line[300];

	assert_int_equal(ramfile_load(m, GPA(0), SIZE, fd, 0, NULL, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "ends at 16777215"));
	memset(&e, 0, sizeof(e));
	assert_int_equal(ramfile_load(m, GPA(0), SIZE, fd, UINT64_MAX - 5, NULL, &e), -1);
	memset(&e, 0, sizeof(e));
	assert_int_equal(ramfile_load(m, GPA(0), SIZE, fd, INT64_MAX - 5, NULL, &e), -1);
	gmem_free(m);
}

TEST(what_is_no_ram_is_refused)
{
	AUTO_FD int fd = file_of(2 * SIZE);
	struct gmem *m = memory(false);
	struct err e = { 0 };

	assert_int_equal(ramfile_load(m, GPA(SIZE), KIB(4), fd, 0, NULL, &e), -1);
	memset(&e, 0, sizeof(e));
	assert_int_equal(pwrite(fd, "x", 1, (off_t)SIZE), 1);
	assert_int_equal(ramfile_load(m, GPA(0), SIZE + KIB(4), fd, 0, NULL, &e), -1);
	gmem_free(m);
}

TEST(it_can_be_broken_off)
{
	AUTO_FD int fd = file_of(SIZE);
	struct gmem *m = memory(false);
	struct work w = { 0 };
	struct err e = { 0 };

	work_stop(&w);
	assert_int_equal(ramfile_save(m, GPA(0), SIZE, fd, 0, &w, &e), -1);
	assert_int_equal(e.kind, ERR_STATE);
	memset(&e, 0, sizeof(e));
	assert_int_equal(ramfile_load(m, GPA(0), SIZE, fd, 0, &w, &e), -1);
	assert_int_equal(e.kind, ERR_STATE);
	gmem_free(m);
}

static unsigned int seeks;

/* In place of libc's, for the code under test too. */
off_t lseek(int fd, off_t off, int whence);
off_t lseek(int fd, off_t off, int whence)
{
	seeks++;
	return syscall(SYS_lseek, fd, off, whence);
}

/* tmpfs walks all of a run of data to say where it ends. */
TEST(what_waits_in_a_file_is_asked_for_once_a_run)
{
	AUTO_FD int from = file_of(SIZE), to = file_of(SIZE);
	struct gmem *a = memory(false), *b = memory(false);
	static uint8_t data[MIB(5)];
	struct work w = { 0 };
	struct err e = { 0 };

	memset(data, 'x', sizeof(data));
	assert_int_equal(pwrite(from, data, sizeof(data), (off_t)KIB(512)), sizeof(data));
	assert_int_equal(pwrite(from, data, sizeof(data), (off_t)MIB(8)), sizeof(data));
	assert_int_equal(gmem_set_source(a, from, NULL, NULL, &e), 0);
	assert_int_equal(gmem_map_file(a, GPA(0), SIZE, 0, &e), 0);
	assert_int_equal(gmem_write(a, GPA(MIB(2) + 5), "own", 3), 0);
	seeks = 0;
	assert_int_equal(ramfile_save(a, GPA(0), SIZE, to, 0, &w, &e), 0);
	assert_in_range(seeks, 1, 10);
	seeks = 0;
	assert_int_equal(ramfile_load(b, GPA(0), SIZE, to, 0, &w, &e), 0);
	assert_in_range(seeks, 1, 10);
	same(a, b);
	gmem_free(a);
	gmem_free(b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(memory_comes_back_byte_for_byte_and_zeros_are_holes),
		T(a_part_lies_where_the_caller_says),
		T(a_file_that_ends_early_is_refused_with_nothing_written),
		T(what_is_no_ram_is_refused),
		T(it_can_be_broken_off),
		T(what_waits_in_a_file_is_asked_for_once_a_run),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
