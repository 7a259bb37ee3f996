/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time: the time-stamp counter, measured once against the ACPI PM timer where there is one, else
 * against the local APIC's timer (1 GHz under KVM). The first CPU only.
 */
#include "guest.h"

#define PM_TIMER 0x608
#define PM_TIMER_HZ 3579545ul

static uint64_t khz = 2000000;

uint64_t tsc_khz(void)
{
	return khz;
}

uint64_t tsc_ns(uint64_t t)
{
	return (uint64_t)((unsigned __int128)t * 1000000 / khz);
}

bool lapse(uint64_t start, uint64_t us)
{
	return tsc_ns(rdtsc() - start) >= us * 1000;
}

void delay_us(uint64_t us)
{
	uint64_t t = rdtsc();

	while (!lapse(t, us))
		cpu_relax();
}

/* kHz over about 10 ms of PM timer ticks, or 0 where the timer stands still. */
static uint64_t by_pm_timer(void)
{
	uint32_t a = inl(PM_TIMER), b = a;
	uint64_t t = rdtsc();

	for (uint32_t polls = 0; b - a < PM_TIMER_HZ / 100; polls++) {
		if ((polls == 100 && b == a) || polls > 1000000)
			return 0;
		b = inl(PM_TIMER);
	}
	return (rdtsc() - t) * PM_TIMER_HZ / 1000 / (b - a);
}

static uint64_t by_lapic(void)
{
	lapic_on();
	lapic_wr(0x3e0, 0xb); /* divide by 1 */
	lapic_wr(0x320, 0x10000);
	lapic_wr(0x380, 0xffffffff);
	uint32_t a = lapic_rd(0x390);
	uint64_t t = rdtsc();

	while (rdtsc() - t < 20000000)
		cpu_relax();
	uint32_t b = lapic_rd(0x390);

	t = rdtsc() - t;
	lapic_wr(0x380, 0);
	return a == b ? 0 : t * 1000000 / (a - b);
}

void clock_init(void)
{
	uint64_t k = by_pm_timer();

	if (!k)
		k = by_lapic();
	if (k)
		khz = k;
}
