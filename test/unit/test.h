/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every unit test includes: cmocka and a short way to say a fact. A test file ends with
 *	int main(void) { const struct CMUnitTest t[] = { T(fact), ... }; return cmocka_run_group_tests(t, NULL, NULL); }
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST(name) static void name(void **state __attribute__((unused)))
#define T(name) cmocka_unit_test(name)
