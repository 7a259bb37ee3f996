/* SPDX-License-Identifier: Apache-2.0 */
/* The controller of memory hot-plug: what it tells, what it takes, and what it does not take. */
#include "test.h"

#include "dev/ged.h"
#include "dev/memhp.h"
#include "fakeboard.h"

#define AT 0xfff0000000ull
#define FLAGS 0xfff0001000ull

enum { SELECT = 0, LENGTH = 8, STATUS = 20 };
enum { THERE = 1, COMING = 2, GOING = 4, EJECT = 8 };

static const struct memhp_conf conf = { .at.place[0] = { FIXED_MMIO, AT } };
static const struct ged_conf ged = { .at.place[0] = { FIXED_MMIO, FLAGS }, .gsi = 13 };
static struct dev *hp;

static uint64_t reg(uint64_t off, uint32_t len)
{
	uint8_t b[8] = { 0 };

	bus_read(fake.board.mmio, AT + off, b, len);
	return le64_get(b);
}

static uint8_t status(uint32_t slot)
{
	uint8_t b[4];

	le32_put(b, slot);
	bus_write(fake.board.mmio, AT + SELECT, b, 4);
	return (uint8_t)reg(STATUS, 1);
}

static void put(uint32_t slot, uint8_t v)
{
	status(slot);
	bus_write(fake.board.mmio, AT + STATUS, &v, 1);
}

static void begin(void)
{
	struct err e = { 0 };

	fake_begin();
	fake_sound(dev_add(NULL, &fake.board, &ged_class.dev,
			   &(struct dev_args){ .id = GED_ID, .conf = &ged }, &e),
		   &e);
	hp = fake_add(&memhp_class, &conf);
}

static void end(void)
{
	dev_remove_all(&fake.board);
	fake_end();
}

TEST(what_comes_is_told_with_its_place)
{
	uint8_t flags;

	begin();
	memhp_come(hp, GIB(4), MIB(128));
	memhp_come(hp, 0x123458000000, GIB(6));
	bus_read(fake.board.mmio, FLAGS, &flags, 1);
	assert_int_equal(flags, GED_MEMORY);
	assert_int_equal(status(0), THERE | COMING);
	assert_int_equal(reg(0, 8), GIB(4));
	assert_int_equal(reg(LENGTH, 8), MIB(128));
	assert_int_equal(status(1), THERE | COMING);
	assert_int_equal(reg(0, 4), 0x58000000);
	assert_int_equal(reg(4, 4), 0x1234);
	assert_int_equal(reg(LENGTH + 4, 4), 1);
	put(1, COMING);
	assert_int_equal(status(1), THERE);
	assert_int_equal(status(0), THERE | COMING);
	assert_int_equal(status(2), 0);
	assert_int_equal(reg(0, 8), 0);
	end();
}

TEST(there_are_eight_slots)
{
	begin();
	for (uint32_t i = 0; i < MEMHP_SLOTS; i++) {
		assert_int_equal(memhp_free(hp), MEMHP_SLOTS - i);
		memhp_come(hp, GIB(4) + i * GIB(1), GIB(1));
	}
	assert_int_equal(memhp_free(hp), 0);
	assert_int_equal(status(MEMHP_SLOTS - 1), THERE | COMING);
	assert_int_equal(status(MEMHP_SLOTS), 0);
	assert_int_equal(status(UINT32_MAX), 0);
	end();
}

TEST(memory_does_not_go_and_foul_writes_change_nothing)
{
	uint8_t b[8];
	uint64_t n[3];

	begin();
	memhp_come(hp, GIB(4), MIB(128));
	put(0, EJECT);
	put(9, 0xff);
	assert_int_equal(status(0), THERE | COMING);
	dev_count(hp, n);
	assert_int_equal(n[2], 1);
	memset(b, 0xff, sizeof(b));
	for (uint64_t off = 0; off < MEMHP_LEN; off++)
		for (uint32_t len = 1; len <= 8; len *= 2) {
			bus_write(fake.board.mmio, AT + off, b, len);
			(void)reg(off, len);
		}
	assert_int_equal(status(0) & THERE, THERE);
	assert_int_equal(reg(0, 8), GIB(4));
	assert_int_equal(reg(LENGTH, 8), MIB(128));
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_comes_is_told_with_its_place),
		T(there_are_eight_slots),
		T(memory_does_not_go_and_foul_writes_change_nothing),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
