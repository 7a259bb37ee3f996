/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of sections, and the plan: one line per device that the config names; then the slots;
 * then dev_add for each. See plug.h.
 */
#include "vm/plug.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "conf/nodes.h"
#include "core/snap.h"
#include "dev/balloon.h"
#include "dev/blk.h"
#include "dev/ivshmem.h"
#include "dev/net.h"
#include "dev/pmem.h"
#include "dev/pvmemcontrol.h"
#include "dev/pvpanic.h"
#include "dev/rng.h"
#include "dev/rtc.h"
#include "dev/vcon.h"
#include "dev/viommu.h"
#include "dev/vmem.h"
#include "dev/vsock.h"
#include "dev/watchdog.h"
#include "pci/pci.h"
#include "pci/pcidev.h"
#include "virtio/vpci.h"
#include "vm/saved.h"

#define SLOTS 32

/* What rows are read with. */
struct plug_from {
	const struct vm_conf *c;
	const struct conf_dev *devs; /* those of c that have a place on PCI */
	uint32_t count;
	struct vcon_conf console;
	const struct gmem *mem; /* NULL: what comes and goes there is left out */
	struct vmem_conf *vmem; /* room for those of all zones, by their number */
};

enum {
	LOW = 1 << 0,	/* at boot, on segment 0, its BAR lies below 4 GiB, where firmware looks */
	HOT = 1 << 1,	/* comes and goes while the machine runs */
	FIRST = 1 << 2, /* added before all others, and removed after them, in whatever slot */
};

struct plan;
struct plug_row {
	const char *section; /* as conf_devs calls it; what its devices are called in messages */
	const struct dev_class *class;
	const char *id; /* of a device that nobody named, and that has no name made for it */
	/* Adds a line to the plan for each device. */
	void (*plan)(struct plan *p, const struct plug_row *r, const struct plug_from *from);
	unsigned int flags;
};

struct plan {
	uint32_t count;
	struct plan_line {
		const struct plug_row *row;
		struct dev_args args;
	} * lines;
};

static struct dev_args *plan_add(struct plan *p, const struct plug_row *r, const char *id,
				 const void *conf)
{
	struct plan_line *l;

	p->lines = mem_resize(p->lines, p->count, p->count + 1, sizeof(p->lines[0]));
	l = &p->lines[p->count++];
	*l = (struct plan_line){
		.row = r,
		.args = { .id = id ? id : r->id, .conf = conf, .slot = -1 },
	};
	return &l->args;
}

/* All devices of the section, each with its own struct. */
static void plan_section(struct plan *p, const struct plug_row *r, const struct plug_from *from)
{
	for (uint32_t i = 0; i < from->count; i++) {
		const struct conf_dev *d = &from->devs[i];
		struct dev_args *a;

		if (strcmp(d->kind, r->section) != 0)
			continue;
		a = plan_add(p, r, *d->id, d->conf);
		a->segment = d->segment;
		a->slot = d->slot;
		a->iommu = d->iommu;
		a->bar32 = r->flags & LOW && !d->segment;
	}
}

/* The console's struct is the stream behind it. */
static void plan_console(struct plan *p, const struct plug_row *r, const struct plug_from *from)
{
	uint32_t first = p->count;

	if (!from->console.chr)
		return;
	plan_section(p, r, from);
	for (uint32_t i = first; i < p->count; i++)
		p->lines[i].args.conf = &from->console;
}

static void plan_iommu(struct plan *p, const struct plug_row *r, const struct plug_from *from)
{
	if (from->c->iommu)
		plan_add(p, r, NULL, NULL);
}

/* The guest's node of a zone, if it has one. */
static void find_node(struct vmem_conf *m, const struct vm_conf *c, const char *zone)
{
	for (uint32_t i = 0; i < c->numa.count; i++) {
		const struct numa_conf *n = &c->numa.items[i];

		for (uint32_t k = 0; k < n->memory_zones.count; k++) {
			if (strcmp(n->memory_zones.items[k], zone) != 0)
				continue;
			m->has_node = true;
			m->node = n->guest_numa_id;
		}
	}
}

