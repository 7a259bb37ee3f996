/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules between options of the machine: predicates, and tables of "broken when" and "say this".
 * A predicate looks at one thing and answers true when its rule is broken. Disks, cards and other
 * devices are conf/devrules'; who looks at what, and rules that name two things, conf/check's. It asks
 * nothing of the host. Any thread; no state.
 */
#include "conf/rules.h"

#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/str.h"

#define PAGE KIB(4)
#define PLUG_ALIGN MIB(128)
#define PLUG_BLOCK MIB(2)

/* The machine. */

static bool boots_nothing(const struct look *l)
{
	const struct payload_conf *p = &l->vm->payload;

	return !p->kernel && !p->firmware && !p->igvm;
}

static bool boots_two(const struct look *l)
{
	const struct payload_conf *p = &l->vm->payload;

	return p->kernel && p->firmware && !p->fw_cfg_config;
}

static bool fw_item_is_odd(const struct look *l)
{
	const struct fw_cfg_conf *f = l->vm->payload.fw_cfg_config;

	for (uint32_t i = 0; f && f->items && i < f->items->item_list.count; i++) {
		const struct fw_cfg_item_conf *it = &f->items->item_list.items[i];

		if (!it->file == !it->string)
			return true;
	}
	return false;
}

static bool firmware_is_told_much(const struct look *l)
{
	const struct payload_conf *p = &l->vm->payload;

	return p->firmware && (p->cmdline || p->initramfs) && !p->fw_cfg_config;
}

static bool snp_without_igvm(const struct look *l)
{
	return l->vm->platform && l->vm->platform->sev_snp && !l->vm->payload.igvm;
}

static bool fewer_max_than_boot(const struct look *l)
{
	return l->vm->cpus.max_vcpus < l->vm->cpus.boot_vcpus;
}

static bool topology_is_odd(const struct look *l)
{
	const struct cpu_topology_conf *t = l->vm->cpus.topology;
	uint64_t n = t ? (uint64_t)t->threads_per_core * t->cores_per_die : 0;

	/* 16 bits each: three of them fit, the fourth is judged on its own */
	if (!t || mul_overflows(&n, n, (uint64_t)t->dies_per_package) ||
	    mul_overflows(&n, n, (uint64_t)t->packages))
		return t;
	return n != l->vm->cpus.max_vcpus;
}

static bool topology_has_wide_cores(const struct look *l)
{
	return l->vm->cpus.topology && l->vm->cpus.topology->threads_per_core > 2;
}

static bool has_no_memory(const struct look *l)
{
	return !l->vm->memory.size && !l->vm->memory.zones.count;
}

static bool has_memory_twice(const struct look *l)
{
	return l->vm->memory.size && l->vm->memory.zones.count;
}

static bool memory_is_no_pages(const struct look *l)
{
	return l->vm->memory.size % PAGE;
}

static bool memory_is_too_wide(const struct look *l)
{
	uint8_t bits = l->vm->cpus.max_phys_bits;

	/* the devices need a part of the addresses too */
	return bits < 64 && l->vm->memory.size >= 1ull << (bits - 1);
}

static bool shares_and_merges(const struct look *l)
{
	return l->vm->memory.shared && l->vm->memory.mergeable;
}

static bool page_size_without_pages(const struct look *l)
{
	return conf_said(memory, &l->vm->memory, hugepage_size) && !l->vm->memory.hugepages;
}

static bool page_size_is_odd(const struct look *l)
{
	const struct memory_conf *m = &l->vm->memory;

	return conf_said(memory, m, hugepage_size) &&
	       (!is_pow2(m->hugepage_size) || m->hugepage_size <= PAGE);
}

static bool memory_is_no_huge_pages(const struct look *l)
{
	const struct memory_conf *m = &l->vm->memory;

	return m->hugepages && m->hugepage_size && m->size % m->hugepage_size;
}

static bool hotplugged_without_room(const struct look *l)
{
	return l->vm->memory.hotplugged_size > l->vm->memory.hotplug_size;
}

static bool hotplugged_by_acpi(const struct look *l)
{
	const struct memory_conf *m = &l->vm->memory;

	return conf_said(memory, m, hotplugged_size) && m->hotplug_method == HOTPLUG_ACPI;
}

/* What virtio-mem adds comes in regions of a guest's memory blocks, and of these in blocks of its
 * own. */
static bool hotplug_is_odd(const struct look *l)
{
	const struct memory_conf *m = &l->vm->memory;

	return m->hotplug_method == HOTPLUG_VIRTIO_MEM && m->hotplug_size % PLUG_ALIGN;
}

static bool is_no_blocks(uint64_t size, bool hugepages, uint64_t hugepage_size)
{
	return size % (hugepages && hugepage_size > PLUG_BLOCK ? hugepage_size : PLUG_BLOCK);
}

static bool hotplugged_is_odd(const struct look *l)
{
	const struct memory_conf *m = &l->vm->memory;

	return is_no_blocks(m->hotplugged_size, m->hugepages, m->hugepage_size);
}

