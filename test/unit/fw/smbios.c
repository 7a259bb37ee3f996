/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMBIOS: the entry point's checksum and lengths, the chain of structures, strings, the uuid's
 * order of bytes.
 */
#include "fw/smbios.h"

#include <string.h>

#include "base/bits.h"
#include "fw/acpi.h"
#include "test.h"

#define BASE 0xf0000

/* Structure of a type, or NULL; walks the whole chain, which must end at the length that the
 * entry tells. */
static const uint8_t *find(const struct aml *a, uint8_t type)
{
	const uint8_t *p = a->bytes + (le64_get(a->bytes + 16) - BASE), *found = NULL;
	const uint8_t *end = p + le32_get(a->bytes + 12);

	assert_ptr_equal(end, a->bytes + a->len);
	for (;;) {
		assert_true(p + 4 <= end);
		uint8_t t = p[0];

		if (t == type)
			found = p;
		p += p[1];
		while (p[0] || p[1])
			p++;
		p += 2;
		if (t == 127)
			break;
	}
	assert_ptr_equal(p, end);
	return found;
}

/* String n of a structure. */
static const char *text(const uint8_t *s, uint8_t n)
{
	const char *p = (const char *)s + s[1];

	while (--n)
		p += strlen(p) + 1;
	return p;
}

static void build(struct aml *a, const struct smbios *s)
{
	struct err e = { 0 };

	assert_int_equal(smbios_build(a, BASE, s, &e), 0);
}

TEST(entry_point_sums_to_zero_and_defaults_name_the_machine)
{
	struct aml a = { 0 };
	uint8_t sum = 0;

	build(&a, &(struct smbios){ 0 });
	assert_memory_equal(a.bytes, "_SM3_", 5);
	for (unsigned int i = 0; i < a.bytes[6]; i++)
		sum = (uint8_t)(sum + a.bytes[i]);
	assert_int_equal(sum, 0);
	const uint8_t *s = find(&a, 1);

	assert_string_equal(text(s, s[4]), "Cloud Hypervisor");
	assert_string_equal(text(s, s[5]), "cloud-hypervisor");
	assert_int_equal(s[7], 0);
	s = find(&a, 0);
	assert_int_equal(s[1], 0x14);
	assert_string_equal(text(s, s[4]), "cloud-hypervisor");
	assert_int_equal(s[8], 0); /* no date of release */
	assert_int_equal(s[0x13], 0x10);
	assert_null(find(&a, 3));
	assert_null(find(&a, 11));
	aml_fini(&a);
}

TEST(every_word_of_the_platform_is_told)
{
	char *oem[] = { "one", "", "three" };
	const struct smbios said = {
		.manufacturer = "M",
		.product = "P",
		.version = "V",
		.serial = "S",
		.sku = "K",
		.family = "F",
		.asset_tag = "T",
		.oem = oem,
		.oem_count = 3,
		.uuid = "00112233-4455-6677-8899-AABBccddeeff",
	};
	static const uint8_t uuid[] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
					0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	struct aml a = { 0 };

	build(&a, &said);
	const uint8_t *s = find(&a, 1);

	assert_string_equal(text(s, s[4]), "M");
	assert_string_equal(text(s, s[5]), "P");
	assert_string_equal(text(s, s[6]), "V");
	assert_string_equal(text(s, s[7]), "S");
	assert_string_equal(text(s, s[0x19]), "K");
	assert_string_equal(text(s, s[0x1a]), "F");
	assert_memory_equal(s + 8, uuid, 16);
	s = find(&a, 3);
	assert_int_equal(s[1], 0x15);
	assert_int_equal(s[4], 0);
	assert_string_equal(text(s, s[8]), "T");
	s = find(&a, 11);
	assert_int_equal(s[4], 3);
	assert_string_equal(text(s, 1), "one");
	assert_string_equal(text(s, 3), "three");
	aml_fini(&a);
}

TEST(a_uuid_that_is_none_is_refused)
{
	static const char *const bad[] = { "", "00112233-4455-6677-8899-aabbccddee" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct aml a = { 0 };
		struct err e = { 0 };

		assert_int_equal(smbios_build(&a, BASE, &(struct smbios){ .uuid = bad[i] }, &e),
				 -1);
		assert_int_equal(e.kind, ERR_BAD);
		aml_fini(&a);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(entry_point_sums_to_zero_and_defaults_name_the_machine),
		T(every_word_of_the_platform_is_told),
		T(a_uuid_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
