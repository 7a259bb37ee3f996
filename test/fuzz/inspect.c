/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What virga-remote tells of a snapshot: state.json, a zero byte, config.json. Whatever they say, what
 * is printed is text that a terminal does not obey.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "remote/inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const struct json *told)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	inspect_print(f, told);
	fclose(f);
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < ' ' && text[i] != '\n') || text[i] == 0x7f)
			abort();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct inspect_memory m = { .bytes = size, .data = size / 2 };
	AUTO_JSON struct json *state = NULL, *config = NULL, *told = NULL;
	AUTO_FREE char *text = mem_new(size + 1);
	size_t len = strnlen((const char *)data, size);
	struct err e = { 0 };

	memcpy(text, data, size);
	if (json_parse(&state, text, len, &e) < 0)
		return 0;
	if (len == size)
		config = json_obj();
	else if (json_parse(&config, text + len + 1, size - len - 1, &e) < 0)
		return 0;
	if (inspect_describe(&told, state, config, &m, &e) == 0)
		print(told);
	else if (!e.count)
		abort();
	return 0;
}
