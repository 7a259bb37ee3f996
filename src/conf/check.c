/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges a configuration: goes with each table of conf/rules over the things it is for, and keeps
 * the rules that name two things (an id or a slot said twice). It asks nothing of the host. Any
 * thread; no state.
 */
#include "conf/check.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "conf/nodes.h"
#include "conf/rules.h"
#include "conf/segments.h"

#define PCI_SLOTS 32
#define ID_RESERVED "__" /* begins the names of devices of which there is one at most */

/* All rules of one kind of thing: members of a list, or one thing. */
struct group {
	const char *what;
	const void *first;
	uint32_t count;
	size_t size;
	const struct rule_table *table;
	const char *(*name)(const void *thing); /* NULL = things have no name of their own */
};

static const char *disk_name(const void *thing)
{
	const struct disk_conf *d = thing;

	return d->id ? d->id : d->path;
}

static const char *net_name(const void *thing)
{
	const struct net_conf *n = thing;

	return n->id ? n->id : n->tap;
}

static int name_thing(struct err *e, const struct group *g, uint32_t i, const void *thing)
{
	const char *name = g->name ? g->name(thing) : NULL;

	if (!g->what)
		return -1;
	if (name)
		return err_in(e, "--%s %s", g->what, name);
	if (g->count > 1)
		return err_in(e, "--%s, the one at place %u", g->what, i + 1);
	return err_in(e, "--%s", g->what);
}

/* The first rule of those that warn, or of those that refuse, from r on that the thing breaks; NULL
 * when it breaks none. */
static const struct rule *broken(const struct group *g, const struct rule *r, const struct look *l,
				 bool only_warns)
{
	for (; r < g->table->rules + g->table->count; r++)
		if (r->only_warns == only_warns && r->is_broken(l))
			return r;
	return NULL;
}

static struct look look_at(const struct vm_conf *vm, const struct group *g, uint32_t i)
{
	return (struct look){ vm, (const char *)g->first + i * g->size };
}

static int check_group(const struct vm_conf *vm, const struct group *g, struct err *e)
{
	for (uint32_t i = 0; i < g->count; i++) {
		struct look l = look_at(vm, g, i);
		const struct rule *r = broken(g, g->table->rules, &l, false);

		if (!r)
			continue;
		err_set(e, ERR_BAD, "%s", r->sentence);
		return name_thing(e, g, i, l.thing);
	}
	return 0;
}

static int warn_group(const struct vm_conf *vm, const struct group *g, struct err *e)
{
	(void)e;
	for (uint32_t i = 0; i < g->count; i++) {
		struct look l = look_at(vm, g, i);
		const struct rule *r = broken(g, g->table->rules, &l, true);

		for (; r; r = broken(g, r + 1, &l, true))
			log_warn("%s", r->sentence);
	}
	return 0;
}

#define GROUP_NAMED(what_, list, table_, name_)                                                    \
	{                                                                                          \
		.what = (what_), .first = (list).items, .count = (list).count,                     \
		.size = sizeof(*(list).items), .table = &(table_), .name = (name_)                 \
	}
#define GROUP_LIST(what_, list, table_) GROUP_NAMED(what_, list, table_, NULL)
#define GROUP_ONE(what_, object, table_)                                                           \
	{                                                                                          \
		.what = (what_), .first = (object), .count = (object) ? 1 : 0, .table = &(table_)  \
	}

static int each_group(const struct vm_conf *c,
		      int (*fn)(const struct vm_conf *, const struct group *, struct err *),
		      struct err *e)
{
	const struct group groups[] = {
		GROUP_ONE(NULL, c, rules_vm),
		GROUP_LIST("memory-zone", c->memory.zones, rules_zone),
		GROUP_ONE("serial", &c->serial, rules_serial),
		GROUP_ONE("console", &c->console, rules_console),
		GROUP_ONE("debug-console", &c->debug_console, rules_debug_console),
		GROUP_LIST("rate-limit-group", c->rate_limit_groups, rules_group),
		GROUP_NAMED("disk", c->disks, rules_disk, disk_name),
		GROUP_NAMED("net", c->net, rules_net, net_name),
		GROUP_LIST("fs", c->fs, rules_fs),
		GROUP_LIST("generic-vhost-user", c->generic_vhost_user, rules_generic),
		GROUP_LIST("user-device", c->user_devices, rules_user_device),
		GROUP_LIST("pmem", c->pmem, rules_pmem),
		GROUP_LIST("device", c->devices, rules_device),
		GROUP_LIST("numa", c->numa, rules_numa),
		GROUP_LIST("landlock-rules", c->landlock_rules, rules_landlock),
		GROUP_ONE("ivshmem", c->ivshmem, rules_ivshmem),
	};

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (fn(c, &groups[i], e))
			return -1;
	return 0;
}

static int check_groups(const struct vm_conf *c, struct err *e)
{
	return each_group(c, check_group, e);
}

static int check_reserved(const char *kind, const char *id, struct err *e)
{
	if (!strncmp(id, ID_RESERVED, strlen(ID_RESERVED)))
		return err_set(e, ERR_BAD,
			       "--%s: names that begin with " ID_RESERVED
			       " are our own: choose another in place of '%s'",
			       kind, id);
	if (!*id)
		return err_set(e, ERR_BAD, "--%s: an empty id names nothing: leave it out", kind);
	return 0;
}

