/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that virtual machines share: PCI 1af4:1110 as QEMU's ivshmem-plain, revision 1, without
 * interrupts. BAR 0 has the registers, which all read zero; BAR 2 is the file's memory, which the
 * hypervisor shows where the guest puts the BAR. QEMU docs/specs/ivshmem-spec. Configured by struct
 * ivshmem_conf (conf/conf.h).
 */
#pragma once

#include "pci/pcidev.h"

extern const struct pcidev_class ivshmem_class;
