/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue that is served in turns by a loop that others need too: some of its requests each turn, so
 * that a greedy driver keeps nobody else on that loop waiting. Requests that are answered at once
 * need an answer only; who waits for something, or counts something else than requests, serves its
 * turns itself. Not for what looks at its ring before it sleeps: see dev/vcon, dev/blkqueue. All but
 * turn_fini in the queue's loop.
 */
#pragma once

#include "virtio/vdev.h"

#define TURN_CHAINS 64 /* at most, in one turn */

/* How a turn came out. */
enum turn_end {
	TURN_EMPTY, /* nothing is left in the ring */
	TURN_MORE,
	TURN_LATER, /* something has to happen first: then turn_kick */
	TURN_BAD,   /* the device breaks off */
};

struct turn {
	struct vqueue *q;
	/* Answers a request and returns the bytes that were written into it, or -1 of one that is
	 * none and cannot be told so: the device breaks off. */
	int64_t (*answer)(struct vdev *v, const struct chain *c);
	/* In place of answer: pops and pushes one turn's worth. */
	enum turn_end (*serve)(struct vdev *v, struct vq *q);
	struct loop_msg again;
};

/* For the class's kick: serves what there is, or some of it now and the rest in later turns. */
void turn_kick(struct turn *t);
/* Takes back what was posted to the loop, which outlives the device. Control thread, once the queue
 * has stopped. */
void turn_fini(struct turn *t);
