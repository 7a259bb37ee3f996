/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of older kinds that a PC's firmware leaves in memory: SMBIOS 3 and the Intel MP
 * table. Specifications: DMTF DSP0134; Intel MultiProcessor Specification 1.4.
 */
#include "guest.h"

static uint64_t scan(const char *mark, uint32_t len, uint64_t from, uint64_t to)
{
	for (uint64_t a = from; a < to; a += 16)
		if (!memcmp((const void *)a, mark, len))
			return a;
	return 0;
}

/* Print the strings behind a structure; returns the address of the next structure. */
static uint64_t smbios_strings(uint64_t p)
{
	if (!rd8(p))
		return p + 2;
	while (rd8(p)) {
		print("R3 SMBIOS string %s\n", (const char *)p);
		while (rd8(p))
			p++;
		p++;
	}
	return p + 1;
}

void smbios_run(void)
{
	uint64_t e = scan("_SM3_", 5, 0xf0000, 0x100000);

	if (!check(e && !sum8(e, rd8(e + 6)), "SMBIOS 3 entry with its checksum"))
		return;
	uint64_t p = rd64(e + 16), end = p + rd32(e + 12);

	print("R3 SMBIOS entry=%lx version=%u.%u max=%u\n", e, rd8(e + 7), rd8(e + 8),
	      rd32(e + 12));
	while (p + 4 <= end) {
		uint8_t type = rd8(p), len = rd8(p + 1);

		print("R3 SMBIOS type %u len=%u handle=%u\n", type, len, rd16(p + 2));
		if (len < 4)
			break;
		if (type == 0)
			print("R3 SMBIOS virtual=%u\n", rd8(p + 0x13) >> 4 & 1);
		if (type == 1)
			print("R3 SMBIOS uuid=%lx-%lx\n", rd64(p + 8), rd64(p + 16));
		p = smbios_strings(p + len);
		if (type == 127)
			break;
	}
	check(p <= end, "SMBIOS structures end inside their table");
}

void mptable_run(void)
{
	uint64_t f = scan("_MP_", 4, 0x9fc00, 0xa0000);

	if (!f)
		f = scan("_MP_", 4, 0xf0000, 0x100000);
	if (!check(f && !sum8(f, 16), "MP floating pointer with its checksum"))
		return;
	uint64_t t = rd32(f + 4), p = t + 44;
	uint32_t count[5] = { 0 };

	if (!check(rd32(t) == 0x504d4350 && !sum8(t, rd16(t + 4)), "MP table checksum"))
		return;
	for (uint32_t i = 0; i < rd16(t + 34); i++) {
		uint8_t type = rd8(p);

		if (!check(type < 5, "MP entry type %u", type))
			return;
		count[type]++;
		p += type ? 8 : 20;
	}
	print("R3 MPTABLE at=%lx cpus=%u buses=%u ioapics=%u lines=%u local=%u lapic=%x\n", f,
	      count[0], count[1], count[2], count[3], count[4], rd32(t + 36));
	check(p <= t + rd16(t + 4), "MP entries end inside their table");
}
