/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walk of the ACPI tables: checksums, what each points to, and the registers they name. `acpihex`
 * prints every table whole, so that the test outside can hand them to iasl.
 * Specification: ACPI 6.5 chapter 5.
 */
#include "acpi.h"

#include "guest.h"
#include "told.h"

static uint64_t xsdt(void)
{
	uint64_t rsdp = told_rsdp();

	for (uint64_t a = 0xa0000; !rsdp && a < 0x100000; a += 16)
		if (rd64(a) == 0x2052545020445352ul) /* "RSD PTR " */
			rsdp = a;
	return rsdp ? rd64(rsdp + 24) : 0;
}

/* Table i of the XSDT; after the last comes the DSDT, to which only the FADT points; then 0. */
static uint64_t table_at(uint32_t i)
{
	uint64_t x = xsdt();
	uint32_t n = x ? (rd32(x + 4) - 36) / 8 : 0;

	if (i < n)
		return rd64(x + 36 + 8ul * i);
	if (i > n)
		return 0;
	for (uint32_t k = 0; k < n; k++) {
		uint64_t t = rd64(x + 36 + 8ul * k);

		if (rd32(t) == 0x50434146) /* FACP: X_DSDT, or DSDT */
			return rd64(t + 140) ? rd64(t + 140) : rd32(t + 40);
	}
	return 0;
}

uint64_t acpi_find(const char *signature)
{
	uint64_t t;

	for (uint32_t i = 0; (t = table_at(i)); i++)
		if (!memcmp((const void *)t, signature, 4))
			return t;
	return 0;
}

/* OperationRegion (name, SystemMemory, qword, ...) */
uint64_t acpi_region(const char *name)
{
	uint64_t t = acpi_find("DSDT"), len = t ? rd32(t + 4) : 0;

	for (uint64_t i = 36; i + 16 < len; i++)
		if (rd8(t + i) == 0x5b && rd8(t + i + 1) == 0x80 &&
		    !memcmp((const void *)(t + i + 2), name, 4) && rd8(t + i + 7) == 0x0e)
			return rd64(t + i + 8);
	return 0;
}

uint64_t acpi_ecam(void)
{
	uint64_t t = acpi_find("MCFG");

	return t ? rd64(t + 44) : 0;
}

static void show_table(uint64_t t)
{
	uint32_t len = rd32(t + 4), s = sum8(t, len);

	print("R3 TABLE %c%c%c%c len=%u rev=%u oem=%c%c%c%c%c%c\n", rd8(t), rd8(t + 1), rd8(t + 2),
	      rd8(t + 3), len, rd8(t + 8), rd8(t + 10), rd8(t + 11), rd8(t + 12), rd8(t + 13),
	      rd8(t + 14), rd8(t + 15));
	if (s)
		check(false, "checksum of the table at %lx is %x", t, s);
}

static void show_fadt(void)
{
	uint64_t t = acpi_find("FACP");

	if (!check(t, "FADT there"))
		return;
	print("R3 FADT flags=%x reset=%x:%lx value=%x pmtimer=%x xpmtimer=%lx sleep=%lx status=%lx "
	      "boot_arch=%x\n",
	      rd32(t + 112), rd8(t + 116), rd64(t + 120), rd8(t + 128), rd32(t + 76), rd64(t + 212),
	      rd64(t + 248), rd64(t + 260), rd16(t + 109));
	uint32_t a = inl(0x608);

	delay_us(2000);
	uint32_t ticks = inl(0x608) - a;

	check(ticks > 7000 && ticks < 20000000, "PM timer runs: %u ticks in 2 ms or more", ticks);
}

static void show_madt(void)
{
	uint64_t t = acpi_find("APIC");
	uint32_t cpus = 0, ioapics = 0, overrides = 0;

	if (!check(t, "MADT there"))
		return;
	for (uint64_t p = t + 44; p < t + rd32(t + 4) && rd8(p + 1); p += rd8(p + 1)) {
		uint8_t type = rd8(p);

		cpus += (type == 0 && (rd8(p + 4) & 1)) || (type == 9 && (rd8(p + 8) & 1));
		overrides += type == 2;
		if (type != 1)
			continue;
		ioapics++;
		print("R3 IOAPIC id=%u at=%x gsi=%u\n", rd8(p + 2), rd32(p + 4), rd32(p + 8));
	}
	print("R3 MADT lapic=%x cpus=%u ioapics=%u overrides=%u\n", rd32(t + 36), cpus, ioapics,
	      overrides);
}

void acpi_run(void)
{
	uint64_t rsdp = told_rsdp(), t;

	if (rsdp) {
		check(!sum8(rsdp, 20) && !sum8(rsdp, 36), "RSDP at %lx checksums", rsdp);
		check(rd8(rsdp + 15) >= 2, "RSDP revision %u", rd8(rsdp + 15));
	}
	if (!check(xsdt() && !sum8(xsdt(), rd32(xsdt() + 4)), "XSDT checksum"))
		return;
	for (uint32_t i = 0; (t = table_at(i)); i++)
		show_table(t);
	show_fadt();
	show_madt();
	t = acpi_find("MCFG");
	if (check(t, "MCFG there"))
		print("R3 MCFG base=%lx segment=%u buses=%u-%u\n", rd64(t + 44), rd16(t + 52),
		      rd8(t + 54), rd8(t + 55));
}

void acpi_hex(void)
{
	uint64_t t;

	for (uint32_t i = 0; (t = table_at(i)); i++) {
		uint32_t len = rd32(t + 4);

		for (uint32_t off = 0; off < len; off += 64) {
			print("R3 HEX %u %u ", i, off);
			for (uint32_t k = off; k < len && k < off + 64; k++)
				print("%02x", rd8(t + k));
			print("\n");
		}
	}
}
