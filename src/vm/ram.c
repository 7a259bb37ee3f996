/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory made of what the config says. Memory without zones is one zone. See ram.h.
 */
#include "vm/ram.h"

#include "arch/arch.h"
#include "base/bits.h"
#include "base/mem.h"

/* Said off is another thing than not said: then nothing is promised at all. */
static enum backing_reserve reserve_of(bool said, bool on)
{
	if (on)
		return BACKING_RESERVE_ALL;
	return said ? BACKING_RESERVE_NOTHING : BACKING_RESERVE_NEEDED;
}

/* By ACPI memory comes in a guest's memory blocks, or in huge pages larger than that: what of the size
 * fills none can not come. */
static uint64_t later_of(const struct memory_conf *c)
{
	if (c->hotplug_method != HOTPLUG_ACPI)
		return c->hotplug_size;
	return align_down(c->hotplug_size, max_u64(MIB(128), c->hugepages ? c->hugepage_size : 0));
}

static struct backing_args whole_args(const struct memory_conf *c)
{
	return (struct backing_args){
		.later = later_of(c),
		.shared = c->shared,
		.hugepages = c->hugepages,
		.hugepage_size = c->hugepage_size,
		.prefault = c->prefault,
		.reserve = reserve_of(conf_said(memory, c, reserve), c->reserve),
		.mergeable = c->mergeable,
		.thp = c->thp,
	};
}

static struct backing_args zone_args(const struct memory_conf *c, const struct memory_zone_conf *z)
{
	return (struct backing_args){
		.zone = z->id,
		.file = z->file,
		.later = z->hotplug_size,
		.shared = z->shared,
		.hugepages = z->hugepages,
		.hugepage_size = z->hugepage_size,
		.has_host_node = conf_said(memory_zone, z, host_numa_node),
		.host_node = z->host_numa_node,
		.prefault = z->prefault,
		.reserve = reserve_of(conf_said(memory_zone, z, reserve), z->reserve),
		.mergeable = conf_said(memory_zone, z, mergeable) ? z->mergeable : c->mergeable,
		.thp = c->thp,
	};
}

/* Of what the host has anyway. */
static void unmake(struct backing_args *a)
{
	a->file = NULL;
	a->shared = a->hugepages = a->has_host_node = false;
	a->reserve = BACKING_RESERVE_NOTHING;
}

static int open_zones(struct gmem_plan *p, const struct memory_conf *c, enum ram_use use,
		      struct err *e)
{
	struct backing_args a = whole_args(c);

	a.only_looks = use != RAM_FOR_GUEST;

	if (use == RAM_LIKE_IT)
		unmake(&a);
	if (!c->zones.count) {
		if (backing_open(&p->zone[0], c->size, &a, e) < 0)
			return -1;
		p->zones = 1;
		return 0;
	}
	if (c->zones.count > GMEM_ZONES_MAX)
		return err_set(e, ERR_BAD, "%u memory zones are too many: %d are possible",
			       c->zones.count, GMEM_ZONES_MAX);
	for (uint32_t i = 0; i < c->zones.count; i++) {
		const struct memory_zone_conf *z = &c->zones.items[i];

		a = zone_args(c, z);
		a.only_looks = use != RAM_FOR_GUEST;
		if (use == RAM_LIKE_IT)
			unmake(&a);
		if (backing_open(&p->zone[i], z->size, &a, e) < 0)
			return -1;
		p->zones++;
	}
	return 0;
}

static int build(struct gmem *m, struct gmem_plan *p, const struct vm_conf *c, uint8_t phys_bits,
		 enum ram_use use, struct err *e)
{
	if (open_zones(p, &c->memory, use, e) < 0 || arch_ram(p, c, phys_bits, e) < 0 ||
	    gmem_lay(m, p, e) < 0)
		return -1;
	/* Where guests look for tables, none that a former guest left in a file may be found. What
	 * lies above is the loader's. */
	return use == RAM_FOR_GUEST ? gmem_clear(m, GPA(0), MIB(1)) : 0;
}

int ram_new(struct gmem **out, const struct vm_conf *c, uint8_t phys_bits, enum ram_use use,
	    struct err *e)
{
	AUTO_FREE struct gmem_plan *p = NEW(struct gmem_plan);
	struct gmem *m;
	int r;

	if (gmem_new(&m, e) < 0)
		return -1;
	r = build(m, p, c, phys_bits, use, e);
	while (p->zones)
		backing_close(&p->zone[--p->zones]);
	if (r < 0) {
		gmem_free(m);
		return -1;
	}
	*out = m;
	return 0;
}
