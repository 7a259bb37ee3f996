/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several reasons as one error: who judges goes on after the first, so that all that is in the way
 * is named at once. A lone reason is told as it came; of very many the first are told, and the others
 * warned of in the log. The owner's thread.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* Zero-initialise. */
struct reasons {
	unsigned int count;
	bool is_full;
	struct err first;
	struct str text;
};

/* Takes what e says as one more, and empties it. */
void reasons_add(struct reasons *r, struct err *e);
/* One more, of one frame. */
__attribute__((format(printf, 3, 4))) void reasons_say(struct reasons *r, enum err_kind kind,
						       const char *fmt, ...);
/* 0 where there is none; else all of them in e, with the kind of the first. Frees what r holds. */
MUST int reasons_end(struct reasons *r, struct err *e);
