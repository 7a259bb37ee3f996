/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of a vsock. See vsock.h. Buffers of rx are taken when there is something for them, as
 * many as it may fill; what it does not is put back. Packets of tx are served whether there are
 * buffers or not, until too many answers wait: then the driver must bring some first.
 */
#include "dev/vsock.h"

#include <linux/virtio_vsock.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/look.h"
#include "conf/conf.h"
#include "net/vsmux.h"
#include "virtio/vpci.h"

#define QUEUES 3
#define QUEUE_SIZE 256
#define HOST_CID 2
#define F_STREAM (1ull << 0)
#define F_SEQPACKET (1ull << VIRTIO_VSOCK_F_SEQPACKET)
#define HEADER sizeof(struct virtio_vsock_hdr)
#define BATCH 64  /* packets of the guest before sockets are looked at */
#define ROUNDS 8  /* batches moved before the loop looks at anything else */
#define PIECES 64 /* of one buffer's room */
#define RING_LOOKS 16
#define NAP_NS 20000
#define NAP_BYTES 0x4000u /* of the guest's, that make one worth while */
#define OTHERS 2 /* threads that work while this one looks: a vCPU, and a program of the host */

enum { RX, TX, EVENTS };

struct vsock_state {
	uint64_t port; /* the last that the host's side was given */
};

struct vsock {
	struct vdev v; /* first member */
	struct vsock_state state;
	uint64_t cid;
	struct loop *loop;
	struct vsmux *mux;
	struct loop_hook hook;
	struct vqueue *q[QUEUES]; /* NULL while it does not run */
	bool awake[QUEUES];	  /* there may be chains */
	bool pushed[QUEUES];	  /* the driver has not heard yet */
	bool owes_reset;	  /* the event TRANSPORT_RESET */
	struct look look;
	bool may_look, worked;
	uint64_t look_ns; /* since when it looks; 0: it does not */
	struct loop_timer nap;
	bool napped;	/* and has not found anything since */
	uint32_t taken; /* bytes of the guest's, since it last was at rest or went to nap */
	uint64_t rx_dropped, tx_dropped;
	struct chain chains[VSMUX_ROOMS];
	struct kiov pieces[VSMUX_ROOMS][PIECES];
};

static struct vsock *vsock_of(struct vdev *v)
{
	return container_of(v, struct vsock, v);
}

/* --- headers --- */

#define AT(member) offsetof(struct virtio_vsock_hdr, member)

static void header_read(struct vspkt *p, const uint8_t h[HEADER])
{
	*p = (struct vspkt){
		.guest_port = le32_get(h + AT(src_port)),
		.host_port = le32_get(h + AT(dst_port)),
		.len = le32_get(h + AT(len)),
		.type = le16_get(h + AT(type)),
		.op = le16_get(h + AT(op)),
		.flags = le32_get(h + AT(flags)),
		.buf_alloc = le32_get(h + AT(buf_alloc)),
		.fwd_cnt = le32_get(h + AT(fwd_cnt)),
	};
}

static void header_write(uint8_t h[HEADER], const struct vspkt *p, uint64_t cid)
{
	le64_put(h + AT(src_cid), HOST_CID);
	le64_put(h + AT(dst_cid), cid);
	le32_put(h + AT(src_port), p->host_port);
	le32_put(h + AT(dst_port), p->guest_port);
	le32_put(h + AT(len), p->len);
	le16_put(h + AT(type), p->type);
	le16_put(h + AT(op), p->op);
	le32_put(h + AT(flags), p->flags);
	le32_put(h + AT(buf_alloc), p->buf_alloc);
	le32_put(h + AT(fwd_cnt), p->fwd_cnt);
}

/* --- packets of the guest --- */

