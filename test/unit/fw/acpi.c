/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The AML builder: lengths at the borders of their encodings, names, numbers, checksums.
 */
#include "fw/acpi.h"

#include <string.h>

#include "base/bits.h"
#include "test.h"

/* Reads a PkgLength; returns its value, *n is its own size. */
static size_t length_at(const uint8_t *p, unsigned int *n)
{
	unsigned int more = p[0] >> 6;
	size_t v = more ? p[0] & 0xfu : p[0] & 0x3fu;

	for (unsigned int i = 0; i < more; i++)
		v |= (size_t)p[1 + i] << (4 + 8 * i);
	*n = more + 1;
	return v;
}

/* A scope with n bytes behind its name has a length that covers exactly itself, name and bytes. */
static unsigned int scope_of(size_t n)
{
	struct aml a = { 0 };
	unsigned int own;

	aml_scope(&a, "ABCD");
	aml_zeros(&a, n);
	aml_end(&a);
	aml_u8(&a, 0xa5);
	assert_int_equal(a.bytes[0], 0x10);
	size_t len = length_at(a.bytes + 1, &own);

	assert_int_equal(len, own + 4 + n);
	assert_int_equal(a.bytes[1 + len], 0xa5);
	assert_memory_equal(a.bytes + 1 + own, "ABCD", 4);
	aml_fini(&a);
	return own;
}

