/* SPDX-License-Identifier: Apache-2.0 */
/* The controller of PCI hot-plug: what it tells, what it takes, and what it does not take. */
#include "test.h"

#include "dev/ged.h"
#include "dev/pcihp.h"
#include "fakeboard.h"
#include "fw/acpi.h"
#include "pci/pci.h"

#define AT 0xfff0000000ull
#define FLAGS 0xfff0001000ull
#define ECAM 0xe8000000ull
#define SEGMENTS 2

enum { UP = 0, DOWN = 4, EJECT = 8, SEGMENT = 12 };

static const struct pcihp_conf conf = {
	.at.place[0] = { FIXED_MMIO, AT },
	.segments = SEGMENTS,
};
static const struct ged_conf ged = { .at.place[0] = { FIXED_MMIO, FLAGS }, .gsi = 13 };
static struct dev *hp;
static uint32_t told;

static void on_let_go(void *arg)
{
	(void)arg;
	told++;
}

static uint32_t rd(uint64_t reg)
{
	uint8_t b[4];

	bus_read(fake.board.mmio, AT + reg, b, 4);
	return le32_get(b);
}

static void wr(uint64_t reg, uint32_t v)
{
	uint8_t b[4];

	le32_put(b, v);
	bus_write(fake.board.mmio, AT + reg, b, 4);
}

static void begin(void)
{
	const struct pci_host_args a = {
		.segments = SEGMENTS,
		.ecam = ECAM,
		.mem32 = { 0xc0000000, MIB(64) },
		.mem64 = { 0x800000000, GIB(16) },
		.mmio = fake.board.mmio,
		.irqs = fake.board.irqs,
	};
	struct err e = { 0 };

	fake_sound(pci_host_new(&fake.board.pci, &a, &e), &e);
	fake_sound(dev_add(NULL, &fake.board, &ged_class.dev,
			   &(struct dev_args){ .id = GED_ID, .conf = &ged }, &e),
		   &e);
	fake.board.up.let_go = on_let_go;
	told = 0;
	hp = fake_add(&pcihp_class, &conf);
}

static void end(void)
{
	dev_remove_all(&fake.board);
	pci_host_free(fake.board.pci);
	fake_end();
}

TEST(arrivals_are_told_once_and_for_their_segment)
{
	fake_begin();
	begin();
	pcihp_look(hp, 0, 6);
	pcihp_look(hp, 1, 0);
	assert_int_equal(fake_rises, 2);
	assert_int_equal(rd(UP), 1u << 6);
	assert_int_equal(rd(UP), 0);
	wr(SEGMENT, 1);
	assert_int_equal(rd(SEGMENT), 1);
	assert_int_equal(rd(UP), 1);
	assert_int_equal(rd(DOWN), 0);
	end();
}

TEST(what_was_asked_for_is_let_go_of_and_stays_so_until_it_is_gone)
{
	uint16_t segment = 9;
	uint8_t slot = 9;

	fake_begin();
	begin();
	pcihp_ask(hp, 1, 31);
	assert_true(pcihp_is_asked(hp, 1, 31));
	wr(SEGMENT, 1);
	assert_int_equal(rd(DOWN), 1u << 31);
	assert_false(pcihp_let_go(hp, &segment, &slot));
	wr(EJECT, 1u << 31);
	assert_int_equal(told, 1);
	wr(EJECT, 1u << 31); /* twice is nothing more */
	assert_int_equal(told, 1);
	assert_true(pcihp_let_go(hp, &segment, &slot));
	assert_int_equal(segment, 1);
	assert_int_equal(slot, 31);
	assert_true(pcihp_is_asked(hp, 1, 31));
	pcihp_ask(hp, 1, 31); /* too late to ask */
	assert_int_equal(rd(DOWN), 0);
	pcihp_gone(hp, 1, 31);
	assert_false(pcihp_let_go(hp, &segment, &slot));
	assert_false(pcihp_is_asked(hp, 1, 31));
	end();
}

TEST(what_nobody_asked_for_stays)
{
	uint64_t n[4];
	uint16_t segment;
	uint8_t slot;

	fake_begin();
	begin();
	pcihp_ask(hp, 0, 5);
	wr(EJECT, ~(1u << 5));
	assert_int_equal(told, 0);
	assert_false(pcihp_let_go(hp, &segment, &slot));
	wr(SEGMENT, 1);
	wr(EJECT, 1u << 5); /* of another segment */
	assert_int_equal(told, 0);
	assert_true(pcihp_is_asked(hp, 0, 5));
	dev_count(hp, n);
	assert_int_equal(n[3], 32);
	end();
}

TEST(asking_again_tells_the_guest_again)
{
	fake_begin();
	begin();
	pcihp_ask(hp, 0, 5);
	assert_int_equal(rd(DOWN), 1u << 5);
	pcihp_ask(hp, 0, 5);
	assert_int_equal(rd(DOWN), 1u << 5);
	assert_int_equal(fake_rises, 2);
	end();
}

TEST(a_segment_that_is_not_there_is_not_selected)
{
	fake_begin();
	begin();
	wr(SEGMENT, 1);
	wr(SEGMENT, SEGMENTS);
	wr(SEGMENT, UINT32_MAX);
	assert_int_equal(rd(SEGMENT), 1);
	end();
}

TEST(only_whole_registers_are_accessed)
{
	uint8_t b[8] = { 0 };

	fake_begin();
	begin();
	pcihp_look(hp, 0, 3);
	bus_read(fake.board.mmio, AT, b, 1);
	bus_read(fake.board.mmio, AT, b, 8);
	bus_read(fake.board.mmio, AT + 2, b, 4);
	assert_int_equal(b[0] | b[1] | b[2] | b[3], 0);
	assert_int_equal(rd(UP), 1u << 3);
	memset(b, 1, sizeof(b));
	bus_write(fake.board.mmio, AT + SEGMENT, b, 1);
	assert_int_equal(rd(SEGMENT), 0);
	end();
}

TEST(its_description_has_a_method_for_each_segment)
{
	struct aml a = { 0 };

	fake_begin();
	begin();
	assert_int_equal(pcihp_class.dev.describe(hp, &a), 0);
	assert_non_null(memmem(a.bytes, a.len, "PSCN", 4));
	assert_non_null(memmem(a.bytes, a.len, "PC00PCNT", 8));
	assert_non_null(memmem(a.bytes, a.len, "PC01PCNT", 8));
	assert_null(memmem(a.bytes, a.len, "PC02", 4));
	pcihp_describe_slots(&a, 0);
	assert_null(memmem(a.bytes, a.len, "S000", 4));
	assert_non_null(memmem(a.bytes, a.len, "S031", 4));
	pcihp_describe_slots(&a, 1);
	assert_non_null(memmem(a.bytes, a.len, "S000", 4));
	assert_int_equal(a.depth, 0);
	aml_fini(&a);
	end();
}

TEST(registers_take_harm_without_harm)
{
	fake_begin();
	begin();
	pcihp_ask(hp, 0, 0);
	pcihp_ask(hp, 0, 7);
	fake_hammer(fake.board.mmio, AT - 8, 32, 50000);
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(arrivals_are_told_once_and_for_their_segment),
		T(what_was_asked_for_is_let_go_of_and_stays_so_until_it_is_gone),
		T(what_nobody_asked_for_stays),
		T(asking_again_tells_the_guest_again),
		T(a_segment_that_is_not_there_is_not_selected),
		T(only_whole_registers_are_accessed),
		T(its_description_has_a_method_for_each_segment),
		T(registers_take_harm_without_harm),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
