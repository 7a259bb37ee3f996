/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where RAM is in the x86 machine, and what guests are told of it: zones one after the other from
 * 0 on, up to the hole below 4 GiB, the rest from 4 GiB on, then what may be plugged later, which
 * guests hear of from elsewhere. Control thread; no state. See plat.h for the whole map.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "mem/gmem.h"

/* RAM is not in [from, to). */
struct x86_hole {
	uint64_t from, to;
};
/* Lays the zones of the plan, in their order. Each part begins and ends at a multiple of its zone's
 * page; what that leaves free stays free. A zone that meets the hole goes on behind it. Sizes
 * are multiples of pages; fails when addresses run out at `end`. */
MUST int x86_ram_lay(struct gmem_plan *p, const struct x86_hole *hole, uint64_t end, struct err *e);

/* RAM from 0 and from 4 GiB on without a hole: what firmware reads in CMOS. */
uint64_t x86_ram_low(const struct gmem *m);
uint64_t x86_ram_high(const struct gmem *m);

/* The memory map as guests are told, for hvm_start_info and the zero page. Types as in both: 1
 * RAM, 2 reserved. */
#define X86_MAP_RAM 1
#define X86_MAP_RESERVED 2
#define X86_MAP_MAX (GMEM_ZONES_MAX + 4)
struct x86_map_entry {
	uint64_t base, size;
	uint32_t type;
};
uint32_t x86_map(struct x86_map_entry out[X86_MAP_MAX], const struct gmem *m);
