/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What config space (pci/cfg) and the segment (pci/seg) ask of each other; for pci/ only. Under the
 * function's lock, or before it is plugged.
 */
#pragma once

#include "pci/pci.h"

/* seg.c: may BAR n decode at addr? Its segment's apertures say. */
bool pci_bar_fits(const struct pci_fn *f, unsigned int n, uint64_t addr);
/* seg.c: the bus that BAR n decodes on. */
struct bus *pci_bar_bus(const struct pci_fn *f, unsigned int n);

/* seg.c: around a write that may move BARs. One at a time moves them; at the end those that wait get
 * the places that were left. Taken before the function's lock. */
void pci_placing_begin(struct pci_host *h);
void pci_placing_end(struct pci_host *h);
/* seg.c: one BAR more, or less, waits for its place. */
void pci_waiting_add(struct pci_host *h, int n);

/* cfg.c: makes decoding follow COMMAND and the BAR registers. */
void pci_bars_update(struct pci_fn *f);
/* cfg.c: writes addr into BAR n's registers. */
void pci_bar_assign(struct pci_fn *f, unsigned int n, uint64_t addr);
/* cfg.c: COMMAND's memory bit on. */
void pci_decode_on(struct pci_fn *f);
