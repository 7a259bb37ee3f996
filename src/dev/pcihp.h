/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller of PCI hot-plug, \_SB_.PHPR: sixteen bytes of registers by which the guest's ACPI
 * methods learn which slots of a segment have come and which are to go, and say of which the guest
 * has let go. The methods are written here too: the controller's by describe(), a bridge's by
 * pcihp_describe_slots(). It moves no device: who asks for a removal carries it out when the guest
 * has let go. ACPI 6.5 §6.3 (_EJ0, _SUN).
 *
 *	0  u32  slots to look at, cleared by reading	PCIU
 *	4  u32  slots that are to go, cleared by reading	PCID
 *	8  u32  slots that the guest lets go of, reads as 0	B0EJ
 *	12 u32  the segment that the others are about		PSEG
 *
 * Only whole registers are read and written. A slot that nobody asked for is not let go of.
 * Registers: vCPU threads. The functions: one thread, who has the machine.
 */
#pragma once

#include "core/fixed.h"

#define PCIHP_LEN 16
#define PCIHP_ID "__pcihp"	      /* there is one */
#define PCIHP_SCAN "\\_SB_.PHPR.PSCN" /* the method for the event device to call */

struct pcihp_conf {
	struct fixed_conf at;
	uint16_t segments;
};

extern const struct fixed_class pcihp_class;

/* Lets the guest look at a slot, through the event device if there is one: a device has come there, or
 * has gone unasked. */
void pcihp_look(struct dev *hp, uint16_t segment, uint8_t slot);
/* Asks it to let go of one; again is fine, it is told once more. */
void pcihp_ask(struct dev *hp, uint16_t segment, uint8_t slot);
bool pcihp_is_asked(const struct dev *hp, uint16_t segment, uint8_t slot);
/* The lowest slot that the guest was asked for and has let go of: config accesses find it no more.
 * When the guest lets go of one, board->up.let_go is called, on a vCPU's thread. */
bool pcihp_let_go(struct dev *hp, uint16_t *segment, uint8_t *slot);
/* The slot is empty: nothing is asked or told of it any more. */
void pcihp_gone(struct dev *hp, uint16_t segment, uint8_t slot);

/* Inside the device of a segment's bridge, \_SB_.PCxx: its slots, and the methods that tell of
 * them. */
void pcihp_describe_slots(struct aml *a, uint16_t segment);
