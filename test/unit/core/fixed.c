/* SPDX-License-Identifier: Apache-2.0 */
/* Banks of registers at fixed places. */
#include "test.h"

#include "fakeboard.h"

struct echo {
	struct dev dev;
	uint64_t last;
};
static void echo_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	memset(data, (int)(0x40 + off), len);
}
static void echo_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	struct echo *t = container_of((struct dev *)arg, struct echo, dev);

	(void)off;
	t->last = le_get(data, len);
}
static const struct bus_ops echo_ops = { .read = echo_read, .write = echo_write };
static const struct fixed_class echo_class = {
	.dev = { .name = "echo", .size = sizeof(struct echo), .plug = &fixed_plug },
	.bank = { { .len = 4, .ops = &echo_ops }, { .len = 2, .ops = &echo_ops } },
};

TEST(banks_are_where_the_conf_says)
{
	struct fixed_conf c = { .place = { { FIXED_PIO, 0x10 }, { FIXED_MMIO, 0x1000 } } };
	uint8_t b[2];
	struct dev *d;

	fake_begin();
	d = fake_add(&echo_class, &c);
	assert_int_equal(inb(0x12), 0x42);
	bus_read(fake.board.mmio, 0x1001, b, 2);
	assert_int_equal(b[0], 0x41);
	assert_int_equal(b[1], 0xff);
	out(0x10, 0x1234, 2);
	assert_int_equal(container_of(d, struct echo, dev)->last, 0x1234);
	assert_int_equal(fixed_place(d, 1).base, 0x1000);
	dev_remove(d);
	assert_int_equal(inb(0x12), 0xff);
	fake_end();
}

TEST(a_bank_that_is_nowhere_is_left_out)
{
	struct fixed_conf c = { .place = { { FIXED_NONE, 0x10 }, { FIXED_PIO, 0x20 } } };

	fake_begin();
	fake_add(&echo_class, &c);
	assert_int_equal(inb(0x10), 0xff);
	assert_int_equal(inb(0x20), 0x40);
	fake_end();
}

TEST(a_place_in_use_fails_and_leaves_no_bank_behind)
{
	struct fixed_conf c = { .place = { { FIXED_PIO, 0x10 }, { FIXED_PIO, 0x20 } } };
	struct fixed_conf meets = { .place = { { FIXED_PIO, 0x30 }, { FIXED_PIO, 0x13 } } };
	struct err e = { 0 };

	fake_begin();
	fake_add(&echo_class, &c);
	assert_int_equal(dev_add(NULL, &fake.board, &echo_class.dev,
				 &(struct dev_args){ .id = "other", .conf = &meets }, &e),
			 -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	assert_int_equal(inb(0x30), 0xff);
	assert_int_equal(dev_add(NULL, &fake.board, &echo_class.dev,
				 &(struct dev_args){ .id = "other" }, &e),
			 -1);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(banks_are_where_the_conf_says),
		T(a_bank_that_is_nowhere_is_left_out),
		T(a_place_in_use_fails_and_leaves_no_bank_behind),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
