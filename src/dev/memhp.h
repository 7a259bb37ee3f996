/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller of memory hot-plug, \_SB_.MHPC, with eight slots of PNP0C80: twenty-four bytes of
 * registers by which the guest's ACPI methods learn which memory has come, and where. The methods are
 * written here too. It plugs no memory: what comes is there before the guest is told. Memory does not
 * go this way; a guest that lets go of it is not heard. ACPI 6.5 §9.11 (memory devices).
 *
 *	read	0  u64  base of the selected slot		MHBA
 *		8  u64  its length				MHLE
 *		16 u32  0, its proximity			MHPX
 *		20 u8   bit 0 there, 1 has come, 2 is to go	MEN_ MINS MRMV
 *	write	0  u32  selects a slot				MSEL
 *		20 u8   1 in bit 1 or 2 acknowledges
 *
 * Registers: vCPU threads. The functions: one thread, who has the machine.
 */
#pragma once

#include "core/fixed.h"

#define MEMHP_LEN 24
#define MEMHP_SLOTS 8
#define MEMHP_ID "__memhp"	      /* there is one */
#define MEMHP_SCAN "\\_SB_.MHPC.MSCN" /* the method for the event device to call */

struct memhp_conf {
	struct fixed_conf at;
};

extern const struct fixed_class memhp_class;

/* Slots that are free. */
uint32_t memhp_free(const struct dev *hp);
/* Memory has come, into the next free slot; there is one. The guest is told, through the event device
 * if there is one. */
void memhp_come(struct dev *hp, uint64_t base, uint64_t size);
