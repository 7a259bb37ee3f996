/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pieces of a file of guest memory a guest touched first, in order, so that the next one from the
 * same file has them before it asks. Kept as a small file of text:
 *
 *	touched 1 134217728	the form, and the size of the file of memory
 *	0			numbers of pieces of 64 KiB, hexadecimal
 *	3f
 *	end 2			how many there are
 *
 * One without its end, or of another file, is none: that costs time and nothing else. Its owner's thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TOUCHED_PIECE 65536u
#define TOUCHED_MAX 16384u /* what is touched first: 1 GiB */

/* Zero-initialise. */
struct touched {
	uint32_t *piece;
	uint32_t count;
};

void touched_fini(struct touched *t);
/* Notes a piece; one too many is not noted. */
void touched_add(struct touched *t, uint64_t piece);
/* Reads what is in the file. On failure t is empty. */
MUST int touched_read(struct touched *t, int fd, uint64_t memory_bytes, struct err *e);
/* Puts it in place of what the file holds. */
MUST int touched_write(const struct touched *t, int fd, uint64_t memory_bytes, struct err *e);
/* The same of text; text ends with a zero byte. */
MUST int touched_parse(struct touched *t, const char *text, uint64_t memory_bytes, struct err *e);
