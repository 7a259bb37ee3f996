/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See netrx.h. A frame's front is read into memory of ours, its header judged, and written to the
 * driver once it is known how many buffers the frame takes; the rest of it goes from the link
 * straight into the guest. virtio 1.3 §5.1.6.4.
 */
#include "dev/netrx.h"

#include <assert.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "net/frame.h"

/* Longer than any frame, so that one that is cut off is seen to be too long. */
#define SPILL_BYTES (FRAME_HEADER + FRAME_MAX + 64)
/* The kernel copies slowly to where nobody has been for long. Most frames are all front, which it
 * puts to where it put the last, and moving them on from there costs less than it spares. */
#define FRONT_BYTES 2048
#define WANT_LEAST 2048
#define WANT_SLOWNESS 64 /* a burst of so many small frames forgets most of a long one */

void netrx_init(struct netrx *r)
{
	*r = (struct netrx){ 0 };
	r->held = mem_array(NETRX_HELD_MAX, sizeof(r->held[0]));
	r->pieces = mem_array(NETRX_PIECES_MAX, sizeof(r->pieces[0]));
	r->scratch = mem_array(NETRX_PIECES_MAX + 2, sizeof(r->scratch[0]));
	r->front = mem_new(FRONT_BYTES);
	r->spill = mem_new(SPILL_BYTES);
}

void netrx_fini(struct netrx *r)
{
	free(r->held);
	free(r->pieces);
	free(r->scratch);
	free(r->front);
	free(r->spill);
	*r = (struct netrx){ 0 };
}

void netrx_start(struct netrx *r, struct vq *q, uint64_t features, uint32_t mtu)
{
	r->q = q;
	r->features = features;
	r->merge = features & BIT(VIRTIO_NET_F_MRG_RXBUF);
	r->frame_max = FRAME_HEADER + (mtu ? mtu + FRAME_OVERHEAD : FRAME_MAX);
	r->want = WANT_LEAST;
	r->parked = r->bytes = 0;
	r->first = r->end = r->piece_first = r->piece_end = 0;
}

void netrx_stop(struct netrx *r)
{
	while (r->q && r->end > r->first)
		vq_unpop(r->q, r->held[--r->end].head);
	r->q = NULL;
	r->parked = r->bytes = 0;
	r->first = r->end = r->piece_first = r->piece_end = 0;
}

void netrx_forget(struct netrx *r)
{
	r->parked = 0;
}

/* --- buffers --- */

/* Room for one more buffer of so many pieces at the arrays' ends. */
static bool make_room(struct netrx *r, uint32_t pieces)
{
	if (r->end == NETRX_HELD_MAX && r->first) {
		memmove(r->held, r->held + r->first, (r->end - r->first) * sizeof(r->held[0]));
		r->end -= r->first;
		r->first = 0;
	}
	if (r->piece_end + pieces > NETRX_PIECES_MAX && r->piece_first) {
		memmove(r->pieces, r->pieces + r->piece_first,
			(r->piece_end - r->piece_first) * sizeof(r->pieces[0]));
		r->piece_end -= r->piece_first;
		r->piece_first = 0;
	}
	return r->end < NETRX_HELD_MAX && r->piece_end + pieces <= NETRX_PIECES_MAX;
}

enum take { TAKEN, USELESS, FULL };

static enum take take_chain(struct netrx *r, const struct chain *c)
{
	uint32_t least = r->merge ? FRAME_HEADER : FRAME_HEADER + FRAME_MIN;
	uint32_t pieces = c->writable;

	/* A buffer in more pieces than the kernel takes at once is no good to anybody. */
	if (c->wlen < least || pieces > NETRX_PIECES_MAX) {
		vq_push(r->q, c->head, 0);
		return USELESS;
	}
	if (!make_room(r, pieces)) {
		vq_unpop(r->q, c->head);
		return FULL;
	}
	r->held[r->end++] =
		(struct netrx_held){ .head = c->head, .pieces = (uint16_t)pieces, .len = c->wlen };
	memcpy(r->pieces + r->piece_end, c->w, pieces * sizeof(r->pieces[0]));
	r->piece_end += pieces;
	r->bytes += c->wlen;
	return TAKEN;
}

/* Holds at least one buffer, and so many bytes, where the ring has them. */
enum gathered { GATHERED, EMPTY, GAVE_BACK, NO_ROOM, BROKEN };

static enum gathered gather(struct netrx *r, uint32_t bytes)
{
	struct chain c;

	while (r->first == r->end || (r->merge && r->bytes < bytes)) {
		switch (vq_pop(r->q, &c)) {
		case VQ_BAD:
			return BROKEN;
		case VQ_EMPTY:
			return EMPTY;
		case VQ_CHAIN:
			break;
		}
		switch (take_chain(r, &c)) {
		case USELESS:
			return GAVE_BACK;
		case FULL:
			return NO_ROOM;
		case TAKEN:
			break;
		}
	}
	return GATHERED;
}

/* --- one frame --- */

/* The frame, header included, is in the held buffers but for its header. The driver sees all of it
 * or nothing. */
