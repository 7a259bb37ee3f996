/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk, virtio 1.3 §5.2. Each queue has a loop of its own; nothing is shared between them but
 * the image and one word that says whether writes may be cached.
 *
 *	kick -> vq_pop -> blk_submit -> blkq ... -> blk_done -> vq_push -> vqueue_notify
 *
 * Submit runs down, completion runs up, and they meet only in the slot of the chain's head. A
 * request that is refused has its status byte for an answer; a chain without room for one breaks
 * the device.
 */
#include "dev/blk.h"

#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/look.h"
#include "base/loop.h"
#include "base/mem.h"
#include "block/img.h"
#include "conf/conf.h"
#include "core/rate.h"
#include "dev/blkheld.h"
#include "virtio/vpci.h"

#define SECTOR 512
#define HEADER_BYTES 16	 /* type, priority, sector */
#define SEGMENT_BYTES 16 /* sector, count, flags of discard and write zeroes */
#define ID_BYTES VIRTIO_BLK_ID_BYTES
#define BATCH 16 /* chains taken before the driver hears of those that are done */
#define ROUNDS 8 /* batches served before the loop looks at anything else */

struct blk_state {
	uint64_t sectors;
	uint64_t writeback; /* 1: writes may stay in the host's cache until a flush. Atomic */
	/* while the queues are stopped: requests that wait for a better host, queue << 16 | head */
	LIST(uint32_t) held;
};

struct blk_req {
	struct blk_io io;
	struct blk_queue *q;
	struct kiov status; /* the last writable byte */
	uint64_t began_ns;
	uint16_t head;
	bool counted;	   /* a read or write of the guest, for the counters */
	bool held;	   /* it has been before */
	enum blk_op asked; /* io.op becomes a flush on write-through's second leg */
};

/* One way of a queue, read or write. Counters of the queue's loop. */
struct blk_way {
	uint64_t bytes, ops, min_ns, max_ns, sum_ns;
};

struct blk_queue {
	struct blk *b;
	struct vqueue *vq;
	struct loop *loop;
	struct blkq *io;
	struct blk_req *reqs; /* one per head, while the queue runs */
	struct loop_hook hook;
	bool awake;   /* there may be chains to take */
	bool worked;  /* something was taken or has ended since the last look in vain */
	bool pushed;  /* the driver has not heard yet */
	bool dead;    /* the ring is broken */
	bool limited; /* the limit is reached */
	bool again;   /* what is submitted was held */
	struct rate_user rate;
	struct blkheld held;
	uint64_t now_ns; /* of this round; 0 = not asked yet */
	struct look look;
	struct blk_way way[2];			/* read, written */
	uint64_t flushes, failed, waits, helds; /* counters too */
};

struct blk {
	struct vdev v; /* first member */
	struct img *img;
	struct rate *rate; /* its own limit; NULL: the group's */
	struct blk_state state;
	struct blk_queue *queues;
	char serial[ID_BYTES];
	bool may_poll; /* the host has a processor to spare for it */
};

static struct blk *blk_of(struct vdev *v)
{
	return container_of(v, struct blk, v);
}

static uint64_t now(struct blk_queue *q)
{
	if (!q->now_ns)
		q->now_ns = loop_now_ns();
	return q->now_ns;
}

/* --- room 5: the only way out of a request --- */

static void count(struct blk_queue *q, const struct blk_req *r)
{
	struct blk_way *w = &q->way[r->asked == BLK_WRITE];
	uint64_t took = now(q) - r->began_ns;

	counter_add(&w->bytes, r->io.len);
	if (!w->ops || took < w->min_ns)
		counter_set(&w->min_ns, took);
	if (took > w->max_ns)
		counter_set(&w->max_ns, took);
	counter_add(&w->sum_ns, took);
	counter_add(&w->ops, 1);
}

/* data: bytes written before the status byte. §2.7.8: the used length counts from the first
 * writable byte. */
