/* SPDX-License-Identifier: Apache-2.0 */
/* OpenMetrics text of a foreign server: whatever it says, samples are bounded and printable. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/omread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void printable(const char *text, size_t room)
{
	size_t n = strnlen(text, room);

	if (n == room)
		abort();
	for (size_t i = 0; i < n; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1);
	const char *at = text, *was = at;
	struct omread_sample s;

	memcpy(text, data, size);
	while (omread_next(&at, &s)) {
		if (at <= was || s.labels > OMREAD_LABELS)
			abort();
		was = at;
		printable(s.name, OMREAD_NAME);
		for (unsigned int i = 0; i < s.labels; i++) {
			printable(s.label[i].name, OMREAD_NAME);
			printable(s.label[i].value, OMREAD_VALUE);
		}
	}
	free(text);
	return 0;
}
