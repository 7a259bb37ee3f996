/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pattern over all of RAM behind HEAP, looked at and changed in rounds, so that whoever saves and
 * restores the guest meanwhile is found out: by a page that is of an earlier round, of another
 * page, or no longer zeros. rounds=N says how many.
 */
#include "guest.h"
#include "told.h"

#define PAGE 4096ul
#define LINE 64ul

/* The last round in which this page was written, ~0 for one that never is. */
static uint64_t round_of(uint64_t page, uint64_t now)
{
	uint64_t third = page / PAGE % 3;

	if (page / PAGE % 8 == 7)
		return ~0ul;
	return now < third ? 0 : now - (now - third) % 3;
}

static uint64_t value(uint64_t page, uint64_t at, uint64_t round)
{
	return (page + at + 1) * 0x9e3779b97f4a7c15ul ^ round << 40;
}

static void write_page(uint64_t page, uint64_t round)
{
	for (uint64_t at = 0; at < PAGE; at += LINE)
		wr64(page + at, value(page, at, round));
}

static bool is_right(uint64_t page, uint64_t now)
{
	uint64_t round = round_of(page, now);

	for (uint64_t at = 0; at < PAGE; at += LINE)
		if (rd64(page + at) != (round == ~0ul ? 0 : value(page, at, round)))
			return false;
	return true;
}

/* Looks at what the round before left, and writes this one's third; how many pages are wrong. */
static uint64_t look(uint64_t round)
{
	uint64_t a, n, bad = 0;
	uint32_t type;

	for (uint32_t i = 0; (type = told_ram(i, &a, &n)); i++) {
		if (type != 1 || a < 0x100000)
			continue;
		for (uint64_t p = a == 0x100000 ? HEAP : a; p + PAGE <= a + n; p += PAGE) {
			if (round && !is_right(p, round - 1))
				bad++;
			if (round_of(p, round) == round)
				write_page(p, round);
			else if (!round && round_of(p, 0) != ~0ul)
				write_page(p, 0);
		}
	}
	return bad;
}

void pattern_run(void)
{
	uint64_t rounds = 20, a, n, bad = 0;
	uint32_t type;

	word("rounds", &rounds);
	for (uint32_t i = 0; (type = told_ram(i, &a, &n)); i++)
		if (type == 1 && a >= 0x100000)
			map(a, n);
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t wrong = look(round);

		bad += wrong;
		print("R3 ROUND %lu bad=%lu\n", round, wrong);
	}
	check(!bad, "memory is what it was, in %lu rounds, bad %lu", rounds, bad);
}