static void finish(struct blk_req *r, uint8_t status, uint32_t data, bool whole)
{
	struct blk_queue *q = r->q;

	if (q->dead)
		return;
	if (status != VIRTIO_BLK_S_OK)
		counter_add(&q->failed, 1);
	kiov_put(&r->status, 1, 0, &status, 1);
	vq_push(&q->vq->q, r->head, whole ? data + 1 : 0);
	q->pushed = true;
	if (r->held)
		blkheld_ended(&q->held);
}

/* The host has failed. True when the request waits for another try. A flush does not: what the host
 * has lost, the next flush would not miss. */
static bool hold(struct blk_req *r)
{
	static const char *const name[] = {
		[BLK_READ] = "read",	   [BLK_WRITE] = "write",	[BLK_FLUSH] = "flush",
		[BLK_DISCARD] = "discard", [BLK_ZERO] = "write-zeroes",
	};
	struct blk_queue *q = r->q;
	enum blk_op op = r->io.op;

	if (q->dead ||
	    !blkheld_take(&q->held, r->head, r->held, op != BLK_FLUSH, name[op], r->io.os))
		return false;
	counter_add(&q->helds, 1);
	vq_hold(&q->vq->q, r->head);
	return true;
}

/* §5.2.6.2: without FLUSH the driver cannot ask for its writes to be kept, so each is kept at
 * once. */
static bool write_through(const struct blk *b)
{
	if (!(b->v.features & 1ull << VIRTIO_BLK_F_FLUSH))
		return true;
	return b->v.features & 1ull << VIRTIO_BLK_F_CONFIG_WCE &&
	       !__atomic_load_n(&b->state.writeback, __ATOMIC_RELAXED);
}

static void blk_done(struct blk_io *io, enum blk_status s)
{
	static const uint8_t status[] = {
		[BLK_OK] = VIRTIO_BLK_S_OK,
		[BLK_IOERR] = VIRTIO_BLK_S_IOERR,
		[BLK_UNSUPP] = VIRTIO_BLK_S_UNSUPP,
	};
	struct blk_req *r = container_of(io, struct blk_req, io);
	bool read = r->asked == BLK_READ;

	if (s == BLK_OK && io->op != BLK_READ && io->op != BLK_FLUSH && write_through(r->q->b)) {
		io->op = BLK_FLUSH;
		blkq_submit(r->q->io, io);
		return;
	}
	if (s == BLK_IOERR && io->os && hold(r))
		return;
	if (s == BLK_OK && r->counted)
		count(r->q, r);
	if (s == BLK_OK && r->asked == BLK_FLUSH)
		counter_add(&r->q->flushes, 1);
	finish(r, status[s], read ? (uint32_t)io->len : 0, s == BLK_OK || !read);
}

/* --- room 3: judging a request --- */

static int answer(struct blk_req *r, uint8_t status)
{
	finish(r, status, 0, true);
	return 0;
}

static void go(struct blk_req *r, enum blk_op op, uint64_t sector, uint64_t len)
{
	struct blk_io *io = &r->io;

	io->op = r->asked = op;
	io->len = len;
	/* what does not fit lies behind the end of any disk */
	if (mul_overflows(&io->off, sector, (uint64_t)SECTOR))
		io->off = UINT64_MAX;
	blkq_submit(r->q->io, io);
}

static int data_request(struct blk_req *r, const struct chain *c, bool write, uint64_t sector)
{
	uint32_t len = write ? c->rlen - HEADER_BYTES : c->wlen - 1;
	struct kiov *from = write ? c->r : c->w;
	unsigned int have = write ? c->readable : c->writable;
	int n;

	/* Bytes of the other direction have no meaning here. */
	if (write ? c->wlen != 1 : c->rlen != HEADER_BYTES)
		return answer(r, VIRTIO_BLK_S_IOERR);
	n = kiov_slice(from, have, write ? HEADER_BYTES : 0, len, from, have);
	if (n < 0)
		return answer(r, VIRTIO_BLK_S_IOERR);
	r->io.iov = from;
	r->io.iovs = (unsigned int)n;
	r->counted = true;
	go(r, write ? BLK_WRITE : BLK_READ, sector, len);
	return 0;
}

