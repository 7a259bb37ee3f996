/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the ELF half of the loader (fw/load): whatever the file says, it is loaded inside guest
 * memory above the VMM's tables, or refused with a sentence.
 */
#include "payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[INPUT_MAX];
	struct load_kernel k;
	struct err e = { 0 };
	uint64_t low;

	if (size < 64 || size > INPUT_MAX)
		return 0;
	memcpy(file, data, size);
	memcpy(file,
	       "\x7f"
	       "ELF\2\1",
	       6);
	if (load_kernel(&k, ram(), file_of(file, size), &e)) {
		if (e.kind == ERR_NONE)
			abort();
	} else if (k.kind != LOAD_ELF || k.entry < LOAD_FLOOR || k.entry >= RAM || k.end > RAM) {
		abort();
	}
	/* the first megabyte is never written; its last word stands for it */
	if (gmem_read(ram(), GPA(LOAD_FLOOR - 8), &low, sizeof low) || low)
		abort();
	return 0;
}
