/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many bytes through a console: 32-bit words, each its index times an odd number, so that every
 * value of a byte comes along, and a byte lost, doubled or out of order is seen. First they go out,
 * then the same come in and are compared. `kib=N` says how many, `in` that they come back too,
 * `wait` that the first byte comes from outside. The reports stand on COM1 around them.
 * Specification: virtio 1.3 §5.3, National PC16550D data sheet.
 */
#include "drivers.h"
#include "guest.h"

enum { DATA = 0x3f8, IER, IIR, LCR, MCR, LSR };

#define FIFO 16
#define FIFO_TRIGGER 14
#define FIFO_ON 0xc1 /* interrupt at 14 bytes */
#define IIR_TRIGGERED 4
#define SILENCE_US 20000000
#define CHAIN 65536

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)((uint32_t)(i / 4) * 2654435761u >> i % 4 * 8);
}

static void fill(uint64_t to, uint64_t i, uint64_t len)
{
	for (uint64_t n = 0; n < len; n += 4)
		*(volatile uint32_t *)(to + n) = (uint32_t)((i + n) / 4) * 2654435761u;
}

/* The first of len bytes that is not the pattern's from i on, or len. */
static uint64_t compare(uint64_t at, uint64_t i, uint64_t len)
{
	for (uint64_t n = 0; n < len; n++)
		if (*(volatile uint8_t *)(at + n) != pattern(i + n))
			return n;
	return len;
}

static uint64_t bytes(void)
{
	uint64_t kib = 64;

	word("kib", &kib);
	return kib << 10;
}

static void report(const char *what, uint64_t n, uint64_t want, uint64_t began)
{
	uint64_t us = tsc_ns(rdtsc() - began) / 1000;

	check(n == want, "%s: %lu of %lu bytes are right", what, n, want);
	print("R3 STREAM %s us=%lu kib_s=%lu\n", what, us, want * 1000000 / 1024 / (us ? us : 1));
}

/* virtio console */

static uint64_t con_out(struct vq *q, uint64_t want)
{
	for (uint64_t n = 0; n < want; n += CHAIN) {
		uint64_t len = want - n < CHAIN ? want - n : CHAIN;

		fill(q->buf, n, len);
		vq_desc(q, 0, (struct desc){ q->buf, (uint32_t)len, 0, 0 });
		if (vq_once(q, SILENCE_US) < 0)
			return n;
	}
	return want;
}

static uint64_t con_in(struct vq *q, uint64_t want)
{
	for (uint64_t n = 0; n < want;) {
		vq_desc(q, 0, (struct desc){ q->buf, CHAIN, D_WRITE, 0 });
		int64_t len = vq_once(q, SILENCE_US);
		uint64_t right = len > 0 ? compare(q->buf, n, (uint64_t)len) : 0;

		n += right;
		if (len <= 0 || right != (uint64_t)len)
			return n;
	}
	return want;
}

void con_stream(void)
{
	static struct vdev d;
	uint64_t want = bytes(), began, n;

	if (!check(vdev_find(&d, VIRTIO_CONSOLE, 0) && vdev_start(&d, 0), "console starts"))
		return;
	if (word("wait", NULL)) { /* for somebody at the other end */
		vq_desc(&d.q[0], 0, (struct desc){ d.q[0].buf, CHAIN, D_WRITE, 0 });
		check(vq_once(&d.q[0], SILENCE_US) > 0, "somebody comes to the console");
	}
	began = rdtsc();
	n = con_out(&d.q[1], want);
	report("console-out", n, want, began);
	if (!word("in", NULL)) {
		vdev_reset(&d);
		return;
	}
	print("R3 CONIN\n");
	began = rdtsc();
	n = con_in(&d.q[0], want);
	report("console-in", n, want, began);
	vdev_reset(&d);
}

/* COM1, a FIFO at a time */

static bool serial_has(uint8_t bits, uint64_t us)
{
	uint64_t t = rdtsc();

	while ((inb(LSR) & bits) != bits)
		if (lapse(t, us))
			return false;
	return true;
}

static void serial_put(const uint8_t *from, uint64_t len)
{
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(len) : "d"(DATA) : "memory");
}

static void serial_get(uint8_t *to, uint64_t len)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(len) : "d"(DATA) : "memory");
}

static uint64_t serial_out(uint64_t want)
{
	for (uint64_t n = 0; n < want; n += FIFO) {
		fill(HEAP, n, FIFO);
		if (!serial_has(0x60, SILENCE_US))
			return n;
		serial_put((const uint8_t *)HEAP, FIFO);
	}
	return want;
}

/* As many bytes as are there for sure, one at least. */
static uint64_t serial_take(void)
{
	if (!serial_has(1, SILENCE_US))
		return 0;
	uint64_t n = (inb(IIR) & 0xf) == IIR_TRIGGERED ? FIFO_TRIGGER : 1;

	serial_get((uint8_t *)HEAP, n);
	return n;
}

static uint64_t serial_in(uint64_t want)
{
	for (uint64_t n = 0; n < want;) {
		uint64_t len = serial_take(), right = compare(HEAP, n, len);

		n += right;
		if (!len || right != len)
			return n;
	}
	return want;
}

void serial_stream(void)
{
	uint64_t want = bytes(), began, n;

	outb(IIR, FIFO_ON);
	outb(IER, 1); /* IIR tells, nobody is interrupted */
	print("R3 SEROUT\n");
	began = rdtsc();
	n = serial_out(want);
	print("\n");
	report("serial-out", n, want, began);
	if (word("in", NULL)) {
		print("R3 SERIN\n");
		began = rdtsc();
		n = serial_in(want);
		report("serial-in", n, want, began);
	}
	outb(IER, 0);
}
