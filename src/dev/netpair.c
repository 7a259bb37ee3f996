/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See netpair.h. A link that is gone is told to the card; if it is of the kind that comes back,
 * the control loop, which has the right to, knocks until the back end is there again. The guest's
 * frames are dropped meanwhile. Loops never take v->lock: a vCPU may hold it and wait for them.
 */
#include "dev/netpair.h"

#include "base/bits.h"
#include "base/counter.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/frame.h"

#define BATCH 64      /* frames moved before the driver hears of them */
#define RING_LOOKS 64 /* for each at the link, which takes a call */
#define ROUNDS 8      /* batches moved before the loop looks at anything else */
/* From a back end's going to the first knock, and between two. */
#define KNOCK_NS 250000000ull

/* --- the link --- */

static void link_ready(void *arg, uint32_t events);

/* Without a cable all that comes is taken and thrown away. */
static bool rx_listens(const struct net_pair *p)
{
	return p->rx.vq && (p->unplugged || (p->rx.awake && !p->rx.limited));
}

/* Watches the link for just what we could use now. */
static void link_watch(struct net_pair *p)
{
	uint32_t want = 0;
	struct err e = { 0 };

	if (!vdev_is_broken(p->v) && !p->gone && !p->resting) {
		if (rx_listens(p))
			want |= EPOLLIN;
		if (p->tx.vq && p->tx_blocked)
			want |= EPOLLOUT;
	}
	if (want == p->events)
		return;
	p->events = want;
	/* Not watched at all rather than for nothing: errors would be told for ever. */
	if (!want)
		loop_unwatch(&p->watch);
	else if (p->watch.loop)
		loop_rewatch(&p->watch, want);
	else if (loop_watch(p->loop, &p->watch, p->link.fd, want, link_ready, p, &e)) {
		p->events = 0;
		vdev_broken(p->v, err_frame(&e, 0));
	}
}

static void link_gone(struct net_pair *p)
{
	if (p->gone)
		return;
	log_guest("%s: the %s behind queue pair %u is gone", p->v->dev.id, p->link.ops->name,
		  p->index);
	p->gone = true;
	p->tx_blocked = p->rx_more = false;
	netrx_forget(&p->in);
	link_watch(p);
	/* What the guest sends from now on is taken and dropped. */
	p->tx.awake = p->tx.vq != NULL;
	p->changed(p);
	if (p->knock)
		retry_start(p->knock);
}

static void renew(void *arg)
{
	struct net_pair *p = arg;

	p->link.ops->renew(&p->link, p->fresh);
	p->gone = false;
	log_info("%s: the link is there again", p->v->dev.id);
	p->changed(p);
	link_watch(p);
}

/* On the control loop. Of the link it reads only what stays as it is. */
static bool knock(void *arg)
{
	struct net_pair *p = arg;
	int fd = p->link.ops->knock(&p->link);

	if (fd < 0)
		return false;
	p->fresh = fd;
	loop_post(p->loop, &p->renewal, renew, p);
	return true;
}

/* Takes part in the traffic or rests, as the driver has said. In the pair's loop, or before it
 * runs. */
static void link_refresh(void *arg)
{
	struct net_pair *p = arg;
	bool use = p->index == 0 || (p->rx.vq && p->used);

	if (use == p->resting && p->link.ops->enable) {
		/* one that rests reports errors only: never watched then */
		p->resting = true;
		link_watch(p);
		if (p->link.ops->enable(&p->link, use))
			log_guest("%s: queue pair %u cannot be switched %s", p->v->dev.id, p->index,
				  use ? "on" : "off");
		p->resting = !use;
	}
	link_watch(p);
}

/* In the pair's loop. */
static void plug_refresh(void *arg)
{
	struct net_pair *p = arg;

	if (p->unplugged) {
		p->tx_blocked = p->rx_more = false;
		p->tx.awake = p->tx.vq != NULL;
		netrx_forget(&p->in);
	}
	link_watch(p);
}