/* §5.2.6: one segment per request, as max_discard_seg says. */
static int hole_request(struct blk_req *r, const struct chain *c, bool zero)
{
	uint64_t needs = 1ull << (zero ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD);
	uint32_t known = zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0, flags;
	uint8_t s[SEGMENT_BYTES];

	if (!(r->q->b->v.features & needs))
		return answer(r, VIRTIO_BLK_S_UNSUPP);
	if (c->rlen != HEADER_BYTES + SEGMENT_BYTES ||
	    chain_get(c, HEADER_BYTES, s, sizeof(s)) != sizeof(s))
		return answer(r, VIRTIO_BLK_S_IOERR);
	flags = le32_get(s + 12);
	if (flags & ~known)
		return answer(r, VIRTIO_BLK_S_UNSUPP);
	r->io.unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	go(r, zero ? BLK_ZERO : BLK_DISCARD, le64_get(s), (uint64_t)le32_get(s + 8) * SECTOR);
	return 0;
}

static int id_request(struct blk_req *r, const struct chain *c)
{
	const char *serial = r->q->b->serial;
	size_t n = min_u64(c->wlen - 1, ID_BYTES);

	chain_put(c, 0, serial, n);
	finish(r, VIRTIO_BLK_S_OK, (uint32_t)n, n + 1 == c->wlen);
	return 0;
}

/* -1 when the chain cannot even be answered. */
static int blk_submit(struct blk_queue *q, const struct chain *c)
{
	struct blk_req *r = &q->reqs[c->head];
	uint8_t h[HEADER_BYTES];

	*r = (struct blk_req){
		.q = q, .head = c->head, .began_ns = now(q), .held = q->again, .io.done = blk_done
	};
	if (!c->wlen || kiov_slice(c->w, c->writable, c->wlen - 1, 1, &r->status, 1) != 1)
		return -1;
	if (chain_get(c, 0, h, sizeof(h)) != sizeof(h))
		return answer(r, VIRTIO_BLK_S_IOERR);
	switch (le32_get(h)) {
	case VIRTIO_BLK_T_IN:
		return data_request(r, c, false, le64_get(h + 8));
	case VIRTIO_BLK_T_OUT:
		return data_request(r, c, true, le64_get(h + 8));
	case VIRTIO_BLK_T_FLUSH:
		go(r, BLK_FLUSH, 0, 0);
		return 0;
	case VIRTIO_BLK_T_GET_ID:
		return id_request(r, c);
	case VIRTIO_BLK_T_DISCARD:
		return hole_request(r, c, false);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return hole_request(r, c, true);
	default:
		return answer(r, VIRTIO_BLK_S_UNSUPP);
	}
}

/* --- rooms 1 and 2: the queue's loop --- */

/* What a request counts for in a limit of bytes: what it carries beside header and status. */
static uint64_t carried(const struct chain *c)
{
	return (c->rlen > HEADER_BYTES ? c->rlen - HEADER_BYTES : 0) + (c->wlen ? c->wlen - 1 : 0);
}

/* Takes a batch; how many, fewer than BATCH when the ring is empty or broken or the limit reached. */
static int take_chains(struct blk_queue *q)
{
	struct chain c;
	int n;

	for (n = 0; n < BATCH; n++) {
		enum vq_result got = vq_pop(&q->vq->q, &c);

		if (got == VQ_EMPTY) {
			rate_leave(&q->rate);
			break;
		}
		if (got == VQ_CHAIN && !rate_take(&q->rate, carried(&c))) {
			vq_unpop(&q->vq->q, c.head);
			q->limited = true;
			counter_add(&q->waits, 1);
			break;
		}
		if (got == VQ_BAD || blk_submit(q, &c)) {
			q->dead = true;
			rate_leave(&q->rate);
			vdev_broken(&q->b->v, got == VQ_BAD ? "its ring breaks the rules"
							    : "a request has no room for a status");
			break;
		}
	}
	return n;
}