/* One for each zone of which something may be plugged, called as the zone. */
static void plan_vmem(struct plan *p, const struct plug_row *r, const struct plug_from *from)
{
	const struct memory_conf *c = &from->c->memory;

	for (unsigned int i = 0; from->mem && i < gmem_regions(from->mem); i++) {
		const struct gmem_region *g = gmem_region(from->mem, i);
		const struct memory_zone_conf *z = c->zones.count ? &c->zones.items[g->zone] : NULL;
		struct vmem_conf *m = &from->vmem[g->zone];

		if (!g->block || c->hotplug_method != HOTPLUG_VIRTIO_MEM)
			continue;
		*m = (struct vmem_conf){
			.base = g->base.v,
			.requested = z ? z->hotplugged_size : c->hotplugged_size,
		};
		find_node(m, from->c, nodes_zone(from->c, g->zone));
		plan_add(p, r, z ? z->id : NULL, m);
	}
}

static void plan_pvmemcontrol(struct plan *p, const struct plug_row *r,
			      const struct plug_from *from)
{
	if (from->c->pvmemcontrol)
		plan_add(p, r, NULL, from->c->pvmemcontrol);
}

static void plan_pvpanic(struct plan *p, const struct plug_row *r, const struct plug_from *from)
{
	if (from->c->pvpanic)
		plan_add(p, r, NULL, NULL);
}

static void plan_watchdog(struct plan *p, const struct plug_row *r, const struct plug_from *from)
{
	if (from->c->watchdog)
		plan_add(p, r, NULL, NULL);
}

/* In the order in which slots are given out. */
static const struct plug_row rows[] = {
	{ "console", &vcon_class.dev, "__console", plan_console, 0 },
	{ "disk", &blk_class.dev, NULL, plan_section, LOW | HOT },
	{ "net", &net_class.dev, NULL, plan_section, HOT },
	{ "rng", &rng_class.dev, "__rng", plan_section, 0 },
	{ "pmem", &pmem_class.dev, NULL, plan_section, HOT },
	{ "vsock", &vsock_class.dev, NULL, plan_section, HOT },
	{ "memory", &vmem_class.dev, NODES_ONLY_ZONE, plan_vmem, 0 },
	{ "balloon", &balloon_class.dev, "__balloon", plan_section, 0 },
	{ "watchdog", &watchdog_class.dev, "__watchdog", plan_watchdog, 0 },
	{ "rtc", &rtc_class.dev, "__rtc", plan_section, 0 },
	{ "iommu", &viommu_class.dev, VIOMMU_ID, plan_iommu, FIRST },
	{ "pvmemcontrol", &pvmemcontrol_class.dev, "__pvmemcontrol", plan_pvmemcontrol, 0 },
	{ "pvpanic", &pvpanic_class.dev, "__pvpanic", plan_pvpanic, 0 },
	{ "ivshmem", &ivshmem_class.dev, "__ivshmem", plan_section, 0 },
};

static int take_place(struct dev_args *a, const struct board *b, struct err *e)
{
	uint16_t segment;
	int slot;

	if (saved_place(a->saved, &segment, &slot, e) < 0)
		return err_in(e, "device %s", a->id);
	if (segment >= pci_segments(b->pci))
		return err_set(e, ERR_BAD, "device %s was on PCI segment %u, and there are %u",
			       a->id, segment, pci_segments(b->pci));
	a->segment = segment;
	a->slot = slot;
	return 0;
}

/* Devices that go on do so where they were. */
static int plan_places(struct plan *p, struct board *b, struct err *e)
{
	for (uint32_t i = 0; b->saved && i < p->count; i++) {
		struct dev_args *a = &p->lines[i].args;

		a->saved = board_saved_find(b->saved, a->id);
		if (!a->saved)
			continue; /* dev_add says so */
		if (take_place(a, b, e) < 0 && board_refuse(b, e) < 0)
			return -1;
	}
	return 0;
}