void netpair_plug(struct net_pair *p, bool in)
{
	p->unplugged = !in;
	loop_post(p->loop, &p->plugging, plug_refresh, p);
}

void netpair_use(struct net_pair *p, bool used)
{
	p->used = used;
	loop_post(p->loop, &p->refresh, link_refresh, p);
}

/* --- frames --- */

static void push(struct net_way *w, uint16_t head, uint32_t written)
{
	vq_push(&w->vq->q, head, written);
	w->pushed = true;
}

/* Out of buffers: sleeps until the driver rings, unless it brought some just now. */
static bool rx_starved(struct net_pair *p)
{
	p->rx.awake = vq_listen(&p->rx.vq->q);
	return !p->rx.awake;
}

/* One frame that nobody gets. False when there is none. */
static bool rx_discard(struct net_pair *p)
{
	uint8_t some[64];
	struct kiov k = kiov_of(some, sizeof(some));
	long n = p->link.ops->rx(&p->link, &k, 1);

	if (n == LINK_DEAD)
		link_gone(p);
	if (n >= 0 || n == LINK_DROP)
		counter_add(&p->rx.dropped, 1);
	return n >= 0 || n == LINK_DROP;
}

/* One frame. False when there is nothing more to do now. */
static bool rx_frame(struct net_pair *p)
{
	uint32_t bytes;

	if (p->unplugged)
		return rx_discard(p);
	switch (netrx_frame(&p->in, &p->link, &bytes)) {
	case NETRX_FRAME:
		rate_pay(&p->rx.rate, bytes);
		counter_add(&p->rx.bytes, bytes);
		counter_add(&p->rx.frames, 1);
		p->rx.pushed = true;
		return true;
	case NETRX_DROPPED:
		p->rx.pushed = true; /* a buffer that no frame fits into, perhaps */
		counter_add(&p->rx.dropped, 1);
		return true;
	case NETRX_STARVED:
		return !rx_starved(p);
	case NETRX_NONE:
		return false;
	case NETRX_DEAD:
		link_gone(p);
		return false;
	case NETRX_BAD:
		vdev_broken(p->v, "its receive ring breaks the rules");
		return false;
	}
	return false;
}

static void rx_serve(struct net_pair *p)
{
	p->rx_more = !vdev_is_broken(p->v);
	for (int i = 0; i < BATCH && p->rx_more; i++) {
		p->rx.limited = !rate_open(&p->rx.rate);
		if (p->rx.limited)
			counter_add(&p->rx.waits, 1);
		p->rx_more = !p->rx.limited && rx_frame(p);
	}
	if (!p->rx_more && !p->rx.limited)
		rate_leave(&p->rx.rate);
	link_watch(p);
}

/* The limit lets some more in. */
static void rx_go(void *arg)
{
	struct net_pair *p = arg;

	p->rx.limited = false;
	if (p->rx.vq && p->rx.awake && !p->gone && !p->resting)
		rx_serve(p);
	else
		rate_leave(&p->rx.rate);
}

/* Sends one chain. False when the link has no room. */
static bool tx_frame(struct net_pair *p, const struct chain *c)
{
	long n = LINK_DROP;

	if (!p->gone && !p->unplugged && c->rlen >= FRAME_HEADER + FRAME_MIN &&
	    c->rlen <= FRAME_HEADER + FRAME_MAX)
		n = p->link.ops->tx(&p->link, c->r, c->readable);
	if (n == LINK_AGAIN) {
		vq_unpop(&p->tx.vq->q, c->head);
		p->tx_blocked = true;
		link_watch(p);
		return false;
	}
	if (n == LINK_DEAD)
		link_gone(p);
	if (n > 0) {
		counter_add(&p->tx.bytes, c->rlen - FRAME_HEADER);
		counter_add(&p->tx.frames, 1);
	} else {
		counter_add(&p->tx.dropped, 1);
	}
	push(&p->tx, c->head, 0);
	return true;
}

