/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of bytes against a model: numbers whose order and loss can be seen. */
#include "vm/backlog.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

/* The byte of a position. */
static uint8_t at(uint64_t pos)
{
	return (uint8_t)(pos * 167 + (pos >> 8));
}

static void fill(uint8_t *to, uint64_t pos, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = at(pos + i);
}

/* Every byte between tail and head is the one of its position. */
static void check_all(const struct backlog *b)
{
	size_t len;

	for (uint64_t pos = b->tail; pos < b->head; pos += len) {
		const uint8_t *run = backlog_peek(b, pos, &len);

		assert_true(len > 0);
		for (size_t i = 0; i < len; i++)
			if (run[i] != at(pos + i))
				fail_msg("byte %llu is wrong", (unsigned long long)(pos + i));
	}
	assert_null(backlog_peek(b, b->head, &len));
	assert_int_equal(len, 0);
}

TEST(what_was_put_is_found_at_its_position)
{
	static uint8_t data[3 * BACKLOG_MAX];
	struct backlog b = { 0 };

	srandom(1);
	for (int i = 0; i < 3000; i++) {
		size_t len = (size_t)random() % (i % 100 ? 5000 : sizeof(data)), n;
		uint64_t tail = b.tail, head = b.head;
		size_t held = backlog_len(&b);

		fill(data, head, len);
		switch (random() % 3) {
		case 0:
			n = backlog_put(&b, data, len);
			assert_int_equal(n, len < BACKLOG_MAX - held ? len : BACKLOG_MAX - held);
			assert_int_equal(b.head, head + n);
			assert_int_equal(b.tail, tail);
			break;
		case 1:
			n = backlog_push(&b, data, len);
			assert_int_equal(b.head, head + len);
			assert_int_equal(b.tail, tail + n);
			assert_true(!n || backlog_len(&b) == BACKLOG_MAX);
			break;
		case 2:
			backlog_forget(&b, tail + (held ? (size_t)random() % held : 0));
			break;
		}
		check_all(&b);
	}
	backlog_clear(&b);
	assert_int_equal(backlog_len(&b), 0);
	assert_null(b.ring);
}

TEST(an_empty_one_holds_little_memory)
{
	static uint8_t data[BACKLOG_MAX];
	struct backlog b = { 0 };

	assert_int_equal(backlog_put(&b, data, sizeof(data)), sizeof(data));
	assert_int_equal(backlog_put(&b, data, 1), 0);
	backlog_forget(&b, b.head);
	assert_true(b.room <= 65536);
	backlog_clear(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_was_put_is_found_at_its_position),
		T(an_empty_one_holds_little_memory),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
