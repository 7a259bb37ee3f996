/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as it is nice to write in C: with ' for ". Include after test.h. */
#pragma once

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

static inline struct json *json_quoted(const char *quoted)
{
	AUTO_FREE char *text = mem_str(quoted);
	struct json *j = NULL;
	struct err e = { 0 };

	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (json_parse(&j, text, strlen(text), &e))
		fail_msg("the test itself is wrong: %s", text);
	return j;
}
