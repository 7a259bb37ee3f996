/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI bus 0: configuration by both mechanisms, which must agree; sizes of BARs; moving one.
 * Specifications: PCI Local Bus 3.0; PCI Express 5.0 chapter 7.2 (ECAM).
 */
#include "pci.h"

#include "acpi.h"
#include "guest.h"

#define BDFS 256
#define NEW_HOME 0xd4000000ul /* in the 32-bit aperture, 64 MiB aligned, far from its first BARs */

static void select_reg(uint32_t bdf, uint32_t reg)
{
	outl(0xcf8, 0x80000000u | bdf << 8 | (reg & 0xfc));
}

uint8_t pci_rd8(uint32_t bdf, uint32_t reg)
{
	select_reg(bdf, reg);
	return inb((uint16_t)(0xcfc + (reg & 3)));
}

uint16_t pci_rd16(uint32_t bdf, uint32_t reg)
{
	select_reg(bdf, reg);
	return inw((uint16_t)(0xcfc + (reg & 2)));
}

uint32_t pci_rd32(uint32_t bdf, uint32_t reg)
{
	select_reg(bdf, reg);
	return inl(0xcfc);
}

void pci_wr8(uint32_t bdf, uint32_t reg, uint8_t v)
{
	select_reg(bdf, reg);
	outb((uint16_t)(0xcfc + (reg & 3)), v);
}

void pci_wr16(uint32_t bdf, uint32_t reg, uint16_t v)
{
	select_reg(bdf, reg);
	outw((uint16_t)(0xcfc + (reg & 2)), v);
}

void pci_wr32(uint32_t bdf, uint32_t reg, uint32_t v)
{
	select_reg(bdf, reg);
	outl(0xcfc, v);
}

static uint64_t bar_read(uint32_t bdf, uint32_t reg, bool is_64)
{
	uint64_t a = pci_rd32(bdf, reg) & ~15u;

	return is_64 ? a | (uint64_t)pci_rd32(bdf, reg + 4) << 32 : a;
}

static void bar_write(uint32_t bdf, uint32_t reg, bool is_64, uint64_t a)
{
	pci_wr32(bdf, reg, (uint32_t)a);
	if (is_64)
		pci_wr32(bdf, reg + 4, (uint32_t)(a >> 32));
}

uint64_t pci_bar(uint32_t bdf, uint32_t n, uint64_t *size)
{
	static uint64_t next_home = 0xe0000000ul;
	uint32_t reg = 0x10 + 4 * n, lo = pci_rd32(bdf, reg);
	bool is_64 = (lo & 7) == 4;
	uint64_t a = bar_read(bdf, reg, is_64);
	uint16_t cmd = pci_rd16(bdf, 4);

	if (lo & 1)
		return 0;
	pci_wr16(bdf, 4, (uint16_t)(cmd & ~3)); /* no decoding while the address is all ones */
	bar_write(bdf, reg, is_64, ~0ul);
	uint64_t mask = bar_read(bdf, reg, is_64);

	*size = is_64 ? -mask : -(mask | ~0xfffffffful);
	if (mask && !a) {
		a = (next_home + *size - 1) & -*size;
		next_home = a + *size;
	}
	bar_write(bdf, reg, is_64, a);
	pci_wr16(bdf, 4, cmd);
	/* one that was torn out meanwhile, and perhaps came again, has told anything */
	if (!mask || *size & (*size - 1) || bar_read(bdf, reg, is_64) != a)
		return 0;
	map(a, *size);
	return a;
}

uint32_t pci_cap(uint32_t bdf, uint8_t id, uint32_t after)
{
	uint32_t p = pci_rd8(bdf, after ? after + 1 : 0x34) & ~3u;

	for (uint32_t hops = 0; p && hops < 48; hops++, p = pci_rd8(bdf, p + 1) & ~3u)
		if (pci_rd8(bdf, p) == id)
			return p;
	return 0;
}

