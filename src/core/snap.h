/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Saved state: a device tree as JSON, made and read by the state tables of its classes. One device
 * is {"id":…,"class":…,"v":…,"state":{…},"plug":{…}}; a board is {"virga":1,"arch":…,"devices":[…]}
 * in tree order. What is read is foreign: version first, then names and ranges. Control thread; the
 * machine is quiet (vCPUs parked, devices quiesced), except that loading happens while devices are
 * made.
 *
 * Not here: making devices out of a file. The loader walks the list and calls dev_add with each
 * entry as `saved`.
 */
#pragma once

#include "core/dev.h"

#define SNAP_VERSION 1

/* dev_save is declared in core/dev.h. */

/* For dev_add: checks class and version of the entry, then fills the class's state in d. j may be
 * NULL: nothing. */
MUST int dev_load(struct dev *d, const struct json *j, struct err *e);
/* For dev_add, after init: the plug's half. */
MUST int dev_load_plug(struct dev *d, const struct json *j, struct err *e);

/* Any state with its version, {"v":…,"state":{…}}, for the caller to put; and back into obj, which is
 * zeroed or holds values that are freed. j may be foreign, or NULL: then it is missing. */
struct json *snap_save(const struct desc *d, const void *obj);
MUST int snap_load(const struct desc *d, void *obj, const struct json *j, struct err *e);

/* The whole board; the caller puts it. arch names the register set, e.g. "x86_64". */
struct json *board_save(struct board *b, const char *arch);
/* The list of devices in a saved board, borrowed; refuses other versions and other architectures by
 * name. */
MUST int board_saved_devices(const struct json **out, const struct json *j, const char *arch,
			     struct err *e);
/* The entry of a device in that list, borrowed; NULL when it has none. */
const struct json *board_saved_find(const struct json *devices, const char *id);
