/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM Generation ID: a number of 128 bits in the guest's memory, another one whenever the guest goes
 * on from a moment that it, or a twin of it, may have gone on from before. A guest that is told so
 * throws away what must not be there twice: random numbers, unique names, keys. Control thread, or
 * who has the machine. Microsoft, Virtual Machine Generation ID.
 *
 * Who makes the machine says what the number is: it stays over reboots, and each restore has its
 * own. Told is by the generic event device, before the guest executes anything.
 */
#pragma once

#include "core/fixed.h"

#define VMGENID_ID "__vmgenid" /* there is one */
#define VMGENID_BYTES 16
#define VMGENID_TELL "\\_SB_.VGEN.VGNT" /* what the event device calls, see dev/ged.h */

struct vmgenid_conf {
	struct fixed_conf at; /* nowhere: it has no registers */
	uint64_t page;	      /* of RAM that the guest leaves alone */
	const uint8_t *id;    /* borrowed while the device lives */
};

extern const struct fixed_class vmgenid_class;
