/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something tried again and again on a loop until it succeeds, on behalf of somebody in another
 * thread who may go away at any time. So the attempts run where the right to make them is (the
 * control loop), and whoever frees their owner need not be in that loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct retry;

/* try is called in l's thread and returns true when it has succeeded; it does not wait, and must
 * not free its retry. l outlives the retry, or frees it with what is still posted. */
struct retry *retry_new(struct loop *l, uint64_t period_ns, bool (*try)(void *arg), void *arg);
/* Begins with the first attempt a period from now; nothing when it has begun. Any thread. */
void retry_start(struct retry *r);
/* Any thread. From its return on try does not run and is not called; nobody starts it any more.
 * NULL is fine. */
void retry_free(struct retry *r);
