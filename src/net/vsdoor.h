/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket at which programs of the host ask for a port of the guest, and those who have
 * come and not said yet for which. They may take their time, as a person at a keyboard does; when
 * more come than there is room for, who has waited longest goes. What becomes of those who have
 * said it is net/vsmux's. Belongs to one loop, but for opening and closing (control thread, while
 * the loop does not run). The line itself is net/vsline's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/listen.h"
#include "base/loop.h"

struct vsdoor {
	struct listener at;
	struct loop_fd watch;
	struct link callers; /* in order of coming */
	uint32_t count;
	struct loop_timer rest; /* from accepting, when there are no descriptors left */
	struct loop *loop;
	/* Somebody wants a port of the guest; the descriptor is the callee's. */
	void (*called)(void *arg, int fd, uint32_t port, bool packets);
	void *arg;
};

/* d has its loop, called, arg, an empty list; all else is zero but at.fd = -1 and at.packets. Takes a listener of
 * that path out of kept, if there is one and kept is not NULL. */
MUST int vsdoor_open(struct vsdoor *d, const char *path, struct link *kept, struct err *e);
/* Callers are sent away, nothing is watched any more. In the loop. Twice is fine. */
void vsdoor_stop(struct vsdoor *d);
/* Then the listener goes to kept, or with NULL to its end. */
void vsdoor_close(struct vsdoor *d, struct link *kept);
