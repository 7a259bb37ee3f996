/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot: a directory with config.json, state.json (vm/saved.h) and memory-ranges, which is RAM
 * range by range with holes for zeros. It is whole or it is not there: state.json comes last, and
 * where an old snapshot is replaced the directories change places.
 *
 * Memory comes back in one of three ways: `copy` reads it into RAM, `map` shows the file's pages
 * until the guest writes to them, which costs nothing beforehand. Writing: who has the machine,
 * which machine_pause has stopped. Opening: the control thread.
 */
#pragma once

#include "base/err.h"
#include "base/work.h"
#include "conf/conf.h"
#include "vm/saved.h"

struct gmem;
struct machine;

/* One that is open. */
struct snapshot {
	struct vm_conf conf; /* who restores takes it */
	struct saved saved;
	char *path;
	int memory; /* memory-ranges */
	enum restore_mode mode;
	bool mode_said; /* else map, where it is legal */
	bool prefault;
	uint64_t passed_ns; /* since it was saved, by the host's clock */
};

/* Writes one into the directory of url, file://<directory>, which is there. After a failure the
 * directory has what it had. */
MUST int snapshot_write(struct machine *m, const struct vm_conf *conf, const char *url,
			struct work *w, struct err *e);

/* Reads and judges all but the contents of memory. */
MUST int snapshot_open(struct snapshot *s, const struct restore_conf *c, struct err *e);
void snapshot_close(struct snapshot *s);
/* Into RAM that was made from the same configuration. */
MUST int snapshot_fill(const struct snapshot *s, struct gmem *m, struct work *w, struct err *e);
