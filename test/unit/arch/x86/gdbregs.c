/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers as gdb numbers them: each is described, is read and set in its own place and size, and
 * disturbs no other; numbers that are none are refused.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/debug.h"
#include "base/bits.h"
#include "test.h"

TEST(every_register_is_described_once)
{
	char *text = arch_gdb_description();
	unsigned int n = 0;

	for (const char *p = text; (p = strstr(p, "<reg name=")); p++)
		n++;
	assert_int_equal(n, arch_gdb_registers());
	assert_non_null(strstr(text, "<architecture>i386:x86-64</architecture>"));
	free(text);
}

TEST(every_register_is_set_in_its_own_place)
{
	uint8_t in[ARCH_GDB_REGISTER_MAX], out[ARCH_GDB_REGISTER_MAX];

	for (unsigned int i = 0; i < arch_gdb_registers(); i++) {
		struct arch_cpu c = { 0 }, none = { 0 };
		size_t len = arch_gdb_get(&none, i, out);

		assert_in_range(len, 4, 16);
		/* tags say of an empty stack that all is empty */
		memset(in, 0, sizeof(in));
		in[0] = 0x55;
		in[1] = 0x55;
		assert_true(arch_gdb_put(&c, i, in, len));
		for (unsigned int k = 0; k < arch_gdb_registers(); k++) {
			uint8_t was[ARCH_GDB_REGISTER_MAX], is[ARCH_GDB_REGISTER_MAX];
			size_t n = arch_gdb_get(&none, k, was);

			assert_int_equal(arch_gdb_get(&c, k, is), n);
			if (k == i)
				assert_memory_equal(is, in, n);
		}
		assert_false(arch_gdb_put(&c, i, in, len - 1));
		assert_false(arch_gdb_put(&c, i, in, len + 1));
	}
}

TEST(a_number_that_is_none_is_refused)
{
	uint8_t b[ARCH_GDB_REGISTER_MAX] = { 0 };
	struct arch_cpu c = { 0 };

	assert_int_equal(arch_gdb_get(&c, arch_gdb_registers(), b), 0);
	assert_int_equal(arch_gdb_get(&c, UINT32_MAX, b), 0);
	assert_false(arch_gdb_put(&c, arch_gdb_registers(), b, 8));
}

/* The number of a register by its name in the description. */
static unsigned int number_of(const char *name)
{
	char *text = arch_gdb_description(), word[64] = "<reg name=\"";
	unsigned int n = 0;
	const char *p = text;

	strcat(strcat(word, name), "\"");
	while ((p = strstr(p, "<reg name=")) && strncmp(p, word, strlen(word))) {
		n++;
		p++;
	}
	assert_non_null(p);
	free(text);
	return n;
}

TEST(registers_are_in_the_order_of_their_names)
{
	struct arch_cpu c = { .r = { .rip = 0x1234, .cr3 = 0x5000, .efer = 0xd01 } };
	uint8_t b[ARCH_GDB_REGISTER_MAX];

	c.r.gpr[3] = 0xbb;
	c.r.seg[HV_GS].base = 0x77;
	assert_int_equal(arch_gdb_get(&c, number_of("rip"), b), 8);
	assert_int_equal(le64_get(b), 0x1234);
	assert_int_equal(arch_gdb_get(&c, number_of("rbx"), b), 8);
	assert_int_equal(le64_get(b), 0xbb);
	assert_int_equal(arch_gdb_get(&c, number_of("gs_base"), b), 8);
	assert_int_equal(le64_get(b), 0x77);
	assert_int_equal(arch_gdb_get(&c, number_of("cr3"), b), 8);
	assert_int_equal(le64_get(b), 0x5000);
	assert_int_equal(arch_gdb_get(&c, number_of("efer"), b), 8);
	assert_int_equal(le64_get(b), 0xd01);
}

TEST(the_fpus_tags_tell_numbers_from_zeros_and_from_nothing)
{
	struct arch_cpu c = { 0 };
	uint8_t b[ARCH_GDB_REGISTER_MAX];
	unsigned int n = number_of("ftag");

	assert_int_equal(arch_gdb_get(&c, n, b), 4);
	assert_int_equal(le32_get(b), 0xffff);
	/* the top is 6: st0 is register 6, st1 is 7 */
	c.f.sw = 6 << 11;
	c.f.used = 0xc0;
	le64_put(c.f.st[0], 1ull << 63);
	le16_put(c.f.st[0] + 8, 0x3fff);
	assert_int_equal(arch_gdb_get(&c, n, b), 4);
	assert_int_equal(le32_get(b), 0x4fff);
	le16_put(c.f.st[0] + 8, 0x7fff);
	arch_gdb_get(&c, n, b);
	assert_int_equal(le32_get(b), 0x6fff);
	le32_put(b, 0xfff0);
	assert_true(arch_gdb_put(&c, n, b, 4));
	assert_int_equal(c.f.used, 3);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_register_is_described_once),
		T(every_register_is_set_in_its_own_place),
		T(a_number_that_is_none_is_refused),
		T(registers_are_in_the_order_of_their_names),
		T(the_fpus_tags_tell_numbers_from_zeros_and_from_nothing),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
