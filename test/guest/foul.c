/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on a ring that make sense for every device: wrong indices, wrong addresses, wrong
 * lengths, wrong order, wrong registers. Each works on one ordinary request of its target, made
 * wrong in one place. What the standard leaves open allows more than one outcome; that the VMM
 * lives and the device works after a reset holds for all. Specification: virtio 1.3 §2.7, §4.1.
 */
#include "attack.h"

#include "guest.h"

#define TABLE 0x80000 /* an indirect table, in the queue's buffer */
#define CANARY 0x5au

static uint32_t send(struct vq *q, uint16_t head)
{
	vq_put(q, head);
	vq_publish(q);
	return 0;
}

static uint32_t send_with(struct vq *q, const struct target *t, struct desc first)
{
	t->chain(q);
	if (first.flags == 0xffff)
		first.flags = q->desc[0].flags;
	first.next = q->desc[0].next;
	vq_desc(q, 0, first);
	return send(q, 0);
}

/* The ordinary request with its first descriptor at another address, or of another length. */
static uint32_t at(struct vq *q, const struct target *t, uint64_t addr, uint32_t len)
{
	return send_with(q, t, (struct desc){ addr, len, 0xffff, 0 });
}

static uint32_t head_past_end(struct bout *b)
{
	b->t->chain(b->q);
	return send(b->q, b->q->size);
}

static uint32_t head_ffff(struct bout *b)
{
	b->t->chain(b->q);
	return send(b->q, 0xffff);
}

static uint32_t next_past_end(struct bout *b)
{
	b->t->chain(b->q);
	b->q->desc[0].flags |= D_NEXT;
	b->q->desc[0].next = b->q->size;
	return send(b->q, 0);
}

static uint32_t next_self(struct bout *b)
{
	b->t->chain(b->q);
	b->q->desc[0].flags |= D_NEXT;
	b->q->desc[0].next = 0;
	return send(b->q, 0);
}

static uint32_t next_loop(struct bout *b)
{
	b->t->chain(b->q);
	for (uint16_t i = 0; i < b->q->size; i++)
		vq_desc(b->q, i,
			(struct desc){ b->q->buf, 16, b->q->desc[0].flags | D_NEXT,
				       (uint16_t)((i + 1) % b->q->size) });
	return send(b->q, 0);
}

static uint32_t len_past_ram(struct bout *b)
{
	return at(b->q, b->t, ram_end() - 16, 4096);
}

static uint32_t len_max(struct bout *b)
{
	return at(b->q, b->t, b->q->buf, 0xffffffff);
}

static uint32_t addr_hole(struct bout *b)
{
	return at(b->q, b->t, HOLE, 16);
}

static uint32_t addr_own_bar(struct bout *b)
{
	return at(b->q, b->t, b->d->bar, 16);
}

static uint32_t addr_lapic(struct bout *b)
{
	return at(b->q, b->t, 0xfee00000, 16);
}

static uint32_t addr_wraps(struct bout *b)
{
	return at(b->q, b->t, ~0ul - 7, 16);
}

static uint32_t addr_bit_63(struct bout *b)
{
	return at(b->q, b->t, 1ul << 63 | b->q->buf, 16);
}

static uint32_t addr_past_all(struct bout *b)
{
	return at(b->q, b->t, 1ul << 45, 16);
}

static uint32_t len_zero(struct bout *b)
{
	return at(b->q, b->t, b->q->buf, 0);
}

static uint32_t directions_swapped(struct bout *b)
{
	b->t->chain(b->q);
	for (uint16_t i = 0; i < 3; i++)
		b->q->desc[i].flags ^= D_WRITE;
	return send(b->q, 0);
}

static uint32_t chain_of_the_whole_ram(struct bout *b)
{
	uint32_t all = (uint32_t)(ram_end() - HEAP);

	b->t->chain(b->q);
	for (uint16_t i = 0; i < b->q->size; i++)
		vq_desc(b->q, i,
			(struct desc){ HEAP, all, i + 1 < b->q->size ? D_NEXT : 0,
				       (uint16_t)(i + 1) });
	return send(b->q, 0);
}

