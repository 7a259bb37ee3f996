/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue seen from the device. virtio 1.3 §2.7.
 *
 *	guest memory                         here
 *	desc[size]   {addr,len,flags,next}   fetched once each, checked, translated
 *	avail ring   guest -> us             idx, ring[], used_event
 *	used ring    us -> guest             idx, ring[], avail_event
 *
 * vq_pop gives a finished chain: every index was below the size, the walk was bounded, an indirect table's length
 * was checked, addresses were translated and proved to lie in RAM, readable pieces came before writable ones, the total
 * is below 4 GiB, and the head is not one already in flight. What breaks a rule is VQ_BAD: the caller marks the device
 * NEEDS_RESET (vdev_broken) and touches the queue no more.
 *
 * A queue belongs to one loop; all functions but vq_setup are for that loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/dma.h"
#include "mem/gmem.h"

#define VQ_SIZE_MAX 32768
/* pieces of one chain: as many descriptors as the queue has, some split by region borders */
#define VQ_PIECES_EXTRA 4

enum vq_result { VQ_EMPTY, VQ_CHAIN, VQ_BAD };

struct chain {
	uint16_t head;
	uint16_t readable, writable;	/* pieces of each kind */
	struct kiov *r, *w;		/* the queue's own storage, until vq_push(head) */
	uint32_t rlen, wlen;		/* bytes of each kind */
};

/* What the driver set; saved. */
struct vq_conf {
	uint16_t size;
	uint8_t enabled, pad;
	uint16_t vector;		/* MSI-X vector or 0xffff */
	uint16_t pad2;
	uint64_t desc, avail, used;
};

struct vq {
	struct dma dma;
	uint16_t size;
	bool event_idx, indirect;
	bool live;			/* windows are set */
	struct gwin desc, avail, used;
	uint16_t next_avail;		/* saved */
	uint16_t next_used;		/* saved */
	uint16_t signalled;		/* used idx at the last interrupt decision */
	uint64_t *in_flight;		/* bitmap of heads */
	uint16_t flying;		/* their number */
	struct kiov *pieces;		/* size * (size + VQ_PIECES_EXTRA), touched as used */
	void *slot;			/* unused by vq.c */
};

/* Checks the rings' places and sizes, sets the windows; -1 when the driver set nonsense. Control or vCPU thread, while nobody
 * uses the queue. next_avail and next_used are kept (0 after vq_fini). */
MUST int vq_setup(struct vq *q, const struct dma *d, const struct vq_conf *c, uint64_t features);
void vq_fini(struct vq *q);

/* The next chain, its storage valid until it is pushed. */
enum vq_result vq_pop(struct vq *q, struct chain *c);
/* Gives the chain back with the bytes written into it. The head must be in flight. */
void vq_push(struct vq *q, uint16_t head, uint32_t written);
/* Puts back the chain popped last, as if not popped (throttled or no room). */
void vq_unpop(struct vq *q, uint16_t head);
/* After pushing a batch: does the driver want an interrupt? (EVENT_IDX or NO_INTERRUPT) */
bool vq_wants_interrupt(struct vq *q);
/* Asks the driver not to kick while we work, and to kick again; the latter returns true when chains came meanwhile, so look again. */
void vq_mute(struct vq *q);
bool vq_listen(struct vq *q);

/* Copies out of the readable, into the writable bytes; the count copied. */
size_t chain_get(const struct chain *c, size_t off, void *to, size_t len);
size_t chain_put(const struct chain *c, size_t off, const void *from, size_t len);
