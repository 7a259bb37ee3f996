/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of our own memory are there, in RAM or in swap, by the kernel's tables: nobody looks into the
 * memory, and no page comes by asking. One thread for each. proc_pid_pagemap(5).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PAGEMAP_ENTRIES 16384u

struct pagemap {
	int fd;	      /* or -1: nothing is known */
	uint64_t at;  /* the page of entry 0 */
	uint32_t has; /* entries */
	uint64_t entry[PAGEMAP_ENTRIES];
};

/* Where the kernel does not say, all pages count as there. */
void pagemap_open(struct pagemap *p);
void pagemap_close(struct pagemap *p);
/* Pages may have come since the kernel was asked. */
void pagemap_forget(struct pagemap *p);

enum pagemap_kind {
	PAGEMAP_ANY, /* pages that are there */
	PAGEMAP_OWN, /* those of them that are nobody else's: not the pages of a file */
};
/* Is the page at host of that kind? *n: for how many bytes of [host, host+size) the answer is the same;
 * both are whole pages of 4 KiB. It may stop early. */
bool pagemap_is(struct pagemap *p, uintptr_t host, uint64_t size, enum pagemap_kind kind,
		uint64_t *n);
