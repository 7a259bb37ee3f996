/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free page hints. See balloonhint.h.
 *
 *	config space: number n -> driver: n -> pages ... -> STOP -> config space: DONE
 */
#include "dev/balloonhint.h"

#include "base/bits.h"
#include "base/counter.h"
#include "base/event.h"
#include "base/fd.h"

/* §5.5.6.5: numbers that are no run's */
enum { STOP, DONE, FIRST };

static void tell(struct balloonhint *h, uint32_t number)
{
	uint8_t bytes[4];

	h->s->told = number;
	h->s->running = 0;
	le32_put(bytes, number);
	vdev_config_put(h->v, h->config, bytes, sizeof(bytes));
}

void balloonhint_begin(struct balloonhint *h)
{
	uint32_t next = h->s->last + 1;

	h->s->last = next < FIRST ? FIRST : next;
	tell(h, h->s->last);
	vdev_config_changed(h->v);
}

void balloonhint_reset(struct balloonhint *h)
{
	tell(h, STOP);
}

/* The driver's word: the run that it begins, or the end of one. Of another run than that which it is
 * asked for, nothing is taken. */
static void hear(struct balloonhint *h, uint32_t number)
{
	bool ends = number == STOP && h->s->running;

	h->s->running = number >= FIRST && number == h->s->told;
	if (!ends)
		return;
	tell(h, DONE);
	vdev_config_changed(h->v);
	counter_add(&h->runs, 1);
	event("balloon", "hinted", h->v->dev.id);
}

static void carry_out(struct balloonhint *h, const struct chain *c)
{
	struct err e = { 0 };
	uint8_t number[4];

	if (c->rlen && chain_get(c, 0, number, sizeof(number)) == sizeof(number))
		hear(h, le32_get(number));
	if (!c->wlen || !h->s->running)
		return;
	if (gmem_discard_iov(h->v->dev.board->mem, c->w, c->writable, &e) < 0)
		log_guest("%s: hinted memory stays: %s", h->v->dev.id, err_frame(&e, 0));
	else
		counter_add(&h->bytes, c->wlen);
}

/* Doorbells are asked for again only when all is carried out. A driver that goes on meanwhile has
 * another turn later. */
void balloonhint_kick(struct balloonhint *h, struct vqueue *q)
{
	struct chain c;

	for (uint32_t n = 0; n < q->q.size; n++) {
		enum vq_result r = vq_pop(&q->q, &c);

		if (r == VQ_BAD) {
			vdev_broken(h->v, "a hint that is none");
			return;
		}
		if (r == VQ_CHAIN) {
			carry_out(h, &c);
			vq_push(&q->q, c.head, 0);
		} else if (!vq_listen(&q->q)) {
			vqueue_notify(q);
			return;
		}
	}
	vqueue_notify(q);
	fd_signal(q->kick_fd);
}

static const struct field fields[] = {
	S(struct balloonhint_state, told),
	S(struct balloonhint_state, last),
	S(struct balloonhint_state, running, .max = 1),
};
const struct desc balloonhint_desc = DESC_OF(struct balloonhint_state, fields, "hints");