static bool hotplug_is_nobodys(const struct look *l)
{
	return l->vm->memory.hotplug_size && l->vm->memory.zones.count;
}

static bool huge_pages_never_merge(const struct look *l)
{
	return l->vm->memory.hugepages && l->vm->memory.mergeable;
}

/* What has come since the start may be in it, too; of what is there the balloon knows itself. */
static bool balloon_is_all(const struct look *l)
{
	const struct memory_conf *m = &l->vm->memory;

	return l->vm->balloon && m->size && l->vm->balloon->size >= m->size + m->hotplug_size;
}

static bool uuid_is_none(const struct look *l)
{
	const struct platform_conf *p = l->vm->platform;
	struct err e = { 0 };
	uint8_t uuid[16];

	return p && p->system_uuid && str_to_uuid(uuid, p->system_uuid, &e);
}

static bool landlock_rules_are_idle(const struct look *l)
{
	return l->vm->landlock_rules.count && !l->vm->landlock_enable;
}

static const struct rule vm_rules[] = {
	{ boots_nothing, false, "nothing to boot: say --kernel or --firmware" },
	{ boots_two, false,
	  "--kernel and --firmware: say one, the firmware finds the kernel by itself" },
	{ fw_item_is_odd, false, "--fw-cfg-config: an item has a file or a string: say one" },
	{ firmware_is_told_much, true,
	  "--firmware: --cmdline and --initramfs are for a kernel and have no effect" },
	{ snp_without_igvm, false, "--platform: sev_snp needs an image made for it: say --igvm" },
	{ uuid_is_none, false,
	  "--platform: system_uuid is no UUID: say 32 hex digits as 8-4-4-4-12" },
	{ fewer_max_than_boot, false, "--cpus: max is below boot: raise it or leave it out" },
	{ topology_is_odd, false,
	  "--cpus: the numbers of topology, multiplied, must be max: change one of them" },
	{ topology_has_wide_cores, false, "--cpus: topology: a core has one thread or two" },
	{ has_no_memory, false, "--memory: size is 0: say how much the guest has" },
	{ has_memory_twice, false,
	  "--memory-zone: say --memory size=0 with it, the zones are all the memory" },
	{ memory_is_no_pages, false, "--memory: size is not a multiple of 4K: round it" },
	{ memory_is_too_wide, false,
	  "--memory: size leaves no addresses for devices: lower it or raise --cpus max_phys_bits" },
	{ shares_and_merges, false,
	  "--memory: shared memory can not be merged: say one of shared and mergeable" },
	{ page_size_without_pages, false, "--memory: hugepage_size needs hugepages=on" },
	{ page_size_is_odd, false,
	  "--memory: hugepage_size is no size of a page: say a power of two above 4K" },
	{ memory_is_no_huge_pages, false,
	  "--memory: size is not a multiple of hugepage_size: round it" },
	{ hotplugged_without_room, false,
	  "--memory: hotplugged_size is above hotplug_size: lower it" },
	{ hotplugged_by_acpi, false,
	  "--memory: hotplugged_size is for virtio-mem: say hotplug_method=virtio-mem" },
	{ hotplug_is_odd, false, "--memory: hotplug_size is not a multiple of 128M: round it" },
	{ hotplugged_is_odd, false,
	  "--memory: hotplugged_size is not a multiple of 2M, or of the huge page: round it" },
	{ hotplug_is_nobodys, false,
	  "--memory: with memory zones hotplug_size is said of each of them" },
	{ huge_pages_never_merge, true, "--memory: mergeable has no effect on huge pages" },
	{ landlock_rules_are_idle, true,
	  "--landlock-rules: without --landlock they have no effect" },
	{ balloon_is_all, false, "--balloon: size takes all the guest's memory: lower it" },
};

/* Memory zones. */

static bool zone_is_empty(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return !z->size || z->size % PAGE;
}

static bool zone_shares_and_merges(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return z->shared && z->mergeable;
}

static bool zone_has_page_size_without_pages(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return conf_said(memory_zone, z, hugepage_size) && !z->hugepages;
}

static bool zone_page_size_is_odd(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return conf_said(memory_zone, z, hugepage_size) &&
	       (!is_pow2(z->hugepage_size) || z->hugepage_size <= PAGE);
}

static bool zone_is_no_huge_pages(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return z->hugepages && z->hugepage_size && z->size % z->hugepage_size;
}

/* The pages of a file that is shared are the file's, wherever they are. */
static bool zone_binds_a_shared_file(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return z->shared && z->file && conf_said(memory_zone, z, host_numa_node);
}

static bool zone_grows_by_acpi(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return (conf_said(memory_zone, z, hotplug_size) ||
		conf_said(memory_zone, z, hotplugged_size)) &&
	       l->vm->memory.hotplug_method == HOTPLUG_ACPI;
}

