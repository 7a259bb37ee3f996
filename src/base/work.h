/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long piece of work as seen from inside and outside: how far it is, and whether it is to be
 * broken off. Who does the work calls work_expect, work_did and work_is_stopped, from as many
 * threads as it likes; who looks on reads the numbers and calls work_stop, from any thread.
 *
 * It is no thread and no queue; vm/job is one place where work is done. A NULL work is fine
 * everywhere: nobody looks on.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct work {
	/* asked on the worker's first thread, a hundred times a second at most: is it to be broken
	 * off? NULL where only work_stop says so */
	bool (*is_ending)(void *arg);
	void *arg;
	_Atomic bool stopped;
	_Atomic uint64_t done, total; /* bytes; total 0 = nobody knows */
};

/* So much more is to be done. */
static inline void work_expect(struct work *w, uint64_t bytes)
{
	if (w)
		atomic_fetch_add_explicit(&w->total, bytes, memory_order_relaxed);
}

static inline void work_did(struct work *w, uint64_t bytes)
{
	if (w)
		atomic_fetch_add_explicit(&w->done, bytes, memory_order_relaxed);
}

static inline void work_stop(struct work *w)
{
	atomic_store(&w->stopped, true);
}

/* Has work_stop been called? Any thread. */
static inline bool work_is_stopped(const struct work *w)
{
	return w && atomic_load_explicit(&w->stopped, memory_order_relaxed);
}

/* The same, and asks; the worker's first thread only. */
static inline bool work_ask(struct work *w)
{
	if (w && w->is_ending && w->is_ending(w->arg))
		work_stop(w);
	return work_is_stopped(w);
}
