/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of the keyboard controller. */
#include "test.h"

#include "dev/i8042.h"
#include "fakeboard.h"

static const struct i8042_conf conf = { .at.place[0] = { FIXED_PIO, 0x61 } };

TEST(the_status_says_ready_and_empty)
{
	fake_begin();
	fake_add(&i8042_class, &conf);
	assert_int_equal(inb(0x64), 0);
	assert_int_equal(inb(0x62), 0);
	assert_int_equal(inb(0x65), 0xff);
	fake_end();
}

TEST(the_speaker_keeps_two_bits_and_the_timer_is_high)
{
	fake_begin();
	fake_add(&i8042_class, &conf);
	assert_int_equal(inb(0x61), 0x20);
	outb(0x61, 0xff);
	assert_int_equal(inb(0x61), 0x23);
	fake_end();
}

TEST(command_fe_resets_and_no_other)
{
	fake_begin();
	fake_add(&i8042_class, &conf);
	for (uint32_t v = 0; v < 0x100; v++)
		if (v != 0xfe)
			outb(0x64, v);
	outb(0x63, 0xfe);
	assert_int_equal(fake.resets, 0);
	outb(0x64, 0xfe);
	assert_int_equal(fake.resets, 1);
	assert_int_equal(fake.shutdowns, 0);
	fake_end();
}

TEST(registers_take_harm_without_harm)
{
	fake_begin();
	fake_add(&i8042_class, &conf);
	fake_hammer(fake.board.pio, 0x5e, 10, 100000);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_status_says_ready_and_empty),
		T(the_speaker_keeps_two_bits_and_the_timer_is_high),
		T(command_fe_resets_and_no_other),
		T(registers_take_harm_without_harm),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
