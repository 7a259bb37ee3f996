/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks of the guest's page tables: pages of each size in each way of paging, what is not mapped,
 * and tables that lie outside of RAM or point at themselves.
 */
#include "arch/debug.h"
#include "base/bits.h"
#include "test.h"

#define CR0_PG 0x80000001ull
#define CR4_PSE 0x10ull
#define CR4_PAE 0x20ull
#define CR4_LA57 0x1000ull
#define EFER_LONG 0x500ull

static struct gmem *memory(void)
{
	const struct backing_args b = { 0 };
	struct gmem *m = NULL;
	struct err e = { 0 };

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), MIB(1), &b, &e), 0);
	return m;
}

static void put(struct gmem *m, uint64_t at, uint64_t v)
{
	uint8_t b[8];

	le64_put(b, v);
	assert_int_equal(gmem_write(m, GPA(at), b, 8), 0);
}

static struct arch_cpu cpu(uint64_t cr4, uint64_t efer)
{
	return (struct arch_cpu){ .r = { .cr0 = CR0_PG, .cr3 = 0x1000, .cr4 = cr4, .efer = efer } };
}

static void maps(const struct arch_cpu *c, const struct gmem *m, uint64_t va, uint64_t to,
		 uint64_t run)
{
	uint64_t n;
	gpa_t a;

	assert_int_equal(arch_translate(&a, &n, c, m, va), 0);
	assert_int_equal(a.v, to);
	assert_int_equal(n, run);
}

static void maps_not(const struct arch_cpu *c, const struct gmem *m, uint64_t va)
{
	uint64_t n;
	gpa_t a;

	assert_int_equal(arch_translate(&a, &n, c, m, va), -1);
}

TEST(without_paging_an_address_is_itself)
{
	struct arch_cpu c = cpu(0, 0);
	struct gmem *m = memory();

	c.r.cr0 = 1;
	maps(&c, m, 0x1234, 0x1234, 0xdcc);
	maps_not(&c, m, 1ull << 32);
	gmem_free(m);
}

TEST(four_levels_have_pages_of_three_sizes)
{
	struct arch_cpu c = cpu(CR4_PAE, EFER_LONG);
	struct gmem *m = memory();

	c.r.cr3 |= 0x8000000000000005; /* a PCID and a bit of no meaning here */
	put(m, 0x1000 + 8 * 511, 0x2003);
	put(m, 0x2000 + 8 * 510, 0x3003);
	put(m, 0x2000 + 8 * 509, 0x1c0000083); /* 1 GiB; its address is 1 GiB aligned */
	put(m, 0x3000, 0x4003);
	put(m, 0x3000 + 8, 0x8000000000a00083); /* 2 MiB, no execution */
	put(m, 0x4000 + 8 * 5, 0x7003);
	maps(&c, m, 0xffffffff80005678, 0x7678, 0x988);
	maps(&c, m, 0xffffffff80200001, 0xa00001, 0x1fffff);
	maps(&c, m, 0xffffffff40000123, 0x1c0000123, 0x3ffffedd);
	maps_not(&c, m, 0xffffffff80006000);
	maps_not(&c, m, 0xffffffff80400000);
	maps_not(&c, m, 0);
	/* not canonical */
	maps_not(&c, m, 0x0000ffff80005678);
	maps_not(&c, m, 0x8000000000000000);
	gmem_free(m);
}

TEST(five_levels_reach_further)
{
	struct arch_cpu c = cpu(CR4_PAE | CR4_LA57, EFER_LONG);
	struct gmem *m = memory();

	put(m, 0x1000 + 8 * 0x110, 0x2003);
	put(m, 0x2000 + 8, 0x3003);
	put(m, 0x3000, 0x4003);
	put(m, 0x4000, 0x5003);
	put(m, 0x5000 + 8 * 2, 0x9003);
	maps(&c, m, 0xff10008000002004, 0x9004, 0xffc);
	maps_not(&c, m, 0xfe10008000002004);
	gmem_free(m);
}

TEST(pae_has_three_levels_and_a_small_first_table)
{
	struct arch_cpu c = cpu(CR4_PAE, 0);
	struct gmem *m = memory();

	c.r.cr3 = 0x1020;
	put(m, 0x1020 + 8 * 3, 0x2001);
	put(m, 0x2000, 0x600083);
	put(m, 0x2000 + 8, 0x3003);
	put(m, 0x3000 + 8, 0x8003);
	maps(&c, m, 0xc0012345, 0x612345, 0x1edcbb);
	maps(&c, m, 0xc0201004, 0x8004, 0xffc);
	maps_not(&c, m, 0x40000000);
	maps_not(&c, m, 1ull << 32);
	gmem_free(m);
}

TEST(thirty_two_bits_have_two_levels)
{
	struct arch_cpu c = cpu(CR4_PSE, 0);
	struct gmem *m = memory();

	put(m, 0x1000, 0x00000000400083ull | 0x2003ull << 32); /* 4 MiB at 0, then a table */
	put(m, 0x2000, 0x0000000000008003ull);
	put(m, 0x1000 + 4 * 2, 0x00c02083); /* 4 MiB with bit 13: above 4 GiB */
	maps(&c, m, 0x1004, 0x401004, 0x3feffc);
	maps(&c, m, 0x400010, 0x8010, 0xff0);
	maps(&c, m, 0x800000, 0x100c00000, 0x400000);
	/* without PSE the same entry is a table, here outside of RAM */
	c = cpu(0, 0);
	maps_not(&c, m, 0x1004);
	gmem_free(m);
}

TEST(tables_outside_of_ram_map_nothing)
{
	struct arch_cpu c = cpu(CR4_PAE, EFER_LONG);
	struct gmem *m = memory();

	put(m, 0x1000, 0x000ffffffffff003);
	maps_not(&c, m, 0);
	c.r.cr3 = 0x000ffffffffff000;
	maps_not(&c, m, 0);
	gmem_free(m);
}

TEST(a_table_that_is_its_own_ends_the_walk)
{
	struct arch_cpu c = cpu(CR4_PAE | CR4_LA57, EFER_LONG);
	struct gmem *m = memory();

	put(m, 0x1000, 0x1003);
	maps(&c, m, 0x10, 0x1010, 0xff0);
	gmem_free(m);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(without_paging_an_address_is_itself),
		T(four_levels_have_pages_of_three_sizes),
		T(five_levels_reach_further),
		T(pae_has_three_levels_and_a_small_first_table),
		T(thirty_two_bits_have_two_levels),
		T(tables_outside_of_ram_map_nothing),
		T(a_table_that_is_its_own_ends_the_walk),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
