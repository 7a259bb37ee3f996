/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of RAM, by hand for the sizes that people use and, for every small machine there is,
 * against a model that lays one page after the other.
 */
#include "arch/x86/ram.h"

#include <string.h>

#include "arch/arch.h"
#include "arch/x86/plat.h"
#include "base/mem.h"
#include "test.h"

static struct gmem_plan plan;

/* Zones as they would be open, without anything behind them. */
static void zone(uint64_t size, uint64_t page)
{
	plan.zone[plan.zones++] = (struct backing){ .size = size, .page = page, .fd = -1 };
}

static int lay(uint8_t bits, struct err *e)
{
	struct vm_conf c = { .cpus = { .max_phys_bits = 46 } };

	return arch_ram(&plan, &c, bits, e);
}

TEST(ram_leaves_a_hole_below_four_gib)
{
	static const struct {
		uint64_t size, low, high;
	} rows[] = {
		{ MIB(2), MIB(2), 0 },
		{ MIB(128), MIB(128), 0 },
		{ GIB(3), GIB(3), 0 },
		{ GIB(3) + MIB(1), GIB(3), MIB(1) },
		{ GIB(4), GIB(3), GIB(1) },
		{ GIB(5), GIB(3), GIB(2) },
		{ GIB(16384), GIB(3), GIB(16381) },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = { 0 };

		plan = (struct gmem_plan){ 0 };
		zone(rows[i].size, KIB(4));
		assert_int_equal(lay(48, &e), 0);
		assert_int_equal(plan.parts, rows[i].high ? 2 : 1);
		assert_int_equal(plan.part[0].base.v, 0);
		assert_int_equal(plan.part[0].size, rows[i].low);
		if (plan.parts == 2) {
			assert_int_equal(plan.part[1].base.v, GIB(4));
			assert_int_equal(plan.part[1].size, rows[i].high);
			assert_int_equal(plan.part[1].off, rows[i].low);
		}
	}
}

