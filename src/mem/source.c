/* SPDX-License-Identifier: Apache-2.0 */
/* See source.h. */
#include "mem/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

int source_open(struct source *s, int fd, struct err *e)
{
	struct stat st;

	*s = (struct source){ .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3) };
	if (s->fd < 0 || fstat(s->fd, &st) < 0) {
		err_os(e, ERR_IO, "look at the file of guest memory");
		fd_close(&s->fd);
		return -1;
	}
	s->size = (uint64_t)st.st_size;
	s->modified = st.st_mtim;
	return 0;
}

void source_close(struct source *s)
{
	fd_close(&s->fd);
}

int source_check(const struct source *s, struct err *e)
{
	struct stat st;

	if (fstat(s->fd, &st) < 0)
		return err_os(e, ERR_IO, "look at the file of guest memory");
	if ((uint64_t)st.st_size == s->size && st.st_mtim.tv_sec == s->modified.tv_sec &&
	    st.st_mtim.tv_nsec == s->modified.tv_nsec)
		return 0;
	return err_set(e, ERR_IO,
		       "the file of guest memory was changed while the guest needed it as it was");
}

int source_watch(const struct source *s)
{
	AUTO_FREE char *path = mem_fmt("/proc/self/fd/%d", s->fd);
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd >= 0 && inotify_add_watch(fd, path, IN_MODIFY) >= 0)
		return fd;
	log_info("the file of guest memory is not watched: %s", strerror(errno));
	fd_close(&fd);
	return -1;
}

/* A change comes with its time: what was read before the time was found the same is of then. */
int source_read(const struct source *s, void *to, size_t len, uint64_t off, struct err *e)
{
	struct err changed = { 0 };
	int r = fd_read_at(s->fd, to, len, off, e);

	if (source_check(s, &changed) == 0)
		return r < 0 ? err_in(e, "the file of guest memory") : 0;
	*e = changed;
	return -1;
}

static void ask(int fd, struct source_run *run, uint64_t off)
{
	off_t data = lseek(fd, (off_t)off, SEEK_DATA), hole;

	*run = (struct source_run){ .asked = off, .data = off, .hole = INT64_MAX };
	if (data < 0 && errno == ENXIO)
		run->data = INT64_MAX;
	if (data < 0)
		return;
	run->data = max_u64((uint64_t)data, off);
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole > data)
		run->hole = (uint64_t)hole;
}

void source_data(int fd, struct source_run *run, uint64_t off, uint64_t end, uint64_t *from,
		 uint64_t *to)
{
	if (off < run->asked || off >= run->hole)
		ask(fd, run, off);
	*from = min_u64(max_u64(run->data, off), end);
	*to = min_u64(run->hole, end);
}
