/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a snapshot. An empty place gets the files one by one, each under another name until it is
 * whole and on the disk, and state.json last. Where a snapshot is already, the new one is made in a
 * directory beside it, and the two change places in one step. So at every moment there is the old
 * one, or none, or the new one. One writer at a time has the directory's lock. See snapshot.h.
 * renameat2(2), fsync(2), flock(2).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "mem/gmem.h"
#include "mem/ramfile.h"
#include "vm/fileurl.h"
#include "vm/machine.h"
#include "vm/snapfiles.h"
#include "vm/snapshot.h"

#define PART ".part" /* behind a name while that is written */

static const char *const names[] = { SNAP_MEMORY, SNAP_CONFIG, SNAP_STATE };

struct writer {
	struct machine *machine;
	const struct vm_conf *conf;
	struct work *work;
	const char *path;
	int dir;
};

/* --- files --- */

static int part_open(int dir, const char *name, struct err *e)
{
	AUTO_FREE char *part = mem_fmt("%s" PART, name);
	int fd;

	/* one that a killed writer left */
	if (unlinkat(dir, part, 0) < 0 && errno != ENOENT)
		return err_os(e, ERR_IO, "remove %s", part);
	fd = openat(dir, part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? err_os(e, ERR_IO, "make %s", part) : fd;
}

static int part_sync(int fd, const char *name, struct err *e)
{
	return fsync(fd) < 0 ? err_os(e, ERR_IO, "write %s", name) : 0;
}

/* People read the configuration; the state is read by every restore, and by `snapshot-inspect` for them. */
static int write_text(int dir, const char *name, const struct json *j, enum json_style style,
		      struct err *e)
{
	AUTO_FD int fd = part_open(dir, name, e);
	AUTO_FREE char *text = json_text(j, style);
	size_t len = strlen(text);

	if (fd < 0)
		return -1;
	/* as whoever reads it back would */
	if (len > JSON_TEXT_MAX)
		return err_set(e, ERR_BAD, "%s would have %zu bytes, and at most %u are read", name,
			       len, JSON_TEXT_MAX);
	if (fd_write_all(fd, text, len, e) < 0)
		return err_in(e, "%s", name);
	return part_sync(fd, name, e);
}

static int write_memory(const struct writer *w, int dir, const struct saved *s, struct err *e)
{
	AUTO_FD int fd = part_open(dir, SNAP_MEMORY, e);
	const struct gmem *m = machine_board(w->machine)->mem;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)s->bytes) < 0)
		return err_os(e, ERR_IO, "size of %s", SNAP_MEMORY);
	work_expect(w->work, s->bytes);
	for (uint32_t i = 0; i < s->machine.ranges.count; i++) {
		const struct saved_range *r = &s->machine.ranges.items[i];

		if (ramfile_save(m, GPA(r->base), r->size, fd, r->off, w->work, e) < 0)
			return err_in(e, "%s", SNAP_MEMORY);
	}
	return part_sync(fd, SNAP_MEMORY, e);
}

/* The configuration, and where cards were on descriptors: whoever restores brings as many. */
static struct json *conf_json(const struct vm_conf *c)
{
	struct json *j = desc_to_json(&vm_desc, c);

	for (uint32_t i = 0; i < c->net.count; i++) {
		struct json *card = (struct json *)(uintptr_t)json_at(json_get(j, "net"), i);
		struct json *places = json_arr();

		for (uint32_t k = 0; k < c->net.items[i].fds.count; k++)
			json_add(places, json_new_int(-1));
		if (json_count(places))
			json_set(card, "fds", places);
		else
			json_put(places);
	}
	return j;
}

/* All three, as parts. What is said of the machine is read as any reader would, before it is
 * written. */
static int write_parts(const struct writer *w, int dir, struct err *e)
{
	/* the size is that of the next boot, and goes into the state; who goes on is built as this boot
	 * was, and what has come by ACPI comes again */
	struct vm_conf booted = *w->conf;
	AUTO_JSON struct json *conf = NULL;
	struct json *root;
	struct saved s;
	int r;

	if (!booted.memory.zones.count)
		booted.memory.size = machine_booted_with(w->machine);
	conf = conf_json(&booted);
	if (saved_make(&root, w->machine, w->conf, e) < 0 || saved_read(&s, root, e) < 0)
		return -1;
	r = write_memory(w, dir, &s, e) < 0 ||
			    write_text(dir, SNAP_CONFIG, conf, JSON_PRETTY, e) < 0 ||
			    write_text(dir, SNAP_STATE, s.root, JSON_LINE, e) < 0
		    ? -1
		    : 0;
	saved_free(&s);
	return r;
}

static void drop(int dir, const char *name, const char *behind)
{
	AUTO_FREE char *full = mem_fmt("%s%s", name, behind);

	if (unlinkat(dir, full, 0) < 0 && errno != ENOENT)
		log_warn("%s of a snapshot stays: %s", full, strerror(errno));
}

static void drop_all(int dir, const char *behind)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		drop(dir, names[i], behind);
}

static int name_parts(int dir, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *part = mem_fmt("%s" PART, names[i]);

		if (renameat(dir, part, dir, names[i]) < 0)
			return err_os(e, ERR_IO, "name %s", names[i]);
		if (fsync(dir) < 0)
			return err_os(e, ERR_IO, "write the directory");
	}
	return 0;
}

static int write_into(const struct writer *w, int dir, struct err *e)
{
	if (write_parts(w, dir, e) == 0 && name_parts(dir, e) == 0)
		return 0;
	drop_all(dir, PART);
	return -1;
}

