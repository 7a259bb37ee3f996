/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COM1 by hand: scratch register, divisor latch, loopback, FIFO, its interrupt through the I/O
 * APIC, and an echo of what comes in. Specification: National PC16550D data sheet.
 */
#include "guest.h"

enum { DATA = 0x3f8, IER, IIR, LCR, MCR, LSR, MSR, SCR };

#define PIN 4
#define VECTOR 0x41

static void registers(void)
{
	outb(SCR, 0xa5);
	bool scratch = inb(SCR) == 0xa5;

	outb(SCR, 0x5a);
	check(scratch && inb(SCR) == 0x5a, "serial scratch register");
	outb(LCR, 0x83);
	outb(DATA, 0x01);
	outb(IER, 0x00);
	bool latch = inb(DATA) == 0x01 && inb(IER) == 0x00;

	outb(LCR, 0x03);
	check(latch && inb(LCR) == 0x03, "serial divisor latch");
	check((inb(LSR) & 0x60) == 0x60, "serial transmitter empty");
	outb(IIR, 0x07);
	check((inb(IIR) & 0xc0) == 0xc0 || !(inb(IIR) & 0xc0), "serial FIFO identity %x", inb(IIR));
}

static void loopback(void)
{
	outb(MCR, 0x1f);
	outb(DATA, 'L');
	uint64_t t = rdtsc();

	while (!(inb(LSR) & 1) && !lapse(t, 100000))
		cpu_relax();
	bool there = inb(LSR) & 1;
	uint8_t v = inb(DATA), msr = inb(MSR);

	outb(MCR, 0x00);
	check(there && v == 'L', "serial loopback data");
	check((msr & 0xf0) == 0xf0, "serial loopback modem lines %x", msr);
}

static void interrupt(void)
{
	uint32_t before = irq_counts[VECTOR];
	uint64_t t = rdtsc();

	outb(MCR, 0x08);
	ioapic_line(PIN, VECTOR);
	irq_on();
	outb(IER, 0x02);
	while (irq_counts[VECTOR] == before && !lapse(t, 500000))
		cpu_relax();
	uint8_t iir = inb(IIR);

	outb(IER, 0x00);
	irq_off();
	ioapic_mask(PIN);
	outb(MCR, 0x00);
	check(irq_counts[VECTOR] != before, "serial interrupt through the IOAPIC");
	check((iir & 0x0f) == 0x02, "serial interrupt is transmitter empty (%x)", iir);
}

void serial_run(void)
{
	registers();
	loopback();
	interrupt();
}

/* Sends back each byte that arrives until a newline or a dot, then says how many there were. */
void serial_echo(void)
{
	uint64_t t = rdtsc(), n = 0;
	uint8_t c = 0;

	print("R3 ECHO\n");
	while (c != '\n' && c != '.' && !lapse(t, 20000000)) {
		if (!(inb(LSR) & 1))
			continue;
		c = inb(DATA);
		n++;
		outb(DATA, c);
	}
	print("\nR3 ECHOED %lu\n", n);
}