TEST(package_lengths_are_right_at_every_border)
{
	/* 4 bytes of name: the last body that fits one, two, three bytes of length */
	static const struct {
		size_t body;
		unsigned int own;
	} rows[] = {
		{ 0, 1 },
		{ 0x3f - 1 - 4, 1 },
		{ 0x3f - 4, 2 },
		{ 0xfff - 2 - 4, 2 },
		{ 0xfff - 1 - 4, 3 },
		{ 0xfffff - 3 - 4, 3 },
		{ 0xfffff - 2 - 4, 4 },
		{ 0x200000, 4 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(scope_of(rows[i].body), rows[i].own);
	for (size_t n = 0; n < 300; n++)
		(void)scope_of(n);
	for (size_t n = 4000; n < 4200; n++)
		(void)scope_of(n);
}

TEST(blocks_nest_and_each_covers_what_is_inside)
{
	struct aml a = { 0 };
	unsigned int outer, inner;

	aml_scope(&a, "\\_SB_");
	aml_device(&a, "DEVA");
	aml_zeros(&a, 100);
	aml_end(&a);
	aml_device(&a, "DEVB");
	aml_end(&a);
	aml_end(&a);
	size_t len = length_at(a.bytes + 1, &outer);

	assert_int_equal(len + 1, a.len);
	const uint8_t *d = a.bytes + 1 + outer + 5;

	assert_int_equal(d[0], 0x5b);
	assert_int_equal(d[1], 0x82);
	len = length_at(d + 2, &inner);
	assert_int_equal(len, inner + 4 + 100);
	d += 2 + len;
	assert_int_equal(d[1], 0x82);
	assert_memory_equal(d + 3, "DEVB", 4);
	assert_ptr_equal(d + 7, a.bytes + a.len);
	aml_fini(&a);
}

TEST(resources_hold_their_size_and_end_with_a_tag)
{
	for (unsigned int n = 0; n < 40; n++) {
		struct aml a = { 0 };
		unsigned int own;

		aml_resources(&a);
		for (unsigned int i = 0; i < n; i++)
			aml_res_io(&a, 0x3f8, 8);
		aml_end(&a);
		size_t len = length_at(a.bytes + 1, &own);

		assert_int_equal(len + 1, a.len);
		bool wide = 8 * n + 2 > 0xff;

		assert_int_equal(a.bytes[1 + own], wide ? 0x0b : 0x0a);
		assert_int_equal(le_get(a.bytes + 2 + own, wide ? 2 : 1), 8 * n + 2);
		assert_int_equal(a.bytes[a.len - 2], 0x79);
		aml_fini(&a);
	}
}

TEST(numbers_take_the_shortest_form)
{
	static const struct {
		uint64_t v;
		size_t len;
		uint8_t op;
	} rows[] = {
		{ 0, 1, 0x00 },	      { 1, 1, 0x01 },	       { 2, 2, 0x0a },
		{ 0xff, 2, 0x0a },    { 0x100, 3, 0x0b },      { 0xffff, 3, 0x0b },
		{ 0x10000, 5, 0x0c }, { 0xffffffff, 5, 0x0c }, { 0x100000000, 9, 0x0e },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct aml a = { 0 };

		aml_int(&a, rows[i].v);
		assert_int_equal(a.len, rows[i].len);
		assert_int_equal(a.bytes[0], rows[i].op);
		if (a.len > 1)
			assert_int_equal(le_get(a.bytes + 1, (unsigned int)a.len - 1), rows[i].v);
		aml_fini(&a);
	}
}

TEST(fields_follow_one_another_and_tell_their_bits)
{
	static const uint8_t want[] = { 0x5b, 0x81, 19,	  'R', 'E', 'G', '_', 0x43, 'L', 'O', 'N',
					'G',  0x40, 0x04, 0,   8,   'O', 'N', 'E',  '_', 1 };
	struct aml a = { 0 };

	aml_fields(&a, "REG_", 4);
	aml_unit(&a, "LONG", 64);
	aml_unit(&a, NULL, 8);
	aml_unit(&a, "ONE_", 1);
	aml_end(&a);
	assert_int_equal(a.len, sizeof(want));
	assert_memory_equal(a.bytes, want, sizeof(want));
	aml_fini(&a);
}

TEST(eisa_ids_are_packed_as_the_specification_shows)
{
	struct aml a = { 0 };

	aml_eisa(&a, "PNP0501"); /* ACPI: 0x0105D041 */
	assert_int_equal(le32_get(a.bytes + 1), 0x0105d041);
	aml_fini(&a);
}

TEST(paths_have_prefixes_for_two_and_more_names)
{
	struct aml a = { 0 };

	aml_path(&a, "\\_SB_.PC00");
	assert_memory_equal(a.bytes, "\\\x2e_SB_PC00", 10);
	a.len = 0;
	aml_path(&a, "^^GDAT");
	assert_memory_equal(a.bytes, "^^GDAT", 6);
	a.len = 0;
	aml_path(&a, "\\_SB_.PC00.S001");
	assert_memory_equal(a.bytes, "\\\x2f\x03_SB_PC00S001", 15);
	a.len = 0;
	aml_path(&a, "\\");
	assert_int_equal(a.len, 2);
	assert_int_equal(a.bytes[1], 0);
	aml_fini(&a);
}

TEST(processor_names_do_not_meet_up_to_8192)
{
	static char seen[8192][4];
	struct aml a = { 0 };

	for (uint32_t i = 0; i < 8192; i++) {
		a.len = 0;
		aml_processor_device(&a, i);
		memcpy(seen[i], a.bytes + a.len - 4, 4);
		aml_end(&a);
	}
	assert_memory_equal(seen[0], "C000", 4);
	assert_memory_equal(seen[63], "C03F", 4);
	assert_memory_equal(seen[4096], "D000", 4);
	for (uint32_t i = 1; i < 8192; i++)
		assert_true(memcmp(seen[i], seen[i - 1], 4) > 0);
	aml_fini(&a);
}

TEST(tables_sum_to_zero_and_hold_their_length)
{
	struct aml a = { 0 };
	uint8_t sum = 0;

	aml_zeros(&a, 3);
	size_t t = acpi_table(&a, "MCFG", 1, "OEM", "TABLE");

	aml_u64(&a, 0x123456789abcdef0);
	acpi_table_end(&a, t);
	assert_int_equal(t, 3);
	assert_int_equal(le32_get(a.bytes + 3 + 4), 36 + 8);
	for (size_t i = 3; i < a.len; i++)
		sum = (uint8_t)(sum + a.bytes[i]);
	assert_int_equal(sum, 0);
	aml_fini(&a);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(package_lengths_are_right_at_every_border),
		T(blocks_nest_and_each_covers_what_is_inside),
		T(resources_hold_their_size_and_end_with_a_tag),
		T(numbers_take_the_shortest_form),
		T(fields_follow_one_another_and_tell_their_bits),
		T(eisa_ids_are_packed_as_the_specification_shows),
		T(paths_have_prefixes_for_two_and_more_names),
		T(processor_names_do_not_meet_up_to_8192),
		T(tables_sum_to_zero_and_hold_their_length),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
