/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of snapshots, and their files' names; writing is in snapwrite.c. See snapshot.h.
 */
#include "vm/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/check.h"
#include "mem/gmem.h"
#include "mem/ramfile.h"
#include "vm/fileurl.h"
#include "vm/snapfiles.h"

static int open_file(int dir, const char *name, struct err *e)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_os(e, errno == ENOENT ? ERR_ABSENT : ERR_IO, "open %s", name);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return err_set(e, ERR_BAD, "%s is no file", name);
}

static int read_json(struct json **out, int dir, const char *name, struct err *e)
{
	AUTO_FD int fd = open_file(dir, name, e);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_os(e, ERR_IO, "look at %s", name);
	if (st.st_size > JSON_TEXT_MAX)
		return err_set(e, ERR_BAD, "%s is larger than %u bytes", name, JSON_TEXT_MAX);
	AUTO_FREE char *text = mem_new((size_t)st.st_size + 1);

	if (fd_read_at(fd, text, (size_t)st.st_size, 0, e) < 0 ||
	    json_parse(out, text, (size_t)st.st_size, e) < 0)
		return err_in(e, "%s", name);
	return 0;
}

static int read_conf(struct snapshot *s, int dir, struct err *e)
{
	AUTO_JSON struct json *j = NULL;

	if (read_json(&j, dir, SNAP_CONFIG, e) < 0)
		return -1;
	conf_default(&s->conf);
	if (desc_from_json(&vm_desc, &s->conf, j, e) < 0)
		return err_in(e, "%s", SNAP_CONFIG);
	return 0;
}

static int read_state(struct snapshot *s, int dir, struct err *e)
{
	struct json *j = NULL;

	if (read_json(&j, dir, SNAP_STATE, e) < 0)
		return -1;
	return saved_read(&s->saved, j, e) < 0 ? err_in(e, "%s", SNAP_STATE) : 0;
}

static int open_memory(struct snapshot *s, int dir, struct err *e)
{
	struct stat st;

	s->memory = open_file(dir, SNAP_MEMORY, e);
	if (s->memory < 0)
		return -1;
	if (fstat(s->memory, &st) < 0)
		return err_os(e, ERR_IO, "look at %s", SNAP_MEMORY);
	if ((uint64_t)st.st_size != s->saved.bytes)
		return err_set(e, ERR_BAD,
			       "%s has %" PRIu64 " bytes, and the state speaks of %" PRIu64,
			       SNAP_MEMORY, (uint64_t)st.st_size, s->saved.bytes);
	return 0;
}

/* Descriptors that the caller has opened in place of those of then. */
static int take_net_fds(struct snapshot *s, const struct restore_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->net_fds.count; i++) {
		const struct restored_net_conf *from = &c->net_fds.items[i];
		struct net_conf *n = NULL;

		for (uint32_t k = 0; k < s->conf.net.count; k++)
			if (s->conf.net.items[k].id && !strcmp(s->conf.net.items[k].id, from->id))
				n = &s->conf.net.items[k];
		if (!n)
			return err_set(e, ERR_BAD, "net_fds: the snapshot has no network card %s",
				       from->id);
		n->fds.items = mem_resize(n->fds.items, n->fds.count, from->fds.count,
					  sizeof(n->fds.items[0]));
		n->fds.count = from->fds.count;
		for (uint32_t k = 0; k < from->fds.count; k++)
			n->fds.items[k] = from->fds.items[k];
	}
	return 0;
}

static int open_all(struct snapshot *s, const struct restore_conf *c, struct err *e)
{
	AUTO_FD int dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t now = saved_real_now();

	if (dir < 0)
		return err_os(e, errno == ENOENT ? ERR_ABSENT : ERR_IO, "open it");
	if (read_conf(s, dir, e) < 0 || read_state(s, dir, e) < 0 || open_memory(s, dir, e) < 0 ||
	    take_net_fds(s, c, e) < 0)
		return -1;
	if (conf_check(&s->conf, e) < 0)
		return err_in(e, "%s", SNAP_CONFIG);
	s->passed_ns = now > s->saved.machine.real_ns ? now - s->saved.machine.real_ns : 0;
	return 0;
}

int snapshot_open(struct snapshot *s, const struct restore_conf *c, struct err *e)
{
	const char *path;

	*s = (struct snapshot){
		.memory = -1,
		.mode = c->memory_restore_mode,
		.mode_said = conf_said(restore, c, memory_restore_mode),
		.prefault = c->prefault,
	};
	if (desc_check_built(&restore_desc, c, e) < 0 ||
	    fileurl_path(&path, c->source_url, "source_url", e) < 0)
		return -1;
	s->path = mem_str(path);
	if (open_all(s, c, e) == 0)
		return 0;
	snapshot_close(s);
	return err_in(e, "snapshot %s", path);
}

void snapshot_close(struct snapshot *s)
{
	conf_free(&s->conf);
	saved_free(&s->saved);
	fd_close(&s->memory);
	free(take(&s->path));
}

/* --- memory --- */

static int fill_range(const struct snapshot *s, struct gmem *m, const struct saved_range *r,
		      struct work *w, struct err *e)
{
	bool must = s->mode_said && s->mode == RESTORE_MAP, may = must || !s->mode_said;
	struct err why = { 0 };

	if (!may)
		return ramfile_load(m, GPA(r->base), r->size, s->memory, r->off, w, e);
	if (gmem_may_map(m, GPA(r->base), r->size, &why) == 0)
		return gmem_map_file(m, GPA(r->base), r->size, s->memory, r->off, e);
	if (must) {
		*e = why;
		return err_in(e, "memory_restore_mode=map");
	}
	log_info("memory is copied: %s", err_frame(&why, 0));
	return ramfile_load(m, GPA(r->base), r->size, s->memory, r->off, w, e);
}

int snapshot_fill(const struct snapshot *s, struct gmem *m, struct work *w, struct err *e)
{
	const struct saved_machine *c = &s->saved.machine;

	work_expect(w, s->saved.bytes);
	if (gmem_total(m) != s->saved.bytes)
		return err_set(e, ERR_BAD,
			       "the configuration has %" PRIu64
			       " bytes of memory, and the snapshot %" PRIu64,
			       gmem_total(m), s->saved.bytes);
	for (uint32_t i = 0; i < c->ranges.count; i++) {
		const struct saved_range *r = &c->ranges.items[i];

		if (gmem_run(m, GPA(r->base)) < r->size)
			return err_set(e, ERR_BAD,
				       "memory at 0x%" PRIx64 " of 0x%" PRIx64
				       " bytes was saved, and the machine has none there",
				       r->base, r->size);
		if (fill_range(s, m, r, w, e) < 0)
			return err_in(e, "memory at 0x%" PRIx64, r->base);
	}
	return 0;
}
