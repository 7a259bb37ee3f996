/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about little-endian access, ranges, bitmaps and lists (src/base/bits.h,
 * src/base/list.h). */
#include "test.h"

#include "base/bits.h"
#include "base/list.h"

TEST(le_values_go_in_and_out_lowest_byte_first)
{
	uint8_t b[8];

	le64_put(b, 0x8877665544332211);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(b[i], 0x11 * (i + 1));
	assert_true(le64_get(b) == 0x8877665544332211);
	assert_int_equal(le32_get(b), 0x44332211);
	assert_int_equal(le16_get(b + 6), 0x8877);
	assert_int_equal(le_get(b, 3), 0x332211);
	le_put(b, 2, 0xabcdef);
	assert_int_equal(le32_get(b), 0x4433cdef);
}

TEST(be_values_go_in_and_out_highest_byte_first)
{
	uint8_t b[8];

	be64_put(b, 0x1122334455667788);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(b[i], 0x11 * (i + 1));
	assert_true(be64_get(b) == 0x1122334455667788);
	assert_int_equal(be32_get(b + 4), 0x55667788);
	assert_int_equal(be16_get(b + 1), 0x2233);
	be32_put(b, 0xaabbccdd);
	be16_put(b + 2, 0xeeff);
	assert_int_equal(le32_get(b), 0xffeebbaa);
}

TEST(ranges_that_touch_do_not_meet)
{
	assert_true(ranges_meet(0, 10, 9, 1));
	assert_false(ranges_meet(0, 10, 10, 1));
	assert_false(ranges_meet(5, 0, 0, 10));
}

TEST(align_and_powers)
{
	assert_int_equal(align_up(4097, 4096), 8192);
	assert_int_equal(align_down(4097, 4096), 4096);
	assert_true(is_pow2(1) && is_pow2(1ull << 63));
	assert_false(is_pow2(0) || is_pow2(6));
}

TEST(bitmap_bits_are_their_own)
{
	uint64_t map[BITMAP_WORDS(130)] = { 0 };

	assert_int_equal(sizeof(map), 24);
	bit_set(map, 64);
	assert_true(bit_get(map, 64));
	assert_false(bit_get(map, 63) || bit_get(map, 65) || bit_get(map, 0));
	bit_clear(map, 64);
	assert_false(bit_get(map, 64));
}

struct item {
	int n;
	struct link link;
};

TEST(list_walk_allows_dropping_the_element_in_hand)
{
	struct item items[4] = { { .n = 0 }, { .n = 1 }, { .n = 2 }, { .n = 3 } };
	struct link list;
	int n = 0;

	list_init(&list);
	for (int i = 0; i < 4; i++)
		list_add_tail(&list, &items[i].link);
	list_each (e, &list) {
		n++;
		list_drop(e);
		list_drop(e);
	}
	assert_int_equal(n, 4);
	assert_true(list_empty(&list));
	assert_null(list_take_first(&list));
	list_add_tail(&list, &items[2].link);
	assert_ptr_equal(list_take_first(&list), &items[2].link);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(le_values_go_in_and_out_lowest_byte_first),
		T(be_values_go_in_and_out_highest_byte_first),
		T(ranges_that_touch_do_not_meet),
		T(align_and_powers),
		T(bitmap_bits_are_their_own),
		T(list_walk_allows_dropping_the_element_in_hand),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
