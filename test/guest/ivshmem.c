/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory by hand: it is there, follows its BAR, and with the word `share=N`, N being 1 or 2,
 * this machine and the other one see what each of them writes. Specification: QEMU
 * docs/specs/ivshmem-spec.
 */
#include "guest.h"
#include "pci.h"

#define ID 0x11101af4
#define BAR 0x18
#define COMMAND 4
#define MARK 0x73686172656400ul

static uint32_t find(void)
{
	for (uint32_t bdf = 0; bdf < 256; bdf += 8)
		if (pci_rd32(bdf, 0) == ID)
			return bdf;
	return 0;
}

static void bar_set(uint32_t bdf, uint64_t at)
{
	pci_wr32(bdf, BAR, (uint32_t)at);
	pci_wr32(bdf, BAR + 4, (uint32_t)(at >> 32));
}

/* Below its place, a few times; what is in it comes along. */
static void move(uint32_t bdf, uint64_t home, uint64_t size)
{
	uint32_t bad = 0;

	for (uint64_t i = 1; i <= 20; i++) {
		uint64_t to = home - (i % 4 + 1) * size;

		map(to, size);
		wr64(i == 1 ? home + 8 : home - ((i - 1) % 4 + 1) * size + 8, MARK + i);
		bar_set(bdf, to);
		bad += rd64(to + 8) != MARK + i;
	}
	pci_wr16(bdf, COMMAND, 0x404);
	bad += rd64(home - size + 8) != ~0ul;
	bar_set(bdf, home);
	pci_wr16(bdf, COMMAND, 0x406);
	bad += rd64(home + 8) != MARK + 20;
	check(!bad, "shared memory is where its BAR is (%u times not)", bad);
}

/* Each counts in a word of its own up to 1000, never more than one ahead of the other. */
static void share(uint64_t at, uint64_t me)
{
	uint64_t mine = at + 64 * me, other = at + 64 * (3 - me), t = rdtsc();

	for (uint64_t n = 1; n <= 1000; n++) {
		wr64(mine, n);
		while (rd64(other) < n) {
			if (lapse(t, 60000000)) {
				check(false, "the other machine is heard (at %lu)", n);
				return;
			}
			cpu_relax();
		}
	}
	check(true, "both machines see what the other writes");
}

void ivshmem_run(void)
{
	uint64_t size, regs, at, me;
	uint32_t bdf = find(), odd = 0;

	if (!check(bdf, "ivshmem is there"))
		return;
	regs = pci_bar(bdf, 0, &size);
	for (uint64_t i = 0; i < size; i += 4)
		odd += rd32(regs + i) != 0;
	check(size == 256 && !odd, "ivshmem has its registers");
	at = pci_bar(bdf, 2, &size);
	print("R3 IVSHMEM size=%lu first=0x%lx\n", size, rd64(at));
	wr64(at, MARK);
	wr64(at + size - 8, MARK + 1);
	check(rd64(at) == MARK && rd64(at + size - 8) == MARK + 1, "shared memory is memory");
	if (word("share", &me))
		share(at, me);
	else
		move(bdf, at, size);
}
