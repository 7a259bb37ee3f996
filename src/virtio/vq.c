/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues, the device's side. virtio 1.3 §2.7. What a driver writes is fetched once,
 * judged, then used: an index that is out of range, a chain that does not end, an address outside
 * RAM are VQ_BAD and nothing else. Runs in the queue's loop. It knows no registers and no
 * interrupts, and holds no pointer into the guest.
 *
 * Storage of pieces: every head owns VQ_PIECES_SMALL pieces of one dense array, so that a queue at
 * low depth touches few pages; a longer chain gets an array of its own, grown as needed and kept
 * with the head. After the first requests nothing is allocated any more.
 */
#include "virtio/vq.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "virtio/feature.h"

/* Layout of the rings, §2.7.5 to §2.7.8. */
#define DESC_BYTES 16
#define AVAIL_FLAGS 0
#define AVAIL_IDX 2
#define AVAIL_RING 4
#define USED_FLAGS 0
#define USED_IDX 2
#define USED_RING 4
#define USED_BYTES 8

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY 1

struct desc16 {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static size_t avail_event_at(const struct vq *q)
{
	return USED_RING + (size_t)q->size * USED_BYTES;
}

static size_t used_event_at(const struct vq *q)
{
	return AVAIL_RING + (size_t)q->size * 2;
}

/* --- life --- */

static void storage_drop(struct vq *q)
{
	for (uint32_t i = 0; q->large && i < q->size; i++)
		free(q->large[i].pieces);
	free(q->large);
	free(q->small);
	free(q->in_flight);
	q->large = NULL;
	q->small = NULL;
	q->in_flight = NULL;
	q->large_room = 0;
	q->flying = 0;
}

static void storage_make(struct vq *q)
{
	q->in_flight = mem_array(BITMAP_WORDS((size_t)q->size), sizeof(q->in_flight[0]));
	q->small = mem_array((size_t)q->size * VQ_PIECES_SMALL, sizeof(q->small[0]));
	q->large = mem_array(q->size, sizeof(q->large[0]));
}

static bool rings_meet(const struct gwin *a, const struct gwin *b)
{
	return ranges_meet(a->base.v, a->len, b->base.v, b->len);
}

/* Alignments are those of §2.7. Rings laid over each other would have us feed on our own writes. */
static int windows_set(struct vq *q, const struct vq_conf *c)
{
	size_t event = q->event_idx ? 2 : 0, n = q->size;

	if (dma_win(&q->dma, &q->desc, c->desc, n * DESC_BYTES, 16) ||
	    dma_win(&q->dma, &q->avail, c->avail, AVAIL_RING + n * 2 + event, 2) ||
	    dma_win(&q->dma, &q->used, c->used, USED_RING + n * USED_BYTES + event, 4))
		return -1;
	if (rings_meet(&q->desc, &q->avail) || rings_meet(&q->desc, &q->used) ||
	    rings_meet(&q->avail, &q->used))
		return -1;
	return 0;
}

int vq_setup(struct vq *q, const struct dma *d, const struct vq_conf *c, uint64_t features)
{
	storage_drop(q);
	q->live = q->bad = false;
	if (!is_pow2(c->size) || c->size > VQ_SIZE_MAX)
		return -1;
	q->dma = *d;
	q->size = c->size;
	q->event_idx = features & VF_EVENT_IDX;
	q->indirect = features & VF_INDIRECT_DESC;
	if (windows_set(q, c))
		return -1;
	storage_make(q);
	q->seen_avail = q->next_avail;
	q->signalled = q->next_used;
	q->owes = q->next_used != 0;
	q->live = true;
	return 0;
}

void vq_fini(struct vq *q)
{
	storage_drop(q);
	*q = (struct vq){ 0 };
}

/* --- a chain, descriptor by descriptor --- */

struct walk {
	struct vq *q;
	struct kiov *pieces;
	uint32_t room;
	unsigned int n; /* pieces so far */
	uint32_t left;	/* descriptors that may still come */
	bool writing;	/* a writable one was seen */
	uint64_t rlen, wlen;
	uint32_t readable;
	uint16_t head;
};

/* Moves the chain into a larger array of its head's own. */
static int walk_grow(struct walk *w)
{
	struct vq *q = w->q;
	struct vq_store *s = &q->large[w->head];
	uint32_t room = s->room;

	if (w->room >= s->room) {
		room = w->room * 4;
		if (q->large_room - s->room + room > VQ_PIECES_MAX)
			return -1;
		s->pieces = mem_resize(s->pieces, s->room, room, sizeof(s->pieces[0]));
		q->large_room += room - s->room;
		s->room = room;
	}
	if (w->pieces == &q->small[(size_t)w->head * VQ_PIECES_SMALL])
		memcpy(s->pieces, w->pieces, w->n * sizeof(w->pieces[0]));
	w->pieces = s->pieces;
	w->room = room;
	return 0;
}

static int walk_add(struct walk *w, const struct desc16 *d)
{
	bool write = d->flags & DESC_F_WRITE;
	unsigned int n = w->n;

	if (w->writing && !write)
		return -1;
	if (write && !w->writing) {
		w->writing = true;
		w->readable = w->n;
	}
	if (dma_iov(&w->q->dma, w->pieces, &n, w->room, d->addr, d->len)) {
		if (w->room - w->n > VQ_SPLITS_MAX || walk_grow(w))
			return -1;
		n = w->n;
		if (dma_iov(&w->q->dma, w->pieces, &n, w->room, d->addr, d->len))
			return -1;
	}
	w->n = n;
	*(write ? &w->wlen : &w->rlen) += d->len;
	return w->rlen + w->wlen > UINT32_MAX ? -1 : 0;
}

static int desc_fetch(struct desc16 *d, const struct gwin *table, uint32_t i)
{
	uint8_t b[DESC_BYTES];

	if (gwin_copy(table, (size_t)i * DESC_BYTES, b, sizeof(b)))
		return -1;
	*d = (struct desc16){
		.addr = le64_get(b),
		.len = le32_get(b + 8),
		.flags = le16_get(b + 12),
		.next = le16_get(b + 14),
	};
	return 0;
}

/* Follows a table of count descriptors from index i; an INDIRECT one ends it and is left in *d. */
static int walk_table(struct walk *w, const struct gwin *table, uint32_t count, uint32_t i,
		      struct desc16 *d)
{
	for (;; i = d->next) {
		if (i >= count || !w->left--)
			return -1;
		if (desc_fetch(d, table, i))
			return -1;
		if (d->flags & DESC_F_INDIRECT)
			return 0;
		if (walk_add(w, d))
			return -1;
		if (!(d->flags & DESC_F_NEXT))
			return 0;
	}
}

/* §2.7.5.3: the last descriptor of the ring's part may be a table; it has no successor and no table
 * within. */
static int walk_indirect(struct walk *w, struct desc16 *d)
{
	uint32_t count = d->len / DESC_BYTES;
	struct gwin table;

	if (!w->q->indirect || d->flags & DESC_F_NEXT || d->len % DESC_BYTES || !count ||
	    count > max_u64(w->q->size, VQ_TABLE_MAX))
		return -1;
	if (dma_win(&w->q->dma, &table, d->addr, d->len, 1))
		return -1;
	w->left = count;
	if (walk_table(w, &table, count, 0, d))
		return -1;
	return d->flags & DESC_F_INDIRECT ? -1 : 0;
}

static int chain_make(struct vq *q, uint16_t head, struct chain *c)
{
	struct walk w = {
		.q = q,
		.head = head,
		.left = q->size,
		.room = VQ_PIECES_SMALL,
		.pieces = &q->small[(size_t)head * VQ_PIECES_SMALL],
	};
	struct desc16 d;

	if (walk_table(&w, &q->desc, q->size, head, &d))
		return -1;
	if (d.flags & DESC_F_INDIRECT && walk_indirect(&w, &d))
		return -1;
	if (!w.writing)
		w.readable = w.n;
	*c = (struct chain){
		.head = head,
		.r = w.pieces,
		.readable = w.readable,
		.rlen = (uint32_t)w.rlen,
		.w = w.pieces + w.readable,
		.writable = w.n - w.readable,
		.wlen = (uint32_t)w.wlen,
	};
	return 0;
}

/* --- the rings --- */

static enum vq_result refuse(struct vq *q)
{
	q->bad = true;
	return VQ_BAD;
}

enum vq_result vq_pop(struct vq *q, struct chain *c)
{
	uint16_t head;

