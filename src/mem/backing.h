/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a zone of guest RAM comes from: private anonymous pages, a memfd, huge pages, a file. A
 * zone is opened once, then mapped in one or more parts, each at a place inside a span of host
 * addresses that was kept free for it. What can be found missing is found missing here, by a
 * sentence, and not when the guest touches a page: that would be SIGBUS. Nothing here looks into
 * the memory, and nothing costs in proportion to its size; touching all pages beforehand is
 * mem/prefault's. Control thread. madvise(2), memfd_create(2), mbind(2), fallocate(2).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BACKING_NAME "virga_ram" /* of guest memory in /proc/PID/maps */

/* How much of the memory the host has to promise when it is mapped. */
enum backing_reserve {
	BACKING_RESERVE_NEEDED, /* that whose lack would be SIGBUS: huge pages, room on a disk */
	BACKING_RESERVE_ALL,
	BACKING_RESERVE_NOTHING,
};

struct backing_args {
	const char *zone;	/* its name for sentences, borrowed; NULL = memory is one zone */
	const char *file;	/* that holds the memory, borrowed; NULL = none */
	uint64_t hugepage_size; /* bytes, power of two; 0 = the host's default */
	uint64_t later;	    /* bytes behind its size that may be wanted later, of the same kind */
	uint32_t host_node; /* when has_host_node: all pages come from this NUMA node */
	enum backing_reserve reserve;
	bool has_host_node;
	bool shared;	 /* other processes can map it: a memfd, or the file itself */
	bool hugepages;	 /* of the host's pool; always shared */
	bool prefault;	 /* every page is there before the guest runs; see gmem_prefault */
	bool mergeable;	 /* KSM may merge equal pages */
	bool thp;	 /* transparent huge pages where they fit */
	bool only_looks; /* nothing of it is written, and no room taken on a disk */
};

/* A zone that is open. Plain data; whoever holds it closes it. */
struct backing {
	struct backing_args how;
	uint64_t size;
	uint64_t page; /* parts begin and end at multiples of this: 4 KiB, or a huge page */
	int fd;	       /* or -1 */
	bool has_past; /* a file that may hold something: its pages are not zeros */
	bool scarce; /* what is not taken of the host beforehand may be lacking: see backing_take */
};

/* Opens what a zone of this size is made of. Sentences: no such file, too small, no huge pages of
 * this size, not so many on that node, no room on the disk, ... */
MUST int backing_open(struct backing *b, uint64_t size, const struct backing_args *a,
		      struct err *e);
/* Maps [off, off+size) of it at host, inside a span. Sentences: not enough memory, not enough huge
 * pages, no such NUMA node. What lies behind the zone's size is mapped without a promise. */
MUST int backing_map(const struct backing *b, void *host, uint64_t off, uint64_t size,
		     struct err *e);
/* Takes of the host what a part that is wanted now would end the VM without (SIGBUS): huge pages,
 * room on a disk. Whoever plugs memory, any thread. */
MUST int backing_take(const struct backing *b, uint64_t off, uint64_t size, struct err *e);
/* Gives pages back to the host: what is mapped at host and lies at off, whole pages of the zone.
 * They are there again when touched, as they were when the zone was new: zeros, or what a private
 * file holds. Any thread. */
MUST int backing_discard(const struct backing *b, void *host, uint64_t off, uint64_t size,
			 struct err *e);
/* In place of what is mapped at host, of a zone without a file: a private view of [off, off+size) of
 * one. */
MUST int backing_show(const struct backing *b, void *host, uint64_t size, int fd, uint64_t off,
		      struct err *e);
/* The way back: memory of the zone, empty, as backing_map makes it. After a failure the view is still
 * there: it is in too many pieces, or pages are locked (mem/advice). Any thread. */
MUST int backing_renew(const struct backing *b, void *host, uint64_t off, uint64_t size,
		       struct err *e);
/* Does its file lie in the host's memory, and on no disk? */
bool backing_is_memory(const struct backing *b);
/* What is mapped stays mapped. A zeroed backing is fine. */
void backing_close(struct backing *b);

/* Host addresses without access, at least 2 MiB of it around them, so that a stray pointer past
 * either end faults instead of reaching a neighbour. */
struct backing_span {
	unsigned char *host; /* the first of size bytes */
	uint64_t size;
	void *all; /* with what is around */
	uint64_t all_size;
};
/* host is congruent to `like` modulo align (a power of two, 2 MiB or more), so that huge pages of
 * the host fit those of the guest. */
MUST int backing_span(struct backing_span *s, uint64_t size, uint64_t align, uint64_t like,
		      struct err *e);
/* In place of what is mapped in it: empty memory, which costs nothing until it is written. */
void backing_blank(const struct backing_span *s);
/* Unmaps what lies in it too. */
void backing_span_drop(struct backing_span *s);
