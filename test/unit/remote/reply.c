/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed of answers: bodies as they came, errors as a list, nothing that a line could hide. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "remote/reply.h"

static char *out, *errors;
static size_t out_len, errors_len;

static int print(unsigned int code, const char *body)
{
	const struct httpc_answer a = { .code = code, .body = body, .body_len = strlen(body) };
	FILE *o, *f;
	int status;

	free(out);
	free(errors);
	o = open_memstream(&out, &out_len);
	f = open_memstream(&errors, &errors_len);
	status = reply_print(o, f, "boot", &a);
	fclose(o);
	fclose(f);
	return status;
}

TEST(a_body_is_printed_as_it_came_and_ends_its_line)
{
	assert_int_equal(print(200, "{\"a\":1}"), 0);
	assert_string_equal(out, "{\"a\":1}\n");
	assert_int_equal(print(200, "# EOF\n"), 0);
	assert_string_equal(out, "# EOF\n");
	assert_int_equal(print(204, ""), 0);
	assert_string_equal(out, "");
	assert_string_equal(errors, "");
}

TEST(a_refusal_is_a_numbered_list)
{
	assert_int_equal(print(500, "[\"outer\",\"inner\",\"cause\"]"), 1);
	assert_string_equal(out, "");
	assert_string_equal(errors, "boot was refused with 500 Internal Server Error:\n"
				    "  0: outer\n  1: inner\n  2: cause\n");
	assert_int_equal(print(404, ""), 1);
	assert_string_equal(errors, "boot was refused with 404 Not Found\n");
}

TEST(a_refusal_that_is_no_list_is_shown_in_one_line)
{
	assert_int_equal(print(500, "<html>\n\x1b[2Joops\r\n"), 1);
	assert_string_equal(errors, "boot was refused with 500 Internal Server Error:\n"
				    "  <html>  [2Joops  \n");
	assert_int_equal(print(400, "{\"a\":1}"), 1);
	assert_non_null(strstr(errors, "\n  {\"a\":1}\n"));
	assert_int_equal(print(400, "[1,null,\"a\\u001b[31m\\nb\"]"), 1);
	assert_non_null(strstr(errors, "\n  0: \n  1: \n  2: a [31m b\n"));
}

TEST(long_refusals_are_cut)
{
	AUTO_FREE char *body = mem_new(100001);

	memset(body, 'x', 100000);
	assert_int_equal(print(500, body), 1);
	assert_true(errors_len < 2200);
	assert_non_null(strstr(errors, "xxx...\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_body_is_printed_as_it_came_and_ends_its_line),
		T(a_refusal_is_a_numbered_list),
		T(a_refusal_that_is_no_list_is_shown_in_one_line),
		T(long_refusals_are_cut),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(out);
	free(errors);
	return failed;
}
