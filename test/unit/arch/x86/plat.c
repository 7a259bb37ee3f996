/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory layout: where RAM, PCI windows and the chips' megabyte are for small, large and huge
 * memories, and that nothing meets anything else.
 */
#include "arch/x86/plat.h"

#include <string.h>

#include "arch/arch.h"
#include "test.h"

static struct vm_conf conf_of(uint64_t size)
{
	struct vm_conf c;

	memset(&c, 0, sizeof c);
	c.memory.size = size;
	c.cpus.boot_vcpus = c.cpus.max_vcpus = 1;
	c.cpus.max_phys_bits = 46;
	return c;
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

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct vm_conf c = conf_of(rows[i].size);
		struct arch_ram ram[ARCH_RAM_MAX];
		struct err e = { 0 };
		uint32_t n;

		assert_int_equal(arch_ram(ram, &n, &c, 48, &e), 0);
		assert_int_equal(n, rows[i].high ? 2 : 1);
		assert_int_equal(ram[0].base, 0);
		assert_int_equal(ram[0].size, rows[i].low);
		if (n == 2) {
			assert_int_equal(ram[1].base, GIB(4));
			assert_int_equal(ram[1].size, rows[i].high);
		}
	}
}

TEST(memory_that_does_not_fit_is_refused)
{
	static const struct {
		uint64_t size;
		uint8_t bits;
	} rows[] = {
		{ 0, 46 },
		{ MIB(1), 46 },
		{ MIB(128) + 1, 46 },
		{ GIB(65536), 46 },
		{ GIB(65536) - GIB(4), 46 },
		{ INT64_MAX & ~0xfffll, 46 },
		{ GIB(60), 36 },
		{ MIB(128), 32 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct vm_conf c = conf_of(rows[i].size);
		struct arch_ram ram[ARCH_RAM_MAX];
		struct err e = { 0 };
		uint32_t n;

		assert_int_equal(arch_ram(ram, &n, &c, rows[i].bits, &e), -1);
		assert_int_equal(e.kind, ERR_BAD);
	}
}

TEST(the_narrower_of_host_and_option_gives_the_width)
{
	struct vm_conf c = conf_of(MIB(128));

	assert_int_equal(x86_phys_bits(&c, 52), 46);
	assert_int_equal(x86_phys_bits(&c, 39), 39);
}

/* For any size that fits: RAM, then the aligned window, then the chips, then the unused end. */
TEST(windows_lie_between_ram_and_the_chips)
{
	static const uint64_t sizes[] = { MIB(128), GIB(3), GIB(4), GIB(5), GIB(7), GIB(40) };
	static const uint8_t widths[] = { 36, 39, 40, 46, 48 };

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (size_t k = 0; k < sizeof widths; k++) {
			struct vm_conf c = conf_of(sizes[i]);
			struct pci_host_args a;
			struct err e = { 0 };
			uint8_t bits = x86_phys_bits(&c, widths[k]);

			assert_int_equal(arch_pci_args(&a, &c, widths[k], &e), 0);
			assert_true(a.mem64.base >= GIB(4) + x86_ram_high(sizes[i]));
			assert_int_equal(a.mem64.base % GIB(4), 0);
			assert_true(a.mem64.size > 0);
			assert_true(a.mem64.base + a.mem64.size <= x86_platform_area(bits));
			assert_true(x86_ged_addr(bits) >= x86_platform_area(bits));
			assert_true(x86_ged_addr(bits) + 1 <= (1ull << bits) - KIB(64));
			assert_int_equal(a.mem32.base, 0xc0000000);
			assert_int_equal(a.mem32.base + a.mem32.size, a.ecam);
			assert_int_equal(a.segments, 1);
		}
	}
}

TEST(segments_have_the_weights_that_were_said)
{
	struct vm_conf c = conf_of(GIB(4));
	struct pci_segment_conf s[1];
	struct platform_conf p;
	struct pci_host_args a;
	struct err e = { 0 };

	memset(&p, 0, sizeof p);
	c.platform = &p;
	p.num_pci_segments = 96;
	assert_int_equal(arch_pci_args(&a, &c, 46, &e), 0);
	assert_int_equal(a.segments, 96);
	assert_int_equal(a.weight[95].mem32, 0);
	s[0] = (struct pci_segment_conf){ .pci_segment = 7,
					  .mmio32_aperture_weight = 2,
					  .mmio64_aperture_weight = 3 };
	c.pci_segments.items = s;
	c.pci_segments.count = 1;
	assert_int_equal(arch_pci_args(&a, &c, 46, &e), 0);
	assert_int_equal(a.weight[7].mem32, 2);
	assert_int_equal(a.weight[7].mem64, 3);
	p.num_pci_segments = 0;
	assert_int_equal(arch_pci_args(&a, &c, 46, &e), -1);
	p.num_pci_segments = 257;
	assert_int_equal(arch_pci_args(&a, &c, 46, &e), -1);
}

TEST(the_map_tells_ram_and_reserves_ecam)
{
	struct vm_conf c = conf_of(GIB(5));
	struct x86_map_entry m[X86_MAP_MAX];

	assert_int_equal(x86_map(m, &c), 4);
	assert_int_equal(m[0].base, 0);
	assert_int_equal(m[0].size, 0xa0000);
	assert_int_equal(m[1].base, MIB(1));
	assert_int_equal(m[1].base + m[1].size, GIB(3));
	assert_int_equal(m[2].base, GIB(4));
	assert_int_equal(m[2].size, GIB(2));
	assert_int_equal(m[3].base, 0xe8000000);
	assert_int_equal(m[3].size, MIB(256));
	assert_int_equal(m[3].type, 2);
	c = conf_of(MIB(128));
	assert_int_equal(x86_map(m, &c), 3);
	assert_int_equal(m[1].base + m[1].size, MIB(128));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(ram_leaves_a_hole_below_four_gib),
		T(memory_that_does_not_fit_is_refused),
		T(the_narrower_of_host_and_option_gives_the_width),
		T(windows_lie_between_ram_and_the_chips),
		T(segments_have_the_weights_that_were_said),
		T(the_map_tells_ram_and_reserves_ecam),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
