/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: one line per device that the config names, made from one row per section; then the
 * slots; then dev_add for each. See plug.h.
 */
#include "vm/plug.h"

#include "base/mem.h"
#include "dev/blk.h"
#include "dev/net.h"
#include "dev/rng.h"
#include "dev/vcon.h"
#include "pci/pci.h"

#define SLOTS 32

struct plan {
	uint32_t count;
	struct plan_line {
		const struct virtio_class *class;
		struct dev_args args;
	} * lines;
};

static void plan_add(struct plan *p, const struct virtio_class *class, const char *id,
		     const void *conf, int slot, bool bar32)
{
	p->lines = mem_resize(p->lines, p->count, p->count + 1, sizeof(p->lines[0]));
	p->lines[p->count++] = (struct plan_line){
		.class = class,
		.args = { .id = id, .conf = conf, .slot = slot, .bar32 = bar32 },
	};
}

/* Firmware looks for disks below 4 GiB. */
static void plan_make(struct plan *p, const struct vm_conf *c, const struct vcon_conf *console)
{
	if (console->chr)
		plan_add(p, &vcon_class, c->console.id ? c->console.id : "__console", console,
			 conf_slot(console, &c->console), false);
	for (uint32_t i = 0; i < c->disks.count; i++) {
		const struct disk_conf *d = &c->disks.items[i];

		plan_add(p, &blk_class, d->id, d, conf_slot(disk, d), true);
	}
	for (uint32_t i = 0; i < c->net.count; i++) {
		const struct net_conf *n = &c->net.items[i];

		plan_add(p, &net_class, n->id, n, conf_slot(net, n), false);
	}
	plan_add(p, &rng_class, c->rng.id ? c->rng.id : "__rng", &c->rng, conf_slot(rng, &c->rng),
		 false);
}

/* Gives those without a wish the lowest slots that nobody wished for. Slot 0 is the host bridge. */
static int plan_slots(struct plan *p, struct err *e)
{
	uint32_t wished = 1;
	int next = 1;

	for (uint32_t i = 0; i < p->count; i++) {
		if (p->lines[i].args.slot >= 0)
			wished |= 1u << p->lines[i].args.slot;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->lines[i].args.slot >= 0)
			continue;
		while (next < SLOTS && wished >> next & 1)
			next++;
		if (next == SLOTS)
			return err_set(e, ERR_BAD,
				       "device %s finds no free PCI slot: a segment has %d",
				       p->lines[i].args.id, SLOTS - 1);
		p->lines[i].args.slot = next++;
	}
	return 0;
}

int plug_all(struct board *b, const struct vm_conf *c, const struct chars *ch, struct err *e)
{
	const struct vcon_conf console = { .chr = ch->console };
	struct plan p = { 0 };
	int r;

	plan_make(&p, c, &console);
	r = plan_slots(&p, e);
	for (uint32_t i = 0; r == 0 && i < p.count; i++)
		r = dev_add(NULL, b, &p.lines[i].class->dev, &p.lines[i].args, e);
	free(p.lines);
	return r;
}
