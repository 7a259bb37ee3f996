/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split rings from a hostile driver's side: what is a chain, what is not, and who is told when. One
 * queue over guest memory, no device. virtio 1.3 §2.7.
 */
#include "test.h"

#include "virtio/drive.h"
#include "virtio/vq.h"

struct bed {
	struct rig r; /* only its memory */
	struct vq q;
	struct vq_conf conf;
	struct dma dma;
};

static void bed_with(struct bed *b, uint16_t size, uint64_t features)
{
	const struct backing_args how = { 0 };
	struct err e = { 0 };

	*b = (struct bed){ .r.size = size };
	rig_ok(gmem_new(&b->r.mem, &e));
	rig_ok(gmem_add(b->r.mem, GPA(0), RAM_SIZE, &how, &e));
	b->dma.mem = b->r.mem;
	b->conf = (struct vq_conf){
		.size = size,
		.enabled = 1,
		.desc = Q_AT(0),
		.avail = Q_AVAIL(0),
		.used = Q_USED(0),
	};
	rig_ok(vq_setup(&b->q, &b->dma, &b->conf, features));
}

static void bed_init(struct bed *b)
{
	bed_with(b, 16, VF_INDIRECT_DESC);
}

static void bed_fini(struct bed *b)
{
	vq_fini(&b->q);
	gmem_free(b->r.mem);
}

/* One request of one descriptor. */
static void put_one(struct bed *b, uint16_t head, uint64_t addr, uint32_t len, uint16_t flags)
{
	drv_desc(&b->r, 0, head, addr, len, flags, 0);
	drv_offer(&b->r, 0, head);
}

TEST(an_empty_ring_has_no_chain)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	assert_int_equal(vq_pop(&b.q, &c), VQ_EMPTY);
	bed_fini(&b);
}

TEST(a_queue_without_rings_is_empty)
{
	struct vq q = { 0 };
	struct chain c;

	assert_int_equal(vq_pop(&q, &c), VQ_EMPTY);
	assert_false(vq_listen(&q));
}

TEST(a_chain_comes_out_with_its_bytes_in_order)
{
	struct bed b;
	struct chain c;
	char text[8] = { 0 };

	bed_init(&b);
	rig_ok(gmem_write(b.r.mem, GPA(BUF), "abc", 3));
	rig_ok(gmem_write(b.r.mem, GPA(BUF + 100), "def", 3));
	drv_desc(&b.r, 0, 3, BUF, 3, F_NEXT, 7);
	drv_desc(&b.r, 0, 7, BUF + 100, 3, F_NEXT, 1);
	drv_desc(&b.r, 0, 1, BUF + 200, 5, F_WRITE, 0);
	drv_offer(&b.r, 0, 3);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.head, 3);
	assert_int_equal(c.rlen, 6);
	assert_int_equal(c.wlen, 5);
	assert_int_equal(c.readable, 2);
	assert_int_equal(c.writable, 1);
	assert_int_equal(chain_get(&c, 1, text, sizeof(text)), 5);
	assert_string_equal(text, "bcdef");
	assert_int_equal(chain_put(&c, 1, "hello", 5), 4);
	vq_push(&b.q, c.head, 4);
	assert_int_equal(drv_used(&b.r, 0), 1);
	assert_int_equal(drv_used_head(&b.r, 0, 0), 3);
	assert_int_equal(drv_used_len(&b.r, 0, 0), 4);
	rig_ok(gmem_read(b.r.mem, GPA(BUF + 201), text, 4));
	assert_memory_equal(text, "hell", 4);
	bed_fini(&b);
}

TEST(indices_wrap_at_65536)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	for (uint32_t i = 0; i < 70000; i++) {
		put_one(&b, (uint16_t)(i % 16), BUF, 4, 0);
		assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
		vq_push(&b.q, c.head, 0);
		assert_true(vq_wants_interrupt(&b.q));
		assert_int_equal(drv_used(&b.r, 0), (uint16_t)(i + 1));
	}
	assert_int_equal(vq_pop(&b.q, &c), VQ_EMPTY);
	bed_fini(&b);
}

