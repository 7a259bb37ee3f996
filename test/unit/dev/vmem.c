/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory in blocks: every request on every small state against a model, what stays over a reset, a
 * pause and a restore, and what a new size does. virtio 1.3 §5.15.
 */
#include "dev/vmem.h"

#include "test.h"

#include "base/json.h"
#include "virtio/drive.h"

#define BLOCK MIB(2)
#define BLOCKS (BLOCKS_SIZE / BLOCK)
#define ANSWER (BUF + 64)

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };

static void up(struct rig *r, uint64_t requested)
{
	const struct vmem_conf c = { .base = BLOCKS_AT, .requested = requested };

	rig_init(r);
	rig_add(r, &vmem_class, &c);
	drv_start(r, 0);
	rig_turn(r, 2);
}

static void lay(struct rig *r, uint16_t type, uint64_t addr, uint64_t n)
{
	mem_wr(r, BUF, 8, type);
	mem_wr(r, BUF + 8, 8, addr);
	mem_wr(r, BUF + 16, 8, n);
	mem_wr(r, ANSWER, 8, 0x7777);
	drv_desc(r, 0, 0, BUF, 24, F_NEXT, 1);
	drv_desc(r, 0, 1, ANSWER, 10, F_WRITE, 0);
	drv_offer(r, 0, 0);
	drv_kick(r, 0);
}

static uint64_t ask(struct rig *r, uint16_t type, uint64_t addr, uint64_t n)
{
	uint16_t used = drv_used(r, 0);

	lay(r, type, addr, n);
	rig_turn(r, 6);
	assert_int_equal((uint16_t)(used + 1), drv_used(r, 0));
	return mem_rd(r, ANSWER, 2);
}

static uint64_t block_at(uint64_t i)
{
	return BLOCKS_AT + i * BLOCK;
}

/* Makes exactly these blocks plugged. */
static void be(struct rig *r, uint32_t bits)
{
	assert_int_equal(ask(r, UNPLUG_ALL, 0, 0), ACK);
	for (uint32_t i = 0; i < BLOCKS; i++)
		if (bits >> i & 1)
			assert_int_equal(ask(r, PLUG, block_at(i), 1), ACK);
}

static void is_exactly(struct rig *r, uint32_t bits)
{
	assert_int_equal(vmem_plugged(r->d), (uint64_t)__builtin_popcount(bits) * BLOCK);
	assert_int_equal(rd(r, AT_CONFIG + 40, 8), vmem_plugged(r->d));
	for (uint32_t i = 0; i < BLOCKS; i++)
		assert_int_equal(gmem_ok(r->mem, GPA(block_at(i)), BLOCK), bits >> i & 1);
}

/* States and ranges of the first four blocks, of which three may be plugged. */
TEST(every_request_on_every_small_state_is_what_the_model_says)
{
	struct rig r;

	up(&r, 3 * BLOCK);
	for (uint32_t bits = 0; bits < 16; bits++)
		for (uint32_t at = 0; at < 4 && bits != 15; at++)
			for (uint32_t n = 1; at + n <= 4; n++) {
				uint32_t range = ((1u << n) - 1) << at, hit = bits & range;
				bool fits = (uint32_t)__builtin_popcount(bits) + n <= 3;
				uint64_t said = hit == range ? 0 : hit ? 2 : 1;

				be(&r, bits);
				assert_int_equal(ask(&r, STATE, block_at(at), n), ACK);
				assert_int_equal(mem_rd(&r, ANSWER + 8, 2), said);
				assert_int_equal(ask(&r, PLUG, block_at(at), n), hit	? ERROR
										 : fits ? ACK
											: NACK);
				is_exactly(&r, !hit && fits ? bits | range : bits);
				be(&r, bits);
				assert_int_equal(ask(&r, UNPLUG, block_at(at), n),
						 hit == range ? ACK : ERROR);
				is_exactly(&r, hit == range ? bits & ~range : bits);
			}
	rig_fini(&r);
}