/* Sends what the link has kept back. */
static void tx_flush(struct net_pair *p)
{
	long n = p->gone || !p->link.ops->flush ? 0 : p->link.ops->flush(&p->link);

	if (n == LINK_DEAD)
		link_gone(p);
	if (n == LINK_AGAIN) {
		p->tx_blocked = true;
		link_watch(p);
	}
}

static bool tx_waits(const struct net_pair *p)
{
	return p->tx_blocked || p->tx.limited || vdev_is_broken(p->v);
}

/* Leaves the chain where it is when the limit is reached. */
static bool tx_chain(struct net_pair *p, const struct chain *c)
{
	if (rate_take(&p->tx.rate, c->rlen > FRAME_HEADER ? c->rlen - FRAME_HEADER : 0))
		return tx_frame(p, c);
	vq_unpop(&p->tx.vq->q, c->head);
	p->tx.limited = true;
	counter_add(&p->tx.waits, 1);
	return false;
}

/* Takes a batch. False when the ring is empty or must wait. */
static bool tx_serve(struct net_pair *p)
{
	bool more = true;
	struct chain c;

	for (int i = 0; i < BATCH && more; i++) {
		enum vq_result got;

		if (tx_waits(p))
			break;
		got = vq_pop(&p->tx.vq->q, &c);
		if (got == VQ_BAD)
			vdev_broken(p->v, "its transmit ring breaks the rules");
		more = got == VQ_CHAIN && tx_chain(p, &c);
	}
	tx_flush(p);
	if (!more && !p->tx.limited)
		rate_leave(&p->tx.rate);
	return more && !tx_waits(p);
}

/* The limit lets some more out. */
static void tx_go(void *arg)
{
	struct net_pair *p = arg;

	p->tx.limited = false;
	if (p->tx.vq && p->tx.awake && !tx_waits(p))
		tx_serve(p);
	else
		rate_leave(&p->tx.rate);
}

static void link_ready(void *arg, uint32_t events)
{
	struct net_pair *p = arg;

	if (events & EPOLLOUT) {
		p->tx_blocked = false;
		tx_flush(p);
	}
	/* An error shows itself when reading. */
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && rx_listens(p))
		rx_serve(p);
	else if (events & (EPOLLERR | EPOLLHUP))
		link_gone(p);
	link_watch(p);
}

static void notify(struct net_pair *p, struct net_way *w)
{
	if (w->vq && w->pushed)
		vqueue_notify(w->vq);
	p->worked |= w->pushed;
	w->pushed = false;
}

/* A driver that sends one frame after another spares its exit, and we our wake, when we look for
 * more for a short time before we sleep; and so does a network that answers soon. */
static bool look(struct net_pair *p)
{
	uint64_t start = loop_now_ns(), now = start;

	if (!p->worked || !p->may_look || !look_pays(&p->look, start))
		return false;
	for (; now - start < LOOK_NS; now = loop_now_ns()) {
		bool found = false;

		for (int i = 0; i < RING_LOOKS && !found; i++)
			found = vq_waits(&p->tx.vq->q);
		if (!found && p->events & EPOLLIN) {
			rx_serve(p);
			found = p->rx.pushed || p->rx_more;
		}
		if (!found)
			continue;
		look_found(&p->look);
		return true;
	}
	look_missed(&p->look, now);
	p->worked = false;
	return false;
}

/* Is there anything to send, now or within a moment? */
static bool tx_more(struct net_pair *p)
{
	if (!p->tx.vq || !p->tx.awake || tx_waits(p))
		return false;
	if (tx_serve(p))
		return true;
	if (tx_waits(p) || p->tx.pushed)
		return false;
	if (!p->rx_more && !p->rx.pushed && look(p))
		return true;
	p->tx.awake = vq_listen(&p->tx.vq->q);
	return p->tx.awake;
}

