/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network card as a whole: its features and config bytes, the control queue, which lies on the
 * first pair's loop, the link's state as the guest sees it, birth and end. The way of the frames is
 * dev/netpair's. virtio 1.3 §5.1.
 */
#include "dev/net.h"

#include <inttypes.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "core/rate.h"
#include "dev/netctrl.h"
#include "dev/netmoved.h"
#include "dev/netoffer.h"
#include "dev/netpair.h"
#include "virtio/vpci.h"

#define MAC_BYTES 6
#define STATUS_AT offsetof(struct virtio_net_config, status)

struct net_state {
	uint8_t mac[MAC_BYTES];
	uint16_t pairs;	       /* in use */
	uint64_t offloads_off; /* agreed, and switched off by the control queue */
	/* Of a host's end with an address: the guest knows it as a neighbour, so it stays the same
	 * where it is made anew. All zero: not known, or none of ours. */
	uint8_t host_mac[MAC_BYTES];
	uint8_t _pad[2];
};

struct net {
	struct vdev v; /* first member */
	struct net_state state;
	unsigned int count;
	uint16_t mtu; /* offered, 0: none */
	struct net_pair *pairs;
	struct rate *rx_rate, *tx_rate; /* each for all pairs */
	struct netmoved moved;
	bool is_elsewhere; /* it was restored, and the network does not know yet */
};

static struct net *net_of(struct vdev *v)
{
	return container_of(v, struct net, v);
}

/* --- the control queue, §5.1.6.5 --- */

static void set_offloads(struct net *n)
{
	uint32_t bits = netoffer_tun(n->v.features & ~n->state.offloads_off);
	struct nlink *l = &n->pairs[0].link;

	if (l->ops->offload && l->ops->offload(l, bits))
		log_guest("%s: the %s takes no offloads 0x%x", n->v.dev.id, l->ops->name, bits);
}

static void use_pairs(struct net *n, uint16_t count)
{
	n->state.pairs = count;
	for (unsigned int i = 1; i < n->count; i++)
		netpair_use(&n->pairs[i], i < count);
}

static uint8_t obey(struct net *n, const struct chain *c)
{
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
		set_offloads(n);
		break;
	case NETCTRL_ANNOUNCED:
		/* the driver may look at the status once it has its answer, so the bit goes first */
		vdev_config_flip(&n->v, STATUS_AT, VIRTIO_NET_S_ANNOUNCE, 0);
		break;
	}
	return VIRTIO_NET_OK;
}

static void ctrl_kick(struct vqueue *vq)
{
	struct net *n = net_of(vq->vdev);
	struct vq *q = &vq->q;
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
			vdev_broken(&n->v, got == VQ_BAD ? "its control ring breaks the rules"
							 : "a command has no room for its answer");
			return;
		}
		ack = obey(n, &c);
		chain_put(&c, 0, &ack, 1);
		vq_push(q, c.head, 1);
	}
	vqueue_notify(vq);
	if (more)
		vdev_kick(&n->v, vq->index);
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

/* The pair that a queue belongs to; NULL: it is the control queue, or that of a driver that has not
 * agreed to one, and nobody's. */
static struct net_pair *pair_of(const struct vqueue *vq)
{
	return vq->index == 2 * net_of(vq->vdev)->count || is_ctrl(vq) ? NULL : vq->priv;
}

static void net_kick(struct vqueue *vq)
{
	struct net_pair *p = pair_of(vq);

	if (p)
		netpair_kick(p, vq);
	else if (is_ctrl(vq))
		ctrl_kick(vq);
}

static void net_start(struct vqueue *vq)
{
	struct net *n = net_of(vq->vdev);
	struct net_pair *p = pair_of(vq);

	if (!p)
		return;
	netpair_start(p, vq, n->v.features & BIT(VIRTIO_NET_F_MTU) ? n->mtu : 0);
	if (vq->index == 0)
		set_offloads(n);
}

static void net_stop(struct vqueue *vq)
{
	struct net_pair *p = pair_of(vq);

	if (p)
		netpair_stop(p, vq);
}

/* All queues have stopped. */
static void net_reset(struct vdev *v)
{
	struct net *n = net_of(v);

	use_pairs(n, 1);
	n->state.offloads_off = 0;
	vdev_config_flip(v, STATUS_AT, VIRTIO_NET_S_ANNOUNCE, 0);
}

/* --- the link's state, any thread --- */

void net_announce(struct dev *d)
{
	struct net *n = net_of(vdev_of(d));

	/* The control queue that takes the answer comes with the feature. */
	if (!(n->v.features & BIT(VIRTIO_NET_F_GUEST_ANNOUNCE)))
		return;
	vdev_config_flip(&n->v, STATUS_AT, 0, VIRTIO_NET_S_ANNOUNCE);
	vdev_config_changed(&n->v);
}

