/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pvmemcontrol by hand: says of pages what shall become of them, with the word `look` standing still
 * in between, from two processors if there are two; and attacks. Protocol: the Linux patches "virt:
 * pvmemcontrol".
 */
#include "guest.h"
#include "pci.h"
#include "smp.h"

#define ID 0x00871ae0
#define BASE (HEAP + (16ul << 20)) /* what is spoken of */
#define SIZE (64ul << 20)
#define BUFFER HEAP
#define PAGE 4096ul

enum {
	RESET = 0x060fe6d2,
	REGISTER = 0x0e359539,
	READY = 0x0ca8d227,
	DISCONNECT = 0x030f5da0,
	ACK = 0x03cf5196,
	ERROR = 0x01fba249,
};
enum { INFO, DONTNEED, REMOVE, FREE, PAGEOUT, DONTDUMP, NAME, LOCK, UNLOCK, PROTECT_NONE };
enum { PROTECT_RW = 12, MERGE, UNMERGE, FUNCTIONS };
enum { E_NOMEM = 12, E_INVAL = 22, E_NOTSUP = 95 };

static uint64_t regs;

static uint32_t say(uint32_t command)
{
	wr32(regs + 8, command);
	return rd32(regs + 8);
}

/* The number of a buffer, or 0. */
static uint32_t add_buffer(uint64_t at)
{
	wr32(regs, (uint32_t)at);
	wr32(regs + 4, (uint32_t)(at >> 32));
	return say(REGISTER) == ACK ? rd32(regs) : 0;
}

/* What errno it is answered with; ~0: with none. */
static uint32_t ask(uint32_t number, uint64_t buffer, const uint64_t request[4])
{
	for (uint32_t i = 0; i < 4; i++)
		wr64(buffer + 8 * i, request[i]);
	wr32(regs + 8, number);
	return rd64(buffer) == request[0] && request[0] && rd64(buffer + 8) == request[1]
		       ? ~0u
		       : rd32(buffer);
}

static uint32_t call(uint32_t n, uint64_t function, uint64_t at, uint64_t len)
{
	return ask(n, BUFFER, (uint64_t[]){ function, at, len, 7 });
}

static uint32_t connect(void)
{
	uint32_t n;

	if (say(RESET) != ACK)
		return 0;
	n = add_buffer(BUFFER);
	return say(READY) == ACK ? n : 0;
}

static void look(void)
{
	if (word("look", NULL))
		pause_run();
}

static void write_all(void)
{
	for (uint64_t at = 0; at < SIZE; at += PAGE)
		wr64(BASE + at, ~at);
}

static uint32_t wrong(bool gone)
{
	uint32_t n = 0;

	for (uint64_t at = 0; at < SIZE; at += PAGE)
		n += rd64(BASE + at) != (gone ? 0 : ~at);
	return n;
}

/* Whether the memory is the host's again, and new when it is touched. */
static void gives(uint32_t n, uint64_t function)
{
	write_all();
	look();
	check(!call(n, function, BASE, SIZE), "function %lu is answered", function);
	look();
	check(!wrong(true), "what function %lu took is new", function);
}

static void keeps(uint32_t n)
{
	static const uint8_t kept[] = { PAGEOUT, DONTDUMP, LOCK, UNLOCK, PROTECT_RW, UNMERGE };

	write_all();
	for (size_t i = 0; i < sizeof kept; i++) {
		uint32_t e = call(n, kept[i], BASE, SIZE);

		check(!e, "function %u is answered (%u)", kept[i], e);
	}
	/* not every kernel names or merges */
	print("R3 PVMEM name=%u merge=%u\n", call(n, NAME, BASE, 2ul << 20),
	      call(n, MERGE, BASE + (4ul << 20), 2ul << 20));
	check(!call(n, LOCK, BASE, 32ul << 20), "half of it is locked");
	check(!wrong(false), "what was only spoken of is unchanged");
	look();
	check(!wrong(false), "and stays so");
	check(!call(n, UNLOCK, BASE, SIZE), "it is unlocked");
}

