/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory hot-plug without ACPI's interpreter: the event byte and the controller, driven as the methods
 * drive them. Started with memhp=N it follows N arrivals: all of what comes is new, and holds what is
 * written into it.
 */
#include "guest.h"

#define EVENT_MEMORY 2u
#define SLOTS 8u
#define THERE 1u
#define COMING 2u
#define EJECT 8u

static uint64_t event_byte, controller;

static uint8_t status(uint32_t slot)
{
	wr32(controller, slot);
	return rd8(controller + 20);
}

static void foul(void)
{
	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t at = controller + rnd() % 24;

		if (rnd() & 1)
			wr32(at, (uint32_t)rnd());
		else
			wr8(at, (uint8_t)rnd());
		(void)rd64(at);
	}
	check(status(~0u) == 0 && status(SLOTS) == 0, "there are eight slots");
}

/* Each page gets its own address. */
static bool holds(uint64_t base, uint64_t size)
{
	for (uint64_t a = base; a < base + size; a += 4096)
		if (rd64(a))
			return false;
	for (uint64_t a = base; a < base + size; a += 4096)
		wr64(a, ~a);
	for (uint64_t a = base; a < base + size; a += 4096)
		if (rd64(a) != ~a)
			return false;
	return true;
}

static void come(uint32_t slot)
{
	uint64_t base = rd64(controller), size = rd64(controller + 8);

	wr8(controller + 20, COMING);
	wr8(controller + 20, EJECT);
	check(status(slot) == THERE, "slot %u stays", slot);
	map(base, size);
	check(holds(base, size), "slot %u is new memory", slot);
	print("R3 MEMORY slot=%u base=%lx size=%lx\n", slot, base, size);
}

void memhp_run(void)
{
	uint64_t left, ignored;

	word("memhp", &left);
	chips_find(&event_byte, &ignored, &controller);
	foul();
	print("R3 WAITS\n");
	while (left) {
		if (!(rd8(event_byte) & EVENT_MEMORY)) {
			cpu_relax();
			continue;
		}
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			if (status(slot) & COMING) {
				come(slot);
				left--;
			}
	}
}
