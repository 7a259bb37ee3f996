/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The config is changed first and judged as a whole, then the board; a refusal takes the change
 * back. On the way out it is the other way round. See hotplug.h.
 */
#include "vm/hotplug.h"

#include <string.h>

#include "base/event.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/edit.h"
#include "conf/segments.h"
#include "core/dev.h"
#include "dev/pcihp.h"
#include "pci/pci.h"
#include "vm/machine.h"
#include "vm/plug.h"

/* --- in --- */

/* Says why a path that is there cannot be opened. */
static int explain(const struct hotplug *h, struct err *e)
{
	if (h->conf->landlock_enable && e->kind == ERR_DENIED)
		err_in(e, "landlock is on, and lets the program open no other paths than at its "
			  "start: name this one in --landlock-rules");
	return -1;
}

static int put_on_board(const struct hotplug *h, struct hotplug_new *n, const struct conf_dev *c,
			struct err *e)
{
	struct board *b = machine_board(h->machine);
	struct dev *hp = dev_find(b, PCIHP_ID), *d;
	const struct pci_fn *f;

	if (!hp)
		return err_set(e, ERR_UNBUILT, "this machine has no controller for hot-plug");
	if (c->iommu && !segments_has_iommu(h->conf, c->segment))
		return err_set(e, ERR_BAD,
			       "--%s: behind the virtual IOMMU a device comes to a running machine "
			       "only on one of the iommu_segments of --platform: say pci_segment, "
			       "or leave out iommu",
			       c->kind);
	if (plug_one(&d, b, h->conf, *c->id, e))
		return explain(h, e);
	if (h->stands_still && d->class->quiesce && d->class->quiesce(d, e)) {
		dev_remove(d);
		return err_in(e, "device %s", *c->id);
	}
	f = plug_fn(d);
	conf_keep_slot(c, f->slot);
	pci_bdf(f, n->bdf);
	n->plugged = true;
	pcihp_look(hp, f->segment, f->slot);
	return 0;
}

int hotplug_add(const struct hotplug *h, struct hotplug_new *n, struct err *e)
{
	uint32_t next = *h->next_id;
	bool iommu = h->conf->iommu;
	struct conf_dev d = { 0 };

	if (conf_put(h->conf, n->kind, n->conf, e))
		return -1;
	conf_make_ids(h->conf, h->next_id);
	conf_make_iommu(h->conf);
	conf_find_last(&d, h->conf, n->kind);
	if (conf_make_macs(h->conf, e) || conf_check_again(h->conf, e) ||
	    (h->machine && put_on_board(h, n, &d, e))) {
		conf_drop(h->conf, &d);
		h->conf->iommu = iommu;
		*h->next_id = next;
		return -1;
	}
	n->id = mem_str(*d.id);
	event("vm", "device-added", n->id);
	return 0;
}

/* --- out --- */

/* Out of the config too, if it is there. */
static void forget(const struct hotplug *h, const char *id)
{
	AUTO_FREE char *name = mem_str(id); /* may lie in what is freed */
	struct conf_dev d;

	if (conf_find(&d, h->conf, name))
		conf_drop(h->conf, &d);
	event("vm", "device-removed", name);
	h->gone(h->arg, name);
}

static void take_out(const struct hotplug *h, struct dev *hp, struct dev *d)
{
	AUTO_FREE char *id = mem_str(d->id);
	const struct pci_fn *f = plug_fn(d);
	uint16_t segment = f->segment;
	uint8_t slot = f->slot;

	dev_remove(d);
	pcihp_gone(hp, segment, slot);
	forget(h, id);
}

/* The tables of the next machine would name one that is not there. */
static bool is_node(const struct vm_conf *c, const char *id)
{
	for (uint32_t i = 0; i < c->numa.count; i++)
		if (c->numa.items[i].device_id && !strcmp(c->numa.items[i].device_id, id))
			return true;
	return false;
}

static int find(const struct hotplug *h, const char *id, struct conf_dev *c, struct dev **d,
		struct err *e)
{
	*d = h->machine ? dev_find(machine_board(h->machine), id) : NULL;
	if (!conf_find(c, h->conf, id) && !*d)
		return err_set(e, ERR_ABSENT, "there is no device %s", id);
	if (!c->kind || !plug_is_hot(c->kind))
		return err_set(e, ERR_DENIED, "%s stays as long as the machine: only %s", id,
			       "disks, network cards, pmem and vsock are removed");
	if (is_node(h->conf, id))
		return err_set(e, ERR_DENIED,
			       "%s stays as long as the machine: --numa says that it is a node",
			       id);
	return 0;
}

int hotplug_remove(const struct hotplug *h, const char *id, enum hotplug_how how, bool *gone,
		   struct err *e)
{
	struct conf_dev c = { 0 };
	const struct pci_fn *f;
	struct dev *d, *hp;

	if (find(h, id, &c, &d, e))
		return -1;
	*gone = true;
	if (!d) {
		forget(h, id);
		return 0;
	}
	hp = dev_find(machine_board(h->machine), PCIHP_ID);
	f = plug_fn(d);
	if (how == HOTPLUG_FORCE) {
		uint16_t segment = f->segment;
		uint8_t slot = f->slot;

		take_out(h, hp, d);
		pcihp_look(hp, segment, slot);
		return 0;
	}
	*gone = false;
	pcihp_ask(hp, f->segment, f->slot);
	return 0;
}

/* Nobody asks for others than those; a saved state may say so. */
static bool may_leave(const struct hotplug *h, const struct dev *d)
{
	struct conf_dev c;

	return conf_find(&c, h->conf, d->id) && plug_is_hot(c.kind);
}

void hotplug_carry_out(const struct hotplug *h)
{
	struct board *b = machine_board(h->machine);
	struct dev *hp = dev_find(b, PCIHP_ID), *d;
	uint16_t segment;
	uint8_t slot;

	while (hp && pcihp_let_go(hp, &segment, &slot)) {
		d = plug_at(b, segment, slot);
		if (d && may_leave(h, d))
			take_out(h, hp, d);
		else
			pcihp_gone(hp, segment, slot);
	}
}

/* One that the guest was asked for; NULL when none is left. */
static struct dev *next_asked(const struct hotplug *h, struct board *b, struct dev *hp)
{
	list_each (l, &b->devs) {
		struct dev *d = container_of(l, struct dev, link);
		const struct pci_fn *f = plug_fn(d);

		if (f && pcihp_is_asked(hp, f->segment, f->slot) && may_leave(h, d))
			return d;
	}
	return NULL;
}

void hotplug_settle(const struct hotplug *h)
{
	struct board *b = machine_board(h->machine);
	struct dev *hp = dev_find(b, PCIHP_ID), *d;

	while (hp && (d = next_asked(h, b, hp)))
		take_out(h, hp, d);
}
