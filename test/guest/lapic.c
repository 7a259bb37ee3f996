/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC, memory-mapped, straight from ring 3, or as x2APIC through registers that take a
 * call into ring 0; and single lines of the I/O APIC. Specifications: Intel SDM volume 3 chapter
 * 11; 82093AA data sheet; for destinations of 15 bits Linux arch/x86/kernel/apic.
 */
#include "guest.h"

#define LAPIC 0xfee00000ul
#define IOAPIC 0xfec00000ul

#define MSR_APIC_BASE 0x1b
#define X2APIC_ENABLED (1ul << 10)
#define MSR_X2APIC 0x800
#define ICR 0x300

/* Read by the interrupt stubs. All cpus are in one mode. */
uint32_t x2apic;

bool lapic_is_x2(void)
{
	return kcall(k_rdmsr, MSR_APIC_BASE, 0) & X2APIC_ENABLED;
}

uint32_t lapic_rd(uint32_t reg)
{
	return x2apic ? (uint32_t)kcall(k_rdmsr, MSR_X2APIC + reg / 16, 0) : rd32(LAPIC + reg);
}

void lapic_wr(uint32_t reg, uint32_t v)
{
	if (x2apic)
		kcall(k_wrmsr, MSR_X2APIC + reg / 16, v);
	else
		wr32(LAPIC + reg, v);
}

uint32_t lapic_id(void)
{
	return x2apic ? lapic_rd(0x20) : lapic_rd(0x20) >> 24;
}

void lapic_send(uint32_t id, uint32_t command)
{
	if (x2apic) {
		kcall(k_wrmsr, MSR_X2APIC + ICR / 16, (uint64_t)id << 32 | command);
		return;
	}
	lapic_wr(ICR + 0x10, id << 24);
	lapic_wr(ICR, command);
}

void lapic_on(void)
{
	x2apic = lapic_is_x2();
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

/* Edge, active high, fixed delivery. */
void ioapic_line_to(uint32_t pin, uint8_t vector, uint32_t id)
{
	ioapic_wr(0x11 + 2 * pin, (id & 0xff) << 24 | (id >> 8 & 0x7f) << 17);
	ioapic_wr(0x10 + 2 * pin, vector);
}

void ioapic_line(uint32_t pin, uint8_t vector)
{
	ioapic_line_to(pin, vector, 0);
}

void ioapic_mask(uint32_t pin)
{
	ioapic_wr(0x10 + 2 * pin, 0x10000);
}
