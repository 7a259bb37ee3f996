/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the bzImage half of the loader (fw/load): whatever the header says, the kernel is loaded
 * inside guest memory and the copy of its header stays in bounds, or it is refused with a
 * sentence.
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
/* fields behind this byte of the input are the header's, so that few mutations reach them all */
#define HEADER 0x1f1

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
