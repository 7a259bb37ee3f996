/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where guest RAM comes from: private anonymous pages, a memfd, huge pages. It maps and unmaps, and
 * advises the kernel; it never looks inside. Nothing here costs in proportion to the size but
 * prefaulting, which is asked for. Control thread. madvise(2), memfd_create(2).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct backing_args {
	bool shared;		/* a memfd that other processes can map */
	bool hugepages;		/* of the host's pool; always shared */
	uint64_t hugepage_size; /* bytes, power of two; 0 = the host's default */
	bool prefault;		/* every page is there before the guest runs */
	bool reserve;		/* fail now rather than later when the host is short of memory */
	bool mergeable;		/* KSM may merge equal pages */
	bool thp;		/* transparent huge pages where they fit */
};

struct backing {
	void *host; /* page aligned; 2 MiB aligned where that helps; inaccessible pages before and behind it */
	uint64_t size;
	int fd;	    /* or -1 */
	void *span; /* the whole reservation */
	uint64_t span_size;
};

/* Sentences: not enough memory, no huge pages of this size, none free. */
MUST int backing_map(struct backing *b, uint64_t size, const struct backing_args *a, struct err *e);
void backing_unmap(struct backing *b);