/* What is not between this guest and the host is for nobody, and nobody answers. */
static void take_packet(struct vsock *s, const struct chain *c)
{
	uint8_t h[HEADER];
	struct vspkt p;
	int n;

	if (chain_get(c, 0, h, HEADER) < HEADER || le64_get(h + AT(src_cid)) != s->cid ||
	    le64_get(h + AT(dst_cid)) != HOST_CID) {
		counter_add(&s->tx_dropped, 1);
		return;
	}
	header_read(&p, h);
	if (p.op != VS_OP_RW)
		p.len = 0;
	n = p.len ? kiov_slice(c->r, c->readable, HEADER, p.len, c->r, c->readable) : 0;
	if (n < 0) {
		vsmux_refuse(s->mux, &p);
		return;
	}
	s->taken += p.len;
	vsmux_take(s->mux, &p, c->r, (unsigned int)n);
}

/* Takes a batch. False when the ring is empty or must wait. */
static bool tx_serve(struct vsock *s)
{
	struct chain c;

	if (!s->q[TX] || !s->awake[TX])
		return false;
	for (int i = 0; i < BATCH; i++) {
		enum vq_result got;

		if (vsmux_is_full(s->mux))
			return false;
		got = vq_pop(&s->q[TX]->q, &c);
		if (got == VQ_BAD)
			vdev_broken(&s->v, "its transmit ring breaks the rules");
		if (got != VQ_CHAIN)
			return false;
		take_packet(s, &c);
		vq_push(&s->q[TX]->q, c.head, 0);
		s->pushed[TX] = true;
	}
	return true;
}

/* --- packets for the guest --- */

/* The next buffer and its room behind the header. One that is of no use goes back empty, in its
 * turn. EMPTY: no more for this time. */
static enum vq_result next_room(struct vsock *s, unsigned int i, struct vsroom *room)
{
	struct vq *q = &s->q[RX]->q;
	struct chain *c = &s->chains[i];
	enum vq_result got;

	while ((got = vq_pop(q, c)) == VQ_CHAIN) {
		uint32_t bytes = c->wlen > HEADER ? c->wlen - (uint32_t)HEADER : 0;
		int n = bytes ? kiov_slice(c->w, c->writable, HEADER, bytes, s->pieces[i], PIECES)
			      : -1;

		if (n > 0) {
			*room = (struct vsroom){ s->pieces[i], (unsigned int)n, bytes };
			return VQ_CHAIN;
		}
		if (i) {
			vq_unpop(q, c->head);
			return VQ_EMPTY;
		}
		vq_push(q, c->head, 0);
		s->pushed[RX] = true;
		counter_add(&s->rx_dropped, 1);
	}
	return got;
}

/* Fills what there is for; the rest goes back. How many were filled. */
static unsigned int fill(struct vsock *s, const struct vsroom *rooms, unsigned int n)
{
	struct vq *q = &s->q[RX]->q;
	struct vspkt out[VSMUX_ROOMS];
	unsigned int used = vsmux_give(s->mux, out, rooms, n);

	for (unsigned int i = 0; i < used; i++) {
		uint8_t h[HEADER];

		header_write(h, &out[i], s->cid);
		chain_put(&s->chains[i], 0, h, HEADER);
		vq_fill(q, s->chains[i].head, (uint32_t)HEADER + out[i].len);
	}
	while (n > used)
		vq_unpop(q, s->chains[--n].head);
	if (!used)
		return 0;
	vq_flush(q);
	s->pushed[RX] = true;
	return used;
}

/* Moves a batch. False when there is nothing for the guest, or no buffer. */
static bool rx_serve(struct vsock *s)
{
	unsigned int want = vsmux_wants(s->mux), n = 0;
	struct vsroom rooms[VSMUX_ROOMS];
	enum vq_result got = VQ_CHAIN;
	uint32_t bytes = 0;

	if (!want || !s->q[RX] || !s->awake[RX])
		return false;
	while (n < want && bytes < VSMUX_BYTES) {
		got = next_room(s, n, &rooms[n]);
		if (got != VQ_CHAIN)
			break;
		bytes += rooms[n++].bytes;
	}
	if (got == VQ_BAD) {
		while (n)
			vq_unpop(&s->q[RX]->q, s->chains[--n].head);
		vdev_broken(&s->v, "its receive ring breaks the rules");
		return false;
	}
	if (!n) {
		s->awake[RX] = vq_listen(&s->q[RX]->q);
		return s->awake[RX];
	}
	return fill(s, rooms, n) || vsmux_wants(s->mux);
}

