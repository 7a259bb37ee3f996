/* SPDX-License-Identifier: Apache-2.0 */
/* pvpanic: what a guest finds, what is told of what it says, and how often. */
#include "test.h"

#include "dev/pvpanic.h"
#include "fakeboard.h"

#define ECAM 0xe8000000ull
#define MEM32 0xc0000000ull
#define SLOT 5
#define CFG(reg) (ECAM + (SLOT << 15) + (reg))

static uint32_t panics;
static const char *last;

static void on_panic(void *arg, const char *how)
{
	(void)arg;
	panics++;
	last = how;
}

static uint32_t rd(uint64_t addr, uint32_t len)
{
	uint8_t b[8];

	bus_read(fake.board.mmio, addr, b, len);
	return (uint32_t)le_get(b, len);
}

static void wr(uint64_t addr, uint32_t v, uint32_t len)
{
	uint8_t b[8];

	le_put(b, len, v);
	bus_write(fake.board.mmio, addr, b, len);
}

static void begin(void)
{
	struct pci_host_args a = { .segments = 1,
				   .ecam = ECAM,
				   .mem32 = { MEM32, MIB(64) },
				   .mem64 = { GIB(32), GIB(16) } };
	const struct dev_args args = { .id = "__pvpanic", .slot = SLOT };
	struct err e = { 0 };

	fake_begin();
	a.pio = fake.board.pio;
	a.mmio = fake.board.mmio;
	a.irqs = fake.board.irqs;
	fake.board.up.panic = on_panic;
	panics = 0;
	last = NULL;
	fake_sound(pci_host_new(&fake.board.pci, &a, &e), &e);
	fake_sound(dev_add(NULL, &fake.board, &pvpanic_class.dev, &args, &e), &e);
}

static void end(void)
{
	dev_remove_all(&fake.board);
	pci_host_free(fake.board.pci);
	fake_end();
}

TEST(a_guest_finds_it_by_its_ids)
{
	begin();
	assert_int_equal(rd(CFG(0), 4), 0x00111b36);
	assert_int_equal(rd(CFG(8), 4), 0x08800001);
	wr(CFG(4), 0, 2);
	wr(CFG(0x10), ~0u, 4);
	assert_int_equal(rd(CFG(0x10), 4), 0xfffffff0);
	end();
}

TEST(it_has_a_page_of_its_own)
{
	begin();
	assert_int_equal(rd(CFG(0x10), 4), MEM32 + MIB(64) - KIB(4));
	end();
}

TEST(it_tells_what_it_understands)
{
	uint64_t at;

	begin();
	at = rd(CFG(0x10), 4);
	assert_int_equal(rd(at, 1), 3);
	assert_int_equal(rd(at, 4), 3);
	assert_int_equal(rd(at + 1, 1), 0);
	assert_int_equal(rd(at + 16, 1), 0xff);
	end();
}

TEST(each_kind_of_crash_is_told_by_name)
{
	uint64_t at;

	begin();
	at = rd(CFG(0x10), 4);
	wr(at, 1, 1);
	assert_string_equal(last, "panic");
	wr(at, 2, 1);
	assert_string_equal(last, "crash_loaded");
	wr(at, 4, 4);
	assert_string_equal(last, "unknown_event");
	wr(at + 1, 1, 1); /* not its register */
	assert_int_equal(panics, 3);
	end();
}

TEST(a_storm_of_one_kind_is_told_in_part_and_hides_no_other)
{
	uint64_t at;

	begin();
	at = rd(CFG(0x10), 4);
	for (uint32_t i = 0; i < 100000; i++)
		wr(at, 2, 1);
	assert_in_range(panics, 1, 60);
	wr(at, 1, 1);
	assert_string_equal(last, "panic");
	fake_hammer(fake.board.mmio, at - 16, 64, 20000);
	fake_hammer(fake.board.mmio, CFG(0), 256, 20000);
	assert_int_equal(rd(CFG(0), 4), 0x00111b36);
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_guest_finds_it_by_its_ids),
		T(it_has_a_page_of_its_own),
		T(it_tells_what_it_understands),
		T(each_kind_of_crash_is_told_by_name),
		T(a_storm_of_one_kind_is_told_in_part_and_hides_no_other),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