TEST(a_long_chain_moves_to_storage_of_its_own)
{
	struct bed b;
	struct chain c;

	bed_with(&b, 256, 0);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 256; i++)
			drv_desc(&b.r, 0, i, BUF + i, 1,
				 (uint16_t)((i < 255 ? F_NEXT : 0) | (i >= 100 ? F_WRITE : 0)),
				 (uint16_t)(i + 1));
		for (uint32_t i = 0; i < 256; i++)
			mem_wr(&b.r, BUF + i, 1, i);
		drv_offer(&b.r, 0, 0);
		assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
		assert_int_equal(c.readable, 100);
		assert_int_equal(c.writable, 156);
		uint8_t bytes[100];

		assert_int_equal(chain_get(&c, 0, bytes, 100), 100);
		for (uint32_t i = 0; i < 100; i++)
			assert_int_equal(bytes[i], i);
		vq_push(&b.q, c.head, 0);
	}
	bed_fini(&b);
}

TEST(an_indirect_table_follows_direct_descriptors)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	drv_desc(&b.r, 0, 0, BUF, 3, F_NEXT, 1);
	drv_desc(&b.r, 0, 1, BUF + 0x1000, 48, F_INDIRECT | F_WRITE, 0);
	drv_desc_at(&b.r, BUF + 0x1000, 0, BUF + 8, 2, F_NEXT, 2);
	drv_desc_at(&b.r, BUF + 0x1000, 2, BUF + 16, 7, F_WRITE, 0);
	drv_offer(&b.r, 0, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.rlen, 5);
	assert_int_equal(c.wlen, 7);
	bed_fini(&b);
}

TEST(an_indirect_table_may_be_longer_than_a_small_queue)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	for (uint32_t i = 0; i < 100; i++)
		drv_desc_at(&b.r, BUF + 0x1000, i, BUF + i, 1, i < 99 ? F_NEXT : 0,
			    (uint16_t)(i + 1));
	put_one(&b, 2, BUF + 0x1000, 1600, F_INDIRECT);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.rlen, 100);
	bed_fini(&b);
}

TEST(empty_descriptors_are_nothing)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	drv_desc(&b.r, 0, 0, BUF, 0, F_NEXT, 1);
	drv_desc(&b.r, 0, 1, ~0ull, 0, F_NEXT, 2);
	drv_desc(&b.r, 0, 2, BUF, 0, F_WRITE, 0);
	drv_offer(&b.r, 0, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.readable + c.writable, 0);
	bed_fini(&b);
}

/* What breaks a rule, one row each: descriptors 0 and 1, three rows of a table at BUF+0x1000, the
 * head. */
struct foul {
	const char *name;
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} d[2], t[3];
	uint16_t head;
};
static const struct foul fouls[] = {
	{ "head past the end", { { BUF, 4, 0, 0 } }, .head = 16 },
	{ "head of all ones", { { BUF, 4, 0, 0 } }, .head = 0xffff },
	{ "next past the end", { { BUF, 4, F_NEXT, 16 } } },
	{ "a loop of one", { { BUF, 4, F_NEXT, 0 } } },
	{ "a loop of two", { { BUF, 4, F_NEXT, 1 }, { BUF, 4, F_NEXT, 0 } } },
	{ "an empty loop", { { BUF, 0, F_NEXT, 1 }, { BUF, 0, F_NEXT, 0 } } },
	{ "a length past the end of RAM", { { RAM_SIZE - 4, 8, 0, 0 } } },
	{ "the largest length", { { BUF, UINT32_MAX, 0, 0 } } },
	{ "an address outside RAM", { { RAM_SIZE, 1, 0, 0 } } },
	{ "an address that wraps", { { ~0ull - 3, 16, 0, 0 } } },
	{ "readable behind writable", { { BUF, 4, F_WRITE | F_NEXT, 1 }, { BUF, 4, 0, 0 } } },
	{ "a table of odd length", { { BUF + 0x1000, 17, F_INDIRECT, 0 } } },
	{ "an empty table", { { BUF + 0x1000, 0, F_INDIRECT, 0 } } },
	{ "a huge table", { { BUF + 0x1000, 0xfffffff0, F_INDIRECT, 0 } } },
	{ "a table longer than any", { { BUF + 0x1000, 16 * (VQ_TABLE_MAX + 1), F_INDIRECT, 0 } } },
	{ "a table outside RAM", { { RAM_SIZE, 16, F_INDIRECT, 0 } } },
	{ "a table over the end of RAM", { { RAM_SIZE - 16, 32, F_INDIRECT, 0 } } },
	{ "a table with a successor",
	  { { BUF + 0x1000, 16, F_INDIRECT | F_NEXT, 1 }, { BUF, 1, 0, 0 } },
	  { { BUF, 1, 0, 0 } } },
	{ "a table in a table",
	  { { BUF + 0x1000, 32, F_INDIRECT, 0 } },
	  { { BUF + 0x1000, 32, F_INDIRECT, 0 } } },
	{ "a table's next past its end",
	  { { BUF + 0x1000, 32, F_INDIRECT, 0 } },
	  { { BUF, 1, F_NEXT, 2 } } },
	{ "a loop in a table",
	  { { BUF + 0x1000, 32, F_INDIRECT, 0 } },
	  { { BUF, 1, F_NEXT, 1 }, { BUF, 1, F_NEXT, 0 } } },
	{ "4 GiB in all",
	  { { BUF + 0x1000, 48, F_INDIRECT, 0 } },
	  { { 0, RAM_SIZE, F_NEXT, 1 }, { 0, RAM_SIZE, F_NEXT, 2 }, { 0, UINT32_MAX, 0, 0 } } },
};

