/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From sections of the config to devices on the board: ids, slots, classes. One table says which
 * class a section makes; its order is that in which slots are given out at boot. Slots that were
 * asked for are kept free for those who asked; the others take the lowest free one of their
 * segment. Control thread, or that of the job which builds the machine.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"
#include "core/dev.h"
#include "vm/chars.h"

/* Adds every PCI device of the config; ids are there already. What was added before a failure is
 * the board's. */
MUST int plug_all(struct board *b, const struct vm_conf *c, const struct chars *ch, struct err *e);

/* Adds the device of that name, which the config has and the board not yet, while the machine runs;
 * ids are there already. */
MUST int plug_one(struct dev **out, struct board *b, const struct vm_conf *c, const char *id,
		  struct err *e);
/* Do devices of that section (conf_devs calls it so) come and go while the machine runs? */
bool plug_is_hot(const char *section);
/* The device's function on PCI; NULL where it has none. */
struct pci_fn *plug_fn(struct dev *d);
/* The device in a slot; NULL for one that is empty. */
struct dev *plug_at(struct board *b, uint16_t segment, uint8_t slot);