static bool all_there(const struct net *n)
{
	for (unsigned int i = 0; i < n->count; i++)
		if (n->pairs[i].gone || n->pairs[i].unplugged)
			return false;
	return true;
}

/* The guest sees one link, and asked to, tells a network that has come back where it is. */
static void tell_link(struct net *n)
{
	bool up = all_there(n);

	vdev_config_flip(&n->v, STATUS_AT, up ? 0 : VIRTIO_NET_S_LINK_UP,
			 up ? VIRTIO_NET_S_LINK_UP : 0);
	vdev_config_changed(&n->v);
	if (up)
		net_announce(&n->v.dev);
}

/* In the pair's loop. */
static void link_changed(struct net_pair *p)
{
	tell_link(net_of(p->v));
}

/* The driver clears the bit with its answer. */
static void ask_again(struct net_pair *p, bool again)
{
	struct net *n = net_of(p->v);

	if (!again || n->v.config[STATUS_AT] & VIRTIO_NET_S_ANNOUNCE)
		net_announce(&n->v.dev);
}

static void tell_network(void *arg)
{
	netmoved_start(arg);
}

static void tell_no_more(void *arg)
{
	netmoved_stop(arg);
}

static void tell_on(void *arg)
{
	netmoved_go_on(arg);
}

static int net_quiesce(struct dev *d, struct err *e)
{
	struct net *n = net_of(vdev_of(d));

	loop_call(n->pairs[0].loop, tell_no_more, &n->moved);
	return vdev_quiesce(d, e);
}

static void net_resume(struct dev *d)
{
	struct net *n = net_of(vdev_of(d));

	vdev_resume(d);
	if (n->is_elsewhere)
		loop_call(n->pairs[0].loop, tell_network, &n->moved);
	else if (netmoved_is_under_way(&n->moved))
		loop_call(n->pairs[0].loop, tell_on, &n->moved);
	n->is_elsewhere = false;
}

void net_plug(struct dev *d, bool in)
{
	struct net *n = net_of(vdev_of(d));

	if (in == !n->pairs[0].unplugged)
		return;
	for (unsigned int i = 0; i < n->count; i++)
		netpair_plug(&n->pairs[i], in);
	tell_link(n);
}

/* --- birth and end --- */

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
		/* a clone may be given another */
		if (conf_has_mac(c->mac))
			memcpy(n->state.mac, c->mac, MAC_BYTES);
		return 0;
	}
	n->state = (struct net_state){ .pairs = 1 };
	if (!conf_has_mac(c->mac))
		return conf_make_mac(n->state.mac, e);
	memcpy(n->state.mac, c->mac, MAC_BYTES);
	return 0;
}

/* Also the way back from any point of init. */
static void net_fini(struct dev *d)
{
	struct vdev *v = vdev_of(d);
	struct net *n = net_of(v);

	if (v->nqueues)
		vdev_stop(v);
	if (n->moved.pair)
		loop_call(n->pairs[0].loop, tell_no_more, &n->moved);
	for (unsigned int i = 0; i < n->count; i++)
		netpair_fini(&n->pairs[i]);
	vdev_fini(v);
	rate_free(n->rx_rate);
	rate_free(n->tx_rate);
	free(n->pairs);
	n->pairs = NULL;
}

/* Has a card that came before the same tap? In a rehearsal it has not opened it. */
static bool has_other(const struct net *n, const char *tap)
{
	list_each (at, &n->v.dev.board->devs) {
		const struct dev *d = container_of(at, struct dev, link);
		const struct net_conf *c = d->class == n->v.dev.class ? d->conf : NULL;

		if (c && tap && c->tap && !strcmp(c->tap, tap))
			return true;
	}
	return false;
}

static int open_links(struct net *n, const struct net_conf *c, struct err *e)
{
	AUTO_FREE struct nlink *links = NULL;
	const char *ip = c->fds.count ? NULL : c->ip; /* a tap that is handed over has its own */
	const uint8_t *mac = ip && !conf_has_mac(c->host_mac) ? n->state.host_mac : c->host_mac;
	struct tap_args a = {
		.name = c->tap,
		.ip = ip,
		.mask = ip ? c->mask : NULL,
		.host_mac = conf_has_mac(mac) ? mac : NULL,
		.mtu = c->mtu,
		.pairs = n->count,
		.fds = c->fds.items,
		.fd_count = c->fds.count,
	};

	/* as a snapshot names their places */
	if (c->fds.count && c->fds.items[0] < 0)
		return err_set(e, ERR_BAD,
			       "it was on %" PRIu32
			       " descriptors of its caller: open others, and say net_fds",
			       c->fds.count);
	a.beside = has_other(n, c->tap);
	if (n->v.dev.board->refused && !c->fds.count)
		return c->stream ? stream_judge(&n->pairs[0].link, c->stream, e)
				 : tap_judge(&n->pairs[0].link, &a, e);
	if (c->stream)
		return stream_open(&n->pairs[0].link, c->stream, e);
	if (c->fds.count == 1 && stream_is(c->fds.items[0]))
		return stream_take(&n->pairs[0].link, c->fds.items[0], e);
	links = mem_array(n->count, sizeof(links[0]));
	if (tap_open(links, &a, e))
		return -1;
	for (unsigned int i = 0; i < n->count; i++)
		n->pairs[i].link = links[i];
	if (!ip || !tap_host_mac(&links[0], n->state.host_mac))
		memset(n->state.host_mac, 0, MAC_BYTES);
	return 0;
}

