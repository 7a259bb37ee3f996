/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue seen from the device. virtio 1.3 §2.7.
 *
 *	guest memory                         here
 *	desc[size]   {addr,len,flags,next}   fetched once each, checked, translated
 *	avail ring   guest -> us             idx, ring[], used_event
 *	used ring    us -> guest             idx, ring[], avail_event
 *
 * vq_pop gives a finished chain: every index was below the size, the walk was bounded, an indirect
 * table's length was checked, addresses were translated and proved to lie in RAM, readable pieces
 * came before writable ones, the total is below 4 GiB, and the head is not one already in flight.
 * What breaks a rule is VQ_BAD: the caller marks the device NEEDS_RESET (vdev_broken) and touches
 * the queue no more.
 *
 * A queue belongs to one loop; all functions but vq_setup and vq_fini are for that loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/dma.h"
#include "mem/gmem.h"

#define VQ_SIZE_MAX 32768
/* An indirect table may be longer than a small queue: drivers in the field do that (Linux among
 * them). */
#define VQ_TABLE_MAX 1024
/* Pieces that every head has room for without an allocation. */
#define VQ_PIECES_SMALL 8
/* All pieces of long chains of one queue together: 64 MiB of them. A driver that wants more is
 * refused. */
#define VQ_PIECES_MAX (4u << 20)

enum vq_result { VQ_EMPTY, VQ_CHAIN, VQ_BAD };

struct chain {
	uint16_t head;
	uint32_t readable, writable; /* pieces of each kind */
	struct kiov *r, *w;	     /* the queue's own storage, until vq_push(head) */
	uint32_t rlen, wlen;	     /* bytes of each kind */
};

/* What the driver set; saved, so without gaps. */
struct vq_conf {
	uint16_t size;
	uint16_t vector; /* MSI-X vector or 0xffff; read by the queue's loop too, so atomically */
	uint32_t enabled;
	uint64_t desc, avail, used;
};

/* Room for a chain of more than VQ_PIECES_SMALL pieces; made when a head first needs it, kept until
 * vq_fini. */
struct vq_store {
	struct kiov *pieces;
	uint32_t room;
};

struct vq {
	struct dma dma;
	uint16_t size;
	bool event_idx, indirect;
	bool live; /* windows are set */
	bool bad;  /* VQ_BAD was said; nothing else is, until the next vq_setup */
	struct gwin desc, avail, used;
	struct dma_pins ring_pins; /* of the windows; without an IOMMU all pins are empty */
	struct dma_pins *pins;	   /* of each head in flight; NULL without an IOMMU */
	uint32_t pin_rooms;
	uint16_t next_avail;	/* saved */
	uint16_t next_used;	/* saved */
	uint16_t seen_avail;	/* avail idx as last fetched */
	uint16_t signalled;	/* used idx at the last interrupt decision */
	bool owes;		/* an interrupt, perhaps, from before a pause or a restore */
	uint16_t flying;	/* number of heads in flight */
	uint64_t *in_flight;	/* bitmap of them */
	struct kiov *small;	/* VQ_PIECES_SMALL a head, touched as used */
	struct vq_store *large; /* one a head */
	uint32_t large_room;	/* sum of their rooms */
};

/* Checks the rings' places and sizes, sets the windows; -1 when the driver set nonsense. Control or
 * vCPU thread, while nobody uses the queue. next_avail and next_used are kept (0 after vq_fini). */
MUST int vq_setup(struct vq *q, const struct dma *d, const struct vq_conf *c, uint64_t features);
void vq_fini(struct vq *q);

/* Behind an IOMMU: did the driver take memory away that the rings or chains in flight lie in? For the
 * queue's loop, which then lets nothing fly any more and says vq_revoke: the rings are gone, and
 * nothing of the guest is held or touched from then on. */
bool vq_is_revoked(const struct vq *q);
void vq_revoke(struct vq *q);

/* The next chain, its storage valid until it is pushed. A queue that the driver left out is
 * empty. */
enum vq_result vq_pop(struct vq *q, struct chain *c);
/* Is there one, or is the ring broken? It may be gone when popped, if the driver lies. */
bool vq_waits(struct vq *q);
/* Gives the chain back with the bytes written into it. The head must be in flight. */
void vq_push(struct vq *q, uint16_t head, uint32_t written);
/* The same in two halves, for what belongs together: the driver sees nothing of what was filled
 * before the flush, and then all of it. */
void vq_fill(struct vq *q, uint16_t head, uint32_t written);
void vq_flush(struct vq *q);
/* Puts back the chain popped last, as if not popped (throttled or no room). Several go back one by
 * one, the last first. */
void vq_unpop(struct vq *q, uint16_t head);
/* The chain waits, for as long as its device likes: it is no more in flight, neither used nor put back.
 * vq_again takes it up, also after a setup that went on where the queue was; EMPTY without rings. */
void vq_hold(struct vq *q, uint16_t head);
enum vq_result vq_again(struct vq *q, uint16_t head, struct chain *c);
/* After pushing a batch: does the driver want an interrupt? (EVENT_IDX or NO_INTERRUPT) Yes once,
 * unasked, after a setup that went on where the queue was: one too many is harmless, one too few is
 * a guest that waits for ever. */
bool vq_wants_interrupt(struct vq *q);
/* Asks the driver not to kick while we work, and to kick again; the latter returns true when chains
 * came meanwhile, so look again. A queue that was popped empty must be listened to, or the driver
 * will not ring. */
void vq_mute(struct vq *q);
bool vq_listen(struct vq *q);

/* Copies out of the readable, into the writable bytes; the count copied. */
size_t chain_get(const struct chain *c, size_t off, void *to, size_t len);
size_t chain_put(const struct chain *c, size_t off, const void *from, size_t len);
