/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory as bytes of a file: pages of zeros are holes there and cost nothing, neither time nor
 * room. What the file is and where in it memory lies is the caller's: a core, a snapshot. Who has
 * the machine at rest.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/work.h"
#include "mem/gmem.h"

/* Writes [base, base+size), all of which is RAM, at off of a file that holds nothing there yet. The
 * file's size is the caller's. w hears of the bytes, and can break it off (ERR_STATE). */
MUST int ramfile_save(const struct gmem *m, gpa_t base, uint64_t size, int fd, uint64_t off,
		      struct work *w, struct err *e);
/* The way back, into RAM that nobody has written to. Holes become zeros. Refused when the file ends
 * before. */
MUST int ramfile_load(const struct gmem *m, gpa_t base, uint64_t size, int fd, uint64_t off,
		      struct work *w, struct err *e);
