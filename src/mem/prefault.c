/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads take turns: each takes the next few MiB of the ranges, laid end to end, until none are
 * left or one of them failed. So a slow one (a processor shared with others, memory of a far node)
 * does not keep the others waiting, and a wish to stop is heard between two turns. See prefault.h.
 */
#include "mem/prefault.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define THREADS_MAX 64
/* About a millisecond: who maps memory meanwhile, in another thread, waits for a turn to end. */
#define TURN MIB(4)
#define BEHIND 10 /* of nice(2) */
#define ASK_MS 10

struct job {
	const struct prefault_range *range;
	uint64_t turns;	       /* over all ranges */
	_Atomic uint64_t next; /* the turn that nobody has taken */
	_Atomic int failed;    /* errno of the first that failed */
	_Atomic bool stopped;
	struct work *work; /* or NULL */
	_Atomic unsigned int running;
	int done; /* event: nobody is running */
};

static uint64_t turn_size(const struct prefault_range *r)
{
	return max_u64(TURN, r->page);
}

static uint64_t turns_of(const struct prefault_range *r)
{
	return (r->size + turn_size(r) - 1) / turn_size(r);
}

/* Turn n lies in the range that is left when those before it are counted off. */
static int take_turn(const struct job *j, uint64_t n)
{
	const struct prefault_range *r = j->range;

	for (; n >= turns_of(r); r++)
		n -= turns_of(r);
	uint64_t from = n * turn_size(r), size = min_u64(turn_size(r), r->size - from);

	if (madvise(r->host + from, size, MADV_POPULATE_WRITE) < 0)
		return -1;
	work_did(j->work, size);
	return 0;
}

static void work(void *arg)
{
	struct job *j = arg;
	int none = 0;

	/* who asks how far it is has the processor first */
	setpriority(PRIO_PROCESS, 0, BEHIND);
	while (!j->stopped && !j->failed) {
		uint64_t n = atomic_fetch_add(&j->next, 1);

		if (n >= j->turns)
			break;
		if (take_turn(j, n) < 0)
			atomic_compare_exchange_strong(&j->failed, &none, errno);
	}
	if (atomic_fetch_sub(&j->running, 1) == 1)
		fd_signal(j->done);
}

/* One for each processor that we may use, and no more than there are turns. */
static unsigned int threads_for(uint64_t turns)
{
	cpu_set_t set; /* too small only where there are more than a thousand */
	unsigned int n = THREADS_MAX;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned int)CPU_COUNT(&set);
	return (unsigned int)min_u64(min_u64(n, THREADS_MAX), turns);
}

static void wait_for(struct job *j)
{
	struct pollfd p = { .fd = j->done, .events = POLLIN };

	while (poll(&p, 1, ASK_MS) <= 0)
		if (!j->stopped && work_ask(j->work))
			j->stopped = true;
}

/* A thread that does not start is work for the others, unless it was the first. */
static int run(struct job *j, struct err *e)
{
	struct thread thread[THREADS_MAX] = { 0 };
	unsigned int want = threads_for(j->turns), n = 0;
	char name[THREAD_NAME_MAX + 1];

	atomic_store(&j->running, 1); /* we, while they start */
	for (; n < want; n++) {
		snprintf(name, sizeof(name), "prefault%u", n);
		atomic_fetch_add(&j->running, 1);
		if (thread_start(&thread[n], name, "prefault", work, j, e) == 0)
			continue;
		atomic_fetch_sub(&j->running, 1);
		break;
	}
	if (atomic_fetch_sub(&j->running, 1) == 1)
		fd_signal(j->done);
	wait_for(j);
	for (unsigned int i = 0; i < n; i++)
		thread_join(&thread[i]);
	return n ? 0 : -1;
}

static int why(const struct job *j, struct err *e)
{
	errno = j->failed;
	if (j->stopped)
		return err_set(e, ERR_STATE, "touching guest memory was broken off");
	if (errno == EINVAL)
		return err_set(e, ERR_IO,
			       "prefault: this host's kernel can not do it (Linux 5.14 can)");
	if (errno == EFAULT)
		return err_set(e, ERR_IO,
			       "prefault: the host has run out of pages for guest memory: huge "
			       "pages, or room where its file lies");
	return errno ? err_os(e, ERR_IO, "prefault guest memory") : 0;
}

int prefault(const struct prefault_range *r, unsigned int count, struct work *w, struct err *e)
{
	struct job j = { .range = r, .done = -1, .work = w };
	int result;

	for (unsigned int i = 0; i < count; i++) {
		j.turns += turns_of(&r[i]);
		work_expect(w, r[i].size);
	}
	if (!j.turns)
		return 0;
	j.done = fd_event(e);
	if (j.done < 0)
		return -1;
	result = run(&j, e);
	fd_close(&j.done);
	return result < 0 ? -1 : why(&j, e);
}
