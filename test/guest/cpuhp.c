/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU hot-plug without ACPI's interpreter: the event byte and the controller, driven as the methods
 * drive them. Started with cpuhp=N it follows N arrivals and departures; each CPU that comes is
 * started by INIT and SIPI and gets work, each that is to go is let go of.
 */
#include "guest.h"
#include "smp.h"

#define EVENT_CPU 1u
#define THERE 1u
#define COMING 2u
#define GOING 4u
#define EJECT 8u

static uint64_t event_byte, controller;

/* The chips' pages lie below the last 64 KiB of the physical space. */
void chips_find(uint64_t *events, uint64_t *cpus, uint64_t *memory)
{
	uint32_t r[4] = { 0x80000008 };
	uint64_t top;

	kcall(k_cpuid, (uint64_t)r, 0);
	top = (1ul << (r[0] & 0xff)) - 0x10000;
	map(top - 0x4000, 0x4000);
	*events = top - 0x1000;
	*cpus = top - 0x3000;
	*memory = top - 0x4000;
}

static uint8_t status(uint32_t cpu)
{
	wr32(controller, cpu);
	return rd8(controller + 4);
}

/* What no method would do: nothing comes of it. */
static void foul(uint32_t cpus)
{
	uint8_t before = status(1);

	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		wr32(controller, cpu);
		wr8(controller + 4, EJECT);
	}
	check(status(0) == THERE && status(1) == before, "nobody goes who was not asked to");
	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t at = controller + rnd() % 12;

		switch (rnd() % 6) {
		case 0:
			wr8(at, (uint8_t)rnd());
			break;
		case 1:
			wr16(at, (uint16_t)rnd());
			break;
		case 2:
			wr32(at, (uint32_t)rnd());
			break;
		case 3:
			wr64(at, rnd());
			break;
		case 4:
			(void)rd64(at);
			break;
		default:
			(void)rd16(at);
		}
	}
	check(status(~0u) == 0 && status(cpus) == 0, "there is nothing behind the last cpu");
	check(status(0) == THERE && status(1) == before, "cpus stay what they were");
}

static void add_one(void *arg)
{
	(*(volatile uint64_t *)arg)++;
}

static void come(uint32_t cpu)
{
	static uint64_t ran;
	uint64_t before = ran, t;

	wr8(controller + 4, COMING);
	if (!check(smp_start(cpu), "cpu %u comes and starts", cpu))
		return;
	smp_call(cpu, add_one, &ran);
	t = rdtsc();
	while (!smp_idle(cpu) && !lapse(t, 5000000))
		cpu_relax();
	check(ran == before + 1, "cpu %u works", cpu);
	print("R3 CAME cpu=%u\n", cpu);
}

static void go(uint32_t cpu)
{
	wr8(controller + 4, GOING);
	check(status(cpu) == THERE, "cpu %u is still there", cpu);
	wr8(controller + 4, EJECT);
	check(status(cpu) == 0, "cpu %u goes", cpu);
	print("R3 WENT cpu=%u\n", cpu);
}

void cpuhp_run(void)
{
	uint64_t left, cpus = 0, ignored;

	word("cpuhp", &left);
	chips_find(&event_byte, &controller, &ignored);
	word("of", &cpus);
	foul((uint32_t)cpus);
	print("R3 WAITS\n");
	while (left) {
		if (!(rd8(event_byte) & EVENT_CPU)) {
			cpu_relax();
			continue;
		}
		for (uint32_t cpu = 0; cpu < cpus; cpu++) {
			uint8_t s = status(cpu);

			if (s & COMING)
				come(cpu);
			if (s & GOING)
				go(cpu);
			left -= (s & COMING ? 1u : 0u) + (s & GOING ? 1u : 0u);
		}
	}
}
