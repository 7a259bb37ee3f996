/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host bridge's half of a saved machine. See root.h.
 */
#include "pci/root.h"

#include "base/mem.h"
#include "pci/pci.h"

struct root {
	struct dev dev;
	struct pci_host_state saved; /* while saving or loading */
};

static int root_claim(struct dev *d, const struct dev_args *a, struct err *e)
{
	(void)d, (void)a, (void)e;
	return 0;
}

static int root_in(struct dev *d, struct err *e)
{
	(void)d, (void)e;
	return 0;
}

static void root_nothing(struct dev *d)
{
	(void)d;
}

static void *root_state_at(struct dev *d)
{
	return &container_of(d, struct root, dev)->saved;
}

static void root_before_save(struct dev *d)
{
	pci_host_save(d->board->pci, root_state_at(d));
}

static int root_after_load(struct dev *d, struct err *e)
{
	return pci_host_load(d->board->pci, root_state_at(d), e);
}

static const struct field root_state_f[] = {
	S(struct pci_host_state, config_address),
	S_OBJ(struct pci_host_state, bridge, &pci_fn_state_desc),
	S_PAD(struct pci_host_state, pad),
};
static const struct desc root_state_desc =
	DESC_OF(struct pci_host_state, root_state_f, "PciHostState");

static const struct plug root_plug = {
	.name = "pci host",
	.claim = root_claim,
	.in = root_in,
	.out = root_nothing,
	.unclaim = root_nothing,
	.state = &root_state_desc,
	.state_at = root_state_at,
	.before_save = root_before_save,
	.after_load = root_after_load,
};

const struct dev_class pci_root_class = {
	.name = "pci_host",
	.size = sizeof(struct root),
	.plug = &root_plug,
};
