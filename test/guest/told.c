/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the VMM told the guest at entry, printed as lines for the test outside to compare: the
 * registers, and hvm_start_info (PVH) or boot_params (Linux). Checks only what is the same for
 * every configuration. Specifications: Xen public/arch-x86/hvm/start_info.h; Linux boot.rst.
 */
#include "told.h"
#include "guest.h"

static void told_regs(void)
{
	const struct entry *e = &entry;

	print("R3 REGS eax=%lx ebx=%lx ecx=%lx edx=%lx esi=%lx edi=%lx ebp=%lx esp=%lx\n", e->eax,
	      e->ebx, e->ecx, e->edx, e->esi, e->edi, e->ebp, e->esp);
	print("R3 REGS eflags=%lx cr0=%lx cr4=%lx cs=%lx ds=%lx ss=%lx\n", e->eflags, e->cr0,
	      e->cr4, e->cs, e->ds, e->ss);
}

static void told_pvh(void)
{
	uint64_t s = entry.info;

	print("R3 INFO magic=%x version=%u flags=%x modules=%u entries=%u rsdp=%lx\n", rd32(s),
	      rd32(s + 4), rd32(s + 8), rd32(s + 12), rd32(s + 48), rd64(s + 32));
	check(rd32(s) == 0x336ec578 && rd32(s + 4) == 1, "start-info");
	check((entry.cr0 & 0x80000001) == 1, "entered in protected mode without paging");
	check(!(entry.eflags & 0x200), "entered with interrupts off");
	for (uint32_t i = 0; i < rd32(s + 48); i++) {
		uint64_t m = rd64(s + 40) + 24 * i;

		print("R3 MAP %lx %lx %u\n", rd64(m), rd64(m + 8), rd32(m + 16));
	}
	for (uint32_t i = 0; i < rd32(s + 12); i++) {
		uint64_t m = rd64(s + 16) + 32 * i;

		told_module(rd64(m), rd64(m + 8));
	}
}

static void told_linux(void)
{
	uint64_t z = entry.info;
	uint32_t entries = rd8(z + 0x1e8);

	print("R3 INFO boot_flag=%x header=%x version=%x loader=%x entries=%u rsdp=%lx\n",
	      rd16(z + 0x1fe), rd32(z + 0x202), rd16(z + 0x206), rd8(z + 0x210), entries,
	      rd64(z + 0x70));
	check(rd16(z + 0x1fe) == 0xaa55 && rd32(z + 0x202) == 0x53726448, "setup-header");
	for (uint32_t i = 0; i < entries; i++) {
		uint64_t m = z + 0x2d0 + 20 * i;

		print("R3 MAP %lx %lx %u\n", rd64(m), rd64(m + 8), rd32(m + 16));
	}
	if (rd32(z + 0x21c))
		told_module(rd32(z + 0x218), rd32(z + 0x21c));
}

void told_module(uint64_t a, uint64_t n)
{
	map(a, n);
	print("R3 MODULE %lx %lu sum=%x\n", a, n, sum8(a, n));
}

uint64_t told_rsdp(void)
{
	if (entry.kind == ENTRY_PVH)
		return rd64(entry.info + 32);
	return rd64(entry.info + 0x70);
}

uint32_t told_ram(uint32_t i, uint64_t *a, uint64_t *n)
{
	bool pvh = entry.kind == ENTRY_PVH;
	uint32_t entries = pvh ? rd32(entry.info + 48) : rd8(entry.info + 0x1e8);
	uint64_t m = pvh ? rd64(entry.info + 40) + 24 * i : entry.info + 0x2d0 + 20 * i;

	if (i >= entries)
		return 0;
	*a = rd64(m);
	*n = rd64(m + 8);
	return rd32(m + 16);
}

void told_run(void)
{
	const char *c = cmdline();
	uint64_t n = 0;

	told_regs();
	while (c[n])
		n++;
	print("R3 CMDLINE %lu sum=%x\n", n, sum8((uint64_t)c, n));
	if (entry.kind == ENTRY_PVH)
		told_pvh();
	else
		told_linux();
}

/* Each RAM range: its ends and every 64 MiB between hold what is written, and nothing is
 * aliased. */
void ram_run(void)
{
	uint64_t a, n, bad = 0, words = 0, step = 64ul << 20;
	uint32_t type;

	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; (type = told_ram(i, &a, &n)); i++) {
			if (type != 1 || a < 0x100000)
				continue;
			map(a, n);
			for (uint64_t p = a == 0x100000 ? HEAP : a; p < a + n; p += step) {
				uint64_t top = p + step < a + n ? p + step : a + n;

				words++;
				if (pass && (rd64(p) != p || rd64(top - 8) != top - 8))
					bad++;
				wr64(p, p);
				wr64(top - 8, top - 8);
			}
		}
	}
	check(!bad && words, "ram holds %lu addresses, bad %lu", words, bad);
}
