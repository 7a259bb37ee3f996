/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A core file of the guest: its RAM by physical address, and notes on each processor, as an ELF
 * file that gdb, crash and drgn read. Pages of zeros are holes in it. The machine stands still; who
 * calls has it, which may be a job's thread. It is written under another name and gets its own when
 * it is whole.
 */
#pragma once

#include "base/err.h"
#include "base/work.h"

struct machine;

/* url is file://PATH, at which nothing is yet. Sentences: no such URL, there is something already,
 * no room; nothing is left then, nor when w says to stop. */
MUST int coredump_write(struct machine *m, const char *url, struct work *w, struct err *e);
