/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity map above 4 GiB, made on demand in steps of 1 GiB out of 2 MiB pages (1 GiB pages
 * are not to be had everywhere). The tables lie in user-accessible memory, so ring 3 fills them,
 * and an entry that was not present needs no flush.
 */
#include "guest.h"

#define TABLES 48
#define PTE_TABLE 0x67ul /* present, writable, user, accessed, dirty */
#define PTE_LARGE 0xe7ul

extern uint64_t pml4[512];
static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
static uint32_t tables_used;

/* The table that entry e points to; made when there is none. */
static uint64_t *table_under(uint64_t *e)
{
	if (!(*e & 1)) {
		if (tables_used == TABLES) {
			print("R3 FAIL out of page tables\n");
			leave(98);
		}
		*e = (uint64_t)tables[tables_used++] | PTE_TABLE;
	}
	return (uint64_t *)(*e & 0xffffffffff000ul);
}

static void map_gib(uint64_t gib)
{
	uint64_t *pdpt = table_under(&pml4[gib >> 9 & 511]);

	if (pdpt[gib & 511] & 1)
		return;
	uint64_t *pd = table_under(&pdpt[gib & 511]);

	for (uint64_t i = 0; i < 512; i++)
		pd[i] = gib << 30 | i << 21 | PTE_LARGE;
}

void map(uint64_t a, uint64_t n)
{
	for (uint64_t g = a >> 30; g <= (a + n - 1) >> 30; g++)
		map_gib(g);
}
