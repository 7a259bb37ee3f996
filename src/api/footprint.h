/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory that the process holds: of the guest, and beside it. The kernel's sums are cheap; what is
 * beside the guest is found by looking at our own mappings, which are small, and never at the
 * guest's, whose number of pages has no limit. Control thread. proc(5), mincore(2).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/report.h"

struct footprint {
	int status_fd, maps_fd; /* opened before the process confines itself; -1 = not to be had */
	uint64_t looked_ns;	/* when mappings were looked at */
	/* bytes */
	uint64_t resident; /* of the process; huge pages of the host's pool included */
	uint64_t shared;   /* of these, what other processes may share: files, shared memory */
	uint64_t overhead; /* of these, what is not the guest's RAM; 0 = not known yet */
};

void footprint_init(struct footprint *f);
void footprint_fini(struct footprint *f);
/* Looks again: at the sums each time, at mappings once a second and only while r says where the
 * guest's RAM is. */
void footprint_look(struct footprint *f, const struct report *r);
