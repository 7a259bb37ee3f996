/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC, memory-mapped, straight from ring 3, and single lines of the I/O APIC.
 * Specifications: Intel SDM volume 3 chapter 11; 82093AA data sheet.
 */
#include "guest.h"

#define LAPIC 0xfee00000ul
#define IOAPIC 0xfec00000ul

uint32_t lapic_rd(uint32_t reg)
{
	return rd32(LAPIC + reg);
}

void lapic_wr(uint32_t reg, uint32_t v)
{
	wr32(LAPIC + reg, v);
}

void lapic_on(void)
{
	lapic_wr(0xf0, 0x1ff); /* enabled, spurious vector 255 */
}

void irq_on(void)
{
	kcall(k_sti, 0, 0);
}

void irq_off(void)
{
	kcall(k_cli, 0, 0);
}

static void ioapic_wr(uint32_t reg, uint32_t v)
{
	wr32(IOAPIC, reg);
	wr32(IOAPIC + 0x10, v);
}

/* Edge, active high, fixed delivery to APIC id 0. */
void ioapic_line(uint32_t pin, uint8_t vector)
{
	ioapic_wr(0x11 + 2 * pin, 0);
	ioapic_wr(0x10 + 2 * pin, vector);
}

void ioapic_mask(uint32_t pin)
{
	ioapic_wr(0x10 + 2 * pin, 0x10000);
}