	if (!q->live)
		return VQ_EMPTY;
	if (q->bad)
		return VQ_BAD;
	if (q->seen_avail == q->next_avail) {
		q->seen_avail = gwin_ld16_acquire(&q->avail, AVAIL_IDX);
		if (q->seen_avail == q->next_avail)
			return VQ_EMPTY;
		if ((uint16_t)(q->seen_avail - q->next_avail) > q->size)
			return refuse(q);
	}
	head = gwin_ld16(&q->avail, AVAIL_RING + (size_t)(q->next_avail & (q->size - 1)) * 2);
	if (head >= q->size || bit_get(q->in_flight, head) || chain_make(q, head, c))
		return refuse(q);
	q->next_avail++;
	q->flying++;
	bit_set(q->in_flight, head);
	return VQ_CHAIN;
}

bool vq_waits(struct vq *q)
{
	return q->live && (q->bad || gwin_ld16_acquire(&q->avail, AVAIL_IDX) != q->next_avail);
}

static void land(struct vq *q, uint16_t head)
{
	assert(head < q->size && bit_get(q->in_flight, head));
	bit_clear(q->in_flight, head);
	q->flying--;
}

void vq_fill(struct vq *q, uint16_t head, uint32_t written)
{
	size_t at = USED_RING + (size_t)(q->next_used & (q->size - 1)) * USED_BYTES;

	land(q, head);
	gwin_st32(&q->used, at, head);
	gwin_st32(&q->used, at + 4, written);
	q->next_used++;
}

void vq_flush(struct vq *q)
{
	gwin_st16_release(&q->used, USED_IDX, q->next_used);
}

void vq_push(struct vq *q, uint16_t head, uint32_t written)
{
	vq_fill(q, head, written);
	vq_flush(q);
}

void vq_unpop(struct vq *q, uint16_t head)
{
	land(q, head);
	q->next_avail--;
}

void vq_hold(struct vq *q, uint16_t head)
{
	land(q, head);
}

/* A driver that has offered it once more meanwhile breaks the rules. */
enum vq_result vq_again(struct vq *q, uint16_t head, struct chain *c)
{
	if (!q->live)
		return VQ_EMPTY;
	if (q->bad)
		return VQ_BAD;
	if (head >= q->size || bit_get(q->in_flight, head) || chain_make(q, head, c))
		return refuse(q);
	q->flying++;
	bit_set(q->in_flight, head);
	return VQ_CHAIN;
}

/* The fence orders our used idx before the driver's wish: it does the mirror of this, so one of us
 * sees the other. */
bool vq_wants_interrupt(struct vq *q)
{
	uint16_t old = q->signalled, now = q->next_used;
	bool owes = q->owes;

	q->owes = false;
	q->signalled = now;
	if (owes || old == now)
		return owes;
	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !(gwin_ld16(&q->avail, AVAIL_FLAGS) & AVAIL_F_NO_INTERRUPT);
	/* §2.7.10: used_event lies in [old, now) */
	uint16_t event = gwin_ld16(&q->avail, used_event_at(q));

	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* With EVENT_IDX, avail_event goes behind the driver, who does not come by there again for 65535
 * chains. */
void vq_mute(struct vq *q)
{
	if (q->event_idx)
		gwin_st16(&q->used, avail_event_at(q), (uint16_t)(q->next_avail - 1));
	else
		gwin_st16(&q->used, USED_FLAGS, USED_F_NO_NOTIFY);
}

bool vq_listen(struct vq *q)
{
	if (q->event_idx)
		gwin_st16(&q->used, avail_event_at(q), q->next_avail);
	else
		gwin_st16(&q->used, USED_FLAGS, 0);
	atomic_thread_fence(memory_order_seq_cst);
	return gwin_ld16(&q->avail, AVAIL_IDX) != q->next_avail;
}

size_t chain_get(const struct chain *c, size_t off, void *to, size_t len)
{
	return kiov_get(c->r, c->readable, off, to, len);
}

size_t chain_put(const struct chain *c, size_t off, const void *from, size_t len)
{
	return kiov_put(c->w, c->writable, off, from, len);
}
