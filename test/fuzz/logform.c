/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of log lines: any bytes are refused or taken apart, and what was taken apart fills no
 * more than the room there is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/logform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log_record r = { .file = "f", .thread = "t", .msg = "m", .since_ns = UINT64_MAX };
	struct err e = { 0 };
	struct log_form f;
	size_t room;
	char *text, *out;

	if (size < 2)
		return 0;
	room = data[0];
	r.wall.tv_sec = (time_t)data[1] << 48;
	text = calloc(1, size - 1);
	memcpy(text, data + 2, size - 2);
	out = malloc(room + 1);
	if (log_form_parse(&f, text, &e) == 0 && log_form_fill(out, room, &f, &r) > room)
		abort();
	free(out);
	free(text);
	return 0;
}