static void show_function(uint32_t bdf)
{
	print("R3 PCI %02x %04x:%04x class=%06x rev=%x sub=%04x:%04x pin=%u line=%u\n", bdf >> 3,
	      pci_rd16(bdf, 0), pci_rd16(bdf, 2), pci_rd32(bdf, 8) >> 8, pci_rd8(bdf, 8),
	      pci_rd16(bdf, 0x2c), pci_rd16(bdf, 0x2e), pci_rd8(bdf, 0x3d), pci_rd8(bdf, 0x3c));
	for (uint32_t n = 0; n < 6; n++) {
		uint32_t flags = pci_rd32(bdf, 0x10 + 4 * n) & 15;
		uint64_t size, a = pci_bar(bdf, n, &size);

		if (a)
			print("R3 BAR %02x %u %lx size=%lx flags=%x\n", bdf >> 3, n, a, size,
			      flags);
		if (a && (flags & 6) == 4)
			n++;
	}
	if (!(pci_rd16(bdf, 6) & 0x10))
		return;
	uint32_t hops = 0;

	for (uint32_t p = pci_rd8(bdf, 0x34); p && hops < 48; p = pci_rd8(bdf, p + 1), hops++)
		print("R3 CAP %02x %02x id=%02x %08x %08x\n", bdf >> 3, p, pci_rd8(bdf, p),
		      pci_rd32(bdf, p), pci_rd32(bdf, p + 4));
	check(hops < 48, "capability list of %02x ends", bdf >> 3);
}

/* Every register of every function, by both mechanisms. */
static void compare_ecam(uint64_t ecam)
{
	uint32_t differ = 0, functions = 0;

	for (uint32_t bdf = 0; bdf < BDFS; bdf++) {
		uint64_t e = ecam + bdf * 4096ul;
		bool there = pci_rd32(bdf, 0) != ~0u;

		functions += there;
		differ += rd32(e) != pci_rd32(bdf, 0);
		for (uint32_t r = 4; there && r < 256; r += 4)
			differ += rd32(e + r) != pci_rd32(bdf, r);
		differ += there &&
			  (rd8(e + 2) != pci_rd8(bdf, 2) || rd16(e + 10) != pci_rd16(bdf, 10));
	}
	check(!differ, "CF8 and ECAM agree on %u functions", functions);
}

void pci_run(void)
{
	uint64_t ecam = acpi_ecam();

	for (uint32_t bdf = 0; bdf < BDFS; bdf += 8)
		if (pci_rd32(bdf, 0) != ~0u)
			show_function(bdf);
	if (!check(ecam, "ECAM told by MCFG"))
		return;
	compare_ecam(ecam);
	outl(0xcf8, 0); /* without the enable bit there is no configuration cycle */
	check(inl(0xcfc) == ~0u, "configuration data without enable reads all ones");
}

/* Move BAR 0 of every virtio device to a new home and back; registers answer there and only
 * there. */
void pci_move(void)
{
	for (uint32_t bdf = 8; bdf < BDFS; bdf += 8) {
		uint64_t size, home;
		bool is_64 = (pci_rd32(bdf, 0x10) & 7) == 4;

		if (pci_rd16(bdf, 0) != 0x1af4)
			continue;
		home = pci_bar(bdf, 0, &size);
		if (!home)
			continue;
		uint16_t cmd = pci_rd16(bdf, 4);

		pci_wr16(bdf, 4, cmd | 6);
		uint32_t there = rd32(home + 16); /* msix vector and queue count: steady */

		pci_wr16(bdf, 4, (uint16_t)(cmd & ~3));
		bar_write(bdf, 0x10, is_64, NEW_HOME);
		pci_wr16(bdf, 4, cmd | 6);
		bool moved = rd32(NEW_HOME + 16) == there && rd32(home + 16) == ~0u;

		bar_write(bdf, 0x10, is_64, home); /* this time while decoding is on */
		bool back = rd32(home + 16) == there && rd32(NEW_HOME + 16) == ~0u;

		check(there != ~0u && moved && back, "BAR of %02x moves and returns", bdf >> 3);
		pci_wr16(bdf, 4, (uint16_t)(cmd & ~2));
		check(rd32(home + 16) == ~0u, "BAR of %02x is silent without decoding", bdf >> 3);
		pci_wr16(bdf, 4, cmd);
	}
}
