/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of RAM. Zones go end to end, so that RAM has no gaps but where huge pages force one:
 * a huge page of the host can serve the guest as one only where both begin at a multiple of it. See
 * ram.h.
 */
#include "arch/x86/ram.h"

#include <inttypes.h>

#include "arch/arch.h"
#include "arch/x86/plat.h"
#include "base/bits.h"

#define LOW_MIN MIB(2) /* tables, and somewhere for a kernel to begin */

/* How much of a zone's remainder fits at *at, which is moved to where a page can begin. 0 below
 * the hole: nothing fits any more. */
static uint64_t room_at(uint64_t *at, const struct x86_hole *hole, uint64_t page, uint64_t left)
{
	*at = align_up(*at, page);
	if (*at >= hole->to)
		return left;
	return *at < hole->from ? min_u64(left, align_down(hole->from - *at, page)) : 0;
}

int x86_ram_lay(struct gmem_plan *p, const struct x86_hole *hole, uint64_t end, struct err *e)
{
	uint64_t at = 0;

	p->parts = 0;
	for (uint32_t z = 0; z < p->zones; z++) {
		uint64_t page = p->zone[z].page, size = p->zone[z].size, off = 0;

		while (off < size) {
			uint64_t n = room_at(&at, hole, page, size - off);

			if (!n) {
				at = hole->to;
				continue;
			}
			if (at > end || n > end - at)
				return err_set(e, ERR_BAD,
					       "%" PRIu64 " MiB at 0x%" PRIx64
					       " do not fit into the physical addresses",
					       n >> 20, at);
			p->part[p->parts++] = (struct gmem_part){ GPA(at), n, z, off, 0 };
			at += n;
			off += n;
		}
	}
	return 0;
}

/* What may be plugged later: one region for each zone that has such, behind all RAM. */
static int lay_later(struct gmem_plan *p, uint64_t end, struct err *e)
{
	uint64_t at = GIB(4);

	for (uint32_t i = 0; i < p->parts; i++)
		at = max_u64(at, p->part[i].base.v + p->part[i].size);
	for (uint32_t z = 0; z < p->zones; z++) {
		const struct backing *b = &p->zone[z];
		uint64_t size = b->how.later;

		if (!size)
			continue;
		at = align_up(at, max_u64(X86_PLUG_ALIGN, b->page));
		if (at > end || size > end - at)
			return err_set(e, ERR_BAD,
				       "hotplug_size: %" PRIu64 " MiB at 0x%" PRIx64
				       " do not fit into the physical addresses",
				       size >> 20, at);
		p->part[p->parts++] = (struct gmem_part){
			.base = GPA(at),
			.size = size,
			.zone = z,
			.off = b->size,
			.block = max_u64(MIB(2), b->page),
		};
		at += size;
	}
	return 0;
}

/* The first RAM has to be in one piece: low memory, the tables in it, and 1 MiB above. */
static int judge_low(const struct gmem_plan *p, struct err *e)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < p->parts && p->part[i].base.v == end; i++)
		end += p->part[i].size;
	if (end >= LOW_MIN)
		return 0;
	return err_set(e, ERR_BAD,
		       "memory begins with %" PRIu64
		       " KiB in one piece, and needs 2 MiB: make the first zone larger",
		       end >> 10);
}

int arch_ram(struct gmem_plan *p, const struct vm_conf *c, uint8_t phys_bits, struct err *e)
{
	const struct x86_hole hole = { X86_RAM_GAP, GIB(4) };
	uint8_t bits = x86_phys_bits(c, phys_bits);
	/* at least the smallest PCI window lies behind RAM */
	uint64_t end = bits < 33 ? 0 : align_down(x86_platform_area(bits), X86_WINDOW_ALIGN);

	end = end > GIB(4) ? end - 1 : 0;
	if (x86_ram_lay(p, &hole, end, e) < 0 || lay_later(p, end, e) < 0)
		return err_in(e, "memory, with %u physical address bits", bits);
	return judge_low(p, e);
}

uint64_t x86_ram_low(const struct gmem *m)
{
	return gmem_run(m, GPA(0));
}

uint64_t x86_ram_high(const struct gmem *m)
{
	return gmem_run(m, GPA(GIB(4)));
}

uint32_t x86_map(struct x86_map_entry out[X86_MAP_MAX], const struct gmem *m)
{
	uint32_t n = 0;

	out[n++] = (struct x86_map_entry){ 0, X86_LOW_RAM_END, X86_MAP_RAM };
	out[n++] =
		(struct x86_map_entry){ X86_HIGH_RAM, x86_ram_low(m) - X86_HIGH_RAM, X86_MAP_RAM };
	for (unsigned int i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = gmem_region(m, i);
		struct x86_map_entry *last = &out[n - 1];

		if (r->block || r->base.v < last->base + last->size)
			continue;
		if (r->base.v == last->base + last->size)
			last->size += r->size;
		else if (n < X86_MAP_MAX - 1)
			out[n++] = (struct x86_map_entry){ r->base.v, r->size, X86_MAP_RAM };
	}
	out[n++] = (struct x86_map_entry){ X86_ECAM, X86_ECAM_SIZE, X86_MAP_RESERVED };
	return n;
}
