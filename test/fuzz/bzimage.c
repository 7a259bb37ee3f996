/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the bzImage half of the loader (fw/load): whatever the header says, the kernel is loaded
 * inside guest memory and the copy of its header stays in bounds, or it is refused with a
 * sentence.
 */
#include "payload.h"

/* fields behind this byte of the input are the header's, so that few mutations reach them all */
#define HEADER 0x1f1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[HEADER + INPUT_MAX];
	struct load_kernel k;
	struct err e = { 0 };

	if (size < 0x20 || size > INPUT_MAX)
		return 0;
	memset(file, 0, HEADER);
	memcpy(file + HEADER, data, size);
	le16_put(file + 0x1fe, 0xaa55);
	memcpy(file + 0x202, "HdrS", 4);
	if (load_kernel(&k, ram(), file_of(file, HEADER + size), &e)) {
		if (e.kind == ERR_NONE)
			abort();
		return 0;
	}
	if (k.kind != LOAD_BZIMAGE || k.end > RAM || k.header_len > sizeof k.header)
		abort();
	return 0;
}
