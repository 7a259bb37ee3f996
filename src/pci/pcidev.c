/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain PCI functions: claim makes the function and takes its slot, in puts it on its segment. See
 * pcidev.h.
 */
#include "pci/pcidev.h"

#include "base/mem.h"

struct pcidev {
	struct pci_fn fn;
	struct pci_fn_state saved; /* while saving or loading */
};

static struct pcidev *pcidev_of(struct dev *d)
{
	return d->plug;
}

struct pci_fn *pcidev_fn(struct dev *d)
{
	return &pcidev_of(d)->fn;
}

static int pcidev_claim(struct dev *d, const struct dev_args *a, struct err *e)
{
	const struct pcidev_class *c = container_of(d->class, struct pcidev_class, dev);
	struct pcidev *p = NEW(struct pcidev);

	pci_fn_init(&p->fn, &c->ids, NULL);
	if (pci_slot_claim(d->board->pci, &p->fn, a->segment, a->slot, e)) {
		pci_fn_fini(&p->fn);
		free(p);
		return -1;
	}
	for (unsigned int n = 0; n < PCI_BARS; n++) {
		const struct pcidev_bar *b = &c->bar[n];

		if (b->kind != PCI_BAR_NONE)
			pci_bar_set(&p->fn, n, b->kind, b->prefetch, b->size, b->ops, d);
	}
	d->plug = p;
	return 0;
}

static int pcidev_in(struct dev *d, struct err *e)
{
	return pci_fn_in(&pcidev_of(d)->fn, e);
}

static void pcidev_out(struct dev *d)
{
	pci_fn_out(&pcidev_of(d)->fn);
}

static void pcidev_unclaim(struct dev *d)
{
	struct pcidev *p = pcidev_of(d);

	pci_slot_release(&p->fn);
	pci_fn_fini(&p->fn);
	free(p);
	d->plug = NULL;
}

static void *pcidev_state_at(struct dev *d)
{
	return &pcidev_of(d)->saved;
}

static void pcidev_before_save(struct dev *d)
{
	pci_fn_save(&pcidev_of(d)->fn, &pcidev_of(d)->saved);
}

static int pcidev_after_load(struct dev *d, struct err *e)
{
	return pci_fn_load(&pcidev_of(d)->fn, &pcidev_of(d)->saved, e);
}

const struct plug pcidev_plug = {
	.name = "pci",
	.claim = pcidev_claim,
	.in = pcidev_in,
	.out = pcidev_out,
	.unclaim = pcidev_unclaim,
	.state = &pci_fn_state_desc,
	.state_at = pcidev_state_at,
	.before_save = pcidev_before_save,
	.after_load = pcidev_after_load,
};
