/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about Landlock (src/guard/landlock.c). What it takes cannot be given back, so each fact is
 * found out in a child process. On a kernel without Landlock the fact is that it says so.
 */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/desc.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guard/landlock.h"

static long kernel_version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static bool kernel_has_landlock(void)
{
	return kernel_version() >= 3;
}

static bool binds(const char *path)
{
	AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return fd >= 0 && bind(fd, (const struct sockaddr *)(const void *)&a, sizeof(a)) == 0;
}

/* To a port where nobody is: refused for that, or for the rules. */
static bool connects(void)
{
	AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = 256 };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&a, sizeof(a)) == 0;
}

/* The status of a child that runs fn. */
static int in_child(int (*fn)(const char *dir), const char *dir)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn(dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

/* Can dir/name be opened so? */
static bool opens(const char *dir, const char *name, int flags)
{
	AUTO_FREE char *path = mem_fmt("%s/%s", dir, name);
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int confined(const char *dir)
{
	AUTO_FREE char *disk = mem_fmt("%s/disk", dir);
	AUTO_FREE char *kernel = mem_fmt("%s/kernel", dir);
	AUTO_FREE char *file = mem_fmt("%s/made/file", dir);
	AUTO_FREE char *socket = mem_fmt("%s/bound/socket", dir);
	AUTO_FREE char *absent = mem_fmt("%s/absent", dir);
	const struct landlock_rule rules[] = {
		{ disk, "rw" }, { kernel, "r" }, { file, "rw" }, { socket, "rwm" }, { absent, "r" },
	};
	struct err e = { 0 };

	if (landlock_apply(rules, ARRAY_LEN(rules), &e) < 0)
		return kernel_has_landlock() ? 1 : e.kind == ERR_STATE ? 0 : 2;
	if (!opens(dir, "disk", O_RDWR) || !opens(dir, "disk", O_WRONLY | O_TRUNC))
		return 3;
	if (!opens(dir, "kernel", O_RDONLY) || opens(dir, "kernel", O_RDWR))
		return 4;
	if (opens(dir, "other", O_RDONLY) || errno != EACCES)
		return 5;
	if (!opens(dir, "made/file", O_RDWR | O_CREAT) || opens(dir, "new", O_RDWR | O_CREAT))
		return 6;
	if (!unlink(file) || !unlink(disk) || unlink(socket) || !binds(socket) || unlink(socket))
		return 8;
	if (kernel_version() >= 4 && (connects() || errno != EACCES))
		return 9;
	if (opens("/", "etc/passwd", O_RDONLY) || opens("/", "", O_RDONLY | O_DIRECTORY))
		return 7;
	return 0;
}

TEST(landlock_opens_what_the_rules_name_and_nothing_else)
{
	static const char *const files[] = { "disk", "kernel", "other" };
	char dir[] = "/tmp/virga-landlock-XXXXXX";
	AUTO_FREE char *made = NULL, *bound = NULL, *file = NULL, *socket = NULL;

	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		assert_true(opens(dir, files[i], O_RDWR | O_CREAT));
	made = mem_fmt("%s/made", dir);
	file = mem_fmt("%s/file", made);
	bound = mem_fmt("%s/bound", dir);
	socket = mem_fmt("%s/socket", bound);
	assert_int_equal(mkdir(made, 0700), 0);
	assert_int_equal(mkdir(bound, 0700), 0);
	assert_true(binds(socket));

	assert_int_equal(in_child(confined, dir), 0);

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *path = mem_fmt("%s/%s", dir, files[i]);

		unlink(path);
	}
	unlink(file);
	unlink(socket);
	rmdir(made);
	rmdir(bound);
	rmdir(dir);
}

/* A config of every shape that a path can be in. */
struct inner {
	char *path;
};
struct outer {
	char *kernel, *name;
	struct inner inside, *pointed, *none;
	LIST(struct inner) disks;
};
static const struct field inner_rows[] = {
	{ .key = "path",
	  .off = offsetof(struct inner, path),
	  .size = sizeof(char *),
	  .type = D_PATH,
	  .access = "rw" },
};
static const struct desc inner_desc = DESC_OF(struct inner, inner_rows, "Inner");
static const struct field outer_rows[] = {
	{ .key = "kernel",
	  .off = offsetof(struct outer, kernel),
	  .size = sizeof(char *),
	  .type = D_PATH,
	  .access = "r" },
	{ .key = "name",
	  .off = offsetof(struct outer, name),
	  .size = sizeof(char *),
	  .type = D_STR },
	{ .key = "inside",
	  .off = offsetof(struct outer, inside),
	  .type = D_OBJ,
	  .sub = &inner_desc },
	{ .key = "pointed",
	  .off = offsetof(struct outer, pointed),
	  .type = D_OBJ,
	  .sub = &inner_desc,
	  .is_pointer = true },
	{ .key = "none",
	  .off = offsetof(struct outer, none),
	  .type = D_OBJ,
	  .sub = &inner_desc,
	  .is_pointer = true },
	{ .key = "disks",
	  .off = offsetof(struct outer, disks),
	  .type = D_OBJ,
	  .sub = &inner_desc,
	  .is_list = true },
};
static const struct desc outer_desc = DESC_OF(struct outer, outer_rows, "Outer");

TEST(landlock_rules_are_read_off_every_path_of_a_config)
{
	struct inner pointed = { (char[]){ "/c" } }, disks[2] = { { (char[]){ "/d" } }, { NULL } };
	struct outer o = {
		.kernel = (char[]){ "/a" },
		.name = (char[]){ "/no" },
		.inside = { (char[]){ "/b" } },
		.pointed = &pointed,
		.disks = { .count = 2, .items = disks },
	};
	static const char *const want[][2] = {
		{ "/a", "r" }, { "/b", "rw" }, { "/c", "rw" }, { "/d", "rw" }
	};
	struct landlock_rules r = { 0 };

	landlock_rules_from(&r, &outer_desc, &o);
	assert_int_equal(r.count, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_string_equal(r.items[i].path, want[i][0]);
		assert_string_equal(r.items[i].access, want[i][1]);
	}
	landlock_rules_fini(&r);
	assert_int_equal(r.count, 0);
}

TEST(landlock_of_an_old_kernel_is_refused_in_a_sentence)
{
	static const struct {
		int version;
		const char *words;
	} cases[] = {
		{ -1, "no Landlock" }, { 0, "no Landlock" }, { 1, "version 1" }, { 2, "Linux 6.2" }
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[ERR_TEXT];
		struct err e = { 0 };

		assert_int_equal(landlock_judge(cases[i].version, &e), -1);
		assert_non_null(strstr(err_line(&e, line, sizeof(line)), cases[i].words));
	}
	for (int version = 3; version < 12; version++) {
		struct err e = { 0 };

		assert_int_equal(landlock_judge(version, &e), 0);
	}
}

TEST(landlock_rules_can_be_lowered_to_reading)
{
	char path[] = "/d", same[] = "/d";
	struct landlock_rules r = { 0 };

	landlock_rules_add(&r, path, "rw");
	landlock_rules_add(&r, same, "rw");
	landlock_rules_lower(&r, path);
	assert_string_equal(r.items[0].access, "r");
	assert_string_equal(r.items[1].access, "rw");
	landlock_rules_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(landlock_opens_what_the_rules_name_and_nothing_else),
		T(landlock_rules_are_read_off_every_path_of_a_config),
		T(landlock_of_an_old_kernel_is_refused_in_a_sentence),
		T(landlock_rules_can_be_lowered_to_reading),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
