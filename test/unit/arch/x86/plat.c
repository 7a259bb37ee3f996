/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout: where PCI windows and the chips' megabyte are for small, large and huge memories, and
 * that nothing meets anything else. RAM itself is ram.c's.
 */
#include "arch/x86/plat.h"

#include <string.h>

#include "arch/arch.h"
#include "test.h"

static struct vm_conf conf_of(void)
{
	struct vm_conf c;

	memset(&c, 0, sizeof c);
	c.cpus.boot_vcpus = c.cpus.max_vcpus = 1;
	c.cpus.max_phys_bits = 46;
	return c;
}

TEST(the_narrower_of_host_and_option_gives_the_width)
{
	struct vm_conf c = conf_of();

	assert_int_equal(x86_phys_bits(&c, 52), 46);
	assert_int_equal(x86_phys_bits(&c, 39), 39);
}

/* For any size that fits: RAM, then the aligned window, then the chips, then the unused end. */
TEST(windows_lie_between_ram_and_the_chips)
{
	static const uint64_t ends[] = { MIB(128), GIB(3), GIB(5), GIB(6), GIB(8), GIB(41) };
	static const uint8_t widths[] = { 36, 39, 40, 46, 48 };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		for (size_t k = 0; k < sizeof widths; k++) {
			struct vm_conf c = conf_of();
			struct pci_host_args a;
			struct err e = { 0 };
			uint8_t bits = x86_phys_bits(&c, widths[k]);

			assert_int_equal(arch_pci_args(&a, &c, ends[i], widths[k], &e), 0);
			assert_true(a.mem64.base >= ends[i] && a.mem64.base >= GIB(4));
			assert_int_equal(a.mem64.base % GIB(4), 0);
			assert_true(a.mem64.size > 0);
			assert_true(a.mem64.base + a.mem64.size <= x86_platform_area(bits));
			for (int chip = X86_CHIP_GED; chip <= X86_CHIP_MEMHP; chip++) {
				uint64_t at = x86_chip_addr(bits, (enum x86_chip)chip);

				assert_true(at >= x86_platform_area(bits));
				assert_true(at + KIB(4) <= (1ull << bits) - KIB(64));
			}
			assert_int_equal(a.mem32.base, 0xc0000000);
			assert_int_equal(a.mem32.base + a.mem32.size, a.ecam);
			assert_int_equal(a.segments, 1);
		}
	}
}

TEST(segments_have_the_weights_that_were_said)
{
	struct vm_conf c = conf_of();
	struct pci_segment_conf s[1];
	struct platform_conf p;
	struct pci_host_args a;
	struct err e = { 0 };

	memset(&p, 0, sizeof p);
	c.platform = &p;
	p.num_pci_segments = 96;
	assert_int_equal(arch_pci_args(&a, &c, GIB(5), 46, &e), 0);
	assert_int_equal(a.segments, 96);
	assert_int_equal(a.weight[95].mem32, 0);
	s[0] = (struct pci_segment_conf){ .pci_segment = 7,
					  .mmio32_aperture_weight = 2,
					  .mmio64_aperture_weight = 3 };
	c.pci_segments.items = s;
	c.pci_segments.count = 1;
	assert_int_equal(arch_pci_args(&a, &c, GIB(5), 46, &e), 0);
	assert_int_equal(a.weight[7].mem32, 2);
	assert_int_equal(a.weight[7].mem64, 3);
	p.num_pci_segments = 0;
	assert_int_equal(arch_pci_args(&a, &c, GIB(5), 46, &e), -1);
	p.num_pci_segments = 257;
	assert_int_equal(arch_pci_args(&a, &c, GIB(5), 46, &e), -1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_narrower_of_host_and_option_gives_the_width),
		T(windows_lie_between_ram_and_the_chips),
		T(segments_have_the_weights_that_were_said),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
