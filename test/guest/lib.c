/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a C program misses without a library: memory functions, a small print, verdicts and the
 * end. Output goes to COM1 byte by byte; each byte is an exit of the VM, so lines are short.
 * Any CPU may print, but nothing keeps two from mixing their lines: only one does at a time.
 */
#include "guest.h"

#define COM1 0x3f8
#define ACPI_SLEEP 0x600
#define SLEEP_S5 0x34 /* SLP_TYP 5, SLP_EN */

static uint32_t failures;
static uint64_t rnd_state = 88172645463325252ul;

void *memset(void *d, int c, size_t n)
{
	void *r = d;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return r;
}

void *memcpy(void *d, const void *s, size_t n)
{
	void *r = d;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
	return r;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;

	for (size_t i = 0; i < n; i++)
		if (p[i] != q[i])
			return p[i] - q[i];
	return 0;
}

uint32_t sum8(uint64_t a, uint64_t n)
{
	uint32_t s = 0;

	for (uint64_t i = 0; i < n; i++)
		s += rd8(a + i);
	return s & 0xff;
}

uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static void put(char c)
{
	if (c == '\n')
		outb(COM1, '\r');
	outb(COM1, (uint8_t)c);
}

static void put_number(uint64_t v, uint32_t base, int width, char pad)
{
	char b[24];
	int n = 0;

	do {
		b[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n < width && n < (int)sizeof b)
		b[n++] = pad;
	while (n)
		put(b[--n]);
}

static void put_string(const char *s)
{
	while (*s)
		put(*s++);
}

/* %[0][width][l](u|d|x|c|s|%), where a width is kept for numbers only. */
static void vprint(const char *f, va_list ap)
{
	for (; *f; f++) {
		if (*f != '%') {
			put(*f);
			continue;
		}
		char pad = *++f == '0' ? '0' : ' ';
		int width = 0;
		bool is_long = false;

		for (; *f >= '0' && *f <= '9'; f++)
			width = width * 10 + *f - '0';
		for (; *f == 'l'; f++)
			is_long = true;
		if (*f == 'u' || *f == 'x') {
			uint64_t v = is_long ? va_arg(ap, uint64_t) : va_arg(ap, uint32_t);

			put_number(v, *f == 'x' ? 16 : 10, width, pad);
		} else if (*f == 'd') {
			int v = va_arg(ap, int);

			if (v < 0)
				put('-');
			put_number((uint64_t)(v < 0 ? -(int64_t)v : v), 10, width, pad);
		} else if (*f == 'c') {
			put((char)va_arg(ap, int));
		} else if (*f == 's') {
			put_string(va_arg(ap, const char *));
		} else {
			put(*f);
		}
	}
}

void print(const char *f, ...)
{
	va_list ap;

	va_start(ap, f);
	vprint(f, ap);
	va_end(ap);
}

bool check(bool ok, const char *f, ...)
{
	va_list ap;

	put_string(ok ? "R3 PASS " : "R3 FAIL ");
	va_start(ap, f);
	vprint(f, ap);
	va_end(ap);
	put('\n');
	if (!ok)
		failures++;
	return ok;
}

/*
 * The sleep register ends a virga VM. The rest is for other machines that run this guest: the
 * reset control register, the keyboard controller, and at last a triple fault.
 */
_Noreturn void leave(int code)
{
	if (!code && failures)
		code = failures > 99 ? 99 : (int)failures;
	print("R3 EXIT %d\n", code);
	outb(ACPI_SLEEP, SLEEP_S5);
	outb(0xcf9, 6);
	outb(0x64, 0xfe);
	kcall(k_triple, 0, 0);
	for (;;)
		cpu_relax();
}

/* Called by gate.S in ring 0, where each instruction may be interpreted: slow, but the last. */
_Noreturn void exc_report(const uint64_t *f, uint64_t cr2);

_Noreturn void exc_report(const uint64_t *f, uint64_t cr2)
{
	print("\nR3 EXCEPTION vector=%lu error=%lx rip=%lx cs=%lx rflags=%lx rsp=%lx cr2=%lx\n",
	      f[0], f[1], f[2], f[3], f[4], f[5], cr2);
	leave(99);
}
