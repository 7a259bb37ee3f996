/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual addresses to physical ones, as the processor would find them, without its rights and
 * without setting accessed bits. Tables are the guest's and change under our hands: each entry is
 * read once. See arch/debug.h. Specification: Intel SDM volume 3 §4.3 (32-bit), §4.4 (PAE), §4.5
 * (4 and 5 levels).
 */
#include "arch/debug.h"

#define CR0_PG (1ull << 31)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_LA57 (1ull << 12)
#define EFER_LMA (1ull << 10)

#define PRESENT 1u
#define LARGE (1u << 7)
#define PLACE 0x000ffffffffff000ull /* the address in an entry of 8 bytes */

/* One way of paging: entries of so many bytes; each level takes so many bits of the address, the
 * last level's pages are of 4 KiB; the levels from below at which a large page may be. */
struct way {
	unsigned int levels, bits, entry;
	unsigned int top_bits; /* of the highest level */
	unsigned int large;    /* bit n: level n may be a page, 0 being the lowest */
};

static const struct way ways[] = {
	{ .levels = 5, .bits = 9, .entry = 8, .top_bits = 9, .large = 6 },
	{ .levels = 4, .bits = 9, .entry = 8, .top_bits = 9, .large = 6 },
	{ .levels = 3, .bits = 9, .entry = 8, .top_bits = 2, .large = 2 },
	{ .levels = 2, .bits = 10, .entry = 4, .top_bits = 10, .large = 2 },
};

static struct way way_of(const struct hv_x86_regs *r)
{
	struct way w;

	if (r->efer & EFER_LMA)
		return ways[r->cr4 & CR4_LA57 ? 0 : 1];
	if (r->cr4 & CR4_PAE)
		return ways[2];
	w = ways[3];
	if (!(r->cr4 & CR4_PSE))
		w.large = 0;
	return w;
}

/* Is it one that the processor takes: sign-extended in 64-bit mode, else of 32 bits? */
static bool is_lawful(const struct way *w, uint64_t va)
{
	unsigned int used = 12 + w->bits * w->levels;

	if (w->levels < 4)
		return va >> 32 == 0;
	return (uint64_t)((int64_t)(va << (64 - used)) >> (64 - used)) == va;
}

/* The physical address of a large page of 4 MiB has its upper bits in lower ones of the entry:
 * PSE-36. */
static uint64_t page_of(const struct way *w, uint64_t entry, unsigned int shift)
{
	if (w->entry == 4 && shift > 12)
		return (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
	return entry & PLACE & ~((1ull << shift) - 1);
}

static int read_entry(uint64_t *out, const struct gmem *m, gpa_t at, unsigned int size)
{
	uint8_t b[8] = { 0 };

	if (gmem_read(m, at, b, size) < 0)
		return -1;
	*out = 0;
	for (unsigned int i = 0; i < size; i++)
		*out |= (uint64_t)b[i] << 8 * i;
	return *out & PRESENT ? 0 : -1;
}

static int walk(gpa_t *out, uint64_t *run, const struct way *w, uint64_t table,
		const struct gmem *m, uint64_t va)
{
	for (unsigned int level = w->levels; level-- > 0;) {
		unsigned int shift = 12 + w->bits * level;
		unsigned int bits = level + 1 == w->levels ? w->top_bits : w->bits;
		uint64_t index = va >> shift & ((1ull << bits) - 1), entry;

		if (read_entry(&entry, m, GPA(table + index * w->entry), w->entry) < 0)
			return -1;
		if (!level || (entry & LARGE && w->large & 1u << level)) {
			uint64_t mask = (1ull << shift) - 1;

			*out = GPA(page_of(w, entry, shift) | (va & mask));
			*run = mask + 1 - (va & mask);
			return 0;
		}
		table = w->entry == 4 ? entry & 0xfffff000 : entry & PLACE;
	}
	return -1;
}

int arch_translate(gpa_t *out, uint64_t *run, const struct arch_cpu *c, const struct gmem *m,
		   uint64_t va)
{
	const struct hv_x86_regs *r = &c->r;
	struct way w = way_of(r);

	if (!(r->cr0 & CR0_PG)) {
		*out = GPA(va);
		*run = 4096 - va % 4096;
		return va >> 32 ? -1 : 0;
	}
	if (!is_lawful(&w, va))
		return -1;
	/* PAE's first table is of 32 bytes and lies anywhere at a multiple of that */
	return walk(out, run, &w, r->cr3 & (w.levels == 3 ? 0xffffffe0 : PLACE), m, va);
}