static uint32_t same_head_twice(struct bout *b)
{
	b->t->chain(b->q);
	vq_put(b->q, 0);
	return send(b->q, 0);
}

static uint32_t same_head_fills_ring(struct bout *b)
{
	b->t->chain(b->q);
	for (uint32_t i = 1; i < b->q->size; i++)
		vq_put(b->q, 0);
	return send(b->q, 0);
}

static uint32_t avail_jumps_over_size(struct bout *b)
{
	b->t->chain(b->q);
	b->q->avail_idx = (uint16_t)(b->q->avail_idx + b->q->size + 1);
	vq_publish(b->q);
	vq_kick(b->q);
	return 0;
}

static uint32_t avail_jumps_half(struct bout *b)
{
	b->t->chain(b->q);
	b->q->avail_idx = (uint16_t)(b->q->avail_idx + 0x8000);
	vq_publish(b->q);
	vq_kick(b->q);
	return 0;
}

static uint32_t avail_goes_back(struct bout *b)
{
	b->t->chain(b->q);
	b->q->avail_idx--;
	vq_publish(b->q);
	vq_kick(b->q);
	return 0;
}

static uint32_t desc_changes_after_kick(struct bout *b)
{
	b->t->chain(b->q);
	send(b->q, 0);
	for (uint32_t i = 0; i < 20000; i++) {
		b->q->desc[0].addr = i & 1 ? HOLE : b->q->buf;
		b->q->desc[0].len = i & 2 ? 0xffffffff : 16;
	}
	return 0;
}

/* Indirect descriptors: the ordinary request in a table, made wrong in one place. */
static volatile struct desc *to_table(struct vq *q, const struct target *t, struct desc outer)
{
	volatile struct desc *table = (volatile struct desc *)(q->buf + TABLE);

	t->chain(q);
	memset((void *)(q->buf + TABLE), 0, 4096);
	for (uint32_t i = 0; i < 4; i++) {
		table[i].addr = q->desc[i].addr;
		table[i].len = q->desc[i].len;
		table[i].flags = q->desc[i].flags;
		table[i].next = q->desc[i].next;
	}
	vq_desc(q, 0, outer);
	return table;
}

static uint32_t indirect_not_negotiated(struct bout *b)
{
	to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 64, D_INDIRECT, 0 });
	return send(b->q, 0);
}

static uint32_t indirect_in_indirect(struct bout *b)
{
	volatile struct desc *table =
		to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 64, D_INDIRECT, 0 });

	table[0].flags = D_INDIRECT;
	table[0].addr = b->q->buf + TABLE;
	table[0].len = 64;
	return send(b->q, 0);
}

static uint32_t indirect_odd_length(struct bout *b)
{
	to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 63, D_INDIRECT, 0 });
	return send(b->q, 0);
}

static uint32_t indirect_empty(struct bout *b)
{
	to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 0, D_INDIRECT, 0 });
	return send(b->q, 0);
}

static uint32_t indirect_huge(struct bout *b)
{
	to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 0xfffffff0, D_INDIRECT, 0 });
	return send(b->q, 0);
}

static uint32_t indirect_in_hole(struct bout *b)
{
	to_table(b->q, b->t, (struct desc){ HOLE, 64, D_INDIRECT, 0 });
	return send(b->q, 0);
}

static uint32_t indirect_past_ram(struct bout *b)
{
	to_table(b->q, b->t, (struct desc){ ram_end() - 16, 64, D_INDIRECT, 0 });
	return send(b->q, 0);
}

static uint32_t indirect_and_next(struct bout *b)
{
	to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 64, D_INDIRECT | D_NEXT, 1 });
	return send(b->q, 0);
}

static uint32_t indirect_next_past_end(struct bout *b)
{
	volatile struct desc *table =
		to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 64, D_INDIRECT, 0 });

	table[0].flags |= D_NEXT;
	table[0].next = 4;
	return send(b->q, 0);
}

static uint32_t indirect_loop(struct bout *b)
{
	volatile struct desc *table =
		to_table(b->q, b->t, (struct desc){ b->q->buf + TABLE, 64, D_INDIRECT, 0 });

	table[0].flags |= D_NEXT;
	table[0].next = 0;
	return send(b->q, 0);
}

