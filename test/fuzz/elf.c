/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the ELF half of the loader (fw/load): whatever the file says, it is loaded inside guest
 * memory above the VMM's tables, or refused with a sentence.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "fw/load.h"
#include "mem/backing.h"

#define RAM MIB(4)
#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gmem *ram(void)
{
	static struct gmem *m;
	struct err e = { 0 };

	if (!m && (gmem_new(&m, &e) || gmem_add(m, GPA(0), RAM, &(struct backing_args){ 0 }, &e)))
		abort();
	return m;
}

static int file_of(const uint8_t *data, size_t size)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	return fd;
}

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
