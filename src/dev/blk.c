/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk as its driver sees it: features, config space, state; its life, its size and limits. What
 * happens to a request is dev/blkqueue's. See blk.h.
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
#include "base/mem.h"
#include "base/thread.h"
#include "block/img.h"
#include "conf/conf.h"
#include "core/rate.h"
#include "dev/blkqueue.h"
#include "virtio/vpci.h"

#define SECTOR 512

struct blk_state {
	uint64_t sectors;
	uint64_t writeback; /* 1: writes may stay in the host's cache until a flush. Atomic */
	/* while the queues are stopped: requests that wait for a better host, queue << 16 | head */
	LIST(uint32_t) held;
};

struct blk {
	struct vdev v; /* first member */
	struct blkdisk disk;
	struct rate *rate; /* its own limit; NULL: the group's */
	struct blk_state state;
	struct blkqueue *queues;
};

static struct blk *blk_of(struct vdev *v)
{
	return container_of(v, struct blk, v);
}

/* --- queues, in their loops --- */

/* Those of this queue, out of the state. Queues stop and start one after another. */
static void take_held(struct blk_state *s, struct blkqueue *q)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < s->held.count; i++)
		if (s->held.items[i] >> 16 == q->vq->index)
			blkheld_put(&q->held, (uint16_t)s->held.items[i]);
		else
			s->held.items[left++] = s->held.items[i];
	s->held.count = left;
	blkheld_try(&q->held);
}

static void keep_held(struct blk_state *s, const struct blkqueue *q)
{
	uint32_t n = s->held.count;

	s->held.items = mem_resize(s->held.items, n, n + q->held.count, sizeof(s->held.items[0]));
	for (uint32_t i = 0; i < q->held.count; i++)
		s->held.items[n + i] = (uint32_t)q->vq->index << 16 | q->held.heads[i];
	s->held.count = n + q->held.count;
}

static void blk_start(struct vqueue *vq)
{
	blkqueue_start(vq->priv);
	take_held(&blk_of(vq->vdev)->state, vq->priv);
}

static void blk_stop(struct vqueue *vq)
{
	blkqueue_stop(vq->priv);
	keep_held(&blk_of(vq->vdev)->state, vq->priv);
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
		return err_set(e, ERR_BAD, "%s has %llu sectors, and had %llu when it was saved",
			       ((const struct disk_conf *)b->v.dev.conf)->path,
			       (unsigned long long)sectors, (unsigned long long)b->state.sectors);
	return 0;
}

/* Also the way back from any point of init. */
static void blk_fini(struct dev *d)
{
	struct vdev *v = vdev_of(d);
	struct blk *b = blk_of(v);
	uint16_t n = v->nqueues;

	if (n)
		vdev_stop(v);
	for (uint16_t i = 0; b->queues && i < n; i++)
		blkqueue_close(&b->queues[i]);
	vdev_fini(v);
	free(b->queues);
	rate_free(b->rate);
	img_free(b->disk.img);
}

static int may_pin(const struct disk_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->queue_affinity.count; i++) {
		const struct queue_affinity_conf *a = &c->queue_affinity.items[i];

		if (thread_may_pin(a->host_cpus.items, a->host_cpus.count, e) < 0)
			return -1;
	}
	return 0;
}

/* Those that came before have locked nothing, where it is a rehearsal. */
static int judge_beside(const struct blk *b, struct err *e)
{
	list_each (at, &b->v.dev.board->devs) {
		struct dev *d = container_of(at, struct dev, link);

		if (d->class == b->v.dev.class && d->step == DEV_IN &&
		    img_judge_beside(b->disk.img, blk_of(vdev_of(d))->disk.img, e))
			return -1;
	}
	return 0;
}

static int make_queues(struct blk *b, const struct disk_conf *c, struct err *e)
{
	if (vdev_queues(&b->v, c->num_queues, c->queue_size, e))
		return -1;
	if (b->v.dev.board->refused)
		return judge_beside(b, e) || may_pin(c, e) ? -1 : 0;
	b->queues = mem_array(c->num_queues, sizeof(b->queues[0]));
	for (uint16_t i = 0; i < c->num_queues; i++)
		if (blkqueue_open(&b->queues[i], &b->v.queues[i], &b->disk, e))
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
		.only_looks = b->v.dev.board->refused != NULL,
		.fd = -1,
	};

	if (img_open(&b->disk.img, &a, e))
		return -1;
	img_info(b->disk.img, i);
	return 0;
}

/* What the queues look at, beside the image. */
static void share(struct blk *b, const struct disk_conf *c, const struct img_info *i)
{
	const char *serial = c->serial ? c->serial : i->default_serial;
	struct blkdisk *d = &b->disk;

	memcpy(d->serial, serial, strnlen(serial, sizeof(d->serial)));
	d->may_poll = look_can();
	d->writeback = &b->state.writeback;
	if (!c->rate_limit_group)
		b->rate = rate_new(NULL, c->rate_limiter_config);
	d->rate = b->rate ? b->rate : rate_find(&b->v.dev.board->rates, c->rate_limit_group);
}

static int blk_init(struct dev *d, struct err *e)
{
	const struct disk_conf *c = d->conf;
	struct blk *b = blk_of(vdev_of(d));
	struct img_info i;

	if (c->queue_size <= 2)
		return err_set(e, ERR_BAD, "queue_size=%u leaves no room for data; give 4 or more",
			       c->queue_size);
	if (open_image(b, c, &i, e))
		return -1;
	b->v.offered = features(c, &i);
	share(b, c, &i);
	if (take_state(b, &i, e) || make_queues(b, c, e)) {
		blk_fini(d);
		return -1;
	}
	fill_config(b, c, &i);
	if (!b->queues)
		return 0;
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
		img_bound(b->disk.img, bytes);
		for (uint16_t i = 0; i < b->v.nqueues; i++)
			blkqueue_drain(&b->queues[i]);
	}
	if (img_resize(b->disk.img, bytes, e)) {
		img_bound(b->disk.img, was);
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
static void add_way(struct blkway *sum, const struct blkway *w)
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
	struct blkway r = { 0 }, w = { 0 };

	*c = (struct blk_counters){ 0 };
	for (uint16_t i = 0; i < b->v.nqueues; i++) {
		const struct blkqueue *q = &b->queues[i];

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
	S_LIST_NUM(struct blk_state, held, .max_items = VDEV_QUEUES_MAX * VQ_SIZE_MAX),
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
	.kick = blkqueue_kick,
	.wrote = blk_wrote,
	.reset = blk_reset,
};