static void refuses(uint32_t n)
{
	check(call(n, PROTECT_NONE, BASE, PAGE) == E_NOTSUP &&
		      call(n, 10, BASE, PAGE) == E_NOTSUP && call(n, 11, BASE, PAGE) == E_NOTSUP,
	      "protections are refused");
	check(call(n, FUNCTIONS, BASE, PAGE) == E_NOTSUP && call(n, ~0ul, BASE, PAGE) == E_NOTSUP,
	      "functions that are none are refused");
	check(call(n, DONTNEED, BASE + 1, PAGE) == E_INVAL &&
		      call(n, LOCK, BASE, PAGE + 1) == E_INVAL && call(n, LOCK, BASE, 0) == E_INVAL,
	      "what is not whole pages is refused");
	check(call(n, DONTNEED, 1ul << 45, PAGE) == E_INVAL &&
		      call(n, LOCK, regs & ~(PAGE - 1), PAGE) == E_INVAL &&
		      call(n, REMOVE, BASE, ~0ul - PAGE + 1) == E_INVAL &&
		      call(n, PAGEOUT, BASE, 1ul << 45) == E_INVAL,
	      "what is not memory is refused");
	check(!wrong(false), "what was refused is unchanged");
}

static void work_aside(void *arg)
{
	uint32_t n = *(uint32_t *)arg, bad = 0;

	for (uint32_t i = 0; i < 2000; i++)
		bad += ask(n, BUFFER + PAGE,
			   (uint64_t[]){ i % 2 ? LOCK : UNLOCK, BASE + SIZE + i % 64 * PAGE, PAGE,
					 0 }) != 0;
	*(uint32_t *)arg = bad;
}

/* Two processors, each by its own buffer. */
static void side_by_side(void)
{
	uint32_t mine, other, bad = 0;

	say(RESET);
	mine = add_buffer(BUFFER);
	other = add_buffer(BUFFER + PAGE);
	check(say(READY) == ACK && mine && other == mine + 1, "each buffer has its number");
	if (!smp_start(1))
		return;
	smp_call(1, work_aside, &other);
	for (uint32_t i = 0; i < 2000; i++)
		bad += call(mine, i % 2 ? DONTNEED : PAGEOUT, BASE + i % 64 * PAGE, PAGE) != 0;
	while (!smp_idle(1))
		cpu_relax();
	check(!bad && !other, "two processors ask side by side (%u, %u not)", bad, other);
}

static bool find(void)
{
	static uint64_t size;

	for (uint32_t bdf = 0; bdf < 256 && !regs; bdf += 8)
		if (pci_rd32(bdf, 0) == ID)
			regs = pci_bar(bdf, 0, &size);
	return check(regs && size == 16, "pvmemcontrol is there");
}

void pvmemcontrol_run(void)
{
	uint32_t n;

	if (!find())
		return;
	check(rd32(regs + 8) == ERROR, "it waits for a reset");
	n = connect();
	if (!check(n, "it is connected"))
		return;
	check(!call(n, INFO, 0, 0) && rd64(BUFFER + 8) == PAGE && rd64(BUFFER + 16) == 1 &&
		      !rd64(BUFFER + 24),
	      "it tells page and version");
	gives(n, DONTNEED);
	gives(n, REMOVE);
	gives(n, FREE);
	keeps(n);
	refuses(n);
	side_by_side();
	check(say(DISCONNECT) == ERROR, "it is disconnected");
}

/* Half of it is locked, by a device that may be ready since another time. */
void pvmemcontrol_lock(void)
{
	uint32_t n;

	if (!find())
		return;
	n = rd32(regs + 8) == ACK ? 0x80000000 : connect();
	check(!call(n, INFO, 0, 0) && !call(n, LOCK, BASE, SIZE / 2), "memory is locked");
}

/* --- attacks --- */

/* One that it has to break at, or ignore: it must not answer, and a reset heals it. */
static void broken_by(const char *what, uint32_t n)
{
	bool silent = call(n, LOCK, BASE, PAGE) == ~0u;

	n = connect();
	check(silent && n && !call(n, INFO, 0, 0), "it lives on: %s", what);
}

