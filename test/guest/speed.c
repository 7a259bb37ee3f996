/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What single steps cost: exits to user space, exits that the host kernel serves, interrupts,
 * first touches of memory. For test/bench; nothing here is a test.
 */
#include "guest.h"

#define TIMER_VECTOR 0x51
#define IPI_VECTOR 0x50

static void report(const char *what, uint64_t tsc, uint64_t n)
{
	print("R3 COST %s ns=%lu\n", what, tsc_ns(tsc) / n);
}

static void cost_ports(void)
{
	uint64_t n = 20000, t = rdtsc();

	for (uint64_t i = 0; i < n; i++)
		outb(0x80, 0xff);
	report("out-80", rdtsc() - t, n);
	t = rdtsc();
	for (uint64_t i = 0; i < n; i++)
		inb(0x3fd);
	report("in-3fd", rdtsc() - t, n);
	t = rdtsc();
	for (uint64_t i = 0; i < n; i++)
		rd32(0xd8000000);
	report("read-nothing", rdtsc() - t, n);
	t = rdtsc();
	for (uint64_t i = 0; i < n; i++)
		lapic_wr(0x80, 0);
	report("lapic-tpr", rdtsc() - t, n);
}

static void cost_irq(void)
{
	uint64_t n = 1000, t;

	irq_on();
	t = rdtsc();
	for (uint64_t i = 0; i < n; i++) {
		uint32_t c = irq_counts[IPI_VECTOR];

		lapic_wr(0x300, 0x40000 | IPI_VECTOR);
		while (irq_counts[IPI_VECTOR] == c)
			cpu_relax();
	}
	report("self-ipi", rdtsc() - t, n);
	irq_off();
	lapic_wr(0x3e0, 0xb);
	lapic_wr(0x320, TIMER_VECTOR);
	n = 200;
	t = rdtsc();
	for (uint64_t i = 0; i < n; i++) {
		lapic_wr(0x380, 200000); /* 200 us of KVM's 1 GHz bus clock */
		kcall(k_hlt, 0, 0);
	}
	report("timer-200us-hlt", rdtsc() - t, n);
	lapic_wr(0x320, 0x10000);
}

void speed_run(void)
{
	uint64_t t = rdtsc(), n = 100000000;

	for (uint64_t i = n; i; i--)
		barrier();
	t = rdtsc() - t;
	print("R3 COST loop per-us=%lu\n", n / (tsc_ns(t) / 1000 + 1));
	cost_ports();
	cost_irq();
}

/* touch=N: first write of each page of N MiB behind the queues' memory. */
void touch_run(void)
{
	uint64_t mib, base = HEAP + (48ul << 20), t;

	word("touch", &mib);
	map(base, mib << 20);
	t = rdtsc();
	for (uint64_t i = 0; i < mib << 8; i++)
		wr8(base + i * 4096, 1);
	report("first-touch", rdtsc() - t, mib << 8);
}