static int make_pairs(struct net *n, const struct net_conf *c, struct err *e)
{
	struct vqueue *ctrl;
	char name[64];

	if (vdev_queues(&n->v, (uint16_t)(2 * n->count + 1), c->queue_size, e))
		return -1;
	for (unsigned int i = 0; i < n->count && !n->v.dev.board->refused; i++) {
		snprintf(name, sizeof(name), "%.48s_qp%u", n->v.dev.id, i);
		n->pairs[i].used = i < n->state.pairs;
		if (netpair_run(&n->pairs[i], n->rx_rate, n->tx_rate, name, e))
			return -1;
	}
	ctrl = &n->v.queues[2 * n->count];
	ctrl->loop = n->pairs[0].loop;
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
	for (unsigned int i = 0; i < n->count; i++)
		netpair_init(&n->pairs[i], &n->v, i, link_changed);
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
	if (d->board->refused)
		return 0;
	n->moved = (struct netmoved){
		.pair = &n->pairs[0],
		.mac = n->state.mac,
		.ask = ask_again,
		.feature = BIT(VIRTIO_NET_F_GUEST_ANNOUNCE),
	};
	n->is_elsewhere = d->restored;
	fill_config(n);
	net_plug(d, c->link);
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

/* rx: towards the guest */
struct net_counters {
	uint64_t rx_bytes, tx_bytes, rx_frames, tx_frames;
	uint64_t rx_dropped, tx_dropped, rx_limit_waits, tx_limit_waits;
};

static void net_count(struct dev *d, void *out)
{
	struct net *n = net_of(vdev_of(d));
	struct net_counters *c = out;

	*c = (struct net_counters){ 0 };
	for (unsigned int i = 0; i < n->count; i++) {
		const struct net_way *rx = &n->pairs[i].rx, *tx = &n->pairs[i].tx;

		c->rx_bytes += counter_get(&rx->bytes);
		c->tx_bytes += counter_get(&tx->bytes);
		c->rx_frames += counter_get(&rx->frames);
		c->tx_frames += counter_get(&tx->frames);
		c->rx_dropped += counter_get(&rx->dropped);
		c->tx_dropped += counter_get(&tx->dropped);
		c->rx_limit_waits += counter_get(&rx->waits);
		c->tx_limit_waits += counter_get(&tx->waits);
	}
}

#define COUNTER(member, ...) S(struct net_counters, member, __VA_ARGS__)
static const struct field counter_fields[] = {
	COUNTER(rx_bytes, .unit = "bytes", .doc = "bytes that the guest has received"),
	COUNTER(tx_bytes, .unit = "bytes", .doc = "bytes that the guest has sent"),
	COUNTER(rx_frames, .doc = "frames that the guest has received"),
	COUNTER(tx_frames, .doc = "frames that the guest has sent"),
	COUNTER(rx_dropped, .doc = "received frames and buffers that did not fit each other"),
	COUNTER(tx_dropped, .doc = "frames of the guest that the host's side has not taken"),
	COUNTER(rx_limit_waits, .doc = "times that received frames had to wait for a rate limit"),
	COUNTER(tx_limit_waits, .doc = "times that sent frames had to wait for a rate limit"),
};
static const struct desc counter_rows =
	DESC_OF(struct net_counters, counter_fields, "net counters");

static const struct field state_fields[] = {
	S_HEX(struct net_state, mac),	   S(struct net_state, pairs, .min = 1),
	S(struct net_state, offloads_off), S_HEX(struct net_state, host_mac, .since = 2),
	S_PAD(struct net_state, _pad),
};
static const struct desc state_desc = DESC_OF_V(struct net_state, state_fields, "net", 2);

const struct virtio_class net_class = {
	.dev = {
		.name = "net",
		.conf = &net_desc,
		.state = &state_desc,
		.size = sizeof(struct net),
		.state_off = offsetof(struct net, state),
		.init = net_init,
		.quiesce = net_quiesce,
		.resume = net_resume,
		.fini = net_fini,
		.plug = &vpci_plug,
		.profile = "net",
		.counters = &counter_rows,
		.count = net_count,
	},
	.type = 1,
	.pci_class = 0x02,
	.pci_subclass = 0x00,
	.start = net_start,
	.stop = net_stop,
	.kick = net_kick,
	.reset = net_reset,
};
