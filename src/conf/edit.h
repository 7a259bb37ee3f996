/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that come to a configuration and leave it, of whatever kind: the section is found by the
 * table of what comes, or by the option of what goes. Nothing is judged here but whether there is
 * room. Any thread; no state.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"

/* Takes *thing over, an object of that table, and leaves it empty: it becomes the last of its
 * section. ERR_TAKEN where there is one at most, and it is there. */
MUST int conf_put(struct vm_conf *c, const struct desc *kind, void *thing, struct err *e);
/* Frees the device that conf_devs has told of, closes the descriptors that it lists, and the gap. */
void conf_drop(struct vm_conf *c, const struct conf_dev *d);
/* Closes the descriptors that an object of that table lists, within its objects too. */
void conf_close(const struct desc *kind, void *thing);
/* The device of that name; false where there is none. */
bool conf_find(struct conf_dev *out, const struct vm_conf *c, const char *id);
/* The device of that table which was put last. There is one. */
void conf_find_last(struct conf_dev *out, const struct vm_conf *c, const struct desc *kind);
