/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue whose requests are answered at once by the loop that serves it: some of them a turn, so
 * that a greedy driver keeps nobody else on that loop waiting. Not for what has to wait for
 * something: see dev/rng, dev/blk. All but turn_fini in the queue's loop.
 */
#pragma once

#include "virtio/vdev.h"

struct turn {
	struct vqueue *q;
	/* Answers a request and returns the bytes that were written into it, or -1 of one that is
	 * none and cannot be told so: the device breaks off. */
	int64_t (*answer)(struct vdev *v, const struct chain *c);
	struct loop_msg again;
};

/* For the class's kick: answers what there is, or some of it now and the rest in later turns. */
void turn_kick(struct turn *t);
/* Takes back what was posted to the loop, which outlives the device. Control thread, once the queue
 * has stopped. */
void turn_fini(struct turn *t);
