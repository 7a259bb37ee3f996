/* SPDX-License-Identifier: Apache-2.0 */
/* A record of what was touched as foreign text: pieces of the file, and none behind its end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "mem/touched.h"

#define BYTES MIB(1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = mem_strn((const char *)data, size);
	struct err e = { 0 };
	struct touched t;

	if (touched_parse(&t, text, BYTES, &e) < 0) {
		if (t.piece || !e.count)
			abort();
		return 0;
	}
	if (t.count > TOUCHED_MAX)
		abort();
	for (uint32_t i = 0; i < t.count; i++)
		if (t.piece[i] >= BYTES / TOUCHED_PIECE)
			abort();
	touched_fini(&t);
	return 0;
}
