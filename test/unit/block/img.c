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
		T(another_format_is_not_taken_for_raw),
		T(a_passed_descriptor_serves_as_well),
		T(without_the_right_to_write_readonly_is_proposed),
	};
	return cmocka_run_group_tests(t, make_dir, drop_dir);
}
