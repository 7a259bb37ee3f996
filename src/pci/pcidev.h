/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plug of PCI functions that are no virtio devices: a class says its ids and its BARs, the plug
 * gives it a slot, decodes the BARs, and saves config space. No interrupts here: a class that wants
 * some adds MSI-X to its function in init. Control thread; the BARs' handlers run on vCPU threads.
 */
#pragma once

#include "core/dev.h"
#include "pci/pci.h"

/* Registers behind one BAR; the handlers get the struct dev as arg. */
struct pcidev_bar {
	enum pci_bar_kind kind;
	bool prefetch;
	uint64_t size; /* power of two, 16 or more */
	const struct bus_ops *ops;
};
struct pcidev_class {
	struct dev_class dev; /* .plug = &pcidev_plug */
	struct pci_ids ids;
	struct pcidev_bar bar[PCI_BARS];
};

extern const struct plug pcidev_plug;

struct pci_fn *pcidev_fn(struct dev *d);