static void many_buffers(void)
{
	uint32_t n = 0;

	say(RESET);
	while (n < 100000 && add_buffer(BUFFER))
		n++;
	check(n >= 4096 && n < 100000, "buffers have an end");
	broken_by("too many buffers", 0x80000000);
}

/* Every other page: each mark takes something of the host, so there is an end to them. */
static void many_marks(uint32_t n)
{
	uint32_t done = 0, e = 0;

	for (; done < SIZE / PAGE / 2 && !e; done++)
		e = call(n, LOCK, BASE + 2 * done * PAGE, PAGE);
	check(e == E_NOMEM && done > 400, "marks have an end (%u after %u)", e, done);
	check(!call(n, UNLOCK, BASE, SIZE) && !call(n, LOCK, BASE, PAGE), "and can be had again");
}

static void random_requests(uint32_t n)
{
	for (uint32_t i = 0; i < 20000; i++) {
		uint64_t x = rnd(), at = BASE + (x >> 8) % SIZE, len = (x >> 40) % (1ul << 20);

		if (x & 0x80)
			at &= ~(PAGE - 1), len &= ~(PAGE - 1);
		ask(n, BUFFER,
		    (uint64_t[]){ x & 0x40 ? rnd() : x % 16, x & 0x3000 ? at : rnd(),
				  x & 0xc000 ? len : rnd(), rnd() });
	}
	check(!call(n, INFO, 0, 0), "it lives on: requests of chance");
}

static void random_registers(void)
{
	static const uint32_t words[] = { RESET, REGISTER,   READY,	 DISCONNECT, ACK,
					  ERROR, 0x80000000, 0x80000001, 0xffffffff, 0 };

	for (uint32_t i = 0; i < 20000; i++) {
		uint64_t x = rnd();

		if (x & 3)
			wr32(regs + 8, words[x / 4 % 10]);
		else if (x & 4)
			wr64(regs, BUFFER + (x >> 40) % 64 * 8);
		else
			wr8(regs + (x >> 8) % 16, (uint8_t)x);
		rd64(regs + (x >> 16) % 9);
	}
	broken_by("registers of chance", 0x80000fff);
}

/* The buffer is part of what is taken away. */
static void own_buffer(uint32_t n)
{
	uint32_t e = call(n, DONTNEED, BUFFER, PAGE);

	check(!e && !call(n, INFO, 0, 0), "a buffer may be given back (%u)", e);
}

void pvmemcontrol_attack(void)
{
	uint32_t n;

	if (!find())
		return;
	broken_by("a call before all else", 0x80000000);
	say(RESET);
	broken_by("a call before a buffer", 0x80000000);
	say(RESET), n = add_buffer(BUFFER);
	broken_by("a call before it is ready", n);
	say(RESET), say(READY);
	broken_by("a number that is none", 0x80000000);
	n = connect();
	broken_by("another number", n + 1);
	check(say(REGISTER) == ERROR, "a buffer comes too late");
	broken_by("a buffer that comes too late", n);
	check(say(READY) == ACK ? false : rd32(regs + 8) == ERROR, "ready twice is an error");
	broken_by("ready twice", n);
	say(RESET);
	check(!add_buffer(1ul << 45), "a buffer outside of memory");
	broken_by("a buffer outside of memory", 0x80000000);
	say(RESET);
	check(!add_buffer(~0ul - 8), "a buffer at the end of everything");
	broken_by("a buffer at the end of everything", 0x80000000);
	say(ACK);
	broken_by("an answer as command", 0x80000000);
	say(ERROR);
	broken_by("an error as command", 0x80000000);
	n = connect();
	wr64(regs + 8, n);
	wr16(regs + 8, (uint16_t)n);
	wr8(regs + 11, 0x80);
	wr32(regs + 12, n);
	check(rd32(regs + 8) == ACK && !call(n, INFO, 0, 0), "odd writes are none");
	own_buffer(n);
	many_marks(n);
	random_requests(n);
	many_buffers();
	random_registers();
}
