/* SPDX-License-Identifier: Apache-2.0 */
/* A guest goes on where all that it has seen is there; all that is missing is named at once. */
#include "arch/x86/cpuidmatch.h"

#include <string.h>

#include "base/mem.h"
#include "test.h"

#define VENDOR                                                                                     \
	{                                                                                          \
		.leaf = 0, .eax = 7, .ebx = 0x756e6547, .edx = 0x49656e69, .ecx = 0x6c65746e       \
	}

static const struct hv_cpuid seen[] = {
	VENDOR,
	{ .leaf = 1, .ecx = 0x80000201, .edx = 0x10000fff },
	{ .leaf = 7, .sub = 0, .sub_matters = true, .ebx = 0x20, .edx = 0x4 },
	{ .leaf = 7, .sub = 1, .sub_matters = true, .eax = 0x10 },
	{ .leaf = 0x80000002, .eax = 0x41414141 },
};

TEST(the_same_and_more_will_do)
{
	struct hv_cpuid has[ARRAY_LEN(seen) + 1];
	struct err e = { 0 };

	memcpy(has, seen, sizeof(seen));
	has[5] = (struct hv_cpuid){ .leaf = 0x80000007, .edx = 0x100 };
	has[1].ecx |= 1 << 12;
	has[4].eax = 0x42424242; /* a name is no feature */
	assert_int_equal(cpuid_match(seen, 5, seen, 5, &e), 0);
	assert_int_equal(cpuid_match(seen, 5, has, 6, &e), 0);
}

TEST(bits_that_follow_the_guests_own_doing_do_not_matter)
{
	struct hv_cpuid was[ARRAY_LEN(seen)];
	struct err e = { 0 };

	memcpy(was, seen, sizeof(seen));
	was[1].ecx |= 1u << 27; /* OSXSAVE */
	was[1].edx |= 1u << 28;
	assert_int_equal(cpuid_match(was, 5, seen, 5, &e), 0);
}

TEST(all_that_is_missing_is_named)
{
	struct hv_cpuid has[] = { VENDOR, { .leaf = 1, .ecx = 0x80000200, .edx = 0x10000fff } };
	struct err e = { 0 };
	char line[400];

	assert_int_equal(cpuid_match(seen, 5, has, 2, &e), -1);
	err_line(&e, line, sizeof(line));
	assert_non_null(strstr(line, "ECX of leaf 0x1.0 bits 0x1, EBX of leaf 0x7.0 bits 0x20, "
				     "EDX of leaf 0x7.0 bits 0x4, EAX of leaf 0x7.1 bits 0x10"));
}

TEST(another_makers_processor_is_refused)
{
	struct hv_cpuid has[ARRAY_LEN(seen)];
	struct err e = { 0 };
	char line[400];

	memcpy(has, seen, sizeof(seen));
	memcpy(&has[0].ebx, "Auth", 4);
	memcpy(&has[0].edx, "enti", 4);
	memcpy(&has[0].ecx, "cAMD", 4);
	assert_int_equal(cpuid_match(seen, 5, has, 5, &e), -1);
	err_line(&e, line, sizeof(line));
	assert_non_null(strstr(line, "seen a processor of GenuineIntel, and this host's is of "
				     "AuthenticAMD"));
	assert_int_equal(cpuid_match(seen, 5, NULL, 0, &e), -1);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_same_and_more_will_do),
		T(bits_that_follow_the_guests_own_doing_do_not_matter),
		T(all_that_is_missing_is_named),
		T(another_makers_processor_is_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