TEST(a_range_that_is_no_blocks_of_the_region_is_an_error)
{
	static const struct {
		uint64_t addr, n;
	} rows[] = {
		{ BLOCKS_AT, 0 },	   { BLOCKS_AT + 4096, 1 },
		{ BLOCKS_AT - BLOCK, 1 },  { BLOCKS_AT + BLOCKS_SIZE, 1 },
		{ BLOCKS_AT, BLOCKS + 1 }, { BLOCKS_AT + BLOCK, 65535 },
		{ 0 - BLOCK, 2 },	   { 0, 1 },
	};
	struct rig r;

	up(&r, BLOCKS_SIZE);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (uint16_t type = 0; type < 5; type++)
			if (type != UNPLUG_ALL)
				assert_int_equal(ask(&r, type, rows[i].addr, rows[i].n), ERROR);
		is_exactly(&r, 0);
	}
	assert_int_equal(ask(&r, 4, BLOCKS_AT, 1), ERROR);
	rig_fini(&r);
}

TEST(what_is_unplugged_is_gone)
{
	struct rig r;

	up(&r, BLOCKS_SIZE);
	assert_int_equal(ask(&r, PLUG, BLOCKS_AT, BLOCKS), ACK);
	mem_wr(&r, BLOCKS_AT + 5 * BLOCK + 8, 8, 0x1234);
	assert_int_equal(ask(&r, UNPLUG, block_at(5), 1), ACK);
	assert_int_equal(ask(&r, PLUG, block_at(5), 1), ACK);
	assert_int_equal(mem_rd(&r, BLOCKS_AT + 5 * BLOCK + 8, 8), 0);
	rig_fini(&r);
}

TEST(blocks_stay_over_a_reset_and_a_pause_ends_what_was_begun)
{
	struct err e = { 0 };
	struct rig r;

	up(&r, BLOCKS_SIZE);
	assert_int_equal(ask(&r, PLUG, BLOCKS_AT, 3), ACK);
	drv_start(&r, 0);
	is_exactly(&r, 7);
	lay(&r, PLUG, block_at(4), 2);
	assert_int_equal(vdev_quiesce(r.d, &e), 0);
	vdev_resume(r.d);
	rig_turn(&r, 4);
	assert_int_equal(drv_used(&r, 0), 1);
	is_exactly(&r, 0x37);
	rig_fini(&r);
}