/* A driver that sends one request after another spares its exit, and we our wake, when we look at
 * its ring for a short time before we sleep; and so does a disk that answers soon. */
static bool poll_queue(struct blk_queue *q)
{
	uint64_t start = loop_now_ns(), now = start;

	if (!q->worked || !q->b->may_poll || !blkq_soon(q->io) || !look_pays(&q->look, start))
		return false;
	for (; now - start < LOOK_NS; now = loop_now_ns())
		if (take_chains(q) || q->dead || q->limited || blkq_ready(q->io)) {
			look_found(&q->look);
			return true;
		}
	look_missed(&q->look, now);
	q->worked = false;
	return false;
}

static void blk_kick(struct vqueue *vq)
{
	struct blk_queue *q = vq->priv;

	if (q->dead || vdev_is_broken(&q->b->v))
		return;
	vq_mute(&vq->q);
	q->awake = q->worked = true;
	if (!q->limited)
		take_chains(q);
}

/* The limit lets some more through. */
static void blk_go(void *arg)
{
	struct blk_queue *q = arg;

	q->limited = false;
	if (!q->dead)
		take_chains(q);
}

/* Who hears of an end mostly has more to ask. */
static void tell_driver(struct blk_queue *q)
{
	vqueue_notify(q->vq);
	q->pushed = false;
	q->worked = true;
	if (q->awake || q->dead)
		return;
	vq_mute(&q->vq->q);
	q->awake = true;
}

/* Before the loop sleeps: what has ended goes to the driver before the next batch is taken, so that
 * the first of a long line does not wait for the last. */
static bool blk_turn(void *arg)
{
	struct blk_queue *q = arg;

	for (int i = 0; i < ROUNDS; i++) {
		bool more = blkq_turn(q->io);

		if (q->pushed)
			tell_driver(q);
		q->now_ns = 0;
		if (!q->awake || q->dead || q->limited)
			return more;
		if (take_chains(q) || poll_queue(q))
			continue;
		q->awake = vq_listen(&q->vq->q);
		if (!q->awake)
			return more;
	}
	return true;
}

/* One that was held. */
static void try_again(void *arg, uint16_t head)
{
	struct blk_queue *q = arg;
	struct chain c;

	if (q->dead)
		return;
	q->again = true;
	q->dead = vq_again(&q->vq->q, head, &c) != VQ_CHAIN || blk_submit(q, &c);
	q->again = false;
	if (q->dead)
		vdev_broken(&q->b->v, "a request that waits is no request any more");
}

/* Those of this queue, out of the state. Queues stop and start one after another. */
static void take_held(struct blk_queue *q)
{
	struct blk_state *s = &q->b->state;
	uint32_t left = 0;

	for (uint32_t i = 0; i < s->held.count; i++)
		if (s->held.items[i] >> 16 == q->vq->index)
			blkheld_put(&q->held, (uint16_t)s->held.items[i]);
		else
			s->held.items[left++] = s->held.items[i];
	s->held.count = left;
	blkheld_try(&q->held);
}

static void keep_held(struct blk_queue *q)
{
	struct blk_state *s = &q->b->state;
	uint32_t n = s->held.count;

	blkheld_stop(&q->held);
	s->held.items = mem_resize(s->held.items, n, n + q->held.count, sizeof(s->held.items[0]));
	for (uint32_t i = 0; i < q->held.count; i++)
		s->held.items[n + i] = (uint32_t)q->vq->index << 16 | q->held.heads[i];
	s->held.count = n + q->held.count;
}

