/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: one line per device that the config names, made from one row per section; then the
 * slots; then dev_add for each. See plug.h.
 */
#include "vm/plug.h"

#include "base/mem.h"
#include "dev/blk.h"
#include "dev/net.h"
#include "dev/pvpanic.h"
#include "dev/rng.h"
#include "dev/vcon.h"
#include "pci/pci.h"

#define SLOTS 32

struct plan {
	uint32_t count;
	struct plan_line {
		const struct dev_class *class;
		struct dev_args args;
	} * lines;
};

/* A place that a device asks for. PLACE(disk, d) */
struct place {
	uint16_t segment;
	int slot; /* -1 = any */
};
#define PLACE(kind, c) ((struct place){ (c)->pci_segment, conf_slot(kind, c) })

static struct dev_args *plan_add(struct plan *p, const struct dev_class *class, const char *id,
				 const void *conf, struct place at)
{
	struct plan_line *l;

	p->lines = mem_resize(p->lines, p->count, p->count + 1, sizeof(p->lines[0]));
	l = &p->lines[p->count++];
	*l = (struct plan_line){
		.class = class,
		.args = { .id = id, .conf = conf, .segment = at.segment, .slot = at.slot },
	};
	return &l->args;
}

static void plan_make(struct plan *p, const struct vm_conf *c, const struct vcon_conf *console)
{
	if (console->chr)
		plan_add(p, &vcon_class.dev, c->console.id ? c->console.id : "__console", console,
			 PLACE(console, &c->console));
	for (uint32_t i = 0; i < c->disks.count; i++) {
		const struct disk_conf *d = &c->disks.items[i];

		/* firmware looks for disks on the first segment, below 4 GiB */
		plan_add(p, &blk_class.dev, d->id, d, PLACE(disk, d))->bar32 = !d->pci_segment;
	}
	for (uint32_t i = 0; i < c->net.count; i++) {
		const struct net_conf *n = &c->net.items[i];

		plan_add(p, &net_class.dev, n->id, n, PLACE(net, n));
	}
	plan_add(p, &rng_class.dev, c->rng.id ? c->rng.id : "__rng", &c->rng, PLACE(rng, &c->rng));
	if (c->pvpanic)
		plan_add(p, &pvpanic_class.dev, "__pvpanic", NULL, (struct place){ 0, -1 });
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

int plug_all(struct board *b, const struct vm_conf *c, const struct chars *ch, struct err *e)
{
	const struct vcon_conf console = { .chr = ch->console };
	struct plan p = { 0 };
	int r;

	plan_make(&p, c, &console);
	r = plan_slots(&p, pci_segments(b->pci), e);
	for (uint32_t i = 0; r == 0 && i < p.count; i++)
		r = dev_add(NULL, b, p.lines[i].class, &p.lines[i].args, e);
	free(p.lines);
	return r;
}
