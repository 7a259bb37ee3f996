/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock by its three system calls. Runs once in the control thread, before threads that could
 * open anything. See landlock(7), Documentation/userspace-api/landlock.rst.
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
#define FS_TRUNCATE (1ull << 14)  /* version 3 */
#define FS_IOCTL_DEV (1ull << 15) /* version 5 */
#define NET_TCP 3ull		  /* version 4: bind and connect */

/* That of Linux 6.2. Before it a file could be emptied without the right to write it. */
#define VERSION_NEEDED 3
#define VERSION_NET 4
#define VERSION_IOCTL 5

/* struct landlock_ruleset_attr of version 4. */
struct ruleset_attr {
	uint64_t fs, net;
};

#define FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FILE_WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define DIR_READ LANDLOCK_ACCESS_FS_READ_DIR
#define DIR_WRITE                                                                                  \
	(LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                              \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_DIR |                              \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR)
/* In the directory of a file that is not there yet, and of a socket that we make and remove. */
#define DIR_NEW_FILE (FILE_READ | FILE_WRITE | LANDLOCK_ACCESS_FS_MAKE_REG)
#define DIR_OWN_SOCKET (LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE)

/* --- rules --- */

void landlock_rules_add(struct landlock_rules *r, const char *path, const char *access)
{
	r->items = mem_resize(r->items, r->count, r->count + 1, sizeof(r->items[0]));
	r->items[r->count++] = (struct landlock_rule){ .path = path, .access = access };
}

void landlock_rules_lower(struct landlock_rules *r, const char *path)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (r->items[i].path == path)
			r->items[i].access = "r";
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
static struct ruleset_attr watched(int version)
{
	uint64_t fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* version 1 */

	fs |= LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE;
	if (version >= VERSION_IOCTL)
		fs |= FS_IOCTL_DEV;
	/* no rule names a port: the control thread may have sockets, to set up interfaces by */
	return (struct ruleset_attr){ fs, version >= VERSION_NET ? NET_TCP : 0 };
}

/* The rights in `access` on a directory or on another file. */
static uint64_t rights(const char *access, const struct stat *st)
{
	bool dir = S_ISDIR(st->st_mode);
	uint64_t w = 0;

	if (strchr(access, 'r'))
		w |= FILE_READ | (dir ? DIR_READ : 0);
	if (strchr(access, 'w'))
		w |= FILE_WRITE | (dir ? DIR_WRITE : 0);
	return w;
}

static int open_directory_of(const char *path)
{
	AUTO_FREE char *dir = mem_str(path);
	char *slash = strrchr(dir, '/');

	if (slash)
		slash[slash == dir ? 1 : 0] = '\0';
	return open(slash ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int rule_add(int ruleset, int fd, uint64_t access)
{
	struct landlock_path_beneath_attr a = { .allowed_access = access, .parent_fd = fd };

	return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
}

/* The path itself; where it is absent and is for writing, the directory that it will be made in. */
static int put_path(int ruleset, const struct landlock_rule *rule, uint64_t handled)
{
	AUTO_FD int fd = open(rule->path, O_PATH | O_CLOEXEC);
	struct stat st;
	uint64_t w;

	if (fd >= 0) {
		if (fstat(fd, &st) < 0)
			return -1;
		w = rights(rule->access, &st);
	} else {
		if (errno != ENOENT)
			return -1;
		if (!strchr(rule->access, 'w'))
			return 0;
		fd = open_directory_of(rule->path);
		if (fd < 0)
			return errno == ENOENT ? 0 : -1;
		w = DIR_NEW_FILE;
	}
	return rule_add(ruleset, fd, w & handled);
}

static int rule_put(int ruleset, const struct landlock_rule *rule, uint64_t handled, struct err *e)
{
	AUTO_FD int dir = -1;

	if (put_path(ruleset, rule, handled) < 0)
		return err_os(e, ERR_IO, "landlock: %s", rule->path);
	if (!strchr(rule->access, 'm'))
		return 0;
	dir = open_directory_of(rule->path);
	if (dir < 0 || rule_add(ruleset, dir, DIR_OWN_SOCKET & handled) < 0)
		return err_os(e, ERR_IO, "landlock: the directory of %s", rule->path);
	return 0;
}

int landlock_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

int landlock_judge(int version, struct err *e)
{
	if (version < 1)
		return err_set(e, ERR_STATE,
			       "--landlock: this host's kernel has no Landlock, or has it switched "
			       "off: see the kernel's option lsm=, or leave --landlock out");
	if (version < VERSION_NEEDED)
		return err_set(e, ERR_STATE,
			       "--landlock: this host's kernel has Landlock version %d, and %d is "
			       "needed: take Linux 6.2 or newer, or leave --landlock out",
			       version, VERSION_NEEDED);
	return 0;
}

int landlock_apply(const struct landlock_rule *rules, unsigned int count, struct err *e)
{
	int version = landlock_version();
	struct ruleset_attr attr = watched(version);
	AUTO_FD int ruleset = -1;

	if (landlock_judge(version, e) < 0)
		return -1;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
			       version >= VERSION_NET ? sizeof(attr) : sizeof(attr.fs), 0);
	if (ruleset < 0)
		return err_os(e, ERR_IO, "landlock: make a set of rules");
	for (unsigned int i = 0; i < count; i++)
		if (rule_put(ruleset, &rules[i], attr.fs, e) < 0)
			return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return err_os(e, ERR_IO, "landlock: restrict the process");
	return 0;
}
