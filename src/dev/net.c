/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net, virtio 1.3 §5.1. Each pair of a receive and a transmit queue has a loop and a link of
 * its own; the control queue lies on the first pair's loop. Nothing is shared between pairs but the
 * link's host side.
 *
 *	link readable -> netrx: buffers, link rx, used         one or several buffers a frame
 *	kick          -> vq_pop(tx) -> link tx -> vq_push
 *
 * Without receive buffers the link is not watched until the driver brings some; when the link takes
 * no more, the chain is put back and the link is watched for room. So nothing ever spins and
 * nothing piles up here.
 *
 * A link that is gone is told to the control thread, which clears LINK_UP and knocks until the back
 * end is there again, if it is of the kind that comes back; the guest's frames are dropped
 * meanwhile. Loops never take v->lock: a vCPU may hold it and wait for them.
 */
#include "dev/net.h"

#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "core/rate.h"
#include "dev/netctrl.h"
#include "dev/netframe.h"
#include "dev/netoffer.h"
#include "dev/netrx.h"
#include "virtio/vpci.h"

#define MAC_BYTES 6
#define BATCH 64 /* frames moved before the driver hears of them */
/* From a back end's going to the first knock, and between two. */
#define KNOCK_NS 250000000ull
#define STATUS_AT offsetof(struct virtio_net_config, status)

struct net_state {
	uint8_t mac[MAC_BYTES];
	uint16_t pairs;	       /* in use. Atomic: the control queue writes, other loops read */
	uint64_t offloads_off; /* agreed, and switched off by the control queue */
};

struct net_way {
	struct vqueue *vq; /* NULL while it does not run */
	bool awake;	   /* tx: there may be chains; rx: there may be buffers */
	bool pushed;	   /* the driver has not heard yet */
	bool limited;	   /* the limit is reached */
	struct rate_user rate;
	uint64_t bytes, frames;
};

struct net_pair {
	struct net *n;
	unsigned int index;
	struct loop *loop;
	struct nlink link;
	struct loop_fd watch;
	uint32_t events; /* now waited for */
	struct loop_hook hook;
	struct loop_msg refresh; /* the number of pairs has changed */
	struct net_way rx, tx;
	struct netrx in;
	struct vqueue *ctrl; /* when it runs on this loop */
	bool rx_more;	     /* a batch has ended, and the link may have more */
	bool tx_blocked;     /* the link takes no more */
	bool resting;	     /* its queue of the tap is detached */
	bool dead;	     /* a ring is broken */
	_Atomic bool gone;   /* the link is; written in the loop, read by control */
};

struct net {
	struct vdev v; /* first member */
	struct net_state state;
	unsigned int count;
	uint16_t mtu; /* offered, 0: none */
	struct net_pair *pairs;
	struct rate *rx_rate, *tx_rate; /* each for all pairs */
	/* control thread */
	struct loop_msg news; /* a link is gone; posted by loops */
	struct loop_timer knock;
};

static struct net *net_of(struct vdev *v)
{
	return container_of(v, struct net, v);
}

static void broken(struct net_pair *p, const char *why)
{
	p->dead = true;
	vdev_broken(&p->n->v, why);
}

/* --- the link --- */

static void link_ready(void *arg, uint32_t events);

/* Watches the link for just what we could use now. */
static void link_watch(struct net_pair *p)
{
	uint32_t want = 0;
	struct err e = { 0 };

	if (!p->dead && !p->gone && !p->resting) {
		if (p->rx.vq && p->rx.awake && !p->rx.limited)
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
		broken(p, err_frame(&e, 0));
	}
}

static void tell_control(void *arg);

static void link_gone(struct net_pair *p)
{
	if (p->gone)
		return;
	log_guest("%s: the %s behind queue pair %u is gone", p->n->v.dev.id, p->link.ops->name,
		  p->index);
	p->gone = true;
	p->tx_blocked = p->rx_more = false;
	netrx_forget(&p->in);
	link_watch(p);
	/* What the guest sends from now on is taken and dropped. */
	p->tx.awake = p->tx.vq != NULL;
	loop_post(p->n->v.dev.board->ctl, &p->n->news, tell_control, p->n);
}

