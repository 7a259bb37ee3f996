/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules between options: predicates, and tables of "broken when" and "say this". A predicate
 * looks at one thing and answers true when its rule is broken. Who looks at what, and rules that
 * name two things, are conf/check's. It asks nothing of the host. Any thread; no state.
 */
#include "conf/rules.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/str.h"

#define PAGE KIB(4)
#define PMEM_ALIGN MIB(2)
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
	/* the devices need a part of the addresses too */
	return l->vm->memory.size >= 1ull << (l->vm->cpus.max_phys_bits - 1);
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

static bool balloon_is_all(const struct look *l)
{
	return l->vm->balloon && l->vm->memory.size && l->vm->balloon->size >= l->vm->memory.size;
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

/* Disks. */

/* Can another process map the guest's memory? */
static bool memory_is_private(const struct vm_conf *vm)
{
	bool all = vm->memory.zones.count;

	for (uint32_t i = 0; i < vm->memory.zones.count; i++)
		all = all &&
		      (vm->memory.zones.items[i].shared || vm->memory.zones.items[i].hugepages);
	return !all && !vm->memory.shared && !vm->memory.hugepages;
}

static bool disk_has_no_path(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return !d->vhost_user && (!d->path || !*d->path);
}

static bool disk_has_many_queues(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return d->num_queues > l->vm->cpus.boot_vcpus;
}

static bool disk_queue_is_odd(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return !is_pow2(d->queue_size) || d->queue_size <= 2;
}

static bool disk_has_no_socket(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return d->vhost_user && !d->vhost_socket;
}

static bool disk_has_odd_socket(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return !d->vhost_user && d->vhost_socket;
}

static bool disk_memory_is_private(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return d->vhost_user && memory_is_private(l->vm);
}

static bool disk_vhost_has_limit(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return d->vhost_user && (d->rate_limiter_config || d->rate_limit_group);
}

static bool disk_has_two_limits(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return d->rate_limiter_config && d->rate_limit_group;
}

static bool disk_group_is_unknown(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	if (!d->rate_limit_group)
		return false;
	for (uint32_t i = 0; i < l->vm->rate_limit_groups.count; i++)
		if (!strcmp(l->vm->rate_limit_groups.items[i].id, d->rate_limit_group))
			return false;
	return true;
}

static const struct rule disk_rules[] = {
	{ disk_has_no_path, false, "it has no image: say path=<file or block device>" },
	{ disk_has_many_queues, false,
	  "more queues than vCPUs: lower num_queues or raise --cpus boot" },
	{ disk_queue_is_odd, false, "queue_size is not a power of two above 2: say 128, for one" },
	{ disk_has_no_socket, false,
	  "vhost_user needs the socket of its process: say socket=<path>" },
	{ disk_has_odd_socket, false, "socket goes with vhost_user=on: say both or none" },
	{ disk_memory_is_private, false,
	  "vhost_user needs memory that others can map: say --memory shared=on" },
	{ disk_vhost_has_limit, false,
	  "a vhost-user disk can not be limited here: limit it in its process" },
	{ disk_has_two_limits, false, "it has a limit and a group: say one" },
	{ disk_group_is_unknown, false,
	  "its rate_limit_group is not there: say --rate-limit-group id=<name>,..." },
};

/* Network cards. */

static bool net_has_odd_queues(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->num_queues % 2;
}

static bool net_has_many_queues(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->num_queues / 2 > l->vm->cpus.boot_vcpus;
}

static bool net_queue_is_odd(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return !is_pow2(n->queue_size);
}

static bool net_fds_do_not_fit(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->fds.count && n->fds.count * 2 != n->num_queues;
}

static bool net_has_two_ends(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->fds.count && (n->tap || n->ip || n->mask || conf_has_mac(n->host_mac));
}

static bool net_stream_has_more(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->stream && (n->tap || n->ip || n->mask || conf_has_mac(n->host_mac) ||
			     n->fds.count || n->vhost_user);
}

static bool net_stream_has_pairs(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->stream && n->num_queues > 2;
}

static bool net_has_half_an_address(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return !n->ip != !n->mask;
}

/* AF_INET, AF_INET6, or 0 for what is no address. */
static int family(const char *text)
{
	unsigned char bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6 : 0;
}

static bool net_address_is_none(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->ip && n->mask && (!family(n->ip) || family(n->ip) != family(n->mask));
}

static bool net_segments_without_sums(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return !n->offload_csum && (n->offload_tso || n->offload_ufo);
}

static bool net_tap_is_long(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->tap && strlen(n->tap) > 15; /* IFNAMSIZ - 1 */
}

static bool net_has_no_socket(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->vhost_user && !n->vhost_socket;
}

static bool net_has_odd_socket(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return !n->vhost_user && n->vhost_socket;
}

static bool net_memory_is_private(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->vhost_user && memory_is_private(l->vm);
}

static bool net_vhost_has_limit(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->vhost_user && n->rate_limiter_config;
}

static const struct rule net_rules[] = {
	{ net_has_odd_queues, false, "queues come in pairs: say an even num_queues" },
	{ net_has_many_queues, false,
	  "more queue pairs than vCPUs: lower num_queues or raise --cpus boot" },
	{ net_queue_is_odd, false, "queue_size is not a power of two: say 256, for one" },
	{ net_fds_do_not_fit, false,
	  "a descriptor is needed for each pair of queues: say num_queues twice the fds" },
	{ net_has_two_ends, false,
	  "fd is a tap already made: leave out tap, ip, mask and host_mac" },
	{ net_stream_has_more, false,
	  "stream stands for the host's end: leave out tap, fd, vhost_user, ip, mask and host_mac" },
	{ net_stream_has_pairs, false, "a stream serves one pair of queues: say num_queues=2" },
	{ net_has_half_an_address, false, "ip and mask go together: say both or none" },
	{ net_address_is_none, false,
	  "ip and mask are not two IPv4 or two IPv6 addresses: correct them" },
	{ net_segments_without_sums, false,
	  "offload_tso and offload_ufo need checksums: switch them off too, or offload_csum on" },
	{ net_tap_is_long, false, "the name of a tap has at most 15 bytes: shorten it" },
	{ net_has_no_socket, false,
	  "vhost_user needs the socket of its process: say socket=<path>" },
	{ net_has_odd_socket, false, "socket goes with vhost_user=on: say both or none" },
	{ net_memory_is_private, false,
	  "vhost_user needs memory that others can map: say --memory shared=on" },
	{ net_vhost_has_limit, false,
	  "a vhost-user card can not be limited here: limit it in its process" },
};

/* Other devices. */

static bool fs_has_many_queues(const struct look *l)
{
	const struct fs_conf *f = l->thing;

	return f->num_queues > l->vm->cpus.boot_vcpus;
}

static bool fs_queue_is_odd(const struct look *l)
{
	const struct fs_conf *f = l->thing;

	return !is_pow2(f->queue_size);
}

static bool needs_shared_memory(const struct look *l)
{
	return memory_is_private(l->vm);
}

static bool vhost_queue_is_odd(const struct look *l)
{
	const struct generic_vhost_user_conf *g = l->thing;

	for (uint32_t i = 0; i < g->queue_sizes.count; i++)
		if (!is_pow2(g->queue_sizes.items[i]))
			return true;
	return !g->queue_sizes.count;
}

static bool vhost_type_is_ours(const struct look *l)
{
	const struct generic_vhost_user_conf *g = l->thing;

	return g->device_type == 23 || g->device_type == 35; /* virtio ids of iommu and watchdog */
}

static bool pmem_names_nothing(const struct look *l)
{
	const struct pmem_conf *p = l->thing;

	return !*p->file;
}

static bool pmem_is_odd(const struct look *l)
{
	const struct pmem_conf *p = l->thing;

	return conf_said(pmem, p, size) && (!p->size || p->size % PMEM_ALIGN);
}

static bool device_has_two_ends(const struct look *l)
{
	const struct device_conf *d = l->thing;

	return !d->path == !conf_said(device, d, fd);
}

static bool device_fd_without_iommufd(const struct look *l)
{
	const struct device_conf *d = l->thing;
	const struct platform_conf *p = l->vm->platform;

	return conf_said(device, d, fd) && !(p && conf_said(platform, p, iommufd_fd));
}

static bool device_clique_without_p2p(const struct look *l)
{
	const struct device_conf *d = l->thing;

	return conf_said(device, d, x_nv_gpudirect_clique) && l->vm->platform &&
	       !l->vm->platform->vfio_p2p_dma;
}

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

static bool ivshmem_is_odd(const struct look *l)
{
	const struct ivshmem_conf *i = l->thing;

	return !is_pow2(i->size) || i->size < PAGE;
}

static const struct rule fs_rules[] = {
	{ fs_has_many_queues, false,
	  "more queues than vCPUs: lower num_queues or raise --cpus boot" },
	{ fs_queue_is_odd, false, "queue_size is not a power of two: say 1024, for one" },
	{ needs_shared_memory, false,
	  "it needs memory that others can map: say --memory shared=on" },
};
static const struct rule generic_rules[] = {
	{ vhost_queue_is_odd, false, "queue_sizes are not powers of two: say [128], for one" },
	{ vhost_type_is_ours, false, "a device of this type can not be served by another process" },
	{ needs_shared_memory, false,
	  "it needs memory that others can map: say --memory shared=on" },
};
static const struct rule user_device_rules[] = {
	{ needs_shared_memory, false,
	  "it needs memory that others can map: say --memory shared=on" },
};
static const struct rule pmem_rules[] = {
	{ pmem_names_nothing, false, "its file has no name: say file=<path>" },
	{ pmem_is_odd, false, "size is not a multiple of 2M: round it" },
};
static const struct rule device_rules[] = {
	{ device_has_two_ends, false, "say either path or fd" },
	{ device_fd_without_iommufd, false,
	  "fd needs an opened iommufd: say --platform iommufd_fd=<n>" },
	{ device_clique_without_p2p, false,
	  "x_nv_gpudirect_clique needs --platform vfio_p2p_dma=on" },
};
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
static const struct rule ivshmem_rules[] = {
	{ ivshmem_is_odd, false, "size is not a power of two of 4K or more: round it" },
};

#define TABLE(rows)                                                                                \
	{                                                                                          \
		.rules = (rows), .count = ARRAY_LEN(rows)                                          \
	}

const struct rule_table rules_vm = TABLE(vm_rules);
const struct rule_table rules_zone = TABLE(zone_rules);
const struct rule_table rules_serial = TABLE(console_rules);
const struct rule_table rules_console = TABLE(console_rules);
const struct rule_table rules_debug_console = TABLE(debug_console_rules);
const struct rule_table rules_disk = TABLE(disk_rules);
const struct rule_table rules_net = TABLE(net_rules);
const struct rule_table rules_fs = TABLE(fs_rules);
const struct rule_table rules_generic = TABLE(generic_rules);
const struct rule_table rules_user_device = TABLE(user_device_rules);
const struct rule_table rules_pmem = TABLE(pmem_rules);
const struct rule_table rules_device = TABLE(device_rules);
const struct rule_table rules_group = TABLE(group_rules);
const struct rule_table rules_numa = TABLE(numa_rules);
const struct rule_table rules_landlock = TABLE(landlock_rules);
const struct rule_table rules_ivshmem = TABLE(ivshmem_rules);