static void deliver(struct netrx *r, uint32_t total)
{
	uint32_t left = total, at = r->first, n = 0;
	const struct kiov *pieces = r->pieces + r->piece_first;

	for (uint32_t sum = 0; sum < total; n++)
		sum += r->held[at + n].len;
	le16_put(r->front + offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers), (uint16_t)n);
	kiov_put(pieces, r->piece_end - r->piece_first, 0, r->front, min_u64(r->front_len, total));
	for (; n; n--) {
		const struct netrx_held *h = &r->held[r->first++];
		uint32_t written = (uint32_t)min_u64(left, h->len);

		vq_fill(r->q, h->head, written);
		left -= written;
		r->bytes -= h->len;
		r->piece_first += h->pieces;
	}
	vq_flush(r->q);
	if (r->first == r->end)
		r->first = r->end = r->piece_first = r->piece_end = 0;
}

/* §5.1.6.4.1: nothing in a header that the driver has not agreed to, and no frame beyond the MTU
 * agreed on but as segmentation unit. A hint that it would not understand is taken out. */
static bool driver_takes(struct netrx *r, uint32_t total)
{
	uint8_t gso = r->front[offsetof(struct virtio_net_hdr, gso_type)];
	uint8_t *flags = &r->front[offsetof(struct virtio_net_hdr, flags)];
	bool sums = r->features & BIT(VIRTIO_NET_F_GUEST_CSUM);
	static const struct {
		uint8_t type;
		uint64_t feature;
	} kinds[] = {
		{ VIRTIO_NET_HDR_GSO_TCPV4, BIT(VIRTIO_NET_F_GUEST_TSO4) },
		{ VIRTIO_NET_HDR_GSO_TCPV6, BIT(VIRTIO_NET_F_GUEST_TSO6) },
		{ VIRTIO_NET_HDR_GSO_UDP, BIT(VIRTIO_NET_F_GUEST_UFO) },
	};

	if (*flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !sums)
		return false;
	*flags &= sums ? VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID : 0;
	if (gso == VIRTIO_NET_HDR_GSO_NONE)
		return total <= r->frame_max;
	if (gso & VIRTIO_NET_HDR_GSO_ECN && !(r->features & BIT(VIRTIO_NET_F_GUEST_ECN)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].type == (gso & ~VIRTIO_NET_HDR_GSO_ECN))
			return r->features & kinds[i].feature;
	return false;
}

static enum netrx_result finish(struct netrx *r, uint32_t total, uint32_t *bytes)
{
	deliver(r, total);
	*bytes = total - FRAME_HEADER;
	return NETRX_FRAME;
}

/* The rest of a parked frame, once there are buffers for it. */
static enum netrx_result unpark(struct netrx *r, uint32_t *bytes)
{
	enum gathered got = gather(r, r->parked);
	uint32_t total = r->parked;

	if (got == BROKEN)
		return NETRX_BAD;
	if (r->bytes < total && got == EMPTY && r->end - r->first < r->q->size)
		return NETRX_STARVED;
	if (r->bytes < total && got == GAVE_BACK)
		return NETRX_DROPPED; /* of the buffer; the frame stays */
	r->parked = 0;
	if (r->bytes < total)
		return NETRX_DROPPED; /* all buffers there can be are too few */
	kiov_put(r->pieces + r->piece_first, r->piece_end - r->piece_first, r->parked_at, r->spill,
		 total - r->parked_at);
	return finish(r, total, bytes);
}

/* Asks the link for a frame: its front to us, the rest to the buffers, what is too long to the
 * spill. */
static long receive(struct netrx *r, struct nlink *l)
{
	int n;

	r->front_len = (uint32_t)min_u64(l->ops->rx_copies ? FRAME_HEADER : FRONT_BYTES, r->bytes);
	n = kiov_slice(r->pieces + r->piece_first, r->piece_end - r->piece_first, r->front_len,
		       r->bytes - r->front_len, r->scratch + 1, NETRX_PIECES_MAX);
	assert(n >= 0);
	r->scratch[0] = kiov_of(r->front, r->front_len);
	r->scratch[n + 1] = kiov_of(r->spill, SPILL_BYTES);
	return l->ops->rx(l, r->scratch, (unsigned int)n + 2);
}

static void learn(struct netrx *r, uint32_t total)
{
	if (total > r->want)
		r->want = total;
	else if (r->want > WANT_LEAST)
		r->want -= (r->want - (uint32_t)max_u64(total, WANT_LEAST)) / WANT_SLOWNESS;
}

enum netrx_result netrx_frame(struct netrx *r, struct nlink *l, uint32_t *bytes)
{
	enum gathered got;
	uint32_t total;
	long n;

	if (r->parked)
		return unpark(r, bytes);
	got = gather(r, r->want);
	if (got == BROKEN)
		return NETRX_BAD;
	if (got == GAVE_BACK)
		return NETRX_DROPPED;
	if (r->first == r->end)
		return NETRX_STARVED;
	n = receive(r, l);
	if (n < 0)
		return n == LINK_AGAIN ? NETRX_NONE : n == LINK_DEAD ? NETRX_DEAD : NETRX_DROPPED;
	total = (uint32_t)n;
	if (total < FRAME_HEADER + FRAME_MIN || total > FRAME_HEADER + FRAME_MAX ||
	    !driver_takes(r, total))
		return NETRX_DROPPED;
	learn(r, total);
	if (total <= r->bytes)
		return finish(r, total, bytes);
	if (!r->merge)
		return NETRX_DROPPED;
	r->parked = total;
	r->parked_at = r->bytes;
	return unpark(r, bytes);
}
