/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of bytes kept for a host that does not read, as a stream and as messages.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/vskept.h"

static void take_out(struct vskept *r, uint32_t off, uint8_t *to, uint32_t len)
{
	struct kiov k[2];
	unsigned int n = vskept_iov(r, k, off, len);

	assert_int_equal(kiov_get(k, n, 0, to, len), len);
	vskept_drop(r, off + len);
}

TEST(bytes_come_out_as_they_went_in_round_and_round)
{
	struct vskept r = { .room = 64 };
	uint8_t in = 0, out = 0;

	srandom(1);
	for (int i = 0; i < 5000; i++) {
		uint8_t buf[64];
		uint32_t len = (uint32_t)random() % 40;
		struct kiov k[2] = { kiov_of(buf, len / 2), kiov_of(buf + len / 2, len - len / 2) };
		bool fits = len <= r.room - r.len;

		for (uint32_t j = 0; j < len; j++)
			buf[j] = (uint8_t)(in + j);
		assert_int_equal(vskept_put(&r, k, 2, 0, len), fits);
		in = (uint8_t)(in + (fits ? len : 0));
		len = (uint32_t)random() % 40;
		if (len > r.len)
			len = r.len;
		take_out(&r, 0, buf, len);
		for (uint32_t j = 0; j < len; j++)
			assert_int_equal(buf[j], out++);
	}
	vskept_fini(&r);
}

TEST(nothing_is_kept_of_what_does_not_fit)
{
	struct vskept r = { .room = 16 };
	uint8_t buf[32] = { 0 };
	struct kiov k = kiov_of(buf, sizeof(buf));

	assert_true(vskept_put(&r, &k, 1, 0, 16));
	assert_false(vskept_put(&r, &k, 1, 0, 1));
	assert_int_equal(r.len, 16);
	vskept_drop(&r, 16);
	assert_false(vskept_put_message(&r, &k, 1, 16)); /* and its mark */
	assert_int_equal(r.len, 0);
	assert_true(vskept_put_message(&r, &k, 1, 15));
	vskept_fini(&r);
}

TEST(messages_keep_their_bounds)
{
	static const uint32_t lens[] = { 1, 127, 128, 16383, 16384, 100000, 1 };
	struct vskept r = { .room = 0x40000 };
	uint8_t *buf = mem_new(100000), *back = mem_new(100000);
	uint32_t mark;

	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			struct kiov k = kiov_of(buf, lens[i]);

			memset(buf, (int)(i + 1), lens[i]);
			assert_true(vskept_put_message(&r, &k, 1, lens[i]));
		}
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			assert_int_equal(vskept_message(&r, &mark), lens[i]);
			take_out(&r, mark, back, lens[i]);
			assert_int_equal(back[0], i + 1);
			assert_int_equal(back[lens[i] - 1], i + 1);
		}
		assert_int_equal(vskept_message(&r, &mark), 0);
		assert_int_equal(r.len, 0);
	}
	vskept_fini(&r);
	free(buf);
	free(back);
}

TEST(small_messages_take_twice_their_bytes_at_most)
{
	struct vskept r = { .room = 256 };
	uint8_t one = 1;
	struct kiov k = kiov_of(&one, 1);

	for (int i = 0; i < 128; i++)
		assert_true(vskept_put_message(&r, &k, 1, 1));
	assert_false(vskept_put_message(&r, &k, 1, 1));
	vskept_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(bytes_come_out_as_they_went_in_round_and_round),
		T(nothing_is_kept_of_what_does_not_fit),
		T(messages_keep_their_bounds),
		T(small_messages_take_twice_their_bytes_at_most),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
