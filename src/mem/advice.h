/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest wishes for pages of its RAM beside having them or not: that they are swapped out, that
 * they never are, that equal ones may be merged, a name. What stays set splits the mappings that
 * memory is made of, of which a process has so many and no more; so it is noted here, and bounded.
 * Giving pages back is gmem_discard's. Specification: madvise(2), mlock2(2), PR_SET_VMA(2const).
 */
#pragma once

#include <stdint.h>

#include "base/desc.h"
#include "mem/gmem.h"

enum advice {
	ADVICE_PAGEOUT, /* written to swap, or to the file, now */
	ADVICE_LOCK,	/* never swapped out: those that are there, others once they are touched */
	ADVICE_UNLOCK,
	ADVICE_MERGE, /* KSM may merge it with equal ones */
	ADVICE_UNMERGE,
	ADVICE_NAME, /* in /proc/PID/maps: pvmemcontrol-<arg>; 0: that of all guest memory */
};

/* From an address on, up to the next mark: what is otherwise than memory is of itself. */
struct advice_mark {
	uint64_t from;
	uint64_t name;
	uint32_t locked;
	uint32_t merge; /* 1: may; 2: must not */
};
#define ADVICE_MARKS_MAX 1024

/* Zeroed before first use. What is set at the moment, sorted; saved. */
struct advice_marks {
	LIST(struct advice_mark) marks;
};
extern const struct desc advice_desc;

/* Whether [a, a+len) is RAM, no memory of a device, and whole pages of the host. */
bool advice_fits(const struct gmem *m, gpa_t a, uint64_t len);
/* Carries it out for [a, a+len). 0, or why not, as errno
 * says it: EINVAL for a range that does not fit, ENOMEM for more marks or locked memory than may be, else the
 * kernel's. One thread at a time for the same marks. */
int advice_give(struct advice_marks *s, const struct gmem *m, gpa_t a, uint64_t len,
		enum advice what, uint64_t arg);
/* Whether marks that were saved can be some; then sets them for what is new memory of [a, a+len), as far
 * as this host lets us: how many ranges it did not. */
bool advice_sound(const struct advice_marks *s);
unsigned int advice_again(const struct advice_marks *s, const struct gmem *m, gpa_t a,
			  uint64_t len);
