/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SMBIOS structures of a virtual machine: firmware (0), system (1), chassis (3), strings of
 * the maker (11), end (127). A structure is its fixed part, then its strings, numbered from one,
 * then an empty one. See smbios.h.
 */
#include "fw/smbios.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/str.h"
#include "fw/acpi.h"

#define ENTRY_LEN 24
#define STRINGS_MAX 8
#define PCI_SUPPORTED (1u << 7)
#define VIRTUAL_MACHINE (1u << 4)
/* of wake-up types, chassis types and states */
#define UNKNOWN 2
#define SECURITY_NONE 3

/* The strings of the structure being written. */
struct strings {
	const char *s[STRINGS_MAX];
	uint8_t count;
};

/* A byte that refers to a string, 0 for none. */
static void ref(struct aml *a, struct strings *t, const char *s)
{
	if (!s || !*s) {
		aml_u8(a, 0);
		return;
	}
	assert(t->count < STRINGS_MAX);
	t->s[t->count++] = s;
	aml_u8(a, t->count);
}

static void head(struct aml *a, uint8_t type, uint8_t len)
{
	aml_u8(a, type);
	aml_u8(a, len);
	aml_u16(a, type); /* handle: one of each type */
}

static void tail(struct aml *a, const struct strings *t)
{
	for (uint8_t i = 0; i < t->count; i++)
		aml_raw(a, t->s[i], strlen(t->s[i]) + 1);
	aml_zeros(a, t->count ? 1 : 2);
}

static void put_firmware(struct aml *a)
{
	struct strings t = { 0 };

	head(a, 0, 0x14);
	ref(a, &t, "cloud-hypervisor");
	ref(a, &t, "0");
	aml_u16(a, 0);	  /* segment */
	ref(a, &t, NULL); /* release date */
	aml_u8(a, 0);
	aml_u64(a, PCI_SUPPORTED);
	aml_u8(a, 0);
	aml_u8(a, VIRTUAL_MACHINE);
	tail(a, &t);
}

/* The first three fields are little-endian in the structure (§7.2.1). */
static int read_uuid(uint8_t out[16], const char *text, struct err *e)
{
	static const uint8_t place[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t uuid[16];

	if (str_to_uuid(uuid, text, e))
		return -1;
	for (unsigned int i = 0; i < 16; i++)
		out[place[i]] = uuid[i];
	return 0;
}

static int put_system(struct aml *a, const struct smbios *s, struct err *e)
{
	struct strings t = { 0 };
	uint8_t uuid[16] = { 0 };

	if (s->uuid && read_uuid(uuid, s->uuid, e))
		return -1;
	head(a, 1, 0x1b);
	ref(a, &t, s->manufacturer ? s->manufacturer : "Cloud Hypervisor");
	ref(a, &t, s->product ? s->product : "cloud-hypervisor");
	ref(a, &t, s->version);
	ref(a, &t, s->serial);
	aml_raw(a, uuid, sizeof uuid);
	aml_u8(a, UNKNOWN); /* what woke it */
	ref(a, &t, s->sku);
	ref(a, &t, s->family);
	tail(a, &t);
	return 0;
}

/* There is a chassis only for the sake of its tag. */
static void put_chassis(struct aml *a, const struct smbios *s)
{
	struct strings t = { 0 };

	if (!s->asset_tag)
		return;
	head(a, 3, 0x15);
	ref(a, &t, NULL); /* manufacturer */
	aml_u8(a, UNKNOWN);
	ref(a, &t, NULL); /* version */
	ref(a, &t, NULL); /* serial number */
	ref(a, &t, s->asset_tag);
	for (int i = 0; i < 3; i++)
		aml_u8(a, UNKNOWN); /* boot-up, power supply, heat */
	aml_u8(a, SECURITY_NONE);
	aml_zeros(a, 8); /* maker's word, height, cords, contained elements */
	tail(a, &t);
}

static void put_oem(struct aml *a, const struct smbios *s)
{
	if (!s->oem_count)
		return;
	head(a, 11, 5);
	aml_u8(a, (uint8_t)min_u64(s->oem_count, 255));
	for (uint32_t i = 0; i < s->oem_count && i < 255; i++)
		/* an empty string would end the structure */
		aml_raw(a, *s->oem[i] ? s->oem[i] : " ", *s->oem[i] ? strlen(s->oem[i]) + 1 : 2);
	aml_u8(a, 0);
}

int smbios_build(struct aml *a, uint64_t base, const struct smbios *s, struct err *e)
{
	size_t start = a->len;

	aml_zeros(a, ENTRY_LEN);
	aml_zeros(a, 8); /* structures begin at a multiple of 16 */
	put_firmware(a);
	if (put_system(a, s, e))
		return -1;
	put_chassis(a, s);
	put_oem(a, s);
	head(a, 127, 4);
	aml_zeros(a, 2);
	uint8_t *p = a->bytes + start;

	memcpy(p, "_SM3_", 5);
	p[6] = ENTRY_LEN;
	p[7] = 3; /* version 3.2, revision of the entry point 1 */
	p[8] = 2;
	p[10] = 1;
	le32_put(p + 12, (uint32_t)(a->len - start - 32));
	le64_put(p + 16, base + 32);
	p[5] = acpi_checksum(p, ENTRY_LEN);
	return 0;
}
