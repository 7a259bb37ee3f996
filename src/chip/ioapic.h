/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 24-pin IOAPIC of the split interrupt controller: its registers live here, the LAPICs in the
 * hypervisor. Intel 82093AA. Pins come in by core/irq and leave as messages. Registers: vCPU
 * threads. Pins: any thread. Ends of interrupts: vCPU threads, through irq_eoi.
 *
 * A message carries destination ids above 255 in address bits 11..5 (bits 14..8 of the id, from
 * bits 55..49 of the redirection entry), as KVM and guests that know the extended destination id
 * understand it.
 */
#pragma once

#include "core/fixed.h"

/* Bank 0: the registers, 32 bytes, at 0xfec00000 as a rule. */
struct ioapic_conf {
	struct fixed_conf at;
};
extern const struct fixed_class ioapic_class;