/* --- events --- */

static void events_serve(struct vsock *s)
{
	uint8_t id[sizeof(struct virtio_vsock_event)];
	struct vqueue *q = s->q[EVENTS];
	struct chain c;

	if (!s->owes_reset || !q)
		return;
	for (;;) {
		enum vq_result got = vq_pop(&q->q, &c);

		if (got == VQ_EMPTY && vq_listen(&q->q))
			continue;
		if (got == VQ_BAD)
			vdev_broken(&s->v, "its event ring breaks the rules");
		if (got != VQ_CHAIN)
			return;
		break;
	}
	le32_put(id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	vq_push(&q->q, c.head, (uint32_t)chain_put(&c, 0, id, sizeof(id)));
	s->pushed[EVENTS] = true;
	s->owes_reset = false;
}

/* --- the loop's turn --- */

static bool notify(struct vsock *s)
{
	bool any = false;

	for (int i = 0; i < QUEUES; i++) {
		if (s->pushed[i] && s->q[i])
			vqueue_notify(s->q[i]);
		any |= s->pushed[i];
		s->pushed[i] = false;
	}
	s->worked |= any;
	return any;
}

/* Is it worth to stay awake for a moment? A guest that sends again soon spares its exit then, and a
 * socket our wake. */
static bool looks(struct vsock *s)
{
	uint64_t now = loop_now_ns();

	if (!s->look_ns) {
		if (!s->worked || !s->may_look || !look_pays(&s->look, now))
			return false;
		s->look_ns = now;
	}
	for (int i = 0; i < RING_LOOKS; i++)
		if (s->q[TX] && vq_waits(&s->q[TX]->q))
			return true;
	if (now - s->look_ns < LOOK_NS)
		return true;
	look_missed(&s->look, now);
	s->look_ns = 0;
	s->worked = false;
	return false;
}

static void nap_over(void *arg)
{
	struct vsock *s = arg;

	s->napped = true; /* the turn that follows looks at the ring */
}

/* Where too few processors are there for looking: a guest that sends much is not asked to ring for a
 * moment, but looked after when that is over. So what it sends then costs one wake, and none of its
 * exits; sockets wake us as ever. True while it naps. */
static bool naps(struct vsock *s)
{
	uint64_t now;

	if (s->nap.loop)
		return true;
	if (s->may_look || (s->taken < NAP_BYTES && !s->napped))
		return false;
	now = loop_now_ns();
	if (s->napped && s->taken)
		look_found(&s->look);
	else if (s->napped)
		look_missed(&s->look, now);
	s->napped = false;
	if (s->taken < NAP_BYTES || !s->q[TX] || !look_pays(&s->look, now))
		return false;
	s->taken = 0;
	loop_timer_set(s->loop, &s->nap, now + NAP_NS, nap_over, s);
	return true;
}

/* Nothing is left to do: the driver rings for what comes next. */
static bool rests(struct vsock *s)
{
	s->taken = 0;
	if (s->q[TX] && s->awake[TX] && !vsmux_is_full(s->mux))
		s->awake[TX] = vq_listen(&s->q[TX]->q);
	return !(s->q[TX] && s->awake[TX] && !vsmux_is_full(s->mux));
}

static bool vsock_turn(void *arg)
{
	struct vsock *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		bool more = false;

		if (!vdev_is_broken(&s->v)) {
			events_serve(s);
			more = tx_serve(s);
			more |= rx_serve(s);
		}
		if (vdev_is_broken(&s->v))
			return false;
		if (notify(s) && s->look_ns) {
			look_found(&s->look);
			s->look_ns = 0;
		}
		if (more)
			continue;
		if (looks(s))
			return true;
		if (naps(s) || rests(s))
			return false;
	}
	return true;
}