static void blk_start(struct vqueue *vq)
{
	struct blk_queue *q = vq->priv;

	q->reqs = mem_array(vq->q.size, sizeof(q->reqs[0]));
	blkheld_start(&q->held, try_again, q);
	q->dead = q->awake = q->worked = q->pushed = q->limited = false;
	q->look = (struct look){ 0 };
	loop_hook_add(vq->loop, &q->hook, blk_turn, q);
	take_held(q);
}

static void blk_stop(struct vqueue *vq)
{
	struct blk_queue *q = vq->priv;

	rate_leave(&q->rate);
	blkq_drain(q->io);
	keep_held(q);
	if (q->pushed && !q->dead)
		vqueue_notify(vq);
	loop_hook_drop(&q->hook);
	free(q->reqs);
	q->reqs = NULL;
}

/* --- registers, vCPU threads --- */

static void blk_wrote(struct vdev *v, uint32_t off, uint32_t len)
{
	uint8_t *wce = &v->config[offsetof(struct virtio_blk_config, wce)];

	(void)off;
	(void)len;
	*wce = *wce & 1;
	__atomic_store_n(&blk_of(v)->state.writeback, (uint64_t)*wce, __ATOMIC_RELAXED);
}

static void blk_reset(struct vdev *v)
{
	v->config[offsetof(struct virtio_blk_config, wce)] = 1;
	__atomic_store_n(&blk_of(v)->state.writeback, 1, __ATOMIC_RELAXED);
	blk_of(v)->state.held.count = 0; /* nobody waits for them any more */
}

/* --- birth and end, control thread --- */

static uint64_t features(const struct disk_conf *c, const struct img_info *i)
{
	uint64_t f = VF_EVENT_IDX | VF_INDIRECT_DESC | 1ull << VIRTIO_BLK_F_SEG_MAX |
		     1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH |
		     1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_TOPOLOGY;

	if (c->readonly)
		f |= 1ull << VIRTIO_BLK_F_RO;
	if (c->num_queues > 1)
		f |= 1ull << VIRTIO_BLK_F_MQ;
	if (i->can_zero)
		f |= 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	if (i->can_discard)
		f |= 1ull << VIRTIO_BLK_F_DISCARD;
	return f;
}

