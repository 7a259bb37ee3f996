/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line CONNECT: what clients of Cloud Hypervisor and Firecracker send, and what nobody should.
 */
#include "test.h"

#include <string.h>

#include "net/vsline.h"

static enum vsline judge(const char *text, uint32_t *port, uint32_t *used)
{
	*port = *used = 0;
	return vsline_read(port, used, text, (uint32_t)strlen(text));
}

TEST(a_line_names_a_port_and_ends_where_it_ends)
{
	static const struct {
		const char *text;
		uint32_t port, used;
	} good[] = {
		{ "CONNECT 52\n", 52, 11 },
		{ "CONNECT 52\nfollows", 52, 11 },
		{ "connect 0\n", 0, 10 },
		{ "Connect 4294967295\n", 4294967295u, 19 },
		{ "CONNECT 52\r\n", 52, 12 },
		{ "  CONNECT \t 52 \n", 52, 16 },
		{ "CONNECT 52 and more\n", 52, 20 },
		{ "CONNECT +52\n", 52, 12 },
		{ "CONNECT 00000000000000000000052\n", 52, 32 },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint32_t port, used;

		assert_int_equal(judge(good[i].text, &port, &used), VSLINE_OK);
		assert_int_equal(port, good[i].port);
		assert_int_equal(used, good[i].used);
	}
}

TEST(a_line_that_is_not_whole_is_waited_for)
{
	static const char *const part[] = { "",		 "C", "CONNECT",
					    "CONNECT 5", "X", "CONNECT 52                     " };
	uint32_t port, used;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		assert_int_equal(judge(part[i], &port, &used), VSLINE_MORE);
}

TEST(a_line_that_says_something_else_is_bad)
{
	static const char *const bad[] = {
		"\n",
		" \n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT 1x\n",
		"CONNECT -1\n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999999999999\n",
		"CONNECTED 1\n",
		"CONNEC 1\n",
		"CONNECT1\n",
		"CONNECT +\n",
		"CONNECT 0x10\n",
		"52\n",
		"CONNECT 52                        \n",
		"                                CONNECT",
	};
	uint32_t port, used;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(judge(bad[i], &port, &used), VSLINE_BAD);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_line_names_a_port_and_ends_where_it_ends),
		T(a_line_that_is_not_whole_is_waited_for),
		T(a_line_that_says_something_else_is_bad),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
