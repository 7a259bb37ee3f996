/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Touches pages before the guest does, by as many threads as there are processors: the one thing
 * in making a VM whose time grows with the size of its memory. It can be broken off. The caller's
 * thread waits; the threads `prefaultN` have a filter of their own. It knows ranges of host
 * addresses, not guests. madvise(2), MADV_POPULATE_WRITE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/work.h"

struct prefault_range {
	unsigned char *host; /* page aligned */
	uint64_t size;
	uint64_t page; /* what it consists of */
};

/* Returns when all pages are there, with what was in them. The work, if any, is told of every turn
 * and asked a hundred times a second. Sentences: not enough memory or huge pages, a host without
 * the call, broken off (ERR_STATE). count 0 does nothing. */
MUST int prefault(const struct prefault_range *r, unsigned int count, struct work *w,
		  struct err *e);
