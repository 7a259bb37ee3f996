/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a disk's requests. See blkqueue.h.
 *
 * Submit runs down, completion runs up, and they meet only in the slot of the chain's head. A
 * request that is refused has its status byte for an answer; a chain without room for one breaks
 * the device.
 */
#include "dev/blkqueue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/mem.h"
#include "conf/conf.h"

#define SECTOR 512
#define HEADER_BYTES 16	 /* type, priority, sector */
#define SEGMENT_BYTES 16 /* sector, count, flags of discard and write zeroes */
#define BATCH 16	 /* chains taken before the driver hears of those that are done */
#define ROUNDS 8	 /* batches served before the loop looks at anything else */

struct blk_req {
	struct blk_io io;
	struct blkqueue *q;
	struct kiov status; /* the last writable byte */
	uint64_t began_ns;
	uint16_t head;
	bool counted;	   /* a read or write of the guest, for the counters */
	bool held;	   /* it has been before */
	enum blk_op asked; /* io.op becomes a flush on write-through's second leg */
};

static uint64_t now(struct blkqueue *q)
{
	if (!q->now_ns)
		q->now_ns = loop_now_ns();
	return q->now_ns;
}

/* --- room 5: the only way out of a request --- */

static void count(struct blkqueue *q, const struct blk_req *r)
{
	struct blkway *w = &q->way[r->asked == BLK_WRITE];
	uint64_t took = now(q) - r->began_ns;

	counter_add(&w->bytes, r->io.len);
	if (!w->ops || took < w->min_ns)
		counter_set(&w->min_ns, took);
	if (took > w->max_ns)
		counter_set(&w->max_ns, took);
	counter_add(&w->sum_ns, took);
	counter_add(&w->ops, 1);
}

/* Before an answer is seen: who hears of an end mostly has more to ask, and needs no doorbell for it. */
static void stay_awake(struct blkqueue *q)
{
	if (!q->awake)
		vq_mute(&q->vq->q);
	q->awake = q->worked = true;
}

/* data: bytes written before the status byte. §2.7.8: the used length counts from the first
 * writable byte. */