/* Before the loop sleeps: what was moved goes to the driver first, then the next batches are
 * moved. */
static bool pair_turn(void *arg)
{
	struct net_pair *p = arg;

	for (int i = 0; i < ROUNDS; i++) {
		bool more;

		notify(p, &p->rx);
		notify(p, &p->tx);
		if (vdev_is_broken(p->v))
			return false;
		if (p->rx_more && p->rx.vq)
			rx_serve(p);
		more = tx_more(p);
		/* Chains taken just now are to be told of. */
		if (!more && !p->rx_more && !p->rx.pushed && !p->tx.pushed)
			return false;
	}
	return true;
}

/* --- queues coming and going --- */

void netpair_kick(struct net_pair *p, struct vqueue *vq)
{
	if (vq == p->rx.vq && !p->rx.awake) {
		vq_mute(&vq->q);
		p->rx.awake = true;
		if (!p->gone && !p->resting && !p->rx.limited)
			rx_serve(p);
	} else if (vq == p->tx.vq) {
		vq_mute(&vq->q);
		p->tx.awake = true;
		tx_serve(p);
	}
}

void netpair_start(struct net_pair *p, struct vqueue *vq, uint32_t mtu)
{
	if (!p->hook.loop) {
		p->tx_blocked = p->rx_more = false;
		loop_hook_add(p->loop, &p->hook, pair_turn, p);
	}
	if (vq->index % 2) {
		p->tx.vq = vq;
		return;
	}
	p->rx.vq = vq;
	p->rx.awake = p->rx_more = false;
	netrx_start(&p->in, &vq->q, p->v->features, mtu);
	link_refresh(p);
}

static void way_stop(struct net_pair *p, struct net_way *w)
{
	notify(p, w);
	rate_leave(&w->rate);
	w->limited = false;
	w->vq = NULL;
}

void netpair_stop(struct net_pair *p, struct vqueue *vq)
{
	if (vq == p->tx.vq) {
		way_stop(p, &p->tx);
	} else if (vq == p->rx.vq) {
		netrx_stop(&p->in);
		way_stop(p, &p->rx);
		p->rx_more = false;
		link_refresh(p);
	}
	link_watch(p);
	if (!p->rx.vq && !p->tx.vq)
		loop_hook_drop(&p->hook);
}

/* --- life --- */

void netpair_init(struct net_pair *p, struct vdev *v, unsigned int index,
		  void (*changed)(struct net_pair *p))
{
	p->v = v;
	p->index = index;
	p->used = index == 0;
	p->changed = changed;
	netrx_init(&p->in);
}

int netpair_run(struct net_pair *p, struct rate *rx, struct rate *tx, const char *name,
		struct err *e)
{
	struct vqueue *q = &p->v->queues[2 * p->index];

	if (loop_new(&p->loop, name, e))
		return -1;
	p->may_look = look_can();
	if (p->link.ops->knock)
		p->knock = retry_new(p->v->dev.board->ctl, KNOCK_NS, knock, p);
	rate_join(&p->rx.rate, rx, p->loop, rx_go, p);
	rate_join(&p->tx.rate, tx, p->loop, tx_go, p);
	q[0].loop = q[1].loop = p->loop;
	q[0].priv = q[1].priv = p;
	link_refresh(p);
	return loop_start(p->loop, p->v->dev.class->profile, e);
}

/* In the pair's loop: no limit wakes it any more. */
static void part(void *arg)
{
	struct net_pair *p = arg;

	rate_part(&p->rx.rate);
	rate_part(&p->tx.rate);
}

void netpair_fini(struct net_pair *p)
{
	/* first those who post to the loop */
	retry_free(p->knock);
	if (p->loop)
		loop_call(p->loop, part, p);
	loop_free(p->loop);
	if (p->link.ops)
		p->link.ops->close(&p->link);
	netrx_fini(&p->in);
}
