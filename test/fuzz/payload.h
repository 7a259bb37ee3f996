/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of payloads share: a small guest memory that stays from input to input, and the
 * input as a file.
 */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "fw/load.h"
#include "mem/backing.h"

#define RAM MIB(4)
#define INPUT_MAX 65536

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