TEST(memory_that_does_not_fit_is_refused)
{
	static const struct {
		uint64_t size;
		uint8_t bits;
	} rows[] = {
		{ MIB(1), 46 },
		{ MIB(2) - KIB(4), 46 },
		{ GIB(65536), 46 },
		{ GIB(65536) - GIB(4), 46 },
		{ INT64_MAX & ~0xfffll, 46 },
		{ GIB(60), 36 },
		{ MIB(128), 32 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = { 0 };

		plan = (struct gmem_plan){ 0 };
		zone(rows[i].size, KIB(4));
		assert_int_equal(lay(rows[i].bits, &e), -1);
		assert_int_equal(e.kind, ERR_BAD);
	}
}

TEST(a_zone_of_huge_pages_begins_and_ends_at_one)
{
	struct err e = { 0 };

	plan = (struct gmem_plan){ 0 };
	zone(MIB(512), KIB(4));
	zone(GIB(4), GIB(1));
	assert_int_equal(lay(46, &e), 0);
	assert_int_equal(plan.parts, 3);
	assert_int_equal(plan.part[1].base.v, GIB(1));
	assert_int_equal(plan.part[1].size, GIB(2));
	assert_int_equal(plan.part[2].base.v, GIB(4));
	assert_int_equal(plan.part[2].size, GIB(2));
	assert_int_equal(plan.part[2].off, GIB(2));
}

TEST(the_first_two_mib_are_in_one_piece)
{
	struct err e = { 0 };

	plan = (struct gmem_plan){ 0 };
	zone(MIB(1), KIB(4));
	zone(MIB(128), KIB(4));
	assert_int_equal(lay(46, &e), 0);
	plan = (struct gmem_plan){ 0 };
	zone(MIB(1), KIB(4));
	zone(MIB(128), MIB(2));
	assert_int_equal(lay(46, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
}

/* The model: each page of each zone in turn goes to the lowest place that is behind all the others,
 * right for a page of its kind, and not in the hole. */
static bool model_agrees(const struct x86_hole *hole, uint64_t end)
{
	uint64_t at = 0;
	uint32_t part = 0;

	for (uint32_t z = 0; z < plan.zones; z++) {
		uint64_t page = plan.zone[z].page;

		for (uint64_t off = 0; off < plan.zone[z].size; off += page) {
			const struct gmem_part *p = &plan.part[part];

			at = align_up(at, page);
			if (at < hole->to && at + page > hole->from)
				at = hole->to;
			if (at + page > end)
				return false;
			if (p->zone != z || off < p->off || off >= p->off + p->size)
				p = &plan.part[++part];
			if (part >= plan.parts || p->zone != z || p->base.v + (off - p->off) != at)
				return false;
			at += page;
		}
	}
	return part + 1 == plan.parts;
}

static void parts_do_not_meet(const struct x86_hole *hole)
{
	for (uint32_t i = 0; i < plan.parts; i++) {
		const struct gmem_part *p = &plan.part[i];

		assert_true(p->size > 0);
		assert_false(ranges_meet(p->base.v, p->size, hole->from, hole->to - hole->from));
		assert_true(!i || p->base.v >= p[-1].base.v + p[-1].size);
	}
}

/* Three zones of 1 to 8 units, each with a page of 1, 2 or 4, in a machine whose hole is at 8 to
 * 12 and that ends at 16, 20 or 40: all of them. */
TEST(every_small_machine_is_laid_as_the_model_says)
{
	const struct x86_hole hole = { 8, 12 };
	static const uint64_t page[] = { 1, 2, 4 }, end[] = { 16, 20, 40 };
	unsigned int laid = 0, refused = 0;

	for (unsigned int n = 0; n < 24 * 24 * 24 * 3; n++) {
		unsigned int left = n / 3;
		bool whole = true, does_fit;
		struct err e = { 0 };

		plan = (struct gmem_plan){ 0 };
		for (int z = 0; z < 3; z++, left /= 24) {
			zone(left % 8 + 1, page[left / 8 % 3]);
			whole = whole && plan.zone[z].size % plan.zone[z].page == 0;
		}
		if (!whole)
			continue;
		does_fit = x86_ram_lay(&plan, &hole, end[n % 3], &e) == 0;
		if (does_fit) {
			parts_do_not_meet(&hole);
			assert_true(model_agrees(&hole, end[n % 3]));
			laid++;
		} else {
			/* with no end it is laid, and goes beyond that end */
			assert_int_equal(x86_ram_lay(&plan, &hole, UINT64_MAX, &e), 0);
			assert_true(model_agrees(&hole, UINT64_MAX));
			assert_false(model_agrees(&hole, end[n % 3]));
			refused++;
		}
	}
	assert_true(laid > 1000 && refused > 1000);
}

/* RAM of these zones, truly there. */
static struct gmem *ram(uint64_t first, uint64_t second)
{
	const struct backing_args how = { 0 };
	struct err e = { 0 };
	struct gmem *m;

	plan = (struct gmem_plan){ 0 };
	assert_int_equal(backing_open(&plan.zone[plan.zones++], first, &how, &e), 0);
	if (second)
		assert_int_equal(backing_open(&plan.zone[plan.zones++], second, &how, &e), 0);
	assert_int_equal(lay(46, &e), 0);
	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_lay(m, &plan, &e), 0);
	return m;
}

TEST(the_map_tells_ram_and_reserves_ecam)
{
	struct x86_map_entry map[X86_MAP_MAX];
	struct gmem *m = ram(GIB(1), GIB(4));

	assert_int_equal(x86_map(map, m), 4);
	assert_int_equal(map[0].base, 0);
	assert_int_equal(map[0].size, 0xa0000);
	assert_int_equal(map[1].base, MIB(1));
	assert_int_equal(map[1].base + map[1].size, GIB(3));
	assert_int_equal(map[2].base, GIB(4));
	assert_int_equal(map[2].size, GIB(2));
	assert_int_equal(map[3].base, 0xe8000000);
	assert_int_equal(map[3].size, MIB(256));
	assert_int_equal(map[3].type, 2);
	assert_int_equal(x86_ram_low(m), GIB(3));
	assert_int_equal(x86_ram_high(m), GIB(2));
	gmem_free(m);
	m = ram(MIB(128), 0);
	assert_int_equal(x86_map(map, m), 3);
	assert_int_equal(map[1].base + map[1].size, MIB(128));
	assert_int_equal(x86_ram_high(m), 0);
	gmem_free(m);
}

TEST(the_map_tells_a_hole_between_zones)
{
	struct x86_map_entry map[X86_MAP_MAX];
	const struct backing_args how = { 0 };
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), MIB(3), &how, &e), 0);
	assert_int_equal(gmem_add(m, GPA(MIB(4)), MIB(2), &how, &e), 0);
	assert_int_equal(gmem_add(m, GPA(MIB(6)), MIB(2), &how, &e), 0);
	assert_int_equal(x86_map(map, m), 4);
	assert_int_equal(map[1].base + map[1].size, MIB(3));
	assert_int_equal(map[2].base, MIB(4));
	assert_int_equal(map[2].size, MIB(4));
	assert_int_equal(x86_ram_low(m), MIB(3));
	gmem_free(m);
}

TEST(what_may_be_plugged_lies_behind_all_ram)
{
	struct err e = { 0 };

	plan = (struct gmem_plan){ 0 };
	zone(GIB(4) + MIB(2), KIB(4));
	zone(MIB(64), KIB(4));
	zone(GIB(1), GIB(1));
	plan.zone[1].how.later = MIB(256);
	plan.zone[2].how.later = GIB(2);
	assert_int_equal(lay(48, &e), 0);
	assert_int_equal(plan.parts, 6);
	/* the third zone's gigabyte is at 6 GiB */
	assert_int_equal(plan.part[4].base.v, GIB(7));
	assert_int_equal(plan.part[4].size, MIB(256));
	assert_int_equal(plan.part[4].zone, 1);
	assert_int_equal(plan.part[4].off, MIB(64));
	assert_int_equal(plan.part[4].block, MIB(2));
	assert_int_equal(plan.part[5].base.v, GIB(8));
	assert_int_equal(plan.part[5].block, GIB(1));
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(plan.part[i].block, 0);
	plan = (struct gmem_plan){ 0 };
	zone(MIB(64), KIB(4));
	plan.zone[0].how.later = MIB(128);
	assert_int_equal(lay(48, &e), 0);
	assert_int_equal(plan.part[1].base.v, GIB(4));
	plan.parts = 0;
	plan.zone[0].how.later = GIB(64);
	assert_int_equal(lay(36, &e), -1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(ram_leaves_a_hole_below_four_gib),
		T(memory_that_does_not_fit_is_refused),
		T(a_zone_of_huge_pages_begins_and_ends_at_one),
		T(the_first_two_mib_are_in_one_piece),
		T(every_small_machine_is_laid_as_the_model_says),
		T(the_map_tells_ram_and_reserves_ecam),
		T(the_map_tells_a_hole_between_zones),
		T(what_may_be_plugged_lies_behind_all_ram),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
