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
#include "base/loop.h"
#include "base/mem.h"
#include "conf/check.h"
#include "conf/edit.h"
#include "conf/override.h"
#include "hv/hv.h"
#include "vm/fileurl.h"
#include "vm/restorable.h"
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

static int read_conf(struct snapshot *s, int dir, struct reasons *r, struct err *e)
{
	AUTO_JSON struct json *j = NULL;

	if (read_json(&j, dir, SNAP_CONFIG, e) < 0)
		return -1;
	if (s->how->overrides)
		conf_override(j, s->how->overrides, r);
	conf_override_zones(j, s->how, r);
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

static int open_memory(struct snapshot *s, int dir, bool has_state, struct err *e)
{
	struct stat st;

	s->memory = open_file(dir, SNAP_MEMORY, e);
	if (s->memory < 0)
		return -1;
	if (fstat(s->memory, &st) < 0)
		return err_os(e, ERR_IO, "look at %s", SNAP_MEMORY);
	if (has_state && (uint64_t)st.st_size != s->saved.bytes)
		return err_set(e, ERR_BAD,
			       "%s has %" PRIu64 " bytes, and the state speaks of %" PRIu64,
			       SNAP_MEMORY, (uint64_t)st.st_size, s->saved.bytes);
	return 0;
}

/* Could the VM boot with as much memory as it is to have then? Zones have sizes of their own. */
static int judge_next_boot(struct snapshot *s, struct err *e)
{
	struct vm_conf next = s->conf;

	if (next.memory.zones.count)
		s->saved.machine.next_size = 0;
	if (!s->saved.machine.next_size)
		return 0;
	next.memory.size = s->saved.machine.next_size;
	return conf_check_again(&next, e) < 0 ? err_in(e, "memory of the next boot") : 0;
}

/* Descriptors that the caller has opened in place of those of then. */
static void take_net_fds(struct snapshot *s, struct restore_conf *c, struct reasons *r)
{
	for (uint32_t i = 0; i < c->net_fds.count; i++) {
		struct restored_net_conf *from = &c->net_fds.items[i];
		struct conf_dev d;
		struct net_conf *n;

		if (!conf_find(&d, &s->conf, from->id) || strcmp(d.kind, "net") != 0) {
			reasons_say(r, ERR_BAD, "net_fds: the snapshot has no network card %s",
				    from->id);
			continue;
		}
		n = &s->conf.net.items[d.index];
		conf_close(&net_desc, n);
		free(n->fds.items);
		n->fds.count = from->fds.count;
		n->fds.items = take(&from->fds.items);
		from->fds.count = 0;
	}
}

/* What is wrong with one file does not hide what is wrong with another. */
static void open_files(struct snapshot *s, int dir, struct restore_conf *c, struct reasons *r)
{
	struct err e = { 0 };
	bool has_conf = true, has_state = true;
	uint32_t unnamed = 0;

	if (read_conf(s, dir, r, &e) < 0) {
		has_conf = false;
	} else {
		take_net_fds(s, c, r);
		if (conf_check(&s->conf, &e) < 0) {
			has_conf = false;
			err_in(&e, "%s", SNAP_CONFIG);
		}
	}
	if (!has_conf)
		reasons_add(r, &e);
	if (read_state(s, dir, &e) < 0) {
		reasons_add(r, &e);
		has_state = false;
	}
	if (open_memory(s, dir, has_state, &e) < 0)
		reasons_add(r, &e);
	if (snapshot_prepare(s, dir, &e) < 0)
		reasons_add(r, &e);
	if (!has_conf || !has_state)
		return;
	if (judge_next_boot(s, &e) < 0)
		reasons_add(r, &e);
	conf_make_ids(&s->conf, &unnamed);
	conf_make_iommu(&s->conf);
	restorable_judge(r, s);
}

static int open_all(struct snapshot *s, struct restore_conf *c, struct err *e)
{
	AUTO_FD int dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t now = loop_real_ns(), then;
	struct reasons r = { 0 };

	if (dir < 0)
		return errno == ENOENT ? err_set(e, ERR_ABSENT, "there is no such directory")
				       : err_os(e, ERR_IO, "open it");
	open_files(s, dir, c, &r);
	then = s->saved.machine.real_ns;
	if (c->clock == RESTORE_CLOCK_REALTIME && now > then)
		s->passed_ns = now - then;
	return reasons_end(&r, e);
}

int snapshot_open(struct snapshot *s, struct restore_conf *c, struct err *e)
{
	const char *path;

	*s = (struct snapshot){ .memory = -1, .uffd = -1, .touched = -1, .how = c };
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
	conf_close(&vm_desc, &s->conf);
	conf_free(&s->conf);
	saved_free(&s->saved);
	hv_close(take(&s->hv));
	fd_close(&s->memory);
	fd_close(&s->uffd);
	fd_close(&s->touched);
	free(take(&s->path));
}
