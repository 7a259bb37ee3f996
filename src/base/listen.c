/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets at paths. See listen.h. A socket file whose process is dead refuses connections:
 * that is how it is known.
 */
#include "base/listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

/* Is what lies at the address a socket that nobody serves? Else e says what it is. */
static bool is_dead(const struct sockaddr_un *a, struct err *e)
{
	struct sockaddr_un same;
	AUTO_FD int fd = -1;
	struct stat s;

	if (lstat(a->sun_path, &s) == 0 && !S_ISSOCK(s.st_mode)) {
		err_set(e, ERR_TAKEN, "listen at %s: what is there is no socket", a->sun_path);
		return false;
	}
	fd = fd_unix(&same, a->sun_path, e);
	if (fd < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN ||
	    errno == EPROTOTYPE)
		err_set(e, ERR_TAKEN, "listen at %s: it is in use by another process", a->sun_path);
	else if (errno == ECONNREFUSED || errno == ENOENT)
		return true;
	else
		err_os(e, ERR_IO, "listen at %s", a->sun_path);
	return false;
}

static int make_socket(struct sockaddr_un *a, bool packets, const char *path, struct err *e)
{
	int fd = fd_unix(a, path, e);

	if (fd < 0 || !packets)
		return fd;
	close(fd);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? err_os(e, ERR_IO, "make a socket of messages") : fd;
}

int listener_open(struct listener *l, const char *path, int waiting, struct err *e)
{
	struct sockaddr_un a;
	AUTO_FD int fd = make_socket(&a, l->packets, path, e);
	int r;

	if (fd < 0)
		return -1;
	r = bind(fd, (struct sockaddr *)&a, sizeof(a));
	if (r < 0 && errno == EADDRINUSE) {
		if (!is_dead(&a, e))
			return -1;
		if (unlink(path) < 0 && errno != ENOENT)
			return err_os(e, ERR_IO, "remove the dead socket %s", path);
		r = bind(fd, (struct sockaddr *)&a, sizeof(a));
	}
	if (r < 0 || listen(fd, waiting) < 0)
		return err_os(e, errno == ENOENT ? ERR_ABSENT : ERR_IO, "listen at %s", path);
	if (lstat(path, &l->place) < 0)
		log_debug("socket %s: %s", path, strerror(errno));
	l->fd = fd_take(&fd);
	l->path = mem_str(path);
	return 0;
}

int listener_judge(const char *path, struct err *e)
{
	AUTO_FREE char *dir = mem_str(path);
	char *slash = strrchr(dir, '/');
	struct sockaddr_un a;
	AUTO_FD int fd = fd_unix(&a, path, e);

	if (fd < 0 || !is_dead(&a, e))
		return -1;
	if (slash)
		slash[slash == dir] = '\0';
	return access(slash ? dir : ".", W_OK) < 0 ? err_os(e, ERR_IO, "listen at %s", path) : 0;
}

void listener_close(struct listener *l)
{
	struct stat s;

	fd_close(&l->fd);
	if (!l->path)
		return;
	/* the file at the path may be another's by now */
	if (!lstat(l->path, &s) && s.st_dev == l->place.st_dev && s.st_ino == l->place.st_ino &&
	    unlink(l->path) < 0)
		log_debug("socket %s stays: %s", l->path, strerror(errno));
	free(take(&l->path));
}

struct kept {
	struct link link;
	struct listener l;
};

void listener_put(struct link *kept, struct listener *l)
{
	struct kept *k = NEW(struct kept);

	k->l = *l;
	list_add_tail(kept, &k->link);
	*l = (struct listener){ .fd = -1 };
}

bool listener_get(struct link *kept, struct listener *l, const char *path)
{
	list_each (at, kept) {
		struct kept *k = container_of(at, struct kept, link);

		if (k->l.packets != l->packets || strcmp(k->l.path, path) != 0)
			continue;
		*l = k->l;
		list_drop(at);
		free(k);
		return true;
	}
	return false;
}

void listener_drop(struct link *kept)
{
	struct link *at;

	while ((at = list_take_first(kept))) {
		struct kept *k = container_of(at, struct kept, link);

		listener_close(&k->l);
		free(k);
	}
}