static uint32_t event_idx_is_noise(struct bout *b)
{
	b->t->chain(b->q);
	vq_put(b->q, 0);
	b->q->avail[0] = (uint16_t)rnd();
	vq_publish(b->q);
	b->q->avail[2 + b->q->size] = (uint16_t)rnd();
	vq_kick(b->q);
	return 0;
}

/* Registers. */
static void set_ring(struct vdev *d, struct vq *q, uint32_t reg, uint64_t a)
{
	wr16(d->common + C_QUEUE_SELECT, q->index);
	wr32(d->common + reg, (uint32_t)a);
	wr32(d->common + reg + 4, (uint32_t)(a >> 32));
}

/* Enable all queues, say DRIVER_OK, send the ordinary request. */
static uint32_t go(struct vdev *d, struct vq *q, const struct target *t)
{
	for (uint16_t i = 0; i < d->num_queues && i < QUEUES_MAX; i++) {
		wr16(d->common + C_QUEUE_SELECT, i);
		wr16(d->common + C_QUEUE_ENABLE, 1);
	}
	vdev_set_status(d, S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
	t->chain(q);
	return send(q, 0);
}

static uint32_t desc_unaligned(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_DESC, (uint64_t)b->q->desc + 8);
	return go(b->d, b->q, b->t);
}

static uint32_t avail_unaligned(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_AVAIL, (uint64_t)b->q->avail + 1);
	return go(b->d, b->q, b->t);
}

static uint32_t used_unaligned(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_USED, (uint64_t)b->q->used + 2);
	return go(b->d, b->q, b->t);
}

static uint32_t desc_in_hole(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_DESC, HOLE);
	return go(b->d, b->q, b->t);
}

static uint32_t avail_in_hole(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_AVAIL, HOLE);
	return go(b->d, b->q, b->t);
}

static uint32_t used_in_own_bar(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_USED, b->d->bar);
	return go(b->d, b->q, b->t);
}

static uint32_t desc_past_ram(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_DESC, ram_end() - 16);
	return go(b->d, b->q, b->t);
}

static uint32_t used_past_ram(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_USED, ram_end() - 4);
	return go(b->d, b->q, b->t);
}

static uint32_t rings_wrap(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_DESC, ~0xful);
	set_ring(b->d, b->q, C_QUEUE_AVAIL, ~1ul);
	set_ring(b->d, b->q, C_QUEUE_USED, ~3ul);
	return go(b->d, b->q, b->t);
}

static uint32_t used_over_avail(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_USED, (uint64_t)b->q->avail);
	return go(b->d, b->q, b->t);
}

static uint32_t used_over_desc(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_USED, (uint64_t)b->q->desc);
	return go(b->d, b->q, b->t);
}

static uint32_t with_size(struct vdev *d, struct vq *q, const struct target *t, uint16_t size)
{
	wr16(d->common + C_QUEUE_SELECT, q->index);
	wr16(d->common + C_QUEUE_SIZE, size);
	return go(d, q, t);
}

static uint32_t size_zero(struct bout *b)
{
	return with_size(b->d, b->q, b->t, 0);
}

static uint32_t size_three(struct bout *b)
{
	return with_size(b->d, b->q, b->t, 3);
}

static uint32_t size_over_max(struct bout *b)
{
	return with_size(b->d, b->q, b->t, 0x8000);
}

static uint32_t size_ffff(struct bout *b)
{
	return with_size(b->d, b->q, b->t, 0xffff);
}

static uint32_t enable_twice(struct bout *b)
{
	wr16(b->d->common + C_QUEUE_SELECT, b->q->index);
	wr16(b->d->common + C_QUEUE_ENABLE, 1);
	return go(b->d, b->q, b->t);
}

static uint32_t kick_before_driver_ok(struct bout *b)
{
	wr16(b->d->common + C_QUEUE_SELECT, b->q->index);
	wr16(b->d->common + C_QUEUE_ENABLE, 1);
	b->t->chain(b->q);
	vq_put(b->q, 0);
	vq_publish(b->q);
	vq_kick(b->q);
	return 0;
}

