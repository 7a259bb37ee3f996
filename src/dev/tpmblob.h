/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a TPM's process holds of its TPM, as swtpm hands it out and takes it back over its control
 * socket: what lasts, what a reset would clear, and what the guest has saved before a sleep. Bytes of
 * its own form, which nobody here looks into; secrets are among them.
 *
 * Each call waits for the process, at most ten seconds for each word of it. An answer that comes later
 * than that is still to be taken from the socket, before anything else is understood there. What it
 * answers is foreign. The thread that has the machine, while nothing else is said on that socket.
 * swtpm's ioctls(3) and control channel.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"
#include "base/err.h"

#define TPMBLOB_KINDS 3
#define TPMBLOB_MAX (1u << 20) /* bytes of one */
#define TPMBLOB_WORDS 4	       /* of a request or an answer, before the bytes */

struct tpmblob {
	uint32_t kind;	/* 1 to TPMBLOB_KINDS */
	uint32_t flags; /* for who takes it back */
	char *bytes;	/* owned, in hex */
};
extern const struct desc tpmblob_desc;

/* How far the process is with what it was asked last; all zero: nothing is to come. */
struct tpmblob_answer {
	uint32_t words[TPMBLOB_WORDS]; /* as they come */
	uint32_t count, have;	       /* of them: words, bytes */
	uint32_t body; /* bytes that are to come behind them, as the last of four says */
};

/* All that there are; the caller frees them by the table. Refused where the process cannot do that. */
MUST int tpmblob_get(struct tpmblob out[TPMBLOB_KINDS], uint32_t *count, int ctrl,
		     struct tpmblob_answer *a, struct err *e);
/* Into a TPM that is stopped. */
MUST int tpmblob_put(const struct tpmblob *b, uint32_t count, int ctrl, struct tpmblob_answer *a,
		     struct err *e);

/* Is there something to come that nobody waits for any more? */
bool tpmblob_is_late(const struct tpmblob_answer *a);
/* Takes what of it has come, without waiting; false: the process has hung up, or answers nonsense. */
bool tpmblob_skip(struct tpmblob_answer *a, int ctrl);
