/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving half of a queue pair: buffers are gathered from the ring, a frame is laid into as
 * many of them as it takes (virtio 1.3 §5.1.6.4, VIRTIO_NET_F_MRG_RXBUF) or into one, and the
 * driver hears of all of them at once. It knows no loops and no interrupts; everything is for the
 * pair's loop.
 *
 *	ring:   [ b0 ][ b1 ][ b2 ] ...      held: popped, and nothing in them yet
 *	frame:  hhhhffffffffffffff          header and frame, into b0 b1 b2
 *
 * How long the next frame is, nobody tells beforehand. So buffers for the longest of late are held
 * ready, and what does not fit goes into memory of our own, from where it moves when the driver has
 * brought more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/link.h"
#include "virtio/vq.h"

#define NETRX_HELD_MAX 512
#define NETRX_PIECES_MAX 1022 /* with header and spill as many as the kernel takes */

struct netrx_held {
	uint16_t head;
	uint16_t pieces;
	uint32_t len;
};

struct netrx {
	struct vq *q; /* NULL while it does not run */
	bool merge;
	uint64_t features;   /* agreed: what headers may say */
	uint32_t frame_max;  /* of frames that are no segmentation unit, header included */
	uint32_t want;	     /* bytes to hold ready */
	uint32_t parked;     /* a frame of so many bytes waits for more buffers; 0: none */
	uint32_t parked_at;  /* so many of them lie in the buffers already */
	uint32_t bytes;	     /* in all buffers held */
	uint32_t first, end; /* held buffers: held[first..end) */
	uint32_t piece_first, piece_end; /* their pieces: pieces[..) */
	uint32_t front_len;		 /* of the frame that is coming or parked */
	uint8_t *front;			 /* its first bytes, header included */
	struct netrx_held *held;	 /* NETRX_HELD_MAX */
	struct kiov *pieces;		 /* NETRX_PIECES_MAX */
	struct kiov *scratch;		 /* what the link is given */
	uint8_t *spill;
};

/* Control thread. */
void netrx_init(struct netrx *r);
void netrx_fini(struct netrx *r);

/* The queue runs from now on; mtu 0: none was agreed. */
void netrx_start(struct netrx *r, struct vq *q, uint64_t features, uint32_t mtu);
/* All buffers go back to where they were in the ring; a parked frame is lost. */
void netrx_stop(struct netrx *r);
/* A parked frame is lost: the link is a new one. */
void netrx_forget(struct netrx *r);

enum netrx_result {
	NETRX_FRAME,   /* one has been given to the driver; *bytes of it without its header */
	NETRX_DROPPED, /* one was there that the driver can not take, or a buffer that none fits */
	NETRX_NONE,    /* the link has no frame now */
	NETRX_STARVED, /* the driver must bring buffers first */
	NETRX_DEAD,    /* the link is gone */
	NETRX_BAD,     /* the ring breaks the rules */
};
enum netrx_result netrx_frame(struct netrx *r, struct nlink *l, uint32_t *bytes);
