/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot: a directory with config.json, state.json (vm/saved.h) and memory-ranges, which is RAM
 * range by range with holes for zeros. It is whole or it is not there: state.json comes last, and
 * where an old snapshot is replaced the directories change places.
 *
 * Memory comes back in one of three ways: `copy` reads it into RAM, `map` shows the file's pages
 * until the guest writes to them, which costs nothing beforehand, `ondemand` reads what is touched
 * when it is touched. Writing: who has the machine,
 * which machine_pause has stopped. Opening: the control thread.
 */
#pragma once

#include "base/err.h"
#include "base/work.h"
#include "conf/conf.h"
#include "vm/saved.h"

struct gmem;
struct hv;
struct machine;

/* One that is open. */
struct snapshot {
	struct vm_conf conf; /* who restores takes it */
	struct saved saved;
	struct hv *hv; /* by which it was judged; who restores takes it */
	char *path;
	int memory;			/* memory-ranges */
	int uffd;			/* of mem/uffd, for `ondemand`; or -1 */
	int touched;			/* of mem/touched, or -1 */
	const struct restore_conf *how; /* borrowed */
	uint64_t passed_ns;		/* that its clocks have gone on by now, as asked for */
};

/* Writes one into the directory of url, file://<directory>, which is there. After a failure the
 * directory has what it had. ERR_TAKEN where another's files lie beside a snapshot that is there. */
MUST int snapshot_write(struct machine *m, const struct vm_conf *conf, const char *url,
			struct work *w, struct err *e);

/* Reads and judges all but the contents of memory. Takes the descriptors that c lists, and borrows the
 * rest of it until snapshot_close. */
MUST int snapshot_open(struct snapshot *s, struct restore_conf *c, struct err *e);
void snapshot_close(struct snapshot *s);
/* The way in which memory will come back, judged before anything is built. Of snapshot_open. */
MUST int snapshot_prepare(struct snapshot *s, int dir, struct err *e);
/* Who is told that memory which comes later cannot be had; any thread. */
struct memory_lost {
	void (*fn)(void *arg, const char *why);
	void *arg;
};
/* RAM that was made from the same configuration shows the file where it can and shall: before a
 * hypervisor has slots for it, since what is mapped under a slot takes time by its size. Nobody touches
 * it before snapshot_fill. */
MUST int snapshot_show(const struct snapshot *s, struct gmem *m, const struct memory_lost *lost,
		       struct err *e);
/* Is RAM that was made from its configuration where and as much as it was, and may it come back in the way
 * that was asked for? */
MUST int snapshot_judge_memory(const struct snapshot *s, const struct gmem *m, struct err *e);
/* The rest comes in its way, when all of it is there. */
MUST int snapshot_fill(const struct snapshot *s, struct gmem *m, struct work *w, struct err *e);
