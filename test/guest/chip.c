/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small chips of the board: CMOS clock, debug ports, reset registers, and the places where
 * nothing is. Specifications: Motorola MC146818; DESIGN of the machine in docs/boot.md.
 */
#include "guest.h"

static uint8_t cmos_rd(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

void cmos_run(void)
{
	uint8_t b = cmos_rd(0x0b);

	while (cmos_rd(0x0a) & 0x80)
		cpu_relax();
	print("R3 CMOS time %02x-%02x-%02x %02x:%02x:%02x b=%x century=%x\n", cmos_rd(9),
	      cmos_rd(8), cmos_rd(7), cmos_rd(4), cmos_rd(2), cmos_rd(0), b, cmos_rd(0x32));
	print("R3 CMOS low_64k=%u high_64k=%u\n", cmos_rd(0x34) | (uint32_t)cmos_rd(0x35) << 8,
	      cmos_rd(0x5b) | (uint32_t)cmos_rd(0x5c) << 8 | (uint32_t)cmos_rd(0x5d) << 16);
	uint8_t was = cmos_rd(0x7f);

	outb(0x70, 0x7f);
	outb(0x71, (uint8_t)(was ^ 0x5a));
	check(cmos_rd(0x7f) == (was ^ 0x5a), "CMOS holds a byte");
	outb(0x70, 0x7f);
	outb(0x71, was);
}

/* Ports and addresses where nothing is: all ones in every width. */
void ports_run(void)
{
	static const uint16_t port[] = { 0x200, 0x2f8, 0x500, 0x1000, 0xaff8, 0xfff0 };
	static const uint64_t mmio[] = { 0xd8000000, 0xfeb00000, 0xfed00000, 0xfe000000 };
	uint32_t bad = 0;

	for (size_t i = 0; i < sizeof port / sizeof port[0]; i++)
		bad += inb(port[i]) != 0xff || inw(port[i]) != 0xffff || inl(port[i]) != ~0u;
	check(!bad, "unclaimed ports read all ones");
	bad = 0;
	for (size_t i = 0; i < sizeof mmio / sizeof mmio[0]; i++)
		bad += rd8(mmio[i]) != 0xff || rd16(mmio[i]) != 0xffff || rd32(mmio[i]) != ~0u ||
		       rd64(mmio[i]) != ~0ul;
	check(!bad, "unclaimed addresses read all ones");
	check(inb(0x600) != 0xff && inb(0x601) != 0xff, "sleep registers answer");
}

void debug_run(void)
{
	outb(0x80, 0x01);
	outb(0x80, 0x41);
	for (const char *p = "debug port 402 here\n"; *p; p++)
		outb(0x402, (uint8_t)*p);
	for (const char *p = "debug console here\n"; *p; p++)
		outb(0xe9, (uint8_t)*p);
	print("R3 DEBUG written\n");
}

/*
 * Reset by the way that way=N names: 1 keyboard controller, 2 reset register, 3 triple fault.
 * blk.c's boot counter comes here too.
 */
void reset_run(void)
{
	uint64_t how;

	if (!word("way", &how))
		how = 1;
	print("R3 RESET %lu\n", how);
	if (how == 1)
		outb(0x64, 0xfe);
	else if (how == 2)
		outb(0x600, 1);
	else
		kcall(k_triple, 0, 0);
	delay_us(5000000);
	check(false, "reset %lu did nothing in 5 s", how);
}

/* Go on where no memory is: the processor cannot, and no host can do it for it. */
void derail_run(void)
{
	void (*nowhere)(void) = (void (*)(void))0xd8000000ul;

	print("R3 DERAIL\n");
	nowhere();
}

void cpuid_run(void)
{
	static const uint32_t leaf[] = { 0,	     1,		 7,	     0xb,
					 0x40000000, 0x40000001, 0x40000003, 0x80000000,
					 0x80000001, 0x80000008, 0x8000001e, 0x80000026 };

	for (size_t i = 0; i < sizeof leaf / sizeof leaf[0]; i++) {
		uint32_t r[4] = { leaf[i], 0, 0, 0 };

		kcall(k_cpuid, (uint64_t)r, 0);
		print("R3 CPUID %x %x %x %x %x\n", leaf[i], r[0], r[1], r[2], r[3]);
	}
}
