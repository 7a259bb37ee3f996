/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a snapshot comes back: all at once, as a view of the file, or as it is touched. See
 * snapshot.h. Who builds the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/log.h"
#include "mem/gmem.h"
#include "mem/ramfile.h"
#include "mem/uffd.h"
#include "vm/snapfiles.h"
#include "vm/snapshot.h"

static bool comes_on_demand(const struct snapshot *s)
{
	return s->how->memory_restore_mode == RESTORE_ON_DEMAND;
}

/* One of several that go on at once makes the record. Where nobody may, it is read if it is there. */
static void open_touched(struct snapshot *s, int dir)
{
	int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

	s->touched = openat(dir, SNAP_TOUCHED, O_RDWR | O_CREAT | flags, 0600);
	if (s->touched < 0 || flock(s->touched, LOCK_EX | LOCK_NB) < 0) {
		fd_close(&s->touched);
		s->touched = openat(dir, SNAP_TOUCHED, O_RDONLY | flags);
	}
	if (s->touched < 0)
		log_info("what the guest touches is not recorded: %s: %s", SNAP_TOUCHED,
			 strerror(errno));
}

int snapshot_prepare(struct snapshot *s, int dir, struct err *e)
{
	if (!comes_on_demand(s))
		return s->how->prefetch == PREFETCH_NONE
			       ? 0
			       : err_set(e, ERR_BAD,
					 "prefetch is for memory_restore_mode=ondemand");
	if (s->how->prefault)
		return err_set(
			e, ERR_BAD,
			"prefault has all of memory read before the guest goes on, and "
			"memory_restore_mode=ondemand when it is touched: say prefetch=all, or "
			"another mode");
	if (s->how->prefetch == PREFETCH_RECORDED)
		open_touched(s, dir);
	s->uffd = uffd_open(e);
	return s->uffd < 0 ? err_in(e, "memory_restore_mode=ondemand") : 0;
}

static int in_range(const struct saved_range *r, struct err *e)
{
	return err_in(e, "memory at 0x%" PRIx64, r->base);
}

/* Who only asks hears it without looking into the log. */
static void tell_copied(const struct snapshot *s, const struct gmem *m, const struct saved_range *r)
{
	struct err why = { 0 };

	if (s->how->check && gmem_may_map(m, GPA(r->base), r->size, &why) < 0)
		log_warn("memory at 0x%" PRIx64 " is copied: %s", r->base, err_frame(&why, 0));
}

static int judge_range(const struct snapshot *s, const struct gmem *m, const struct saved_range *r,
		       struct err *e)
{
	if (gmem_run(m, GPA(r->base)) < r->size)
		return err_set(e, ERR_BAD,
			       "memory at 0x%" PRIx64 " of 0x%" PRIx64
			       " bytes was saved, and the machine has none there",
			       r->base, r->size);
	if (comes_on_demand(s) && gmem_may_serve(m, GPA(r->base), r->size, e) < 0)
		return err_in(e, "memory_restore_mode=ondemand");
	if (!conf_said(restore, s->how, memory_restore_mode)) {
		tell_copied(s, m, r);
		return 0;
	}
	if (s->how->memory_restore_mode == RESTORE_MAP &&
	    gmem_may_map(m, GPA(r->base), r->size, e) < 0)
		return err_in(e, "memory_restore_mode=map");
	return 0;
}

int snapshot_judge_memory(const struct snapshot *s, const struct gmem *m, struct err *e)
{
	const struct saved_machine *c = &s->saved.machine;

	if (gmem_total(m) != s->saved.bytes)
		return err_set(e, ERR_BAD,
			       "the configuration has %" PRIu64
			       " bytes of memory, and the snapshot %" PRIu64,
			       gmem_total(m), s->saved.bytes);
	for (uint32_t i = 0; i < c->ranges.count; i++)
		if (judge_range(s, m, &c->ranges.items[i], e) < 0)
			return in_range(&c->ranges.items[i], e);
	return 0;
}