TEST(a_new_size_is_told_and_nonsense_is_refused)
{
	struct err e = { 0 };
	struct rig r;

	up(&r, 0);
	assert_int_equal(rd(&r, AT_CONFIG, 8), BLOCK);
	assert_int_equal(rd(&r, AT_CONFIG + 16, 8), BLOCKS_AT);
	assert_int_equal(rd(&r, AT_CONFIG + 24, 8), BLOCKS_SIZE);
	assert_int_equal(rd(&r, AT_CONFIG + 32, 8), BLOCKS_SIZE);
	assert_int_equal(ask(&r, PLUG, BLOCKS_AT, 1), NACK);
	assert_int_equal(vmem_resize(r.d, 2 * BLOCK, &e), 0);
	assert_true(drv_pending(&r, 1));
	assert_int_equal(rd(&r, AT_CONFIG + 48, 8), 2 * BLOCK);
	assert_int_equal(ask(&r, PLUG, BLOCKS_AT, 2), ACK);
	/* less is a wish: what is plugged stays until the guest lets go */
	assert_int_equal(vmem_resize(r.d, 0, &e), 0);
	is_exactly(&r, 3);
	assert_int_equal(vmem_resize(r.d, BLOCK + 4096, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
	assert_int_equal(vmem_resize(r.d, BLOCKS_SIZE + BLOCK, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
	assert_int_equal(rd(&r, AT_CONFIG + 48, 8), 0);
	/* no byte of it is the driver's */
	wr(&r, AT_CONFIG + 48, 8, BLOCKS_SIZE);
	assert_int_equal(rd(&r, AT_CONFIG + 48, 8), 0);
	rig_fini(&r);
}

TEST(a_node_is_told_where_there_is_one)
{
	const struct vmem_conf c = { .base = BLOCKS_AT, .node = 3, .has_node = true };
	struct rig r;

	rig_init(&r);
	rig_add(&r, &vmem_class, &c);
	assert_int_equal(drv_offered(&r) & 0xff, 7);
	assert_int_equal(rd(&r, AT_CONFIG + 8, 2), 3);
	rig_fini(&r);
	up(&r, 0);
	assert_int_equal(drv_offered(&r) & 0xff, 6);
	rig_fini(&r);
}

TEST(a_request_that_is_none_needs_a_reset)
{
	static const struct {
		uint32_t len, room;
		uint16_t flags;
	} rows[] = { { 23, 10, F_WRITE }, { 24, 9, F_WRITE }, { 24, 10, 0 } };
	struct rig r;

	up(&r, BLOCKS_SIZE);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		drv_start(&r, 0);
		mem_wr(&r, BUF, 8, STATE);
		drv_desc(&r, 0, 0, BUF, rows[i].len, F_NEXT, 1);
		drv_desc(&r, 0, 1, ANSWER, rows[i].room, rows[i].flags, 0);
		drv_offer(&r, 0, 0);
		drv_kick(&r, 0);
		rig_turn(&r, 3);
		assert_int_equal(drv_status(&r), 15 | 64);
	}
	rig_fini(&r);
}

static int again(struct rig *r, const struct json *j, struct err *e)
{
	const struct vmem_conf c = { .base = BLOCKS_AT, .requested = BLOCKS_SIZE };

	return rig_add_saved(r, &vmem_class, &c, j, e);
}

TEST(saved_and_made_again_it_is_the_same)
{
	struct err e = { 0 };
	struct json *j, *k;
	struct rig r, s;

	up(&r, BLOCKS_SIZE);
	be(&r, 0xb6);
	assert_int_equal(vmem_resize(r.d, 7 * BLOCK, &e), 0);
	vdev_stop(vdev_of(r.d));
	j = dev_save(r.d);
	rig_init(&s);
	assert_int_equal(again(&s, j, &e), 0);
	is_exactly(&s, 0xb6);
	assert_int_equal(rd(&s, AT_CONFIG + 48, 8), 7 * BLOCK);
	vdev_stop(vdev_of(s.d));
	k = dev_save(s.d);
	assert_true(json_equal_to(j, k));
	json_put(k);
	json_put(j);
	rig_fini(&s);
	rig_fini(&r);
}

TEST(saved_blocks_that_there_are_not_are_refused)
{
	static const uint64_t words[] = { 1ull << BLOCKS, 3 };
	struct err e = { 0 };
	struct json *j;
	struct rig r;

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		struct json *saved, *list = json_arr();

		up(&r, 0);
		j = dev_save(r.d);
		dev_remove(r.d);
		saved = (struct json *)(uintptr_t)json_get(j, "state");
		for (size_t n = 0; n <= i; n++)
			json_add(list, json_new_int((int64_t)words[i]));
		json_set(saved, "plugged", list);
		assert_int_equal(again(&r, j, &e), -1);
		json_put(j);
		rig_fini(&r);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_request_on_every_small_state_is_what_the_model_says),
		T(a_range_that_is_no_blocks_of_the_region_is_an_error),
		T(what_is_unplugged_is_gone),
		T(blocks_stay_over_a_reset_and_a_pause_ends_what_was_begun),
		T(a_new_size_is_told_and_nonsense_is_refused),
		T(a_node_is_told_where_there_is_one),
		T(a_request_that_is_none_needs_a_reset),
		T(saved_and_made_again_it_is_the_same),
		T(saved_blocks_that_there_are_not_are_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
