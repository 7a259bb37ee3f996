/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of the REST API. See apisock.h. A lock file that is removed may be locked by one who
 * opened it before: he finds that it has no name any more, and begins again.
 */
#include "api/apisock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/mem.h"

#define WAITING_MAX 128 /* connections not yet accepted */
#define LOCK_TRIES 100

struct apisock {
	struct listener at; /* with a path */
	int fd;		    /* passed; -1: made */
	int lock;
	char *lock_path;
};

/* Does the path still lead to the file that is open? */
static bool is_at(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !lstat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int lock(struct apisock *s, const char *path, struct err *e)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		AUTO_FD int fd =
			open(s->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return err_os(e, ERR_IO, "open the lock %s", s->lock_path);
		if (fcntl(fd, F_OFD_SETLK, &l) < 0) {
			if (errno == EAGAIN || errno == EACCES)
				return err_set(e, ERR_TAKEN,
					       "%s is in use by another process, which holds %s",
					       path, s->lock_path);
			return err_os(e, ERR_IO, "lock %s", s->lock_path);
		}
		if (is_at(fd, s->lock_path)) {
			s->lock = fd_take(&fd);
			return 0;
		}
	}
	return err_set(e, ERR_BUSY, "the lock %s is removed again and again", s->lock_path);
}

static int make(struct apisock *s, const char *path, struct err *e)
{
	s->lock_path = mem_fmt("%s.lock", path);
	if (lock(s, path, e) < 0)
		return -1;
	return listener_open(&s->at, path, WAITING_MAX, e);
}

static int option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static int adopt(struct apisock *s, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_os(e, ERR_BAD, "descriptor %d", fd);
	if (option(fd, SO_DOMAIN) != AF_UNIX || option(fd, SO_TYPE) != SOCK_STREAM)
		return err_set(e, ERR_BAD, "descriptor %d is no unix stream socket", fd);
	if (option(fd, SO_ACCEPTCONN) != 1)
		return err_set(e, ERR_BAD, "the socket at descriptor %d does not listen", fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_os(e, ERR_IO, "descriptor %d", fd);
	s->fd = fd;
	return 0;
}

int apisock_new(struct apisock **out, const struct api_socket_conf *c, struct err *e)
{
	struct apisock *s = NEW(struct apisock);

	s->at.fd = s->fd = s->lock = -1;
	if ((c->path ? make(s, c->path, e) : adopt(s, c->fd, e)) < 0) {
		apisock_free(s);
		return -1;
	}
	*out = s;
	return 0;
}

int apisock_fd(const struct apisock *s)
{
	return s->fd >= 0 ? s->fd : s->at.fd;
}

void apisock_free(struct apisock *s)
{
	if (!s)
		return;
	listener_close(&s->at);
	fd_close(&s->fd);
	/* while it is held, so that nobody else's is removed */
	if (s->lock >= 0 && is_at(s->lock, s->lock_path) && unlink(s->lock_path) < 0)
		log_debug("lock %s stays: %s", s->lock_path, strerror(errno));
	fd_close(&s->lock);
	free(s->lock_path);
	free(s);
}
