/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console, virtio 1.3 §5.3, without MULTIPORT and without emergency write. Both queues and
 * the chardev's input are served by the board's io loop; only the window's size is changed from the
 * control thread.
 *
 *	guest -> chardev	the chain in hand goes out piece by piece; what the chardev does not take waits in the
 *				guest's own buffer until it says writable
 *	chardev -> guest	bytes go into the guest's buffers or are not taken; the kick that brings buffers asks
 *				for more
 */
#include "dev/vcon.h"

#include "base/bits.h"
#include "base/counter.h"
#include "base/look.h"
#include "base/loop.h"
#include "virtio/vpci.h"

#define VCON_F_SIZE 1ull
#define QUEUE_SIZE 256
#define CHUNK 16384
#define TURN_BYTES 65536u
#define TURN_CHAINS 256
#define INPUT_CHAINS 64

enum { VCON_RX, VCON_TX, VCON_QUEUES };

/* §5.3.4: the configuration's layout */
enum { CFG_COLS = 0, CFG_ROWS = 2, CFG_PORTS = 4, CFG_LEN = 12 };

struct vcon_state {
	uint64_t tx_done; /* bytes of the next chain that are out already */
};

/* What has passed so far. */
struct vcon_counters {
	uint64_t rx_bytes, tx_bytes;
};

struct vcon {
	struct vdev v; /* first member */
	struct chardev *chr;
	struct vcon_state state;
	bool rx_hungry;	       /* input was refused: ask for it when buffers come */
	struct loop_msg again; /* the next turn of tx */
	struct look look;      /* for output that follows at once */
	bool may_look;
	bool worked; /* output went out since the last look in vain */
	struct vcon_counters n;
};

static struct vcon *vcon_of(struct vdev *v)
{
	return container_of(v, struct vcon, v);
}

static struct vcon *vcon_of_dev(struct dev *d)
{
	return vcon_of(vdev_of(d));
}

static bool serving(const struct vqueue *q)
{
	return q->running && !vdev_is_broken(q->vdev);
}

/* --- from the guest --- */

enum tx_more { TX_EMPTY, TX_MORE, TX_BLOCKED, TX_BAD };

/* Moves the chain on by at most *room bytes; true when all of it is out. */
static bool tx_chain(struct vcon *s, const struct chain *c, uint32_t *room, bool *blocked)
{
	uint64_t *done = &s->state.tx_done;
	uint8_t buf[CHUNK];

	while (*done < c->rlen && *room) {
		size_t n = chain_get(c, *done, buf, min_u64(sizeof(buf), *room));
		size_t taken = s->chr->ops->write(s->chr, buf, n);

		*done += taken;
		counter_add(&s->n.tx_bytes, taken);
		*room -= (uint32_t)taken;
		if (taken < n) {
			*blocked = true;
			return false;
		}
	}
	return *done >= c->rlen;
}

static enum tx_more tx_serve(struct vcon *s, struct vq *q)
{
	uint32_t room = TURN_BYTES;
	bool blocked = false;

	for (unsigned int i = 0; i < TURN_CHAINS && room; i++) {
		struct chain c;

		switch (vq_pop(q, &c)) {
		case VQ_BAD:
			return TX_BAD;
		case VQ_EMPTY:
			return TX_EMPTY;
		case VQ_CHAIN:
			break;
		}
		if (!tx_chain(s, &c, &room, &blocked)) {
			vq_unpop(q, c.head);
			return blocked ? TX_BLOCKED : TX_MORE;
		}
		s->state.tx_done = 0;
		s->worked = true;
		vq_push(q, c.head, 0);
	}
	return TX_MORE;
}

/* A driver that waits for one piece to be out before it gives the next spares its exit, and we our
 * wake. */
static bool tx_follows(struct vcon *s, struct vq *q)
{
	uint64_t start = loop_now_ns(), now = start;

	if (!s->worked || !s->may_look || !look_pays(&s->look, start))
		return false;
	for (; now - start < LOOK_NS; now = loop_now_ns())
		if (vq_waits(q)) {
			look_found(&s->look);
			return true;
		}
	look_missed(&s->look, now);
	s->worked = false;
	return false;
}

static void tx_turn(void *arg)
{
	struct vcon *s = arg;
	struct vqueue *q = &s->v.queues[VCON_TX];
	enum tx_more more;

	if (!serving(q))
		return;
	vq_mute(&q->q);
	more = tx_serve(s, &q->q);
	vqueue_notify(q);
	if (more == TX_EMPTY && tx_follows(s, &q->q))
		more = TX_MORE;
	if (more == TX_BAD)
		vdev_broken(&s->v, "output that is none");
	else if (more == TX_MORE || (more == TX_EMPTY && vq_listen(&q->q)))
		loop_post(q->loop, &s->again, tx_turn, s);
}

