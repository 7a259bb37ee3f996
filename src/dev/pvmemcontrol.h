/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvmemcontrol: PCI 1ae0:0087 as Cloud Hypervisor has it, by which a guest says what shall become of
 * pages of its RAM on the host: given back, swapped out, kept from swap, merged, named. Protocol 1.0
 * of the Linux patches "virt: pvmemcontrol". Configured by struct pvmemcontrol_conf (conf/conf.h).
 */
#pragma once

#include "pci/pcidev.h"

extern const struct pcidev_class pvmemcontrol_class;
