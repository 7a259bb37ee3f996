/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvpanic as a PCI function: one byte by which a guest's kernel says that it has crashed. It reads
 * as the kinds of crash that are understood (1 panicked, 2 crashed with a kernel loaded that
 * collects the remains); writing one of them tells board->up, limited, so that a guest which does
 * nothing else does not drown those who listen. The guest goes on. Registers: vCPU threads. QEMU's
 * docs/specs/pvpanic.
 */
#pragma once

#include "pci/pcidev.h"

extern const struct pcidev_class pvpanic_class;