static void finish(struct blk_req *r, uint8_t status, uint32_t data, bool whole)
{
	struct blkqueue *q = r->q;

	if (q->dead)
		return;
	if (status != VIRTIO_BLK_S_OK)
		counter_add(&q->failed, 1);
	kiov_put(&r->status, 1, 0, &status, 1);
	stay_awake(q);
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
	struct blkqueue *q = r->q;
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
static bool write_through(const struct blkqueue *q)
{
	uint64_t features = q->vq->vdev->features;

	if (!(features & 1ull << VIRTIO_BLK_F_FLUSH))
		return true;
	return features & 1ull << VIRTIO_BLK_F_CONFIG_WCE &&
	       !__atomic_load_n(q->disk->writeback, __ATOMIC_RELAXED);
}

static void on_done(struct blk_io *io, enum blk_status s)
{
	static const uint8_t status[] = {
		[BLK_OK] = VIRTIO_BLK_S_OK,
		[BLK_IOERR] = VIRTIO_BLK_S_IOERR,
		[BLK_UNSUPP] = VIRTIO_BLK_S_UNSUPP,
	};
	struct blk_req *r = container_of(io, struct blk_req, io);
	bool read = r->asked == BLK_READ;

	if (s == BLK_OK && io->op != BLK_READ && io->op != BLK_FLUSH && !io->kept &&
	    write_through(r->q)) {
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
	io->keep = write_through(r->q);
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

	if (!(r->q->vq->vdev->features & needs))
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
	const char *serial = r->q->disk->serial;
	size_t n = min_u64(c->wlen - 1, VIRTIO_BLK_ID_BYTES);

	chain_put(c, 0, serial, n);
	finish(r, VIRTIO_BLK_S_OK, (uint32_t)n, n + 1 == c->wlen);
	return 0;
}

/* -1 when the chain cannot even be answered. */
static int submit(struct blkqueue *q, const struct chain *c)
{
	struct blk_req *r = &q->reqs[c->head];
	uint8_t h[HEADER_BYTES];

	*r = (struct blk_req){
		.q = q, .head = c->head, .began_ns = now(q), .held = q->again, .io.done = on_done
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
static int take_chains(struct blkqueue *q)
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
		if (got == VQ_BAD || submit(q, &c)) {
			q->dead = true;
			rate_leave(&q->rate);
			vdev_broken(q->vq->vdev, got == VQ_BAD
							 ? "its ring breaks the rules"
							 : "a request has no room for a status");
			break;
		}
	}
	return n;
}

/* A driver that sends one request after another spares its exit, and we our wake, when we look at
 * its ring for a short time before we sleep; and so does a disk that answers soon. That a disk does not
 * says nothing of the driver. */
static bool poll_queue(struct blkqueue *q)
{
	uint64_t start = loop_now_ns(), now = start;
	struct look *look = &q->look[blkq_busy(q->io)];

	if (!q->worked || !q->disk->may_poll || !blkq_soon(q->io) || !look_pays(look, start))
		return false;
	for (; now - start < LOOK_NS; now = loop_now_ns())
		if (take_chains(q) || q->dead || q->limited || blkq_ready(q->io)) {
			look_found(look);
			return true;
		}
	look_missed(look, now);
	q->worked = false;
	return false;
}

void blkqueue_kick(struct vqueue *vq)
{
	struct blkqueue *q = vq->priv;

	if (q->dead || vdev_is_broken(q->vq->vdev))
		return;
	vq_mute(&vq->q);
	q->awake = q->worked = true;
	if (!q->limited)
		take_chains(q);
}

/* The limit lets some more through. */
static void on_limit(void *arg)
{
	struct blkqueue *q = arg;

	q->limited = false;
	if (!q->dead)
		take_chains(q);
}

/* Before the loop sleeps: what has ended goes to the driver before the next batch is taken, so that
 * the first of a long line does not wait for the last. */
static bool on_turn(void *arg)
{
	struct blkqueue *q = arg;

	for (int i = 0; i < ROUNDS; i++) {
		bool more = blkq_turn(q->io);

		if (q->pushed)
			vqueue_notify(q->vq);
		q->pushed = false;
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
	struct blkqueue *q = arg;
	struct chain c;

	if (q->dead)
		return;
	q->again = true;
	q->dead = vq_again(&q->vq->q, head, &c) != VQ_CHAIN || submit(q, &c);
	q->again = false;
	if (q->dead)
		vdev_broken(q->vq->vdev, "a request that waits is no request any more");
}

/* --- queues coming and going --- */

void blkqueue_start(struct blkqueue *q)
{
	q->reqs = mem_array(q->vq->q.size, sizeof(q->reqs[0]));
	blkheld_start(&q->held, try_again, q);
	q->dead = q->awake = q->worked = q->pushed = q->limited = false;
	memset(q->look, 0, sizeof(q->look));
	loop_hook_add(q->loop, &q->hook, on_turn, q);
}

void blkqueue_stop(struct blkqueue *q)
{
	rate_leave(&q->rate);
	blkq_drain(q->io);
	blkheld_stop(&q->held);
	if (q->pushed && !q->dead)
		vqueue_notify(q->vq);
	loop_hook_drop(&q->hook);
	free(q->reqs);
	q->reqs = NULL;
}

static void drain(void *arg)
{
	struct blkqueue *q = arg;

	blkq_drain(q->io);
}

void blkqueue_drain(struct blkqueue *q)
{
	loop_call(q->loop, drain, q);
}

static const struct disk_conf *conf_of(const struct blkqueue *q)
{
	return q->vq->vdev->dev.conf;
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

static int pin_queue(struct blkqueue *q, struct err *e)
{
	const struct disk_conf *c = conf_of(q);

	for (uint32_t k = 0; k < c->queue_affinity.count; k++) {
		const struct queue_affinity_conf *a = &c->queue_affinity.items[k];

		if (a->queue_index == q->vq->index &&
		    loop_pin(q->loop, a->host_cpus.items, a->host_cpus.count, e))
			return -1;
	}
	return 0;
}

int blkqueue_open(struct blkqueue *q, struct vqueue *vq, const struct blkdisk *d, struct err *e)
{
	const struct dev *dev = &vq->vdev->dev;
	const struct disk_conf *c = dev->conf;
	char name[64];

	snprintf(name, sizeof(name), "%.48s_q%u", dev->id, vq->index);
	q->disk = d;
	q->vq = vq;
	vq->priv = q;
	if (loop_new(&q->loop, name, e))
		return -1;
	vq->loop = q->loop;
	blkheld_init(&q->held, &vq->vdev->dev, q->loop, c->on_error);
	rate_join(&q->rate, d->rate, q->loop, on_limit, q);
	if (blkq_new(&q->io, d->img, q->loop, c->queue_size, engines(c), e) ||
	    loop_start(q->loop, dev->class->profile, e))
		return -1;
	return pin_queue(q, e);
}

static void part(void *arg)
{
	struct blkqueue *q = arg;

	rate_part(&q->rate);
	blkq_free(q->io);
	q->io = NULL;
}

void blkqueue_close(struct blkqueue *q)
{
	if (q->loop)
		loop_call(q->loop, part, q);
	loop_free(q->loop);
	blkheld_fini(&q->held);
}