/* --- queues coming and going, in the loop --- */

static void vsock_kick(struct vqueue *q)
{
	struct vsock *s = vsock_of(q->vdev);

	if (q->index < QUEUES && !s->awake[q->index]) {
		vq_mute(&q->q);
		s->awake[q->index] = true;
	}
}

static void vsock_start(struct vqueue *q)
{
	struct vsock *s = vsock_of(q->vdev);

	s->q[q->index] = q;
	s->awake[q->index] = s->pushed[q->index] = false;
	vsmux_set_seqpacket(s->mux, s->v.features & F_SEQPACKET);
	if (!s->hook.loop)
		loop_hook_add(s->loop, &s->hook, vsock_turn, s);
}

static void vsock_stop(struct vqueue *q)
{
	struct vsock *s = vsock_of(q->vdev);

	if (s->pushed[q->index])
		vqueue_notify(q);
	s->q[q->index] = NULL;
	s->look_ns = s->taken = 0;
	s->napped = false;
	loop_timer_stop(&s->nap);
	if (!s->q[RX] && !s->q[TX] && !s->q[EVENTS])
		loop_hook_drop(&s->hook);
}

static void forget(void *arg)
{
	struct vsock *s = arg;

	vsmux_forget(s->mux);
	s->owes_reset = false;
}

/* All queues have stopped. */
static void vsock_reset(struct vdev *v)
{
	struct vsock *s = vsock_of(v);

	loop_call(s->loop, forget, s);
}

static void pause_mux(void *arg)
{
	struct vsock *s = arg;

	vsmux_pause(s->mux);
	s->state.port = vsmux_port(s->mux);
}

static void resume_mux(void *arg)
{
	vsmux_resume(((struct vsock *)arg)->mux);
}

static int vsock_quiesce(struct dev *d, struct err *e)
{
	struct vsock *s = vsock_of(vdev_of(d));

	if (vdev_quiesce(d, e))
		return -1;
	loop_call(s->loop, pause_mux, s);
	return 0;
}

static void vsock_resume(struct dev *d)
{
	struct vsock *s = vsock_of(vdev_of(d));

	loop_call(s->loop, resume_mux, s);
	vdev_resume(d);
}

/* --- birth and end, control thread --- */

static void full(void *arg)
{
	struct vsock *s = arg;
	struct board *b = s->v.dev.board;

	b->up.event(b->up.arg, "vsock", "full", s->v.dev.id);
}

static void stop_mux(void *arg)
{
	vsmux_stop(arg);
}

/* Also the way back from any point of init. */
static void vsock_fini(struct dev *d)
{
	struct vdev *v = vdev_of(d);
	struct vsock *s = vsock_of(v);
	struct board *b = d->board;

	if (v->nqueues)
		vdev_stop(v);
	if (s->mux)
		loop_call(s->loop, stop_mux, s->mux);
	loop_free(s->loop);
	vsmux_free(s->mux, b->ends ? b->kept : NULL);
	vdev_fini(v);
}

static int make(struct vsock *s, const struct vsock_conf *c, struct err *e)
{
	struct vsmux_args a = {
		.path = c->socket,
		.seqpacket = c->seqpacket,
		.kept = s->v.dev.board->kept,
		.full = full,
		.arg = s,
	};

	if (s->v.dev.board->refused)
		return vsmux_judge(&a, e) || vdev_queues(&s->v, QUEUES, QUEUE_SIZE, e) ? -1 : 0;
	if (loop_new(&s->loop, s->v.dev.id, e))
		return -1;
	a.loop = s->loop;
	if (vsmux_new(&s->mux, &a, e) || vdev_queues(&s->v, QUEUES, QUEUE_SIZE, e))
		return -1;
	for (int i = 0; i < QUEUES; i++)
		s->v.queues[i].loop = s->loop;
	/* from here on the muxer is the loop's: somebody may call at once */
	if (s->v.dev.restored)
		vsmux_set_port(s->mux, (uint32_t)s->state.port);
	s->state.port = vsmux_port(s->mux);
	return loop_start(s->loop, s->v.dev.class->profile, e);
}

