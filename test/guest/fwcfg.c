/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fw_cfg by hand: what is there, each item once through the port and once by DMA, and what happens
 * to DMA that goes nowhere. Prints a line for each file, and one for each part of the kernel.
 * Specification: QEMU docs/specs/fw_cfg.
 */
#include "guest.h"

#define SELECT 0x510
#define DATA 0x511
#define DMA_HIGH 0x514
#define DMA_LOW 0x518

#define ASK HEAP
#define BUF (HEAP + 0x1000)
#define BUF_LEN 0x1000000u
#define DIR 0x19
#define BY_PORT_MAX 8192u /* more than that takes long */

static uint32_t be32(uint64_t a)
{
	return __builtin_bswap32(rd32(a));
}

/* Returns control as it is then. */
static uint32_t dma(uint32_t control, uint32_t len, uint64_t to)
{
	wr32(ASK, __builtin_bswap32(control));
	wr32(ASK + 4, __builtin_bswap32(len));
	wr64(ASK + 8, __builtin_bswap64(to));
	outl(DMA_HIGH, 0);
	outl(DMA_LOW, __builtin_bswap32((uint32_t)ASK));
	return be32(ASK);
}

static bool fetch(uint16_t key, uint32_t len)
{
	return !dma((uint32_t)key << 16 | 8 | 2, len, BUF);
}

/* The port gives what DMA has given. */
static bool same_by_port(uint16_t key, uint32_t len)
{
	uint32_t n = len < BY_PORT_MAX ? len : BY_PORT_MAX, wrong = 0;

	outw(SELECT, key);
	for (uint32_t i = 0; i < n; i++)
		wrong += inb(DATA) != rd8(BUF + i);
	return !wrong && (n < len || !inb(DATA));
}

static void show(const char *what, uint16_t key, uint32_t len)
{
	if (len > BUF_LEN)
		len = BUF_LEN;
	bool good = fetch(key, len) && same_by_port(key, len);

	print("R3 FWCFG %s key=%u len=%u sum=%u\n", what, key, len, sum8(BUF, len));
	check(good, "fw_cfg %s reads alike through the port and by DMA", what);
}

static void show_sized(const char *what, uint16_t size, uint16_t data)
{
	if (fetch(size, 4) && rd32(BUF))
		show(what, data, rd32(BUF));
}

static void show_files(void)
{
	static char name[56];
	uint32_t n;

	if (!check(fetch(DIR, 4), "fw_cfg has a directory"))
		return;
	n = be32(BUF);
	for (uint32_t i = 0; i < n; i++) {
		/* the rest of the directory comes from where it was left */
		fetch(DIR, 4 + 64 * (i + 1));
		uint64_t at = BUF + 4 + 64ul * i;

		memcpy(name, (const void *)(at + 8), sizeof name);
		show(name, __builtin_bswap16(rd16(at + 4)), be32(at));
	}
}

void fwcfg_run(void)
{
	outw(SELECT, 0);
	uint32_t q = inb(DATA), e = inb(DATA);

	if (!check(q == 'Q' && e == 'E', "fw_cfg is there"))
		return;
	check(inl(DMA_HIGH) == 0x554d4551 && inl(DMA_LOW) == 0x47464320, "fw_cfg does DMA");
	check(fetch(1, 4) && rd32(BUF) == 3, "and says so");
	show_sized("setup", 0x17, 0x18);
	show_sized("kernel", 0x08, 0x11);
	show_sized("initrd", 0x0b, 0x12);
	show_sized("cmdline", 0x14, 0x15);
	show_files();
	check(dma(8 | 2, 4096, 0xfffffffffffff000ul) == 1, "DMA to nowhere is an error");
	check(dma(8 | 16, 4, BUF) == 1, "so is a write");
	outl(DMA_LOW, 0xffffffff); /* no question to be found there */
	check(fetch(0, 4) && rd32(BUF) == 0x554d4551, "fw_cfg works after that");
}