static uint32_t driver_ok_without_queues(struct bout *b)
{
	vdev_set_status(b->d, S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
	b->t->chain(b->q);
	return send(b->q, 0);
}

static uint32_t driver_ok_without_features_ok(struct bout *b)
{
	vdev_reset(b->d);
	vdev_set_status(b->d, S_ACK | S_DRIVER | S_DRIVER_OK);
	b->t->chain(b->q);
	return send(b->q, 0);
}

static uint32_t features_not_offered(struct bout *b)
{
	vdev_reset(b->d);
	vdev_set_status(b->d, S_ACK | S_DRIVER);
	for (uint32_t i = 0; i < 2; i++) {
		wr32(b->d->common + C_DRIVER_FEATURE_SELECT, i);
		wr32(b->d->common + C_DRIVER_FEATURE, ~0u);
	}
	vdev_set_status(b->d, S_ACK | S_DRIVER | S_FEATURES_OK);
	return vdev_status(b->d) & S_FEATURES_OK ? O_WRONG : O_QUIET;
}

static uint32_t feature_words_past_end(struct bout *b)
{
	bool wrong = false;

	for (uint32_t i = 4; i < 70; i++) { /* a word or two more may exist in a later standard */
		wr32(b->d->common + C_DEVICE_FEATURE_SELECT, i);
		wrong |= rd32(b->d->common + C_DEVICE_FEATURE) != 0;
		wr32(b->d->common + C_DRIVER_FEATURE_SELECT, i);
		wr32(b->d->common + C_DRIVER_FEATURE, ~0u);
	}
	return wrong ? O_WRONG : O_QUIET;
}

static uint32_t queue_past_end(struct bout *b)
{
	wr16(b->d->common + C_QUEUE_SELECT, b->d->num_queues);
	bool wrong = rd16(b->d->common + C_QUEUE_SIZE) != 0;

	for (uint32_t i = 0; i < 8; i++) {
		wr16(b->d->common + C_QUEUE_SELECT,
		     (uint16_t)(i < 7 ? b->d->num_queues + i : 0xffff));
		wr16(b->d->common + C_QUEUE_SIZE, 64);
		wr32(b->d->common + C_QUEUE_DESC, (uint32_t)b->q->buf);
		wr16(b->d->common + C_QUEUE_ENABLE, 1);
		wr16(b->d->notify + (uint64_t)(b->d->num_queues + i) * b->d->notify_multiplier,
		     (uint16_t)(b->d->num_queues + i));
	}
	vq_kick(b->q);
	wr16(b->q->notify, 0xffff);
	return wrong ? O_WRONG : O_QUIET;
}

static uint32_t vector_past_end(struct bout *b)
{
	if (!b->d->msix)
		return O_QUIET;
	wr16(b->d->common + C_QUEUE_SELECT, b->q->index);
	wr16(b->d->common + C_QUEUE_VECTOR, (uint16_t)b->d->num_vectors);
	bool wrong = rd16(b->d->common + C_QUEUE_VECTOR) != NO_VECTOR;

	wr16(b->d->common + C_CONFIG_VECTOR, 0x7ff);
	wrong |= rd16(b->d->common + C_CONFIG_VECTOR) != NO_VECTOR;
	return wrong ? O_WRONG : O_QUIET;
}

/* Some bytes may be written to (blk: the cache mode), so only the first eight have to stand. */
static uint32_t config_is_written(struct bout *b)
{
	uint64_t before = rd32(b->d->config) | (uint64_t)rd32(b->d->config + 4) << 32;

	for (uint64_t i = 0; i < 256; i++)
		wr8(b->d->config + i, (uint8_t)rnd());
	for (uint64_t i = 0; i < 256; i += 4)
		wr32(b->d->config + i, (uint32_t)rnd());
	if (b->t->type == VIRTIO_NET || b->t->type == VIRTIO_BLK)
		if (before != (rd32(b->d->config) | (uint64_t)rd32(b->d->config + 4) << 32))
			return O_WRONG;
	return O_QUIET;
}

static uint32_t status_is_noise(struct bout *b)
{
	for (uint32_t i = 0; i < 64; i++)
		vdev_set_status(b->d, (uint8_t)(rnd() | 1));
	return O_QUIET;
}

static uint32_t rings_move_while_live(struct bout *b)
{
	set_ring(b->d, b->q, C_QUEUE_DESC, HOLE);
	set_ring(b->d, b->q, C_QUEUE_AVAIL, HOLE);
	set_ring(b->d, b->q, C_QUEUE_USED, HOLE);
	wr16(b->d->common + C_QUEUE_SIZE, 32768);
	wr16(b->d->common + C_QUEUE_ENABLE, 0);
	wr16(b->d->common + C_QUEUE_ENABLE, 1);
	b->t->chain(b->q);
	return send(b->q, 0);
}

/* After the reset has been confirmed nothing of the old requests may touch our memory. */
static uint32_t reset_in_flight(struct bout *b)
{
	uint32_t wrong = 0;

	for (uint32_t round = 0; round < 20; round++) {
		b->t->chain(b->q);
		send(b->q, 0);
		if (!vdev_reset(b->d))
			return O_WRONG;
		memset((void *)b->q->buf, CANARY, 0x3000);
		memset((void *)(uintptr_t)b->q->used, CANARY, 0x1000);
		delay_us(500);
		for (uint64_t i = 0; i < 0x3000; i++)
			wrong += rd8(b->q->buf + i) != CANARY;
		for (uint64_t i = 0; i < 0x1000; i++)
			wrong += rd8((uint64_t)b->q->used + i) != CANARY;
		if (!vdev_start(b->d, b->t->features))
			return O_WRONG;
	}
	return wrong ? O_WRONG : O_QUIET;
}

/* Every piece of the ordinary request lies on a ring of the queue's own. */
static uint32_t over(struct bout *b, uint64_t a)
{
	b->t->chain(b->q);
	for (uint16_t i = 0; i < 3; i++)
		b->q->desc[i].addr = a;
	return send(b->q, 0);
}

static uint32_t buffers_on_descriptors(struct bout *b)
{
	return over(b, (uint64_t)b->q->desc);
}

static uint32_t buffers_on_avail(struct bout *b)
{
	return over(b, (uint64_t)b->q->avail);
}

static uint32_t buffers_on_used(struct bout *b)
{
	return over(b, (uint64_t)b->q->used);
}

static uint32_t size_one(struct bout *b)
{
	b->q->size = 1;
	return with_size(b->d, b->q, b->t, 1);
}

static uint32_t all_queues_share_their_rings(struct bout *b)
{
	for (uint16_t i = 0; i < b->d->num_queues && i < QUEUES_MAX; i++) {
		struct vq *q = &b->d->q[i];

		set_ring(b->d, q, C_QUEUE_DESC, (uint64_t)b->q->desc);
		set_ring(b->d, q, C_QUEUE_AVAIL, (uint64_t)b->q->avail);
		set_ring(b->d, q, C_QUEUE_USED, (uint64_t)b->q->used);
	}
	return go(b->d, b->q, b->t);
}

/* Places where a ring must not be, or only just may be. */
static uint64_t strange_place(struct bout *b)
{
	const uint64_t places[] = {
		HOLE,
		b->d->bar,
		0xfec00000,
		0xfee00000,
		0xe8000000,
		0xa0000,
		0xf0000,
		0,
		~0ul,
		~0xffful,
		ram_end(),
		ram_end() - 8,
		1ul << 63,
		1ul << 52,
		0xfffffff0ul,
		0xc0000000,
		(uint64_t)b->q->desc,
		b->q->buf,
		b->q->buf + 1,
		(uint64_t)b->q->used,
	};
	uint64_t x = rnd();

	return places[x % (sizeof places / sizeof places[0])] + (x & 0x10000 ? x >> 32 & 0xfff : 0);
}

static uint32_t rings_anywhere(struct bout *b)
{
	static const uint16_t sizes[] = { 0, 1, 2, 3, 64, 127, 128, 256, 1024, 0x8000, 0xffff };

	for (uint32_t round = 0; round < 40; round++) {
		wr16(b->d->common + C_QUEUE_SELECT, b->q->index);
		wr16(b->d->common + C_QUEUE_SIZE, sizes[rnd() % 11]);
		set_ring(b->d, b->q, C_QUEUE_DESC, strange_place(b));
		if (rnd() & 1)
			set_ring(b->d, b->q, C_QUEUE_AVAIL, strange_place(b));
		if (rnd() & 1)
			set_ring(b->d, b->q, C_QUEUE_USED, strange_place(b));
		go(b->d, b->q, b->t);
		if (!vdev_features(b->d, b->t->features))
			return O_WRONG;
		for (uint16_t i = 0; i < b->d->num_queues && i < QUEUES_MAX; i++)
			vdev_queue(b->d, i);
	}
	return O_QUIET;
}

/* Descriptors of noise, most of it within RAM and the ring, and heads of noise. */
static uint32_t noise_on_the_ring(struct bout *b)
{
	struct vq *q = b->q;

	for (uint32_t round = 0; round < 40; round++) {
		for (uint16_t i = 0; i < q->size; i++) {
			uint64_t x = rnd(), y = rnd();

			vq_desc(q, i,
				(struct desc){
					y & 0xf0 ? q->buf + (x & 0x7ffff) : y,
					(uint32_t)(y & 0xf00 ? x >> 40 & 0xfff : x >> 32),
					(uint16_t)(x >> 20 & (y & 0xf000 ? 3 : 0xffff)),
					(uint16_t)(x >> 24 & (y & 0xf0000 ? 0x7f : 0xffff)) });
			vq_put(q, (uint16_t)(y >> 32 & (y & 0xf00000 ? 0x7f : 0xffff)));
		}
		q->avail_idx = (uint16_t)(q->avail_idx - q->size + rnd() % q->size);
		vq_publish(q);
		vq_kick(q);
		if (!(round & 7))
			delay_us(2000);
		if (!vdev_start(b->d, b->t->features | (round & 1 ? F_INDIRECT | F_EVENT_IDX : 0)))
			return O_WRONG;
	}
	return O_QUIET;
}

const struct attack ring_attacks[] = {
	{ "head-past-end", LIVE, O_BROKEN, head_past_end },
	{ "head-ffff", LIVE, O_BROKEN, head_ffff },
	{ "next-past-end", LIVE, O_BROKEN, next_past_end },
	{ "next-self", LIVE, O_BROKEN, next_self },
	{ "next-loop", LIVE, O_BROKEN, next_loop },
	{ "len-past-ram", LIVE, O_BROKEN, len_past_ram },
	{ "len-max", LIVE, O_BROKEN, len_max },
	{ "addr-hole", LIVE, O_BROKEN, addr_hole },
	{ "addr-own-bar", LIVE, O_BROKEN, addr_own_bar },
	{ "addr-lapic", LIVE, O_BROKEN, addr_lapic },
	{ "addr-wraps", LIVE, O_BROKEN, addr_wraps },
	{ "addr-bit-63", LIVE, O_BROKEN, addr_bit_63 },
	{ "addr-past-all", LIVE, O_BROKEN, addr_past_all },
	{ "len-zero", LIVE, O_ANY, len_zero },
	{ "directions-swapped", LIVE, O_ANY, directions_swapped },
	{ "chain-of-the-whole-ram", LIVE, O_ANY, chain_of_the_whole_ram },
	{ "same-head-twice", LIVE, O_ANY, same_head_twice },
	{ "same-head-fills-ring", LIVE, O_ANY, same_head_fills_ring },
	{ "avail-jumps-over-size", LIVE, O_BROKEN, avail_jumps_over_size },
	{ "avail-jumps-half", LIVE, O_BROKEN, avail_jumps_half },
	{ "avail-goes-back", LIVE, O_BROKEN, avail_goes_back },
	{ "desc-changes-after-kick", LIVE, O_ANY, desc_changes_after_kick },
	{ "indirect-not-negotiated", LIVE, O_ANY, indirect_not_negotiated },
	{ "indirect-in-indirect", LIVE_IND, O_BROKEN, indirect_in_indirect },
	{ "indirect-odd-length", LIVE_IND, O_BROKEN, indirect_odd_length },
	{ "indirect-empty", LIVE_IND, O_BROKEN, indirect_empty },
	{ "indirect-huge", LIVE_IND, O_BROKEN, indirect_huge },
	{ "indirect-in-hole", LIVE_IND, O_BROKEN, indirect_in_hole },
	{ "indirect-past-ram", LIVE_IND, O_BROKEN, indirect_past_ram },
	{ "indirect-and-next", LIVE_IND, O_ANY, indirect_and_next },
	{ "indirect-next-past-end", LIVE_IND, O_BROKEN, indirect_next_past_end },
	{ "indirect-loop", LIVE_IND, O_BROKEN, indirect_loop },
	{ "event-idx-is-noise", LIVE_IND, O_ANY, event_idx_is_noise },
	{ "desc-unaligned", QUEUES_OFF, O_BROKEN | O_QUIET, desc_unaligned },
	{ "avail-unaligned", QUEUES_OFF, O_BROKEN | O_QUIET, avail_unaligned },
	{ "used-unaligned", QUEUES_OFF, O_BROKEN | O_QUIET, used_unaligned },
	{ "desc-in-hole", QUEUES_OFF, O_BROKEN | O_QUIET, desc_in_hole },
	{ "avail-in-hole", QUEUES_OFF, O_BROKEN | O_QUIET, avail_in_hole },
	{ "used-in-own-bar", QUEUES_OFF, O_BROKEN | O_QUIET, used_in_own_bar },
	{ "desc-past-ram", QUEUES_OFF, O_BROKEN | O_QUIET, desc_past_ram },
	{ "used-past-ram", QUEUES_OFF, O_BROKEN | O_QUIET, used_past_ram },
	{ "rings-wrap", QUEUES_OFF, O_BROKEN | O_QUIET, rings_wrap },
	{ "used-over-avail", QUEUES_OFF, O_ANY, used_over_avail },
	{ "used-over-desc", QUEUES_OFF, O_ANY, used_over_desc },
	{ "size-zero", QUEUES_OFF, O_ANY, size_zero },
	{ "size-three", QUEUES_OFF, O_ANY, size_three },
	{ "size-over-max", QUEUES_OFF, O_ANY, size_over_max },
	{ "size-ffff", QUEUES_OFF, O_ANY, size_ffff },
	{ "enable-twice", QUEUES_OFF, O_ANY, enable_twice },
	{ "kick-before-driver-ok", QUEUES_OFF, O_QUIET, kick_before_driver_ok },
	{ "driver-ok-without-queues", QUEUES_OFF, O_QUIET | O_BROKEN, driver_ok_without_queues },
	{ "driver-ok-without-features-ok", QUEUES_OFF, O_ANY, driver_ok_without_features_ok },
	{ "features-not-offered", QUEUES_OFF, O_QUIET, features_not_offered },
	{ "feature-words-past-end", QUEUES_OFF, O_QUIET, feature_words_past_end },
	{ "queue-past-end", LIVE, O_QUIET, queue_past_end },
	{ "vector-past-end", LIVE, O_QUIET, vector_past_end },
	{ "config-is-written", LIVE, O_QUIET, config_is_written },
	{ "status-is-noise", LIVE, O_QUIET, status_is_noise },
	{ "rings-move-while-live", LIVE, O_ANY, rings_move_while_live },
	{ "reset-in-flight", LIVE, O_QUIET, reset_in_flight },
	{ "buffers-on-descriptors", LIVE, O_ANY, buffers_on_descriptors },
	{ "buffers-on-avail", LIVE, O_ANY, buffers_on_avail },
	{ "buffers-on-used", LIVE, O_ANY, buffers_on_used },
	{ "size-one", QUEUES_OFF, O_ANY, size_one },
	{ "queues-share-their-rings", QUEUES_OFF, O_ANY, all_queues_share_their_rings },
	{ "rings-anywhere", QUEUES_OFF, O_QUIET, rings_anywhere },
	{ "noise-on-the-ring", LIVE, O_QUIET, noise_on_the_ring },
	{ 0 },
};