static int vsock_init(struct dev *d, struct err *e)
{
	const struct vsock_conf *c = d->conf;
	struct vsock *s = vsock_of(vdev_of(d));

	s->cid = c->cid;
	s->may_look = look_can_beside(OTHERS);
	s->v.offered = VF_INDIRECT_DESC | VF_EVENT_IDX | VF_IN_ORDER | F_STREAM | F_SEQPACKET;
	le64_put(s->v.config, s->cid);
	s->v.config_len = sizeof(struct virtio_vsock_config);
	s->owes_reset = d->restored;
	if (make(s, c, e)) {
		vsock_fini(d);
		return -1;
	}
	return 0;
}

/* --- counters --- */

/* rx: towards the guest */
struct vsock_counters {
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
	uint64_t rx_dropped, tx_dropped;
	uint64_t connections, open, refused, resets;
};

static void vsock_count(struct dev *d, void *out)
{
	struct vsock *s = vsock_of(vdev_of(d));
	const struct vsmux_counters *n = vsmux_counters(s->mux);

	*(struct vsock_counters *)out = (struct vsock_counters){
		.rx_bytes = counter_get(&n->rx_bytes),
		.tx_bytes = counter_get(&n->tx_bytes),
		.rx_packets = counter_get(&n->rx_packets),
		.tx_packets = counter_get(&n->tx_packets),
		.rx_dropped = counter_get(&s->rx_dropped),
		.tx_dropped = counter_get(&s->tx_dropped),
		.connections = counter_get(&n->connections),
		.open = counter_get(&n->open),
		.refused = counter_get(&n->refused),
		.resets = counter_get(&n->resets),
	};
}

#define COUNTER(member, ...) S(struct vsock_counters, member, __VA_ARGS__)
static const struct field counter_fields[] = {
	COUNTER(rx_bytes, .unit = "bytes", .doc = "bytes that the guest has been given"),
	COUNTER(tx_bytes, .unit = "bytes", .doc = "bytes that the guest has sent"),
	COUNTER(rx_packets, .doc = "packets that the guest has been given"),
	COUNTER(tx_packets, .doc = "packets that the guest has sent"),
	COUNTER(rx_dropped, .doc = "buffers of the guest that were of no use"),
	COUNTER(tx_dropped, .doc = "packets that were not between the guest and the host"),
	COUNTER(connections, .doc = "connections that have come about"),
	COUNTER(open, .flags = F_GAUGE,
		.doc = "connections that there are, beginning and ending ones too"),
	COUNTER(refused, .doc = "connections that nobody listened for or that were too many"),
	COUNTER(resets, .doc = "connections ended, and packets answered, by a reset of ours"),
};
static const struct desc counter_rows =
	DESC_OF(struct vsock_counters, counter_fields, "vsock counters");

static const struct field state_fields[] = {
	S(struct vsock_state, port, .max = UINT32_MAX),
};
static const struct desc state_desc = DESC_OF(struct vsock_state, state_fields, "vsock");

const struct virtio_class vsock_class = {
	.dev = {
		.name = "vsock",
		.conf = &vsock_desc,
		.state = &state_desc,
		.size = sizeof(struct vsock),
		.state_off = offsetof(struct vsock, state),
		.init = vsock_init,
		.quiesce = vsock_quiesce,
		.resume = vsock_resume,
		.fini = vsock_fini,
		.plug = &vpci_plug,
		.profile = "vsock",
		.counters = &counter_rows,
		.count = vsock_count,
	},
	.type = 19,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.start = vsock_start,
	.stop = vsock_stop,
	.kick = vsock_kick,
	.reset = vsock_reset,
};