/* Takes part in the traffic or rests, as the number of pairs in use says. In the pair's loop, or
 * before it runs. */
static void link_refresh(void *arg)
{
	struct net_pair *p = arg;
	bool use = p->index == 0 ||
		   (p->rx.vq && p->index < __atomic_load_n(&p->n->state.pairs, __ATOMIC_RELAXED));

	if (use == p->resting && p->link.ops->enable) {
		/* one that rests reports errors only: never watched then */
		p->resting = true;
		link_watch(p);
		if (p->link.ops->enable(&p->link, use))
			log_guest("%s: queue pair %u cannot be switched %s", p->n->v.dev.id,
				  p->index, use ? "on" : "off");
		p->resting = !use;
	}
	link_watch(p);
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

/* One frame. False when there is nothing more to do now. */
static bool rx_frame(struct net_pair *p)
{
	uint32_t bytes;

	switch (netrx_frame(&p->in, &p->link, &bytes)) {
	case NETRX_FRAME:
		rate_pay(&p->rx.rate, bytes);
		p->rx.bytes += bytes;
		p->rx.frames++;
		p->rx.pushed = true;
		return true;
	case NETRX_DROPPED:
		p->rx.pushed = true; /* a buffer that no frame fits into, perhaps */
		return true;
	case NETRX_STARVED:
		return !rx_starved(p);
	case NETRX_NONE:
		return false;
	case NETRX_DEAD:
		link_gone(p);
		return false;
	case NETRX_BAD:
		broken(p, "its receive ring breaks the rules");
		return false;
	}
	return false;
}

static void rx_serve(struct net_pair *p)
{
	p->rx_more = true;
	for (int i = 0; i < BATCH && p->rx_more; i++) {
		p->rx.limited = !rate_open(&p->rx.rate);
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
	if (p->rx.vq && p->rx.awake && !p->dead && !p->gone && !p->resting)
		rx_serve(p);
	else
		rate_leave(&p->rx.rate);
}

/* Sends one chain. False when the link has no room. */
static bool tx_frame(struct net_pair *p, const struct chain *c)
{
	long n = LINK_DROP;

	if (!p->gone && c->rlen >= HEADER_BYTES + FRAME_MIN && c->rlen <= HEADER_BYTES + FRAME_MAX)
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
		p->tx.bytes += c->rlen - HEADER_BYTES;
		p->tx.frames++;
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
	return p->dead || p->tx_blocked || p->tx.limited;
}

/* Leaves the chain where it is when the limit is reached. */
static bool tx_chain(struct net_pair *p, const struct chain *c)
{
	if (rate_take(&p->tx.rate, c->rlen > HEADER_BYTES ? c->rlen - HEADER_BYTES : 0))
		return tx_frame(p, c);
	vq_unpop(&p->tx.vq->q, c->head);
	p->tx.limited = true;
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
			broken(p, "its transmit ring breaks the rules");
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
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && p->rx.vq && p->rx.awake && !p->rx.limited)
		rx_serve(p);
	else if (events & (EPOLLERR | EPOLLHUP))
		link_gone(p);
	link_watch(p);
}

static void notify(struct net_way *w)
{
	if (w->vq && w->pushed)
		vqueue_notify(w->vq);
	w->pushed = false;
}

/* Before the loop sleeps: what was moved goes to the driver first, then the next batches are
 * moved. */
static bool pair_turn(void *arg)
{
	struct net_pair *p = arg;

	notify(&p->rx);
	notify(&p->tx);
	if (p->dead)
		return false;
	if (p->rx_more && p->rx.vq)
		rx_serve(p);
	if (p->tx.vq && p->tx.awake && !tx_waits(p) && !tx_serve(p) && !tx_waits(p))
		p->tx.awake = vq_listen(&p->tx.vq->q);
	/* Chains taken just now are to be told of. */
	return p->rx_more || p->rx.pushed || p->tx.pushed || (p->tx.awake && !tx_waits(p));
}

/* --- the control queue, §5.1.6.5 --- */

static void set_offloads(struct net_pair *p)
{
	uint32_t bits = netoffer_tun(p->n->v.features & ~p->n->state.offloads_off);

	if (p->link.ops->offload && p->link.ops->offload(&p->link, bits))
		log_guest("%s: the %s takes no offloads 0x%x", p->n->v.dev.id, p->link.ops->name,
			  bits);
}

static void use_pairs(struct net *n, uint16_t count)
{
	__atomic_store_n(&n->state.pairs, count, __ATOMIC_RELAXED);
	for (unsigned int i = 1; i < n->count; i++)
		loop_post(n->pairs[i].loop, &n->pairs[i].refresh, link_refresh, &n->pairs[i]);
}

static uint8_t obey(struct net_pair *p, const struct chain *c)
{
	struct net *n = p->n;
	struct netctrl_order o;

	if (netctrl_read(&o, c, n->v.features) || (o.what == NETCTRL_PAIRS && o.value > n->count))
		return VIRTIO_NET_ERR;
	switch (o.what) {
	case NETCTRL_NOTHING:
		break;
	case NETCTRL_PAIRS:
		use_pairs(n, (uint16_t)o.value);
		break;
	case NETCTRL_OFFLOADS:
		if (o.value & ~netoffer_switched(n->v.features))
			return VIRTIO_NET_ERR;
		n->state.offloads_off = netoffer_switched(n->v.features) & ~o.value;
		set_offloads(p);
		break;
	case NETCTRL_ANNOUNCED:
		/* the driver may look at the status once it has its answer, so the bit goes first */
		vdev_config_flip(&n->v, STATUS_AT, VIRTIO_NET_S_ANNOUNCE, 0);
		break;
	}
	return VIRTIO_NET_OK;
}

static void ctrl_kick(struct net_pair *p)
{
	struct vq *q = &p->ctrl->q;
	struct chain c;
	bool more = true;

	/* As many as the ring holds, so that a driver that goes on and on keeps no one else
	 * waiting. */
	for (uint32_t i = 0; i <= q->size; i++) {
		enum vq_result got = vq_pop(q, &c);
		uint8_t ack;

		if (got == VQ_EMPTY && !vq_listen(q)) {
			more = false;
			break;
		}
		if (got == VQ_EMPTY)
			continue;
		if (got == VQ_BAD || !c.wlen) {
			broken(p, got == VQ_BAD ? "its control ring breaks the rules"
						: "a command has no room for its answer");
			return;
		}
		ack = obey(p, &c);
		chain_put(&c, 0, &ack, 1);
		vq_push(q, c.head, 1);
	}
	vqueue_notify(p->ctrl);
	if (more)
		vdev_kick(&p->n->v, p->ctrl->index);
}

/* --- queues coming and going, in their loops --- */

/* §5.1.2: without MQ the driver knows one pair, and the control queue comes third. */
static uint16_t ctrl_index(const struct net *n)
{
	return n->v.features & BIT(VIRTIO_NET_F_MQ) ? (uint16_t)(2 * n->count) : 2;
}

static bool is_ctrl(const struct vqueue *vq)
{
	const struct net *n = net_of(vq->vdev);

	return n->v.features & BIT(VIRTIO_NET_F_CTRL_VQ) && vq->index == ctrl_index(n);
}

static void net_kick(struct vqueue *vq)
{
	struct net_pair *p = vq->priv;

	if (p->dead || vdev_is_broken(&p->n->v))
		return;
	if (vq == p->ctrl) {
		ctrl_kick(p);
	} else if (vq == p->rx.vq && !p->rx.awake) {
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

static void net_start(struct vqueue *vq)
{
	struct net_pair *p = vq->priv;

	if (!p->hook.loop) {
		p->dead = p->tx_blocked = p->rx_more = false;
		loop_hook_add(p->loop, &p->hook, pair_turn, p);
	}
	if (is_ctrl(vq)) {
		p->ctrl = vq;
		return;
	}
	/* The control queue of a driver that has not agreed to one: nobody's. */
	if (vq->index == 2 * p->n->count)
		return;
	*(vq->index % 2 ? &p->tx.vq : &p->rx.vq) = vq;
	if (vq->index % 2)
		return;
	p->rx.awake = p->rx_more = false;
	netrx_start(&p->in, &vq->q, p->n->v.features,
		    p->n->v.features & BIT(VIRTIO_NET_F_MTU) ? p->n->mtu : 0);
	if (p->index == 0)
		set_offloads(p);
	link_refresh(p);
}

static void net_stop(struct vqueue *vq)
{
	struct net_pair *p = vq->priv;

	if (vq == p->ctrl) {
		p->ctrl = NULL;
	} else if (vq == p->tx.vq) {
		notify(&p->tx);
		rate_leave(&p->tx.rate);
		p->tx.limited = false;
		p->tx.vq = NULL;
	} else if (vq == p->rx.vq) {
		notify(&p->rx);
		rate_leave(&p->rx.rate);
		p->rx.limited = false;
		netrx_stop(&p->in);
		p->rx_more = false;
		p->rx.vq = NULL;
		link_refresh(p);
	}
	link_watch(p);
	if (!p->ctrl && !p->rx.vq && !p->tx.vq)
		loop_hook_drop(&p->hook);
}

/* All queues have stopped. */
static void net_reset(struct vdev *v)
{
	struct net *n = net_of(v);

	__atomic_store_n(&n->state.pairs, 1, __ATOMIC_RELAXED);
	n->state.offloads_off = 0;
	vdev_config_flip(v, STATUS_AT, VIRTIO_NET_S_ANNOUNCE, 0);
}

/* --- the link's state, control thread --- */

static void status_set(struct net *n, uint8_t clear, uint8_t set)
{
	struct vdev *v = &n->v;

	pthread_mutex_lock(&v->lock);
	vdev_config_flip(v, STATUS_AT, clear, set);
	vdev_config_changed(v);
	pthread_mutex_unlock(&v->lock);
}

void net_announce(struct dev *d)
{
	struct net *n = net_of(vdev_of(d));

	/* The control queue that takes the answer comes with the feature. */
	if (n->v.features & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
		status_set(n, 0, VIRTIO_NET_S_ANNOUNCE);
}

struct renew_call {
	struct net_pair *p;
	int fd;
};

static void renew(void *arg)
{
	struct renew_call *c = arg;
	struct net_pair *p = c->p;

	p->link.ops->renew(&p->link, c->fd);
	p->gone = false;
	link_watch(p);
}

static bool all_there(const struct net *n)
{
	for (unsigned int i = 0; i < n->count; i++)
		if (n->pairs[i].gone)
			return false;
	return true;
}

static void knock(void *arg)
{
	struct net *n = arg;

	for (unsigned int i = 0; i < n->count; i++) {
		struct net_pair *p = &n->pairs[i];
		struct renew_call c = { .p = p, .fd = -1 };

		if (!p->gone || !p->link.ops->knock)
			continue;
		c.fd = p->link.ops->knock(&p->link);
		if (c.fd < 0) {
			loop_timer_set(n->v.dev.board->ctl, &n->knock, loop_now_ns() + KNOCK_NS,
				       knock, n);
			return;
		}
		loop_call(p->loop, renew, &c);
	}
	if (!all_there(n))
		return;
	log_info("%s: the link is there again", n->v.dev.id);
	status_set(n, 0, VIRTIO_NET_S_LINK_UP);
	net_announce(&n->v.dev);
}

static void tell_control(void *arg)
{
	struct net *n = arg;

	if (all_there(n))
		return;
	status_set(n, VIRTIO_NET_S_LINK_UP, 0);
	if (n->pairs[0].link.ops->knock && !n->knock.loop)
		loop_timer_set(n->v.dev.board->ctl, &n->knock, loop_now_ns() + KNOCK_NS, knock, n);
}

/* --- birth and end, control thread --- */

static void fill_config(struct net *n)
{
	struct vdev *v = &n->v;
	uint8_t *c = v->config;

	memcpy(c + offsetof(struct virtio_net_config, mac), n->state.mac, MAC_BYTES);
	le16_put(c + offsetof(struct virtio_net_config, status), VIRTIO_NET_S_LINK_UP);
	le16_put(c + offsetof(struct virtio_net_config, max_virtqueue_pairs), (uint16_t)n->count);
	le16_put(c + offsetof(struct virtio_net_config, mtu), n->mtu);
	v->config_len = offsetof(struct virtio_net_config, speed);
}

static int take_state(struct net *n, const struct net_conf *c, struct err *e)
{
	if (n->v.dev.restored) {
		if (n->state.pairs < 1 || n->state.pairs > n->count)
			return err_set(e, ERR_BAD,
				       "the saved card used %u queue pairs and this one has %u",
				       n->state.pairs, n->count);
		return 0;
	}
	n->state = (struct net_state){ .pairs = 1 };
	if (!conf_has_mac(c->mac))
		return conf_make_mac(n->state.mac, e);
	memcpy(n->state.mac, c->mac, MAC_BYTES);
	return 0;
}

static void link_close(struct net_pair *p)
{
	if (p->link.ops)
		p->link.ops->close(&p->link);
	p->link = (struct nlink){ 0 };
}

/* In the pair's loop: no limit wakes it any more. */
static void part(void *arg)
{
	struct net_pair *p = arg;

	rate_part(&p->rx.rate);
	rate_part(&p->tx.rate);
}

/* Also the way back from any point of init. */
static void net_fini(struct dev *d)
{
	struct vdev *v = vdev_of(d);
	struct net *n = net_of(v);

	if (v->nqueues)
		vdev_stop(v);
	for (unsigned int i = 0; i < n->count; i++) {
		if (n->pairs[i].loop)
			loop_call(n->pairs[i].loop, part, &n->pairs[i]);
		loop_free(n->pairs[i].loop);
		link_close(&n->pairs[i]);
		netrx_fini(&n->pairs[i].in);
	}
	if (d->board->ctl)
		loop_unpost(d->board->ctl, &n->news);
	loop_timer_stop(&n->knock);
	vdev_fini(v);
	rate_free(n->rx_rate);
	rate_free(n->tx_rate);
	free(n->pairs);
	n->pairs = NULL;
}

static int open_links(struct net *n, const struct net_conf *c, struct err *e)
{
	AUTO_FREE struct nlink *links = NULL;
	struct tap_args a = {
		.name = c->tap,
		.ip = c->ip,
		.mask = c->mask,
		.host_mac = conf_has_mac(c->host_mac) ? c->host_mac : NULL,
		.mtu = c->mtu,
		.pairs = n->count,
		.fds = c->fds.items,
		.fd_count = c->fds.count,
	};

	if (c->stream)
		return stream_open(&n->pairs[0].link, c->stream, e);
	if (c->fds.count == 1 && stream_is(c->fds.items[0]))
		return stream_take(&n->pairs[0].link, c->fds.items[0], e);
	links = mem_array(n->count, sizeof(links[0]));
	if (tap_open(links, &a, e))
		return -1;
	for (unsigned int i = 0; i < n->count; i++)
		n->pairs[i].link = links[i];
	return 0;
}

static int make_pair(struct net *n, unsigned int i, struct err *e)
{
	struct net_pair *p = &n->pairs[i];
	char name[64];

	snprintf(name, sizeof(name), "%.48s_qp%u", n->v.dev.id, i);
	if (loop_new(&p->loop, name, e))
		return -1;
	rate_join(&p->rx.rate, n->rx_rate, p->loop, rx_go, p);
	rate_join(&p->tx.rate, n->tx_rate, p->loop, tx_go, p);
	n->v.queues[2 * i].loop = n->v.queues[2 * i + 1].loop = p->loop;
	n->v.queues[2 * i].priv = n->v.queues[2 * i + 1].priv = p;
	link_refresh(p);
	return loop_start(p->loop, net_class.dev.profile, e);
}

static int make_pairs(struct net *n, const struct net_conf *c, struct err *e)
{
	struct vqueue *ctrl;

	if (vdev_queues(&n->v, (uint16_t)(2 * n->count + 1), c->queue_size, e))
		return -1;
	for (unsigned int i = 0; i < n->count; i++)
		if (make_pair(n, i, e))
			return -1;
	ctrl = &n->v.queues[2 * n->count];
	ctrl->loop = n->pairs[0].loop;
	ctrl->priv = &n->pairs[0];
	return 0;
}

static int net_init(struct dev *d, struct err *e)
{
	const struct net_conf *c = d->conf;
	struct net *n = net_of(vdev_of(d));
	uint32_t mtu;

	n->count = c->num_queues / 2u;
	if (!n->count || c->num_queues % 2)
		return err_set(e, ERR_BAD, "num_queues=%u: queues come in pairs, 2 or more",
			       c->num_queues);
	if (c->stream && n->count > 1)
		return err_set(e, ERR_BAD, "num_queues=%u: a stream serves one pair",
			       c->num_queues);
	n->pairs = mem_array(n->count, sizeof(n->pairs[0]));
	n->rx_rate = rate_new(NULL, c->rate_limiter_config);
	n->tx_rate = rate_new(NULL, c->rate_limiter_config);
	for (unsigned int i = 0; i < n->count; i++) {
		n->pairs[i].n = n;
		n->pairs[i].index = i;
		netrx_init(&n->pairs[i].in);
	}
	if (take_state(n, c, e) || open_links(n, c, e)) {
		net_fini(d);
		return -1;
	}
	mtu = c->mtu ? c->mtu : tap_mtu(&n->pairs[0].link);
	n->mtu = (uint16_t)min_u64(mtu, UINT16_MAX);
	n->v.offered = netoffer_features(c, n->pairs[0].link.ops->offload, n->mtu);
	if (make_pairs(n, c, e)) {
		net_fini(d);
		return -1;
	}
	fill_config(n);
	return 0;
}

/* --- limits --- */

void net_limit(struct dev *d, const struct rate_limiter_conf *c)
{
	struct net *n = net_of(vdev_of(d));

	rate_set(n->rx_rate, c);
	rate_set(n->tx_rate, c);
}

/* --- counters --- */

struct counters_call {
	const struct net_pair *p;
	struct net_counters *sum;
};

static void add_counters(void *arg)
{
	struct counters_call *c = arg;

	c->sum->rx_bytes += c->p->rx.bytes;
	c->sum->tx_bytes += c->p->tx.bytes;
	c->sum->rx_frames += c->p->rx.frames;
	c->sum->tx_frames += c->p->tx.frames;
}

void net_counters_get(struct dev *d, struct net_counters *out)
{
	struct net *n = net_of(vdev_of(d));

	*out = (struct net_counters){ 0 };
	for (unsigned int i = 0; i < n->count; i++) {
		struct counters_call c = { .p = &n->pairs[i], .sum = out };

		loop_call(n->pairs[i].loop, add_counters, &c);
	}
}

static const struct field counters_fields[] = {
	S(struct net_counters, rx_bytes, .doc = "bytes that the guest has received"),
	S(struct net_counters, tx_bytes, .doc = "bytes that the guest has sent"),
	S(struct net_counters, rx_frames, .doc = "frames that the guest has received"),
	S(struct net_counters, tx_frames, .doc = "frames that the guest has sent"),
};
const struct desc net_counters_desc = DESC_OF(struct net_counters, counters_fields, "NetCounters");

static const struct field state_fields[] = {
	S_HEX(struct net_state, mac),
	S(struct net_state, pairs, .min = 1),
	S(struct net_state, offloads_off),
};
static const struct desc state_desc = DESC_OF(struct net_state, state_fields, "net");

const struct virtio_class net_class = {
	.dev = {
		.name = "net",
		.conf = &net_desc,
		.state = &state_desc,
		.size = sizeof(struct net),
		.state_off = offsetof(struct net, state),
		.init = net_init,
		.fini = net_fini,
		.plug = &vpci_plug,
		.profile = "net",
	},
	.type = 1,
	.pci_class = 0x02,
	.pci_subclass = 0x00,
	.start = net_start,
	.stop = net_stop,
	.kick = net_kick,
	.reset = net_reset,
};
