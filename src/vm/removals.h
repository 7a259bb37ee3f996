/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removals that a guest was asked for: who waits for them, and for how long nothing has come of
 * them. Names of devices, timers and functions to call; what is done to devices is vm/hotplug's.
 * Control thread.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

#define REMOVAL_PATIENCE_NS 30000000000ull

struct loop;

struct removals {
	struct loop *ctl;
	struct link list;
};

typedef void removal_fn(void *arg, const struct err *e);

void removals_init(struct removals *s, struct loop *ctl);
/* The guest was asked, perhaps again. When so long has passed (0: REMOVAL_PATIENCE_NS) and the device
 * is there still, the event device-removal-ignored tells of it, once. */
void removals_asked(struct removals *s, const char *id, uint64_t ns);
/* fn is called once: when the device has left, with ERR_BUSY after so long, with ERR_STATE at the
 * end. */
void removals_wait(struct removals *s, const char *id, uint64_t ns, removal_fn *fn, void *arg);
/* A device has left. */
void removals_gone(struct removals *s, const char *id);
/* Nobody can leave any more: answers those who wait, forgets the others. */
void removals_end(struct removals *s);