/* --- in place of another --- */

static bool is_ours(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		size_t n = strlen(names[i]);

		if (!strncmp(name, names[i], n) && (!name[n] || !strcmp(name + n, PART)))
			return true;
	}
	return !strcmp(name, SNAP_TOUCHED) || !strcmp(name, ".") || !strcmp(name, "..");
}

/* What else lies there would be found nowhere when the directories have changed places. */
static int judge_alone(const struct writer *w, struct err *e)
{
	int again = openat(w->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	const struct dirent *at;
	int r = 0;

	if (!dir) {
		err_os(e, ERR_IO, "look into it");
		fd_close(&again);
		return -1;
	}
	while (r == 0 && (at = readdir(dir)))
		if (!is_ours(at->d_name))
			r = err_set(e, ERR_TAKEN,
				    "%s is there beside the old snapshot, and a new one takes the "
				    "place of the whole directory: move it away, or choose another "
				    "directory",
				    at->d_name);
	closedir(dir);
	return r;
}

static void empty(int dir)
{
	drop_all(dir, "");
	drop(dir, SNAP_TOUCHED, "");
	drop_all(dir, PART);
}

static void remove_dir(const char *path, int dir)
{
	empty(dir);
	if (rmdir(path) < 0)
		log_warn("%s stays: %s", path, strerror(errno));
}

/* What a killed writer has left there, or one that failed. */
static void remove_rest(const char *path)
{
	AUTO_FD int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (dir >= 0)
		remove_dir(path, dir);
}

/* The old one goes only when it is sure that the new one is found. */
static void sync_above(const struct writer *w)
{
	AUTO_FD int above = openat(w->dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (above < 0 || fsync(above) < 0)
		log_warn("%s: the directory above is not written: %s", w->path, strerror(errno));
}

/* As the directory was, which somebody may have made for us: as much of it as we may give away. What was
 * meant for another group is nothing for ours. */
static int keep_owner(const struct writer *w, const char *path, int dir, struct err *e)
{
	struct stat st;

	if (fstat(w->dir, &st) < 0)
		return err_os(e, ERR_IO, "look at it");
	if (fchown(dir, st.st_uid, st.st_gid) < 0) {
		if (fchown(dir, (uid_t)-1, st.st_gid) < 0)
			st.st_mode &= ~(mode_t)(S_IRWXG | S_ISGID);
		log_warn("%s is ours now: no right to leave it to user %u and group %u", path,
			 st.st_uid, st.st_gid);
	}
	if (fchmod(dir, st.st_mode & 07777) < 0)
		log_debug("%s may be opened by its owner only: %s", path, strerror(errno));
	return fsync(dir) < 0 ? err_os(e, ERR_IO, "write the directory") : 0;
}

static int swap(const struct writer *w, const char *path, const char *beside, struct err *e)
{
	AUTO_FD int dir = -1;

	if (mkdir(beside, 0700) < 0)
		return err_os(e, ERR_IO, "make %s", beside);
	dir = open(beside, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return err_os(e, ERR_IO, "open %s", beside);
	if (write_into(w, dir, e) < 0 || keep_owner(w, path, dir, e) < 0)
		return -1;
	if (renameat2(AT_FDCWD, beside, AT_FDCWD, path, RENAME_EXCHANGE) < 0)
		return err_os(e, ERR_IO,
			      "there is a snapshot already, and it cannot be replaced in one step");
	return 0;
}

/* The directory itself, also where a link leads there: a link cannot change places with it. */
static int real_path(char out[PATH_MAX], const struct writer *w, struct err *e)
{
	AUTO_FREE char *link = mem_fmt("/proc/self/fd/%d", w->dir);
	ssize_t n = readlink(link, out, PATH_MAX - 1);

	if (n < 0)
		return err_os(e, ERR_IO, "path of it");
	out[n] = '\0';
	return 0;
}

static int replace(const struct writer *w, struct err *e)
{
	AUTO_FREE char *beside = NULL;
	char path[PATH_MAX];

	if (judge_alone(w, e) < 0 || real_path(path, w, e) < 0)
		return -1;
	beside = mem_fmt("%s" PART, path);
	remove_rest(beside);
	if (swap(w, path, beside, e) < 0) {
		remove_rest(beside);
		return -1;
	}
	sync_above(w);
	/* by its descriptor: the next writer may be at work beside the new one already */
	remove_dir(beside, w->dir);
	return 0;
}

static int write_all(struct writer *w, struct err *e)
{
	struct stat st;

	if (flock(w->dir, LOCK_EX | LOCK_NB) < 0)
		return err_os(e, errno == EWOULDBLOCK ? ERR_TAKEN : ERR_IO,
			      "lock it: another snapshot is being written there");
	if (fstatat(w->dir, SNAP_STATE, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return replace(w, e);
	return write_into(w, w->dir, e);
}

int snapshot_write(struct machine *m, const struct vm_conf *conf, const char *url, struct work *wk,
		   struct err *e)
{
	struct writer w = { .machine = m, .conf = conf, .work = wk };
	AUTO_FD int dir = -1;

	if (fileurl_path(&w.path, url, "destination_url", e) < 0)
		return -1;
	dir = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 && errno == ENOENT)
		return err_set(e, ERR_ABSENT, "there is no directory %s; make it (mkdir %s)",
			       w.path, w.path);
	if (dir < 0)
		return err_os(e, ERR_IO, "open %s", w.path);
	w.dir = dir;
	return write_all(&w, e) < 0 ? err_in(e, "snapshot %s", w.path) : 0;
}