/* --- to the guest --- */

static size_t vcon_input(void *arg, const uint8_t *data, size_t len)
{
	struct vcon *s = arg;
	struct vqueue *q = &s->v.queues[VCON_RX];
	size_t done = 0;

	for (unsigned int i = 0; done < len && serving(q); i++) {
		struct chain c;
		enum vq_result r;
		size_t n;

		/* A driver that brings buffers without room on and on keeps nobody else waiting. */
		if (i == INPUT_CHAINS) {
			vdev_kick(&s->v, VCON_RX);
			break;
		}
		r = vq_pop(&q->q, &c);
		if (r == VQ_BAD)
			vdev_broken(&s->v, "an input buffer that is none");
		if (r == VQ_EMPTY && vq_listen(&q->q))
			continue;
		if (r != VQ_CHAIN)
			break;
		n = chain_put(&c, 0, data + done, len - done);
		vq_push(&q->q, c.head, (uint32_t)n);
		done += n;
		counter_add(&s->n.rx_bytes, n);
	}
	if (serving(q))
		vqueue_notify(q);
	s->rx_hungry = done < len;
	return done;
}

/* --- the queues --- */

static void vcon_kick(struct vqueue *q)
{
	struct vcon *s = vcon_of(q->vdev);

	if (q->index == VCON_TX) {
		tx_turn(s);
	} else if (s->rx_hungry) {
		s->rx_hungry = false;
		s->chr->ops->want_input(s->chr, true);
	}
}

static void vcon_reset(struct vdev *v)
{
	vcon_of(v)->state.tx_done = 0;
}

/* --- life --- */

static void window_put(struct vcon *s, uint16_t cols, uint16_t rows)
{
	uint8_t bytes[2];

	le16_put(bytes, cols);
	vdev_config_put(&s->v, CFG_COLS, bytes, sizeof(bytes));
	le16_put(bytes, rows);
	vdev_config_put(&s->v, CFG_ROWS, bytes, sizeof(bytes));
}

static void vcon_resized(void *arg, uint16_t cols, uint16_t rows)
{
	struct vcon *s = arg;

	window_put(s, cols, rows);
	vdev_config_changed(&s->v);
}

static int vcon_init(struct dev *d, struct err *e)
{
	const struct vcon_conf *conf = d->conf;
	struct vcon *s = vcon_of_dev(d);

	s->chr = conf->chr;
	s->v.offered = VCON_F_SIZE | VF_INDIRECT_DESC | VF_EVENT_IDX;
	s->v.config_len = CFG_LEN;
	window_put(s, s->chr->cols, s->chr->rows);
	le32_put(s->v.config + CFG_PORTS, 1);
	if (vdev_queues(&s->v, VCON_QUEUES, QUEUE_SIZE, e))
		return -1;
	for (int i = 0; i < VCON_QUEUES; i++)
		s->v.queues[i].loop = d->board->io;
	s->rx_hungry = true;
	s->may_look = look_can();
	s->chr->arg = s;
	s->chr->input = vcon_input;
	s->chr->writable = tx_turn;
	s->chr->resized = vcon_resized;
	return 0;
}

/* In the loop: after this the chardev knows us no more, and what was posted has passed. */
static void vcon_forget(void *arg)
{
	struct chardev *c = arg;

	c->input = NULL;
	c->writable = NULL;
	c->resized = NULL;
	c->arg = NULL;
}

static void vcon_fini(struct dev *d)
{
	struct vcon *s = vcon_of_dev(d);

	loop_call(d->board->io, vcon_forget, s->chr);
	vdev_fini(&s->v);
}

static const struct field state_fields[] = {
	S(struct vcon_state, tx_done, .max = UINT32_MAX),
};
static const struct desc state_desc = DESC_OF(struct vcon_state, state_fields, "vcon_state");

static const struct field counter_fields[] = {
	S(struct vcon_counters, rx_bytes, .unit = "bytes",
	  .doc = "bytes that the guest has been given"),
	S(struct vcon_counters, tx_bytes, .unit = "bytes", .doc = "bytes that the guest has sent"),
};
static const struct desc counter_rows =
	DESC_OF(struct vcon_counters, counter_fields, "vcon counters");

const struct virtio_class vcon_class = {
	.dev = {
		.name = "console",
		.state = &state_desc,
		.state_off = offsetof(struct vcon, state),
		.size = sizeof(struct vcon),
		.counters = &counter_rows,
		.counters_off = offsetof(struct vcon, n),
		.init = vcon_init,
		.quiesce = vdev_quiesce,
		.resume = vdev_resume,
		.fini = vcon_fini,
		.plug = &vpci_plug,
		.profile = "io",
	},
	.type = 3,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.kick = vcon_kick,
	.reset = vcon_reset,
};