TEST(what_breaks_a_rule_is_refused_and_stays_refused)
{
	for (size_t n = 0; n < ARRAY_LEN(fouls); n++) {
		const struct foul *f = &fouls[n];
		struct bed b;
		struct chain c;

		bed_init(&b);
		for (uint32_t i = 0; i < 2; i++)
			drv_desc(&b.r, 0, i, f->d[i].addr, f->d[i].len, f->d[i].flags,
				 f->d[i].next);
		for (uint32_t i = 0; i < 3; i++)
			drv_desc_at(&b.r, BUF + 0x1000, i, f->t[i].addr, f->t[i].len, f->t[i].flags,
				    f->t[i].next);
		drv_offer(&b.r, 0, f->head);
		if (vq_pop(&b.q, &c) != VQ_BAD)
			fail_msg("%s was taken", f->name);
		drv_desc(&b.r, 0, 0, BUF, 4, 0, 0);
		assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
		assert_int_equal(b.q.flying, 0);
		bed_fini(&b);
	}
}

TEST(more_than_4_gib_in_one_chain_is_refused)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	for (uint32_t i = 0; i < 1024; i++)
		drv_desc_at(&b.r, BUF + 0x1000, i, 0, RAM_SIZE, i < 1023 ? F_NEXT : 0,
			    (uint16_t)(i + 1));
	put_one(&b, 0, BUF + 0x1000, 1024 * 16, F_INDIRECT);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	bed_fini(&b);
}

TEST(a_table_is_refused_when_tables_were_not_agreed)
{
	struct bed b;
	struct chain c;

	bed_with(&b, 16, 0);
	drv_desc_at(&b.r, BUF + 0x1000, 0, BUF, 1, 0, 0);
	put_one(&b, 0, BUF + 0x1000, 16, F_INDIRECT);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	bed_fini(&b);
}

TEST(a_head_in_flight_is_refused)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	put_one(&b, 5, BUF, 4, 0);
	drv_offer(&b.r, 0, 5);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	bed_fini(&b);
}

TEST(a_head_that_landed_is_taken_again)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	for (int i = 0; i < 3; i++) {
		put_one(&b, 5, BUF, 4, 0);
		assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
		vq_push(&b.q, 5, 0);
	}
	bed_fini(&b);
}

TEST(an_avail_index_that_jumps_over_the_size_is_refused)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	mem_wr(&b.r, Q_AVAIL(0) + 2, 2, 16);
	drv_desc(&b.r, 0, 0, BUF, 4, 0, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	bed_fini(&b);
	bed_init(&b);
	mem_wr(&b.r, Q_AVAIL(0) + 2, 2, 17);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	bed_fini(&b);
	bed_init(&b);
	mem_wr(&b.r, Q_AVAIL(0) + 2, 2, 0xffff);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	bed_fini(&b);
}

