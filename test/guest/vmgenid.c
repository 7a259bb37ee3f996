/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM Generation ID, found by the DSDT's name ADDR. generation=N: shows it, and again each time that
 * the event device tells of another one, which it does with an interrupt, N times.
 */
#include "acpi.h"
#include "guest.h"

#define GED_GENERATION 16
#define GED_PIN 13
#define VECTOR 0x61

/* An integer of AML, ACPI 6.5 §20.2.3; *at goes behind it. */
static uint64_t integer(uint64_t *at)
{
	uint8_t op = rd8((*at)++), bytes = op == 0x0a ? 1 : op == 0x0b ? 2 : op == 0x0c ? 4 : 8;
	uint64_t v = 0;

	if (op < 2)
		return op;
	for (uint8_t i = 0; i < bytes; i++)
		v |= (uint64_t)rd8((*at)++) << 8 * i;
	return v;
}

/* Name (ADDR, Package () {low, high}), in a package with a length of one byte. */
static uint64_t place(void)
{
	uint64_t t = acpi_find("DSDT"), len = t ? rd32(t + 4) : 0, low;

	for (uint64_t at = t + 36; at + 16 < t + len; at++) {
		if (memcmp((const void *)at,
			   "\x08"
			   "ADDR\x12",
			   6) ||
		    rd8(at + 7) != 2)
			continue;
		at += 8;
		low = integer(&at);
		return low | integer(&at) << 32;
	}
	return 0;
}

static uint64_t show(uint64_t at)
{
	uint64_t low = rd64(at);

	print("R3 GENERATION %016lx%016lx\n", low, rd64(at + 8));
	return low;
}

void generation_run(void)
{
	uint64_t flags = acpi_region("GDST"), at = place(), times = 0, last, now;

	word("generation", &times);
	if (!check(flags && at && !(at & 7), "the DSDT tells where it is"))
		return;
	map(flags, 1);
	ioapic_line(GED_PIN, VECTOR);
	irq_on();
	last = show(at);
	for (uint64_t i = 0; i < times; i++) {
		while (!(rd8(flags) & GED_GENERATION))
			cpu_relax();
		now = show(at);
		check(now != last, "the number is another one when its change is told");
		check(irq_counts[VECTOR] > i, "the event device interrupts");
		last = now;
	}
	irq_off();
}
