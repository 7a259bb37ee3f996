/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a TPM in another process, as swtpm speaks: a control socket, by which it is set up and
 * commands are cancelled, and a data socket with TPM commands and their answers, one at a time. All
 * is done in a loop and nothing waits: who is slow keeps only the guest's command waiting. One that
 * hangs up, answers nonsense or refuses is lost for good: a TPM that came back under a running guest
 * would have forgotten what was measured.
 *
 * What it sends is foreign. swtpm's ioctls(3) and control channel.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "dev/tpmblob.h"

#define TPMLINK_MAX 4096 /* bytes of a command or an answer */
#define TPMLINK_HEAD 10	 /* tag, length, code: big-endian */

struct tpmlink {
	struct loop *loop;
	uint32_t room;	/* of the guest: answers are not longer */
	int ctrl, data; /* -1: lost */
	struct loop_fd ctrl_watch, data_watch;
	unsigned int step; /* of being set up */
	uint32_t cancels;  /* not answered yet */
	uint8_t ctrl_in[16];
	uint32_t ctrl_have;
	/* To who asked on the control socket beside this (dev/tpmblob), and waits no more: it comes before
	 * all others, and is thrown away. */
	struct tpmblob_answer late;
	uint8_t out[TPMLINK_MAX];
	uint32_t out_len, out_done;
	bool asked; /* the answer to out is awaited */
	uint8_t in[TPMLINK_MAX];
	uint32_t have;
	/* The TPM is to go on with a state that it is given: called when it is stopped, on the control
	 * socket in turn; false: it is not started. NULL: it begins anew. */
	bool (*before_start)(void *arg);
	const char *why; /* it is lost */
	/* in the loop */
	void (*answered)(void *arg, const uint8_t *bytes, uint32_t len);
	void (*lost)(void *arg, const char *why);
	void *arg;
};

/* Connects; the rest comes in the loop. Before the loop hears of it: loop, room and the functions
 * are set. */
MUST int tpmlink_open(struct tpmlink *l, const char *path, struct err *e);
/* Does somebody listen there? Says nothing to him; l is one that is lost. */
MUST int tpmlink_judge(struct tpmlink *l, const char *path, struct err *e);
/* All of these in the loop. */
void tpmlink_watch(struct tpmlink *l);
void tpmlink_unwatch(struct tpmlink *l);
/* Sets it up, and waits for all answers that are to come, at most thirty seconds in all. Not in the
 * loop, and while that does not watch it. */
MUST int tpmlink_settle(struct tpmlink *l, struct err *e);
/* A command of len <= TPMLINK_MAX bytes; none is under way. False: it is lost. */
bool tpmlink_send(struct tpmlink *l, const uint8_t *bytes, uint32_t len);
/* Asks that the command under way be given up; its answer says whether it was. */
void tpmlink_cancel(struct tpmlink *l);
void tpmlink_close(struct tpmlink *l);