/* Gives those without a wish the lowest slots of their segment that nobody wished for. */
static int plan_slots(struct plan *p, uint16_t segments, struct err *e)
{
	AUTO_FREE uint32_t *used = mem_array(segments, sizeof(used[0]));

	used[0] = 1; /* the host bridge */
	for (uint32_t i = 0; i < p->count; i++)
		if (p->lines[i].args.slot >= 0)
			used[p->lines[i].args.segment] |= 1u << p->lines[i].args.slot;
	for (uint32_t i = 0; i < p->count; i++) {
		struct dev_args *a = &p->lines[i].args;

		if (a->slot >= 0)
			continue;
		if (used[a->segment] == UINT32_MAX)
			return err_set(e, ERR_BAD,
				       "device %s finds no free PCI slot: segment %u has %d; say "
				       "pci_segment=<another>",
				       a->id, a->segment, a->segment ? SLOTS : SLOTS - 1);
		a->slot = __builtin_ctz(~used[a->segment]);
		used[a->segment] |= 1u << a->slot;
	}
	return 0;
}

/* Those that come first, or the others. */
static int plan_carry_out(struct plan *p, struct board *b, unsigned int first, struct err *e)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct plan_line *l = &p->lines[i];

		if ((l->row->flags & FIRST) == first &&
		    dev_add(NULL, b, l->row->class, &l->args, e))
			return -1;
	}
	return 0;
}

/* The whole plan of a config; the caller frees its lines. devs and from are what it borrows from. */
static void plan_all(struct plan *p, struct plug_from *from, struct conf_dev **devs)
{
	from->count = conf_devs(devs, from->c);
	from->devs = *devs;
	for (const struct plug_row *r = rows; r < rows + ARRAY_LEN(rows); r++)
		r->plan(p, r, from);
}

int plug_all(struct board *b, const struct vm_conf *c, const struct chars *ch, struct err *e)
{
	struct vmem_conf vmem[GMEM_ZONES_MAX];
	struct plug_from from = {
		.c = c,
		.console = { .chr = ch->console },
		.mem = b->mem,
		.vmem = vmem,
	};
	AUTO_FREE struct conf_dev *devs = NULL;
	struct plan p = { 0 };
	int r;

	plan_all(&p, &from, &devs);
	r = plan_places(&p, b, e);
	if (!r)
		r = plan_slots(&p, pci_segments(b->pci), e);
	if (!r)
		r = plan_carry_out(&p, b, FIRST, e) || plan_carry_out(&p, b, 0, e) ? -1 : 0;
	free(p.lines);
	return r;
}

int plug_one(struct dev **out, struct board *b, const struct vm_conf *c, const char *id,
	     struct err *e)
{
	struct plug_from from = { .c = c };
	AUTO_FREE struct conf_dev *devs = NULL;
	struct plan p = { 0 };
	int r = err_set(e, ERR_ABSENT, "the config has no device %s", id);

	plan_all(&p, &from, &devs);
	for (uint32_t i = 0; i < p.count; i++) {
		struct dev_args *a = &p.lines[i].args;

		if (strcmp(a->id, id) != 0)
			continue;
		a->bar32 = false;
		err_clear(e);
		r = dev_add(out, b, p.lines[i].row->class, a, e);
		break;
	}
	free(p.lines);
	return r;
}

bool plug_is_hot(const char *section)
{
	for (const struct plug_row *r = rows; r < rows + ARRAY_LEN(rows); r++)
		if (!strcmp(r->section, section))
			return r->flags & HOT;
	return false;
}

struct pci_fn *plug_fn(struct dev *d)
{
	if (d->class->plug == &vpci_plug)
		return vpci_fn(d);
	return d->class->plug == &pcidev_plug ? pcidev_fn(d) : NULL;
}

struct dev *plug_at(struct board *b, uint16_t segment, uint8_t slot)
{
	list_each (l, &b->devs) {
		struct dev *d = container_of(l, struct dev, link);
		const struct pci_fn *f = plug_fn(d);

		if (f && f->segment == segment && f->slot == slot)
			return d;
	}
	return NULL;
}
