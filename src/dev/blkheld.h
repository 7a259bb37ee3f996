/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a disk's queue that the host could not carry out: told as an event, and, as the disk's
 * on_error says, held until they are tried again. The driver hears nothing of a request meanwhile,
 * as if the disk took its time.
 *
 *	report	nothing is held
 *	stop	the guest is to be paused; all are tried when it goes on
 *	retry	all are tried again and again, at times that lie ever farther apart
 *
 * It knows heads only; what a request is, is dev/blk's. For the queue's loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "core/dev.h"

struct blkheld {
	struct dev *dev;
	struct loop *loop;
	enum on_error way;
	/* tries one again; it ends by blkheld_ended or is taken anew */
	void (*again)(void *arg, uint16_t head);
	void *arg;
	uint16_t *heads;
	uint32_t count, room;
	uint32_t trying;      /* of those held before, so many are on their way */
	bool told;	      /* of this trouble */
	struct log_site site; /* limits events of what is reported */
	uint64_t wait_ns;
	struct loop_timer timer;
};

void blkheld_init(struct blkheld *h, struct dev *d, struct loop *l, enum on_error way);
void blkheld_fini(struct blkheld *h);
/* From now on. */
void blkheld_start(struct blkheld *h, void (*again)(void *arg, uint16_t head), void *arg);
/* No more attempts. Those that wait are in heads. */
void blkheld_stop(struct blkheld *h);
/* The host has failed, with that errno; was: the request had been held before. Tells. True when the
 * request is held; it cannot be where may_hold is false. */
bool blkheld_take(struct blkheld *h, uint16_t head, bool was, bool may_hold, const char *operation,
		  int os);
/* One that had been held has ended. */
void blkheld_ended(struct blkheld *h);
/* Holds one, as it was before a pause. */
void blkheld_put(struct blkheld *h, uint16_t head);
/* Tries all now. */
void blkheld_try(struct blkheld *h);