/* Where that cannot be and was not said, memory is copied. */
static int show_range(struct gmem *m, const struct saved_range *r, bool said, struct err *e)
{
	struct err why = { 0 };

	if (gmem_may_map(m, GPA(r->base), r->size, said ? e : &why) == 0)
		return gmem_map_file(m, GPA(r->base), r->size, r->off, e);
	if (said)
		return err_in(e, "memory_restore_mode=map");
	log_info("memory is copied: %s", err_frame(&why, 0));
	return 0;
}

/* Consoles and other files have been opened since it was judged, and may be this one. */
static int check_size(const struct snapshot *s, struct err *e)
{
	uint64_t bytes;

	if (fd_size(s->memory, &bytes, e) < 0)
		return err_in(e, "%s", SNAP_MEMORY);
	if (bytes == s->saved.bytes)
		return 0;
	return err_set(e, ERR_BAD,
		       "%s was changed meanwhile: it has %" PRIu64 " bytes now, and had %" PRIu64,
		       SNAP_MEMORY, bytes, s->saved.bytes);
}

int snapshot_show(const struct snapshot *s, struct gmem *m, const struct memory_lost *lost,
		  struct err *e)
{
	const struct saved_machine *c = &s->saved.machine;
	bool said = conf_said(restore, s->how, memory_restore_mode);

	if (check_size(s, e) < 0 || gmem_set_source(m, s->memory, lost->fn, lost->arg, e) < 0)
		return -1;
	if (said && s->how->memory_restore_mode != RESTORE_MAP)
		return 0;
	for (uint32_t i = 0; i < c->ranges.count; i++)
		if (show_range(m, &c->ranges.items[i], said, e) < 0)
			return in_range(&c->ranges.items[i], e);
	return 0;
}

static int fill_range(const struct snapshot *s, struct gmem *m, const struct saved_range *r,
		      struct work *w, struct err *e)
{
	if (comes_on_demand(s))
		return gmem_serve(m, GPA(r->base), r->size, r->off, e) < 0
			       ? err_in(e, "memory_restore_mode=ondemand")
			       : 0;
	if (!gmem_is_shown(m, GPA(r->base)) &&
	    ramfile_load(m, GPA(r->base), r->size, s->memory, r->off, w, e) < 0)
		return -1;
	return s->how->prefault ? gmem_prefault_range(m, GPA(r->base), r->size, w, e) : 0;
}

static int fill_ranges(const struct snapshot *s, struct gmem *m, struct work *w, struct err *e)
{
	const struct saved_machine *c = &s->saved.machine;

	for (uint32_t i = 0; i < c->ranges.count; i++) {
		const struct saved_range *r = &c->ranges.items[i];

		if (fill_range(s, m, r, w, e) < 0)
			return in_range(r, e);
	}
	return 0;
}

static int prepare_serving(const struct snapshot *s, struct gmem *m, struct err *e)
{
	static const enum gmem_prefetch prefetch[] = {
		[PREFETCH_NONE] = GMEM_PREFETCH_NONE,
		[PREFETCH_RECORDED] = GMEM_PREFETCH_RECORDED,
		[PREFETCH_ALL] = GMEM_PREFETCH_ALL,
	};
	int fd = fcntl(s->uffd, F_DUPFD_CLOEXEC, 3);
	int touched = s->touched < 0 ? -1 : fcntl(s->touched, F_DUPFD_CLOEXEC, 3);

	return fd < 0 ? err_os(e, ERR_IO, "userfaultfd")
		      : gmem_serve_with(m, fd, prefetch[s->how->prefetch], touched, e);
}

int snapshot_fill(const struct snapshot *s, struct gmem *m, struct work *w, struct err *e)
{
	bool later = comes_on_demand(s);

	work_expect(w, s->saved.bytes);
	if (snapshot_judge_memory(s, m, e) < 0)
		return -1;
	if ((later && prepare_serving(s, m, e) < 0) || fill_ranges(s, m, w, e) < 0)
		return -1;
	return later ? gmem_serve_start(m, e) : 0;
}