TEST(a_chain_put_back_comes_again)
{
	struct bed b;
	struct chain c, again;

	bed_init(&b);
	put_one(&b, 1, BUF, 4, 0);
	put_one(&b, 2, BUF, 4, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	vq_push(&b.q, c.head, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	vq_unpop(&b.q, c.head);
	assert_int_equal(b.q.flying, 0);
	assert_int_equal(vq_pop(&b.q, &again), VQ_CHAIN);
	assert_int_equal(again.head, 2);
	bed_fini(&b);
}

TEST(a_chain_that_is_held_comes_again_when_it_is_asked_for)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	put_one(&b, 1, BUF, 4, 0);
	put_one(&b, 2, BUF, 4, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	vq_hold(&b.q, c.head);
	assert_int_equal(b.q.flying, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.head, 2);
	assert_int_equal(vq_again(&b.q, 1, &c), VQ_CHAIN);
	assert_int_equal(c.head, 1);
	assert_int_equal(c.rlen, 4);
	assert_int_equal(b.q.flying, 2);
	vq_push(&b.q, 1, 0);
	assert_int_equal(vq_again(&b.q, 2, &c), VQ_BAD); /* in flight */
	bed_fini(&b);
	bed_init(&b);
	assert_int_equal(vq_again(&b.q, 16, &c), VQ_BAD); /* no such head */
	bed_fini(&b);
}

/* What setup refuses: rings unaligned, outside RAM, over each other; sizes that are none. */
TEST(rings_in_wrong_places_are_refused)
{
	static const struct {
		uint16_t size;
		uint64_t desc, avail, used;
	} rows[] = {
		{ 0, Q_AT(0), Q_AVAIL(0), Q_USED(0) },
		{ 3, Q_AT(0), Q_AVAIL(0), Q_USED(0) },
		{ 0xffff, Q_AT(0), Q_AVAIL(0), Q_USED(0) },
		{ 16, Q_AT(0) + 8, Q_AVAIL(0), Q_USED(0) },
		{ 16, Q_AT(0), Q_AVAIL(0) + 1, Q_USED(0) },
		{ 16, Q_AT(0), Q_AVAIL(0), Q_USED(0) + 2 },
		{ 16, RAM_SIZE - 16, Q_AVAIL(0), Q_USED(0) },
		{ 16, Q_AT(0), RAM_SIZE, Q_USED(0) },
		{ 16, Q_AT(0), Q_AVAIL(0), ~3ull },
		{ 16, ~15ull, ~1ull, ~3ull },
		{ 16, Q_AT(0), Q_AVAIL(0), Q_AVAIL(0) },
		{ 16, Q_AT(0), Q_AVAIL(0), Q_AT(0) },
		{ 16, Q_AT(0), Q_AT(0) + 254, Q_USED(0) },
	};

	for (size_t n = 0; n < ARRAY_LEN(rows); n++) {
		struct bed b;
		struct chain c;

		bed_init(&b);
		b.conf.size = rows[n].size;
		b.conf.desc = rows[n].desc;
		b.conf.avail = rows[n].avail;
		b.conf.used = rows[n].used;
		if (!vq_setup(&b.q, &b.dma, &b.conf, VF_EVENT_IDX))
			fail_msg("row %zu was taken", n);
		assert_int_equal(vq_pop(&b.q, &c), VQ_EMPTY);
		bed_fini(&b);
	}
}

TEST(rings_may_touch_and_reach_the_end_of_ram)
{
	struct bed b;

	bed_init(&b);
	b.conf.desc = Q_AT(0);
	b.conf.avail = Q_AT(0) + 256;
	b.conf.used = RAM_SIZE - 4 - 16 * 8;
	assert_int_equal(vq_setup(&b.q, &b.dma, &b.conf, 0), 0);
	assert_int_equal(vq_setup(&b.q, &b.dma, &b.conf, VF_EVENT_IDX), -1);
	bed_fini(&b);
}

TEST(the_driver_is_interrupted_unless_it_says_no)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	assert_false(vq_wants_interrupt(&b.q));
	put_one(&b, 1, BUF, 4, 0);
	vq_pop(&b.q, &c);
	vq_push(&b.q, c.head, 0);
	assert_true(vq_wants_interrupt(&b.q));
	assert_false(vq_wants_interrupt(&b.q));
	mem_wr(&b.r, Q_AVAIL(0), 2, 1);
	put_one(&b, 1, BUF, 4, 0);
	vq_pop(&b.q, &c);
	vq_push(&b.q, c.head, 0);
	assert_false(vq_wants_interrupt(&b.q));
	bed_fini(&b);
}

/* Pushes n chains, asks once. */
static bool batch(struct bed *b, int n)
{
	struct chain c;

	for (int i = 0; i < n; i++) {
		put_one(b, (uint16_t)i, BUF, 4, 0);
		assert_int_equal(vq_pop(&b->q, &c), VQ_CHAIN);
		vq_push(&b->q, c.head, 0);
	}
	return vq_wants_interrupt(&b->q);
}

TEST(with_event_idx_one_interrupt_when_the_event_is_crossed)
{
	struct bed b;

	bed_with(&b, 16, VF_EVENT_IDX);
	mem_wr(&b.r, Q_AVAIL(0) + 4 + 32, 2, 4);
	assert_false(batch(&b, 4)); /* used idx 4: event 4 is the fifth */
	assert_true(batch(&b, 1));
	assert_false(batch(&b, 8));
	mem_wr(&b.r, Q_AVAIL(0) + 4 + 32, 2, 14);
	assert_true(batch(&b, 5));
	bed_fini(&b);
}

TEST(muting_and_listening_by_flag_and_by_event)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	vq_mute(&b.q);
	assert_int_equal(mem_rd(&b.r, Q_USED(0), 2), 1);
	assert_false(vq_listen(&b.q));
	assert_int_equal(mem_rd(&b.r, Q_USED(0), 2), 0);
	put_one(&b, 0, BUF, 4, 0);
	assert_true(vq_listen(&b.q));
	bed_fini(&b);

	bed_with(&b, 16, VF_EVENT_IDX);
	put_one(&b, 0, BUF, 4, 0);
	vq_pop(&b.q, &c);
	vq_mute(&b.q);
	assert_int_equal(mem_rd(&b.r, Q_USED(0), 2), 0);
	assert_false(vq_listen(&b.q));
	assert_int_equal(mem_rd(&b.r, Q_USED(0) + 4 + 16 * 8, 2), 1);
	assert_false(vq_waits(&b.q));
	put_one(&b, 1, BUF, 4, 0);
	assert_true(vq_waits(&b.q));
	vq_pop(&b.q, &c);
	assert_false(vq_waits(&b.q));
	vq_mute(&b.q); /* the next chain would cross the event no more */
	assert_int_equal(mem_rd(&b.r, Q_USED(0) + 4 + 16 * 8, 2), 1);
	bed_fini(&b);
}

