/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of a disk, with a loop of its own: the way of the requests. Nothing is shared between
 * queues but the image and one word that says whether writes may be cached. What the disk offers, its
 * state and its life are dev/blk's; how bytes reach a file is block/'s.
 *
 *	kick -> vq_pop -> blkq ... -> status byte -> vq_push -> vqueue_notify
 */
#pragma once

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/look.h"
#include "base/loop.h"
#include "block/img.h"
#include "core/rate.h"
#include "dev/blkheld.h"
#include "virtio/vdev.h"

/* What all queues of a disk look at; outlives them. */
struct blkdisk {
	struct img *img;
	struct rate *rate; /* their limit */
	const uint64_t
		*writeback; /* 1: writes may stay in the host's cache until a flush. Atomic */
	char serial[VIRTIO_BLK_ID_BYTES];
	bool may_poll; /* the host has a processor to spare for it */
};

/* One way of a queue, read or write. Counters of the queue's loop. */
struct blkway {
	uint64_t bytes, ops, min_ns, max_ns, sum_ns;
};

/* Zeroed before first use. */
struct blkqueue {
	const struct blkdisk *disk;
	struct vqueue *vq;
	struct loop *loop;
	struct blkq *io;
	struct blk_req *reqs; /* one per head, while the queue runs */
	struct loop_hook hook;
	bool awake;   /* there may be chains to take */
	bool worked;  /* something was taken or has ended since the last look in vain */
	bool pushed;  /* the driver has not heard yet */
	bool dead;    /* the ring is broken */
	bool limited; /* the limit is reached */
	bool again;   /* what is submitted was held */
	struct rate_user rate;
	struct blkheld held;
	uint64_t now_ns;      /* of this round; 0 = not asked yet */
	struct look look[2];  /* for the driver alone, and while the disk works too */
	struct blkway way[2]; /* read, written */
	uint64_t flushes, failed, waits, helds; /* counters too */
};

/* Makes its loop, which begins to run, as the device's configuration (struct disk_conf) says. Control
 * thread. A failure leaves what is there to blkqueue_close, which also ends one that was never
 * opened. */
MUST int blkqueue_open(struct blkqueue *q, struct vqueue *vq, const struct blkdisk *d,
		       struct err *e);
/* It has stopped. Control thread. */
void blkqueue_close(struct blkqueue *q);
/* Waits until nothing is under way. Who has the machine. */
void blkqueue_drain(struct blkqueue *q);

/* In its loop. Held requests are the caller's: he puts those of before into held after the start, and
 * finds there those that wait after the stop. */
void blkqueue_start(struct blkqueue *q);
void blkqueue_stop(struct blkqueue *q);
/* A class's kick; priv is the struct blkqueue. */
void blkqueue_kick(struct vqueue *vq);
