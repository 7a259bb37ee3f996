/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free page hints of a balloon, virtio 1.3 §5.5.6.5: asked once, the driver takes all pages that
 * nothing uses, tells them one after another and keeps them until it is told that this is done. What it
 * tells is given back to the host.
 *
 * A driver that runs short takes back pages that it has told, without a word. So a hint that is looked
 * at later may be of a page in use. It never is here: the doorbell of this queue returns when the
 * hints are carried out (at_once, virtio/vdev.h), and a driver cannot take back what it has not
 * finished telling. That is why this queue is never muted either.
 *
 * All in the board's io loop, but where it says other.
 */
#pragma once

#include "virtio/vdev.h"

/* Saved; in the balloon's state. */
struct balloonhint_state {
	uint32_t told;	  /* what config space says: the number of a run, or one of those below */
	uint32_t last;	  /* number of the last run */
	uint32_t running; /* the driver has begun that which it was told */
};
extern const struct desc balloonhint_desc;

struct balloonhint {
	struct vdev *v;
	struct balloonhint_state *s;
	uint32_t config;      /* where in config space the number stands */
	uint64_t bytes, runs; /* counters: given back, and runs that came to their end */
};

/* A new run, in place of one that is on. */
void balloonhint_begin(struct balloonhint *h);
/* The queue's kick. */
void balloonhint_kick(struct balloonhint *h, struct vqueue *q);
/* A new driver: there is no run. All queues have stopped. */
void balloonhint_reset(struct balloonhint *h);