/* Every name is said once, over devices, memory zones and limits. */
static int check_names(const struct vm_conf *c, struct err *e)
{
	AUTO_FREE struct conf_dev *devs = NULL;
	uint32_t n = conf_devs(&devs, c), zones = c->memory.zones.count;
	uint32_t all = n + zones + c->rate_limit_groups.count, at = 0;
	AUTO_FREE struct conf_dev *named = mem_array(all, sizeof(*named));

	for (uint32_t i = 0; i < n; i++)
		named[at++] = devs[i];
	for (uint32_t i = 0; i < zones; i++)
		named[at++] = (struct conf_dev){ .kind = "memory-zone",
						 .id = &c->memory.zones.items[i].id };
	for (uint32_t i = 0; i < c->rate_limit_groups.count; i++)
		named[at++] = (struct conf_dev){ .kind = "rate-limit-group",
						 .id = &c->rate_limit_groups.items[i].id };
	for (uint32_t i = 0; i < all; i++) {
		if (!*named[i].id)
			continue;
		if (check_reserved(named[i].kind, *named[i].id, e))
			return -1;
		for (uint32_t k = 0; k < i; k++)
			if (*named[k].id && !strcmp(*named[k].id, *named[i].id))
				return err_set(
					e, ERR_TAKEN,
					"--%s: the id '%s' is taken by a --%s: choose another",
					named[i].kind, *named[i].id, named[k].kind);
	}
	return 0;
}

/* A slot that there is, and that is not the host bridge's. The words are those that programs look
 * for. */
static int check_slot(const struct conf_dev *d, struct err *e)
{
	if (d->slot >= PCI_SLOTS)
		return err_set(e, ERR_BAD,
			       "--%s: Given PCI device ID (%d) is out of the supported range of "
			       "0..%d: choose another pci_device_id",
			       d->kind, d->slot, PCI_SLOTS);
	if (!d->slot && !d->segment)
		return err_set(e, ERR_BAD,
			       "--%s: Given PCI device ID (0) is reserved for the host bridge: "
			       "choose 1 to %d as pci_device_id",
			       d->kind, PCI_SLOTS - 1);
	return 0;
}

/* No two devices ask for one slot. */
static int check_slots(const struct vm_conf *c, struct err *e)
{
	AUTO_FREE struct conf_dev *devs = NULL;
	uint32_t n = conf_devs(&devs, c);

	for (uint32_t i = 0; i < n; i++) {
		if (devs[i].slot < 0)
			continue;
		if (check_slot(&devs[i], e))
			return -1;
		for (uint32_t k = 0; k < i; k++)
			if (devs[k].slot == devs[i].slot && devs[k].segment == devs[i].segment)
				return err_set(e, ERR_TAKEN,
					       "--%s: Valid PCI device identifier but already "
					       "used: %d, by a --%s: choose another pci_device_id",
					       devs[i].kind, devs[i].slot, devs[k].kind);
	}
	return 0;
}

/* A queue of a disk, and a vCPU, is pinned once, and exists. */
static int check_affinity(const struct vm_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->cpus.affinity.count; i++) {
		uint32_t vcpu = c->cpus.affinity.items[i].vcpu;

		if (vcpu >= c->cpus.max_vcpus)
			return err_set(e, ERR_BAD,
				       "--cpus: affinity names vCPU %u, and there are %u: lower it",
				       vcpu, c->cpus.max_vcpus);
	}
	for (uint32_t d = 0; d < c->disks.count; d++) {
		const struct disk_conf *disk = &c->disks.items[d];

		for (uint32_t i = 0; i < disk->queue_affinity.count; i++)
			if (disk->queue_affinity.items[i].queue_index >= disk->num_queues)
				return err_set(
					e, ERR_BAD,
					"--disk: queue_affinity names queue %u, and there are %u: "
					"lower it",
					disk->queue_affinity.items[i].queue_index,
					disk->num_queues);
	}
	return 0;
}

int conf_check_rules(const struct vm_conf *c, struct err *e)
{
	static int (*const checks[])(const struct vm_conf *, struct err *) = {
		check_groups, check_names, segments_check, nodes_check, check_slots, check_affinity,
	};

	for (size_t i = 0; i < ARRAY_LEN(checks); i++)
		if (checks[i](c, e))
			return -1;
	return 0;
}

int conf_check_vmm(const struct vmm_conf *c, struct err *e)
{
	if (desc_check_built(&vmm_desc, c, e) < 0)
		return -1;
	if (!c->dbus_service_name != !c->dbus_object_path)
		return err_set(e, ERR_BAD,
			       "--dbus-service-name and --dbus-object-path: say both or neither");
	if (c->dbus_system_bus && !c->dbus_service_name)
		return err_set(
			e, ERR_BAD,
			"--dbus-system-bus: say --dbus-service-name and --dbus-object-path too");
	return 0;
}

int conf_check_again(const struct vm_conf *c, struct err *e)
{
	return desc_check_built(&vm_desc, c, e) || conf_check_rules(c, e) ? -1 : 0;
}

int conf_check(const struct vm_conf *c, struct err *e)
{
	return conf_check_again(c, e) ? -1 : each_group(c, warn_group, e);
}
