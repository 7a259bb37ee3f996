/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of Landlock for a VM. Paths of the configuration are read off its rows; here stands what
 * no row names: files of the host that a kind of device is made with. Consoles, logs and
 * events are open already and need none. See confine.h.
 */
#include "vm/confine.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "guard/landlock.h"

static bool makes_tap(const struct net_conf *n)
{
	return !n->fds.count && !n->stream && !n->vhost_user;
}

static bool has_tap(const struct vm_conf *c)
{
	for (uint32_t i = 0; i < c->net.count; i++)
		if (makes_tap(&c->net.items[i]))
			return true;
	return false;
}

static bool has_disk(const struct vm_conf *c)
{
	return c->disks.count;
}

static bool always(const struct vm_conf *c)
{
	(void)c;
	return true;
}

static bool has_host_node(const struct vm_conf *c)
{
	for (uint32_t i = 0; i < c->memory.zones.count; i++)
		if (conf_said(memory_zone, &c->memory.zones.items[i], host_numa_node))
			return true;
	return false;
}

static const struct {
	const char *path, *access;
	bool (*is_wanted)(const struct vm_conf *c);
} host_paths[] = {
	/* for the VM after this one */
	{ "/dev/kvm", "rw", always },
	{ "/dev/net/tun", "rw", has_tap },
	/* limits of block devices; /sys/dev/block has links to these */
	{ "/sys/devices", "r", has_disk },
	{ "/sys/devices/system/node", "r", has_host_node },
	/* what of the guest's memory is there */
	{ "/proc/self/pagemap", "r", always },
};

/* A macvtap has a device file of its own, named by the number of the interface. NULL: it is none. */
static char *macvtap_path(const char *name)
{
	AUTO_FREE char *index = mem_fmt("/sys/class/net/%s/ifindex", name);
	AUTO_FREE char *text = NULL;
	struct err none = { 0 };
	char *path;
	size_t len;

	if (strchr(name, '/') || fd_slurp(index, 64, &text, &len, &none))
		return NULL;
	path = mem_fmt("/dev/tap%ld", strtol(text, NULL, 10));
	if (!access(path, F_OK))
		return path;
	free(path);
	return NULL;
}

/* paths has room for one of each card, and owns them. */
static void add_macvtaps(struct landlock_rules *r, const struct vm_conf *c, char **paths)
{
	for (uint32_t i = 0; i < c->net.count; i++) {
		const struct net_conf *n = &c->net.items[i];

		if (n->tap && makes_tap(n))
			paths[i] = macvtap_path(n->tap);
		if (paths[i])
			landlock_rules_add(r, paths[i], "rw");
	}
}

static int add_users(struct landlock_rules *r, const struct vm_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->landlock_rules.count; i++) {
		const struct landlock_conf *u = &c->landlock_rules.items[i];

		if (access(u->path, F_OK) < 0)
			return err_os(e, ERR_BAD, "--landlock-rules: %s", u->path);
		landlock_rules_add(r, u->path, u->access);
	}
	return 0;
}

int vm_confine_judge(const struct vm_conf *c, struct err *e)
{
	struct landlock_rules r = { 0 };
	int result;

	if (!c->landlock_enable)
		return 0;
	result = landlock_judge(landlock_version(), e);
	if (!result)
		result = add_users(&r, c, e);
	landlock_rules_fini(&r);
	return result;
}

int vm_confine(const struct vm_conf *c, const char *const *sockets, struct err *e)
{
	AUTO_FREE char **paths = mem_array(c->net.count, sizeof(paths[0]));
	struct landlock_rules r = { 0 };
	int result;

	if (!c->landlock_enable)
		return 0;
	landlock_rules_from(&r, &vm_desc, c);
	for (uint32_t i = 0; i < c->disks.count; i++)
		if (c->disks.items[i].readonly)
			landlock_rules_lower(&r, c->disks.items[i].path);
	for (uint32_t i = 0; i < c->pmem.count; i++)
		if (c->pmem.items[i].discard_writes && !conf_said(pmem, &c->pmem.items[i], size))
			landlock_rules_lower(&r, c->pmem.items[i].file);
	for (size_t i = 0; i < ARRAY_LEN(host_paths); i++)
		if (host_paths[i].is_wanted(c))
			landlock_rules_add(&r, host_paths[i].path, host_paths[i].access);
	for (; sockets && *sockets; sockets++)
		landlock_rules_add(&r, *sockets, "rm");
	add_macvtaps(&r, c, paths);
	result = add_users(&r, c, e);
	if (!result)
		result = landlock_apply(r.items, r.count, e);
	landlock_rules_fini(&r);
	for (uint32_t i = 0; i < c->net.count; i++)
		free(paths[i]);
	return result;
}