TEST(a_queue_set_up_again_goes_on_where_it_was)
{
	struct bed b;
	struct chain c;

	bed_init(&b);
	batch(&b, 5);
	assert_int_equal(vq_setup(&b.q, &b.dma, &b.conf, 0), 0);
	assert_true(vq_wants_interrupt(&b.q)); /* nobody knows whether the last was sent */
	assert_false(vq_wants_interrupt(&b.q));
	assert_int_equal(vq_pop(&b.q, &c), VQ_EMPTY);
	put_one(&b, 9, BUF, 4, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	vq_push(&b.q, c.head, 0);
	assert_int_equal(drv_used(&b.r, 0), 6);
	vq_fini(&b.q);
	assert_int_equal(b.q.next_avail, 0);
	bed_fini(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(an_empty_ring_has_no_chain),
		T(a_queue_without_rings_is_empty),
		T(a_chain_comes_out_with_its_bytes_in_order),
		T(indices_wrap_at_65536),
		T(a_long_chain_moves_to_storage_of_its_own),
		T(an_indirect_table_follows_direct_descriptors),
		T(an_indirect_table_may_be_longer_than_a_small_queue),
		T(empty_descriptors_are_nothing),
		T(what_breaks_a_rule_is_refused_and_stays_refused),
		T(more_than_4_gib_in_one_chain_is_refused),
		T(a_table_is_refused_when_tables_were_not_agreed),
		T(a_head_in_flight_is_refused),
		T(a_head_that_landed_is_taken_again),
		T(an_avail_index_that_jumps_over_the_size_is_refused),
		T(a_chain_put_back_comes_again),
		T(a_chain_that_is_held_comes_again_when_it_is_asked_for),
		T(rings_in_wrong_places_are_refused),
		T(rings_may_touch_and_reach_the_end_of_ram),
		T(the_driver_is_interrupted_unless_it_says_no),
		T(with_event_idx_one_interrupt_when_the_event_is_crossed),
		T(muting_and_listening_by_flag_and_by_event),
		T(a_queue_set_up_again_goes_on_where_it_was),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