static bool zone_hotplugged_without_room(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return z->hotplugged_size > z->hotplug_size;
}

static bool zone_hotplug_is_odd(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return z->hotplug_size % PLUG_ALIGN;
}

static bool zone_hotplugged_is_odd(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return is_no_blocks(z->hotplugged_size, z->hugepages, z->hugepage_size);
}

static bool zone_never_merges(const struct look *l)
{
	const struct memory_zone_conf *z = l->thing;

	return z->hugepages && z->mergeable;
}

static const struct rule zone_rules[] = {
	{ zone_is_empty, false, "size is not a multiple of 4K above 0: say one" },
	{ zone_shares_and_merges, false,
	  "shared memory can not be merged: say one of shared and mergeable" },
	{ zone_has_page_size_without_pages, false, "hugepage_size needs hugepages=on" },
	{ zone_page_size_is_odd, false,
	  "hugepage_size is no size of a page: say a power of two above 4K" },
	{ zone_is_no_huge_pages, false, "size is not a multiple of hugepage_size: round it" },
	{ zone_binds_a_shared_file, false,
	  "a shared file has its pages where it has them: leave out host_numa_node or shared" },
	{ zone_grows_by_acpi, false,
	  "a zone grows by virtio-mem only: say --memory size=0,hotplug_method=virtio-mem" },
	{ zone_hotplugged_without_room, false, "hotplugged_size is above hotplug_size: lower it" },
	{ zone_hotplug_is_odd, false, "hotplug_size is not a multiple of 128M: round it" },
	{ zone_hotplugged_is_odd, false,
	  "hotplugged_size is not a multiple of 2M, or of the huge page: round it" },
	{ zone_never_merges, true, "--memory-zone: mergeable has no effect on huge pages" },
};

/* Consoles. */

static bool console_has_no_file(const struct look *l)
{
	const struct console_conf *c = l->thing;

	return c->mode == CONSOLE_FILE && !c->file;
}

static bool console_has_no_socket(const struct look *l)
{
	const struct console_conf *c = l->thing;

	return c->mode == CONSOLE_SOCKET && !c->socket;
}

/* The file of a pseudo-terminal is where it was found to be, which a configuration that is read
 * again may still say. */
static bool is_other_place(enum console_mode mode, const char *file)
{
	return mode == CONSOLE_PTY && file && strncmp(file, "/dev/pts/", 9) != 0;
}

static bool console_pty_has_a_file(const struct look *l)
{
	const struct console_conf *c = l->thing;

	return is_other_place(c->mode, c->file);
}

static bool debug_console_pty_has_a_file(const struct look *l)
{
	const struct debug_console_conf *c = l->thing;

	return is_other_place(c->mode, c->file);
}

static bool debug_console_has_no_file(const struct look *l)
{
	const struct debug_console_conf *c = l->thing;

	return c->mode == CONSOLE_FILE && !c->file;
}

static const struct rule console_rules[] = {
	{ console_has_no_file, false, "no file is named for the text: say file=<path>" },
	{ console_has_no_socket, false, "no socket is named for the text: say socket=<path>" },
	{ console_pty_has_a_file, false,
	  "the host chooses the place of a pty: say one of pty and file" },
};
static const struct rule debug_console_rules[] = {
	{ debug_console_has_no_file, false, "no file is named for the text: say file=<path>" },
	{ debug_console_pty_has_a_file, false,
	  "the host chooses the place of a pty: say one of pty and file" },
};

/* Groups, nodes, paths. */

static bool group_limits_nothing(const struct look *l)
{
	const struct rate_group_conf *g = l->thing;

	return !g->rate_limiter_config.bandwidth && !g->rate_limiter_config.ops;
}

static bool numa_is_two_things(const struct look *l)
{
	const struct numa_conf *n = l->thing;

	return n->device_id && (n->cpus.count || n->memory_zones.count);
}

static bool access_is_odd(const struct look *l)
{
	const struct landlock_conf *r = l->thing;

	return !*r->access || strspn(r->access, "rw") != strlen(r->access);
}

static const struct rule group_rules[] = {
	{ group_limits_nothing, false,
	  "it limits nothing: say bw_size and bw_refill_time, or the same of ops" },
};
static const struct rule numa_rules[] = {
	{ numa_is_two_things, false,
	  "a node with device_id has neither cpus nor memory_zones: say one kind" },
};
static const struct rule landlock_rules[] = {
	{ access_is_odd, false, "access is none of r, w and rw" },
};

const struct rule_table rules_vm = RULES(vm_rules);
const struct rule_table rules_zone = RULES(zone_rules);
const struct rule_table rules_serial = RULES(console_rules);
const struct rule_table rules_console = RULES(console_rules);
const struct rule_table rules_debug_console = RULES(debug_console_rules);
const struct rule_table rules_group = RULES(group_rules);
const struct rule_table rules_numa = RULES(numa_rules);
const struct rule_table rules_landlock = RULES(landlock_rules);