#define PUT(bits, member, value)                                                                   \
	le##bits##_put(v->config + offsetof(struct virtio_blk_config, member),                     \
		       (uint##bits##_t)(value))

static void fill_config(struct blk *b, const struct disk_conf *c, const struct img_info *i)
{
	struct vdev *v = &b->v;
	uint32_t exponent = 0;

	while (i->logical_block << exponent < i->physical_block)
		exponent++;
	PUT(64, capacity, i->size / SECTOR);
	PUT(32, seg_max, c->queue_size - 2);
	PUT(32, blk_size, i->logical_block);
	PUT(16, min_io_size, min_u64(i->min_io / i->logical_block, UINT16_MAX));
	PUT(32, opt_io_size, i->opt_io / i->logical_block);
	PUT(16, num_queues, c->num_queues);
	if (i->can_discard) {
		PUT(32, max_discard_sectors, UINT32_MAX);
		PUT(32, max_discard_seg, 1);
		PUT(32, discard_sector_alignment, i->logical_block / SECTOR);
	}
	if (i->can_zero) {
		PUT(32, max_write_zeroes_sectors, UINT32_MAX);
		PUT(32, max_write_zeroes_seg, 1);
	}
	v->config[offsetof(struct virtio_blk_config, physical_block_exp)] = (uint8_t)exponent;
	v->config[offsetof(struct virtio_blk_config, wce)] = (uint8_t)b->state.writeback;
	v->config[offsetof(struct virtio_blk_config, write_zeroes_may_unmap)] = i->can_discard;
	v->config_mask[offsetof(struct virtio_blk_config, wce)] = 0xff;
	v->config_len = offsetof(struct virtio_blk_config, unused1) + 3;
}

static int take_state(struct blk *b, const struct img_info *i, struct err *e)
{
	uint64_t sectors = i->size / SECTOR;

	if (!b->v.dev.restored)
		b->state = (struct blk_state){ .sectors = sectors, .writeback = 1 };
	else if (b->state.sectors != sectors)
		return err_set(e, ERR_BAD,
			       "the image has %llu sectors, and had %llu when it was saved",
			       (unsigned long long)sectors, (unsigned long long)b->state.sectors);
	return 0;
}

static void queue_close(void *arg)
{
	struct blk_queue *q = arg;

	rate_part(&q->rate);
	blkq_free(q->io);
	q->io = NULL;
}

/* Also the way back from any point of init. */
static void blk_fini(struct dev *d)
{
	struct vdev *v = vdev_of(d);
	struct blk *b = blk_of(v);
	uint16_t n = v->nqueues;

	if (n)
		vdev_stop(v);
	for (uint16_t i = 0; i < n && b->queues[i].loop; i++)
		loop_call(b->queues[i].loop, queue_close, &b->queues[i]);
	for (uint16_t i = 0; i < n; i++)
		loop_free(b->queues[i].loop);
	for (uint16_t i = 0; i < n && b->queues; i++)
		blkheld_fini(&b->queues[i].held);
	vdev_fini(v);
	free(b->queues);
	rate_free(b->rate);
	img_free(b->img);
}

/* What the options for tests leave; without them, the quickest for the file. */
static unsigned int engines(const struct disk_conf *c)
{
	unsigned int all = BLKQ_URING | BLKQ_AIO | BLKQ_SYNC, off = 0;

	if (c->disable_io_uring)
		off |= BLKQ_URING;
	if (c->disable_aio)
		off |= BLKQ_AIO;
	return off ? all & ~off : BLKQ_AUTO;
}

static int pin_queue(struct blk_queue *q, uint16_t i, const struct disk_conf *c, struct err *e)
{
	for (uint32_t k = 0; k < c->queue_affinity.count; k++) {
		const struct queue_affinity_conf *a = &c->queue_affinity.items[k];

		if (a->queue_index == i &&
		    loop_pin(q->loop, a->host_cpus.items, a->host_cpus.count, e))
			return -1;
	}
	return 0;
}

static struct rate *group_of(struct blk *b, const struct disk_conf *c)
{
	return rate_find(&b->v.dev.board->rates, c->rate_limit_group);
}

static int make_queue(struct blk *b, uint16_t i, const struct disk_conf *c, struct err *e)
{
	struct blk_queue *q = &b->queues[i];
	char name[64];

	snprintf(name, sizeof(name), "%.48s_q%u", b->v.dev.id, i);
	q->b = b;
	q->vq = &b->v.queues[i];
	q->vq->priv = q;
	if (loop_new(&q->loop, name, e))
		return -1;
	q->vq->loop = q->loop;
	blkheld_init(&q->held, &b->v.dev, q->loop, c->on_error);
	rate_join(&q->rate, b->rate ? b->rate : group_of(b, c), q->loop, blk_go, q);
	if (blkq_new(&q->io, b->img, q->loop, c->queue_size, engines(c), e) ||
	    loop_start(q->loop, blk_class.dev.profile, e))
		return -1;
	return pin_queue(q, i, c, e);
}

static int make_queues(struct blk *b, const struct disk_conf *c, struct err *e)
{
	if (vdev_queues(&b->v, c->num_queues, c->queue_size, e))
		return -1;
	b->queues = mem_array(c->num_queues, sizeof(b->queues[0]));
	for (uint16_t i = 0; i < c->num_queues; i++)
		if (make_queue(b, i, c, e))
			return -1;
	return 0;
}

static int open_image(struct blk *b, const struct disk_conf *c, struct img_info *i, struct err *e)
{
	struct img_args a = {
		.path = c->path,
		.readonly = c->readonly,
		.direct = c->direct,
		.allocate = !c->sparse,
		.lock_whole = c->lock_granularity == LOCK_FULL,
		.raw = c->image_type == IMAGE_RAW,
		.fd = -1,
	};

	if (img_open(&b->img, &a, e))
		return -1;
	img_info(b->img, i);
	return 0;
}

static int blk_init(struct dev *d, struct err *e)
{
	const struct disk_conf *c = d->conf;
	struct blk *b = blk_of(vdev_of(d));
	const char *serial;
	struct img_info i;

	if (c->queue_size <= 2)
		return err_set(e, ERR_BAD, "queue_size=%u leaves no room for data; give 4 or more",
			       c->queue_size);
	if (open_image(b, c, &i, e))
		return -1;
	serial = c->serial ? c->serial : i.default_serial;
	memcpy(b->serial, serial, strnlen(serial, sizeof(b->serial)));
	b->v.offered = features(c, &i);
	b->may_poll = look_can();
	if (!c->rate_limit_group)
		b->rate = rate_new(NULL, c->rate_limiter_config);
	if (take_state(b, &i, e) || make_queues(b, c, e)) {
		blk_fini(d);
		return -1;
	}
	fill_config(b, c, &i);
	log_info("%s: %s, %llu MiB, %u queues by %s", d->id, c->path,
		 (unsigned long long)(i.size >> 20), c->num_queues,
		 blkq_engine_name(b->queues[0].io));
	return 0;
}

/* --- limits --- */

int blk_limit(struct dev *d, const struct rate_limiter_conf *c, struct err *e)
{
	struct blk *b = blk_of(vdev_of(d));

	if (!b->rate)
		return err_set(e, ERR_BAD, "%s is limited by its group", d->id);
	rate_set(b->rate, c);
	return 0;
}

/* --- another size --- */

static void drain(void *arg)
{
	struct blk_queue *q = arg;

	blkq_drain(q->io);
}

static void tell_size(struct blk *b, uint64_t sectors)
{
	uint8_t bytes[sizeof(uint64_t)];

	b->state.sectors = sectors;
	le64_put(bytes, sectors);
	vdev_config_put(&b->v, offsetof(struct virtio_blk_config, capacity), bytes, sizeof(bytes));
	vdev_config_changed(&b->v);
}

/* Nobody is to touch what is cut off, so the end comes nearer before the file is cut. */
int blk_resize(struct dev *d, uint64_t bytes, struct err *e)
{
	struct blk *b = blk_of(vdev_of(d));
	uint64_t was = b->state.sectors * SECTOR;

	if (bytes < was) {
		img_bound(b->img, bytes);
		for (uint16_t i = 0; i < b->v.nqueues; i++)
			loop_call(b->queues[i].loop, drain, &b->queues[i]);
	}
	if (img_resize(b->img, bytes, e)) {
		img_bound(b->img, was);
		return -1;
	}
	if (bytes != was)
		tell_size(b, bytes / SECTOR);
	return 0;
}

/* --- counters --- */

struct blk_counters {
	uint64_t read_bytes, write_bytes, read_ops, write_ops;
	uint64_t read_latency_min, read_latency_max, read_latency_avg;
	uint64_t write_latency_min, write_latency_max, write_latency_avg;
	uint64_t read_time, write_time;
	uint64_t flush_ops, failed_ops, limit_waits, held_ops;
};

/* A queue may count between two looks; then its mean is off by that one request. */
static void add_way(struct blk_way *sum, const struct blk_way *w)
{
	uint64_t ops = counter_get(&w->ops), min_ns = counter_get(&w->min_ns);

	if (ops && (!sum->ops || min_ns < sum->min_ns))
		sum->min_ns = min_ns;
	sum->max_ns = max_u64(sum->max_ns, counter_get(&w->max_ns));
	sum->bytes += counter_get(&w->bytes);
	sum->sum_ns += counter_get(&w->sum_ns);
	sum->ops += ops;
}

static void blk_count(struct dev *d, void *out)
{
	struct blk *b = blk_of(vdev_of(d));
	struct blk_counters *c = out;
	struct blk_way r = { 0 }, w = { 0 };

	*c = (struct blk_counters){ 0 };
	for (uint16_t i = 0; i < b->v.nqueues; i++) {
		const struct blk_queue *q = &b->queues[i];

		add_way(&r, &q->way[0]);
		add_way(&w, &q->way[1]);
		c->flush_ops += counter_get(&q->flushes);
		c->failed_ops += counter_get(&q->failed);
		c->limit_waits += counter_get(&q->waits);
		c->held_ops += counter_get(&q->helds);
	}
	c->read_bytes = r.bytes;
	c->write_bytes = w.bytes;
	c->read_ops = r.ops;
	c->write_ops = w.ops;
	c->read_latency_min = r.min_ns / 1000;
	c->read_latency_max = r.max_ns / 1000;
	c->read_latency_avg = r.ops ? r.sum_ns / r.ops / 1000 : 0;
	c->write_latency_min = w.min_ns / 1000;
	c->write_latency_max = w.max_ns / 1000;
	c->write_latency_avg = w.ops ? w.sum_ns / w.ops / 1000 : 0;
	c->read_time = r.sum_ns / 1000;
	c->write_time = w.sum_ns / 1000;
}

#define COUNTER(member, ...) S(struct blk_counters, member, __VA_ARGS__)
#define MICROS .unit = "microseconds"
static const struct field counter_fields[] = {
	COUNTER(read_bytes, .unit = "bytes", .doc = "bytes that the guest has read"),
	COUNTER(write_bytes, .unit = "bytes", .doc = "bytes that the guest has written"),
	COUNTER(read_ops, .doc = "reads that have ended well"),
	COUNTER(write_ops, .doc = "writes that have ended well"),
	COUNTER(read_latency_min, MICROS, .flags = F_GAUGE, .doc = "time of the shortest read"),
	COUNTER(read_latency_max, MICROS, .flags = F_GAUGE, .doc = "time of the longest read"),
	COUNTER(read_latency_avg, MICROS, .flags = F_GAUGE, .doc = "mean time of all reads"),
	COUNTER(write_latency_min, MICROS, .flags = F_GAUGE, .doc = "time of the shortest write"),
	COUNTER(write_latency_max, MICROS, .flags = F_GAUGE, .doc = "time of the longest write"),
	COUNTER(write_latency_avg, MICROS, .flags = F_GAUGE, .doc = "mean time of all writes"),
	COUNTER(read_time, MICROS, .doc = "time of all reads together"),
	COUNTER(write_time, MICROS, .doc = "time of all writes together"),
	COUNTER(flush_ops, .doc = "flushes that have ended well"),
	COUNTER(failed_ops, .doc = "requests that were answered with an error"),
	COUNTER(limit_waits, .doc = "times that requests had to wait for a rate limit"),
	COUNTER(held_ops, .doc = "times that a request was held because the host had failed"),
};
static const struct desc counter_rows =
	DESC_OF(struct blk_counters, counter_fields, "blk counters");

static const struct field state_fields[] = {
	S(struct blk_state, sectors),
	S(struct blk_state, writeback, .max = 1),
	S_LIST_NUM(struct blk_state, held),
};
static const struct desc state_desc = DESC_OF(struct blk_state, state_fields, "blk");

const struct virtio_class blk_class = {
	.dev = {
		.name = "blk",
		.conf = &disk_desc,
		.state = &state_desc,
		.size = sizeof(struct blk),
		.state_off = offsetof(struct blk, state),
		.init = blk_init,
		.quiesce = vdev_quiesce,
		.resume = vdev_resume,
		.fini = blk_fini,
		.plug = &vpci_plug,
		.profile = "blk",
		.counters = &counter_rows,
		.count = blk_count,
	},
	.type = 2,
	.pci_class = 0x01,
	.pci_subclass = 0x80,
	.start = blk_start,
	.stop = blk_stop,
	.kick = blk_kick,
	.wrote = blk_wrote,
	.reset = blk_reset,
};
