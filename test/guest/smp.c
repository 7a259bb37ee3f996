/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting the other CPUs by INIT and SIPI, each with a stack and a TSS of its own. A started CPU
 * waits for work in a mailbox: a function and its argument. Specification: Intel SDM volume 3
 * section 8.4.
 */
#include "smp.h"

#include "guest.h"

#define WAKE_VECTOR 0x42
#define FAR_VECTOR 0x43

struct mailbox {
	void (*volatile work)(void *arg);
	void *volatile arg;
	volatile uint32_t apic_id;
	volatile uint32_t wakes; /* how often an interrupt ended its sleep */
	volatile bool online;
};

static struct mailbox mailbox[CPUS_MAX];
extern uint8_t ap_start[], ap_start_end[];

_Noreturn void smp_main(uint32_t cpu);

_Noreturn void smp_main(uint32_t cpu)
{
	struct mailbox *m = &mailbox[cpu];

	lapic_on();
	m->apic_id = lapic_id();
	m->online = true;
	for (;;) {
		while (!m->work) {
			/* an IPI that came before it is still pending, and wakes */
			kcall(k_hlt, 0, 0);
			m->wakes++;
		}
		barrier();
		m->work(m->arg);
		barrier();
		m->work = NULL;
	}
}

void smp_init(uint32_t cpu)
{
	mailbox[cpu] = (struct mailbox){ 0 };
	desc_cpu(cpu);
	lapic_send(cpu, 0x4500); /* INIT */
	delay_us(200);
}

bool smp_sipi(uint32_t cpu)
{
	memcpy((void *)AP_PAGE, ap_start, (size_t)(ap_start_end - ap_start));
	wr32(AP_CPU, cpu);
	lapic_send(cpu, 0x4600 | AP_PAGE >> 12);
	uint64_t t = rdtsc();

	while (!mailbox[cpu].online && !lapse(t, 5000000))
		cpu_relax();
	return mailbox[cpu].online;
}

bool smp_start(uint32_t cpu)
{
	smp_init(cpu);
	return smp_sipi(cpu);
}

void smp_call(uint32_t cpu, void (*work)(void *), void *arg)
{
	mailbox[cpu].arg = arg;
	barrier();
	mailbox[cpu].work = work;
	lapic_send(cpu, 0x4000 | WAKE_VECTOR);
}

bool smp_idle(uint32_t cpu)
{
	return !mailbox[cpu].work;
}

/* A tenth of a second of counting, to see that started CPUs run. */
static void count(void *arg)
{
	for (volatile uint32_t i = 0; i < 1000000; i++)
		;
	(*(volatile uint64_t *)arg)++;
}

/* A pin of the I/O APIC wakes the last cpu, whose id has more than 8 bits, and not the one that has
 * the lower 8 of them. The line is that of COM1, which has something to say when it may write. */
static void far_pin(uint32_t last)
{
	uint32_t near = last & 0xff, woken = mailbox[last].wakes, other = mailbox[near].wakes;
	uint64_t t;

	ioapic_line_to(4, FAR_VECTOR, last);
	outb(0x3fc, 8); /* OUT2: the line is connected */
	outb(0x3f9, 2); /* transmitter empty */
	t = rdtsc();
	while (mailbox[last].wakes == woken && !lapse(t, 5000000))
		cpu_relax();
	outb(0x3f9, 0);
	ioapic_mask(4);
	check(mailbox[last].wakes != woken && mailbox[near].wakes == other,
	      "pin 4 wakes cpu %u, and not cpu %u", last, near);
}

void smp_run(void)
{
	static uint64_t counted[CPUS_MAX];
	uint64_t n, ran = 0, t;
	uint32_t online = 1;

	word("smp", &n);
	for (uint32_t cpu = 1; cpu < n && cpu < CPUS_MAX; cpu++) {
		bool started = smp_start(cpu);

		if (!check(started, "cpu %u starts, APIC id %u", cpu, mailbox[cpu].apic_id))
			break;
		if (mailbox[cpu].apic_id == cpu)
			online++;
	}
	for (uint32_t cpu = 1; cpu < online; cpu++)
		smp_call(cpu, count, &counted[cpu]);
	t = rdtsc();
	for (uint32_t cpu = 1; cpu < online; cpu++) {
		while (!smp_idle(cpu) && !lapse(t, 20000000))
			cpu_relax();
		ran += counted[cpu];
	}
	print("R3 SMP online=%u ran=%lu\n", online, ran);
	check(online == n && ran == n - 1, "all %lu cpus are online, know their APIC id, and run",
	      n);
	if (online > 256)
		far_pin(online - 1);
}
