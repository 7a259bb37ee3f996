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
	for (uint32_t i = 0; q->pins && i < q->size; i++)
		dma_pins_fini(&q->dma, &q->pins[i]);
	free(q->pins);
	q->pins = NULL;
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
	if (!q->dma.ep)
		return;
	q->pins = mem_array(q->size, sizeof(q->pins[0]));
	for (uint32_t i = 0; i < q->size; i++)
		q->pins[i].rooms = &q->pin_rooms;
}

static void windows_drop(struct vq *q)
{
	dma_pins_fini(&q->dma, &q->ring_pins);
	gwin_fini(&q->desc);
	gwin_fini(&q->avail);
	gwin_fini(&q->used);
}

static bool rings_meet(const struct gwin *a, const struct gwin *b)
{
	return ranges_meet(a->base.v, a->len, b->base.v, b->len);
}

/* A ring at an address that is a multiple of align. */
static int window_set(struct vq *q, struct gwin *w, struct iommu_range r, uint64_t align)
{
	enum iommu_access access = w == &q->used ? IOMMU_WRITE : IOMMU_READ;

	return r.first % align ? -1 : dma_win(&q->dma, w, &q->ring_pins, r, access);
}

static struct iommu_range bytes(uint64_t at, size_t n)
{
	return (struct iommu_range){ at, at + n - 1 };
}

/* Alignments are those of §2.7. Rings laid over each other would have us feed on our own writes. */
static int windows_set(struct vq *q, const struct vq_conf *c)
{
	size_t event = q->event_idx ? 2 : 0, n = q->size;
	int r;

	q->ring_pins.rooms = &q->pin_rooms;
	dma_enter(&q->dma);
	r = window_set(q, &q->desc, bytes(c->desc, n * DESC_BYTES), 16) ||
	    window_set(q, &q->avail, bytes(c->avail, AVAIL_RING + n * 2 + event), 2) ||
	    window_set(q, &q->used, bytes(c->used, USED_RING + n * USED_BYTES + event), 4);
	dma_leave(&q->dma);
	if (r)
		return -1;
	if (rings_meet(&q->desc, &q->avail) || rings_meet(&q->desc, &q->used) ||
	    rings_meet(&q->avail, &q->used))
		return -1;
	return 0;
}

int vq_setup(struct vq *q, const struct dma *d, const struct vq_conf *c, uint64_t features)
{
	storage_drop(q);
	windows_drop(q);
	q->live = q->bad = false;
	if (!is_pow2(c->size) || c->size > VQ_SIZE_MAX)
		return -1;
	q->dma = *d;
	q->size = c->size;
	q->event_idx = features & VF_EVENT_IDX;
	q->indirect = features & VF_INDIRECT_DESC;
	if (windows_set(q, c)) {
		windows_drop(q);
		return -1;
	}
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
	windows_drop(q);
	*q = (struct vq){ 0 };
}

bool vq_is_revoked(const struct vq *q)
{
	if (!q->pins)
		return false;
	if (dma_is_revoked(&q->dma, &q->ring_pins))
		return true;
	for (uint32_t i = 0; i < q->size; i++)
		if (dma_is_revoked(&q->dma, &q->pins[i]))
			return true;
	return false;
}

/* Windows of no bytes read zeros and write nothing. */
void vq_revoke(struct vq *q)
{
	q->bad = true;
	windows_drop(q);
	for (uint32_t i = 0; q->pins && i < q->size; i++)
		dma_let_go(&q->dma, &q->pins[i]);
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

/* The pieces of a descriptor, in a larger array if they need one. */
static int walk_gather(struct walk *w, const struct desc16 *d, enum iommu_access access)
{
	struct vq *q = w->q;

	for (;;) {
		struct dma_list l = { w->pieces, w->n, w->room,
				      q->pins ? &q->pins[w->head] : NULL };
		enum dma_result r = dma_iov(&q->dma, &l, d->addr, d->len, access);

		w->n = l.n;
		if (r == DMA_OK)
			return 0;
		if (r == DMA_BAD || walk_grow(w))
			return -1;
	}
}

static int walk_add(struct walk *w, const struct desc16 *d)
{
	bool write = d->flags & DESC_F_WRITE;

	if (w->writing && !write)
		return -1;
	if (write && !w->writing) {
		w->writing = true;
		w->readable = w->n;
	}
	if (walk_gather(w, d, write ? IOMMU_WRITE : IOMMU_READ))
		return -1;
	*(write ? &w->wlen : &w->rlen) += d->len;
	return w->rlen + w->wlen > UINT32_MAX ? -1 : 0;
}

/* A table of descriptors: the ring's, or one that it leads to, for which a window behind an IOMMU
 * would not pay. */
struct table {
	struct gwin win;
	const struct dma *dma; /* no window: at this address */
	uint64_t at;
	uint32_t count;
};

static int desc_fetch(struct desc16 *d, const struct table *t, uint32_t i)
{
	uint8_t b[DESC_BYTES];
	size_t off = (size_t)i * DESC_BYTES;

	if (t->dma ? dma_copy(t->dma, t->at + off, b, sizeof(b))
		   : gwin_copy(&t->win, off, b, sizeof(b)))
		return -1;
	*d = (struct desc16){
		.addr = le64_get(b),
		.len = le32_get(b + 8),
		.flags = le16_get(b + 12),
		.next = le16_get(b + 14),
	};
	return 0;
}

/* Follows a table from index i; an INDIRECT descriptor ends it and is left in *d. */
static int walk_table(struct walk *w, const struct table *t, uint32_t i, struct desc16 *d)
{
	for (;; i = d->next) {
		if (i >= t->count || !w->left--)
			return -1;
		if (desc_fetch(d, t, i))
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
	const struct dma *dma = &w->q->dma;
	uint8_t last;
	struct table t = { .dma = dma->ep ? dma : NULL, .at = d->addr, .count = count };

	if (!w->q->indirect || d->flags & DESC_F_NEXT || d->len % DESC_BYTES || !count ||
	    count > max_u64(w->q->size, VQ_TABLE_MAX))
		return -1;
	/* a table without an end is none, however little of it would be read */
	if (dma->ep ? dma_copy(dma, d->addr + d->len - 1, &last, 1)
		    : gmem_win(&t.win, dma->mem, GPA(d->addr), d->len, 1))
		return -1;
	w->left = count;
	if (walk_table(w, &t, 0, d))
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
	const struct table ring = { .win = q->desc, .count = q->size };
	struct desc16 d;
	int r;

	dma_enter(&q->dma);
	r = walk_table(&w, &ring, head, &d);
	if (!r && d.flags & DESC_F_INDIRECT)
		r = walk_indirect(&w, &d);
	dma_leave(&q->dma);
	if (r) {
		if (q->pins)
			dma_let_go(&q->dma, &q->pins[head]);
		return -1;
	}
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
	if (q->pins)
		dma_let_go(&q->dma, &q->pins[head]);
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
