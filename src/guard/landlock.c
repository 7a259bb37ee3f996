/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock by its three system calls. Rights of devices beyond reading and writing (ioctl) are left
 * to the system-call filters, which know each request. Runs once in the control thread, while it is
 * alone. See landlock(7), Documentation/userspace-api/landlock.rst.
 */
#include "guard/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/desc.h"
#include "base/fd.h"
#include "base/mem.h"

/* Newer than the headers of some build hosts. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ull << 14)
#endif

#define FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FILE_WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define DIR_READ LANDLOCK_ACCESS_FS_READ_DIR
#define DIR_WRITE                                                                                  \
	(LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                              \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_DIR |                              \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR)

/* --- rules --- */

void landlock_rules_add(struct landlock_rules *r, const char *path, const char *access)
{
	r->items = mem_resize(r->items, r->count, r->count + 1, sizeof(r->items[0]));
	r->items[r->count++] = (struct landlock_rule){ .path = path, .access = access };
}

void landlock_rules_fini(struct landlock_rules *r)
{
	free(r->items);
	*r = (struct landlock_rules){ 0 };
}

/* One member of a struct: a path, a nested object, a pointer to one, a list of them. */
static void rules_from_field(struct landlock_rules *r, const struct field *f, const char *at)
{
	LIST(char) list;

	if (f->type == D_PATH && !f->is_list && !f->count && f->access) {
		const char *path = *(char *const *)(const void *)at;

		if (path)
			landlock_rules_add(r, path, f->access);
		return;
	}
	if (!f->sub)
		return;
	if (f->is_list) {
		memcpy(&list, at, sizeof(list));
		for (uint32_t i = 0; i < list.count; i++)
			landlock_rules_from(r, f->sub, list.items + (size_t)i * f->sub->size);
	} else if (f->is_pointer) {
		const void *obj = *(void *const *)(const void *)at;

		if (obj)
			landlock_rules_from(r, f->sub, obj);
	} else {
		for (uint32_t i = 0; i < (f->count ? f->count : 1); i++)
			landlock_rules_from(r, f->sub, at + (size_t)i * f->sub->size);
	}
}

void landlock_rules_from(struct landlock_rules *r, const struct desc *d, const void *obj)
{
	for (uint32_t i = 0; i < d->count; i++)
		rules_from_field(r, &d->fields[i], (const char *)obj + d->fields[i].off);
}

/* --- the kernel --- */

/* Everything that the kernel of this version can watch, so that what no rule names is refused. */
static uint64_t watched(int abi)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* version 1 */

	if (abi >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		all |= LANDLOCK_ACCESS_FS_TRUNCATE;
	return all;
}

/* The rights in `access` on a directory or on another file. */
static uint64_t rights(const char *access, bool dir)
{
	uint64_t w = 0;

	if (strchr(access, 'r'))
		w |= FILE_READ | (dir ? DIR_READ : 0);
	if (strchr(access, 'w'))
		w |= FILE_WRITE | (dir ? DIR_WRITE : 0);
	return w;
}

/* The nearest thing that can be ruled: the path, or the directory in which it will be made. -1:
 * neither. */
static int open_ruled(const struct landlock_rule *rule)
{
	AUTO_FREE char *dir = NULL;
	char *slash;
	int fd;

	fd = open(rule->path, O_PATH | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT || !strchr(rule->access, 'w'))
		return fd;
	dir = mem_str(rule->path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir ? 1 : 0] = '\0';
	return open(slash ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int rule_put(int ruleset, const struct landlock_rule *rule, uint64_t handled, struct err *e)
{
	struct landlock_path_beneath_attr a = { .parent_fd = -1 };
	AUTO_FD int fd = open_ruled(rule);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_os(e, ERR_IO, "landlock: %s", rule->path);
	a.parent_fd = fd;
	a.allowed_access = rights(rule->access, S_ISDIR(st.st_mode)) & handled;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &a, 0) < 0)
		return err_os(e, ERR_IO, "landlock: %s", rule->path);
	return 0;
}

int landlock_apply(const struct landlock_rule *rules, unsigned int count, struct err *e)
{
	int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_ruleset_attr attr = { .handled_access_fs = watched(abi) };
	AUTO_FD int ruleset = -1;

	if (abi < 1)
		return err_os(e, ERR_STATE, "--landlock: this host's kernel has no Landlock");
	ruleset =
		(int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	if (ruleset < 0)
		return err_os(e, ERR_IO, "landlock: make a set of rules");
	for (unsigned int i = 0; i < count; i++)
		if (rule_put(ruleset, &rules[i], attr.handled_access_fs, e) < 0)
			return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return err_os(e, ERR_IO, "landlock: restrict the process");
	return 0;
}
