/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening disk images: what is refused and with which words, locks, sizes, what direct I/O asks
 * for.
 */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "block/img.h"

static char dir[] = "/tmp/virga-img-XXXXXX";

static char *file_of(const char *name, off_t size)
{
	char *path = mem_fmt("%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	fd_close(&fd);
	return path;
}

/* The sentence, or "" when it opened. */
static const char *refusal(const struct img_args *a, struct err *e)
{
	struct img *i = NULL;

	err_clear(e);
	if (!img_open(&i, a, e)) {
		img_free(i);
		return "";
	}
	assert_null(i);
	return err_frame(e, 0);
}

TEST(missing_and_wrong_files_are_refused_with_what_to_do)
{
	AUTO_FREE char *empty = file_of("empty", 0), *tiny = file_of("tiny", 100);
	struct img_args a = { .path = "/nowhere/disk.img", .fd = -1 };
	struct err e;

	assert_non_null(strstr(refusal(&a, &e), "there is no disk image /nowhere/disk.img"));
	assert_int_equal(e.kind, ERR_ABSENT);
	a.path = dir;
	assert_non_null(strstr(refusal(&a, &e), "is a directory"));
	a.path = "/dev/null";
	assert_non_null(strstr(refusal(&a, &e), "neither a file nor a block device"));
	a.path = empty;
	assert_non_null(strstr(refusal(&a, &e), "is empty; give it a size first"));
	a.path = tiny;
	assert_non_null(strstr(refusal(&a, &e), "less than one sector"));
}

TEST(a_writer_keeps_everyone_else_out)
{
	AUTO_FREE char *path = file_of("locked", 1 << 20);
	struct img_args rw = { .path = path, .fd = -1 };
	struct img_args ro = { .path = path, .fd = -1, .readonly = true };
	struct img *first = NULL;
	struct err e = { 0 };

	assert_int_equal(img_open(&first, &rw, &e), 0);
	assert_non_null(strstr(refusal(&rw, &e), "is in use by another program or another disk"));
	assert_int_equal(e.kind, ERR_TAKEN);
	assert_non_null(strstr(refusal(&ro, &e), "(locked)"));
	img_free(first);
	assert_string_equal(refusal(&rw, &e), "");
}

TEST(readers_share_an_image)
{
	AUTO_FREE char *path = file_of("shared", 1 << 20);
	struct img_args ro = { .path = path, .fd = -1, .readonly = true };
	struct img_args rw = { .path = path, .fd = -1, .lock_whole = true };
	struct img *first = NULL;
	struct err e = { 0 };

	assert_int_equal(img_open(&first, &ro, &e), 0);
	assert_string_equal(refusal(&ro, &e), "");
	assert_non_null(strstr(refusal(&rw, &e), "(locked)"));
	img_free(first);
}

TEST(a_tail_that_is_no_sector_is_hidden)
{
	AUTO_FREE char *path = file_of("odd", 5 * 512 + 100);
	struct img_args a = { .path = path, .fd = -1 };
	struct img_info info;
	struct img *i = NULL;
	struct err e = { 0 };

	assert_int_equal(img_open(&i, &a, &e), 0);
	img_info(i, &info);
	assert_int_equal(info.size, 5 * 512);
	assert_int_equal(info.logical_block, 512);
	assert_true(info.physical_block >= 512);
	assert_true(strlen(info.default_serial) > 0);
	img_free(i);
}

static uint64_t size_on_host(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* Who could lock the byte at `at` of the image for himself? */
static bool is_locked(const char *path, off_t at)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int r = fcntl(fd, F_OFD_GETLK, &l);

	fd_close(&fd);
	return r == 0 && l.l_type != F_UNLCK;
}

TEST(a_file_grows_and_is_cut_with_its_lock)
{
	AUTO_FREE char *path = file_of("grows", 8 * 512);
	struct img_args a = { .path = path, .fd = -1 };
	struct img_info info;
	struct img *i = NULL;
	struct err e = { 0 };

	assert_int_equal(img_open(&i, &a, &e), 0);
	assert_false(is_locked(path, 9 * 512));
	assert_int_equal(img_resize(i, 16 * 512, &e), 0);
	assert_int_equal(size_on_host(path), 16 * 512);
	assert_true(is_locked(path, 9 * 512));
	assert_int_equal(img_resize(i, 4 * 512, &e), 0);
	assert_int_equal(size_on_host(path), 4 * 512);
	assert_false(is_locked(path, 4 * 512));
	assert_true(is_locked(path, 3 * 512));
	img_info(i, &info);
	assert_int_equal(info.size, 4 * 512);
	img_free(i);
}

TEST(sizes_that_cannot_be_are_refused_and_change_nothing)
{
	AUTO_FREE char *path = file_of("stays", 8 * 512);
	struct img_args a = { .path = path, .fd = -1 };
	struct img_info info;
	struct img *i = NULL;
	struct err e = { 0 };

	assert_int_equal(img_open(&i, &a, &e), 0);
	assert_int_equal(img_resize(i, 0, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
	err_clear(&e);
	assert_int_equal(img_resize(i, 513, &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "no number of blocks of 512"));
	err_clear(&e);
	assert_int_equal(img_resize(i, INT64_MAX - 511, &e), -1); /* more than any file */
	assert_int_equal(e.kind, ERR_IO);
	img_info(i, &info);
	assert_int_equal(info.size, 8 * 512);
	assert_int_equal(size_on_host(path), 8 * 512);
	assert_false(is_locked(path, 9 * 512));
	img_free(i);
	err_clear(&e);
	a.readonly = true;
	assert_int_equal(img_open(&i, &a, &e), 0);
	assert_int_equal(img_resize(i, 16 * 512, &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "is read-only"));
	img_free(i);
}

TEST(an_image_that_has_all_its_space_grows_with_it)
{
	AUTO_FREE char *path = file_of("allocated", 8 * 512);
	struct img_args a = { .path = path, .fd = -1, .allocate = true };
	struct img *i = NULL;
	struct err e = { 0 };
	struct stat st;

	assert_int_equal(img_open(&i, &a, &e), 0);
	assert_int_equal(img_resize(i, 1 << 20, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks * 512 >= 1 << 20);
	img_free(i);
}

TEST(another_format_is_not_taken_for_raw)
{
	AUTO_FREE char *path = file_of("q", 1 << 20);
	struct img_args a = { .path = path, .fd = -1 };
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	struct err e = { 0 };

	assert_int_equal(pwrite(fd, "QFI\xfb", 4, 0), 4);
	assert_non_null(strstr(refusal(&a, &e), "is a qcow2 image"));
	assert_int_equal(e.kind, ERR_UNBUILT);
	a.raw = true;
	assert_string_equal(refusal(&a, &e), "");
	a.raw = false;
	assert_int_equal(pwrite(fd, "raw!", 4, 0), 4);
	assert_int_equal(pwrite(fd, "conectix", 8, (1 << 20) - 512), 8);
	assert_non_null(strstr(refusal(&a, &e), "is a vhd image"));
	fd_close(&fd);
}

TEST(a_passed_descriptor_serves_as_well)
{
	AUTO_FREE char *path = file_of("passed", 4096);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct img_args a = { .path = path, .fd = fd };
	struct err e;

	assert_string_equal(refusal(&a, &e), "");
	assert_true(fcntl(fd, F_GETFD) >= 0); /* borrowed */
	fd_close(&fd);
}

TEST(without_the_right_to_write_readonly_is_proposed)
{
	AUTO_FREE char *path = file_of("noright", 4096);
	struct img_args a = { .path = path, .fd = -1 };
	struct err e;
	uid_t me = geteuid();

	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(chmod(path, 0444), 0);
	if (!me)
		assert_int_equal(seteuid(65534), 0);
	assert_non_null(strstr(refusal(&a, &e), "say readonly=on"));
	if (!me)
		assert_int_equal(seteuid(me), 0);
}

TEST(who_only_looks_is_refused_alike_and_leaves_no_trace)
{
	AUTO_FREE char *path = file_of("looked", 1 << 20), *other = file_of("other", 1 << 20);
	struct img_args rw = { .path = path, .fd = -1 }, looks = rw, ro = rw;
	struct img *i, *k;
	struct stat before, after;
	struct err e = { 0 };

	looks.only_looks = true;
	ro.readonly = true;
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(img_open(&i, &looks, &e), 0);
	assert_false(is_locked(path, 0));
	assert_int_equal(img_open(&k, &looks, &e), 0);
	assert_int_equal(img_judge_beside(i, k, &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "(locked)"));
	err_clear(&e);
	img_free(k);
	looks.path = other;
	assert_int_equal(img_open(&k, &looks, &e), 0);
	assert_int_equal(img_judge_beside(i, k, &e), 0);
	img_free(k);
	img_free(i);
	assert_int_equal(stat(path, &after), 0);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));

	looks.path = path;
	assert_int_equal(img_open(&i, &ro, &e), 0);
	assert_non_null(strstr(refusal(&looks, &e), "(locked)"));
	looks.readonly = true;
	assert_string_equal(refusal(&looks, &e), "");
	img_free(i);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
	AUTO_FREE char *cmd = mem_fmt("rm -rf %s", dir);

	(void)state;
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(missing_and_wrong_files_are_refused_with_what_to_do),
		T(a_writer_keeps_everyone_else_out),
		T(readers_share_an_image),
		T(a_tail_that_is_no_sector_is_hidden),
		T(a_file_grows_and_is_cut_with_its_lock),
		T(sizes_that_cannot_be_are_refused_and_change_nothing),
		T(an_image_that_has_all_its_space_grows_with_it),
		T(another_format_is_not_taken_for_raw),
		T(a_passed_descriptor_serves_as_well),
		T(without_the_right_to_write_readonly_is_proposed),
		T(who_only_looks_is_refused_alike_and_leaves_no_trace),
	};
	return cmocka_run_group_tests(t, make_dir, drop_dir);
}
