/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI, modern only. virtio 1.3 §4.1. The plug of every virtio class: BAR 0 of 512 KiB
 * holds the common configuration at 0, ISR at 0x2000, device configuration at 0x4000, doorbells at
 * 0x6000 (4 bytes a queue, an ioeventfd each), the MSI-X table at 0x8000 and PBA at 0x48000.
 * Vectors: one a queue and one for configuration.
 */
#pragma once

#include "core/dev.h"

extern const struct plug vpci_plug;

/* Where a plugged device sits: segment and slot. */
struct pci_fn;
struct pci_fn *vpci_fn(struct dev *d);
