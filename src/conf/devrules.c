/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules between options of disks, cards and other devices that a guest may have more or less of;
 * predicates and tables as in conf/rules.c. See rules.h.
 */
#include "conf/rules.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

#define PAGE KIB(4)
#define PMEM_ALIGN MIB(2)

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

/* As many as there may be: those of the start come and go, and a device stays as it is. */
static bool disk_has_many_queues(const struct look *l)
{
	const struct disk_conf *d = l->thing;

	return d->num_queues > l->vm->cpus.max_vcpus;
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
	  "more queues than vCPUs: lower num_queues or raise --cpus max" },
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

	return n->num_queues / 2 > l->vm->cpus.max_vcpus;
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

	return n->fds.count && (n->tap || conf_has_mac(n->host_mac));
}

/* Clients that are made from Cloud Hypervisor's document say its default address with every card. */
static bool net_address_is_idle(const struct look *l)
{
	const struct net_conf *n = l->thing;

	return n->fds.count && n->ip;
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
	  "more queue pairs than vCPUs: lower num_queues or raise --cpus max" },
	{ net_queue_is_odd, false, "queue_size is not a power of two: say 256, for one" },
	{ net_fds_do_not_fit, false,
	  "a descriptor is needed for each pair of queues: say num_queues twice the fds" },
	{ net_has_two_ends, false, "fd is a tap already made: leave out tap and host_mac" },
	{ net_address_is_idle, true,
	  "--net: fd is a tap already made: ip and mask have no effect on it" },
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

	return f->num_queues > l->vm->cpus.max_vcpus;
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

static bool ivshmem_is_odd(const struct look *l)
{
	const struct ivshmem_conf *i = l->thing;

	return !is_pow2(i->size) || i->size < PAGE;
}

static const struct rule fs_rules[] = {
	{ fs_has_many_queues, false,
	  "more queues than vCPUs: lower num_queues or raise --cpus max" },
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
static const struct rule ivshmem_rules[] = {
	{ ivshmem_is_odd, false, "size is not a power of two of 4K or more: round it" },
};

const struct rule_table rules_disk = RULES(disk_rules);
const struct rule_table rules_net = RULES(net_rules);
const struct rule_table rules_fs = RULES(fs_rules);
const struct rule_table rules_generic = RULES(generic_rules);
const struct rule_table rules_user_device = RULES(user_device_rules);
const struct rule_table rules_pmem = RULES(pmem_rules);
const struct rule_table rules_device = RULES(device_rules);
const struct rule_table rules_ivshmem = RULES(ivshmem_rules);
