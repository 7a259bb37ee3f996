/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: opening, whole reads and writes, sizes, eventfds. Nothing here waits except for the
 * file itself; sockets and readiness are base/loop. Any thread.
 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define UNIX_ROWS_MAX (4u << 20)

void fd_close(int *fd)
{
	int os = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = os;
}

int fd_open(const char *path, int flags, mode_t mode, struct err *e)
{
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_os(e, ERR_IO, "open %s", path);
	return fd;
}

/* Opened for both ways a FIFO waits for nobody, and while that holds, neither does opening the end
 * that we want: one that tells when its reader has gone. */
static int open_fifo(const char *path, struct err *e)
{
	AUTO_FD int both = fd_open(path, O_RDWR | O_NONBLOCK, 0, e);

	return both < 0 ? -1 : fd_open(path, O_WRONLY, 0, e);
}

int fd_open_out(const char *path, mode_t mode, bool *fifo, struct err *e)
{
	struct stat st;

	*fifo = stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
	return *fifo ? open_fifo(path, e)
		     : fd_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, mode, e);
}

int fd_read_at(int fd, void *buf, size_t len, uint64_t off, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_os(e, ERR_IO, "read %zu bytes at %llu", len,
				      (unsigned long long)off);
		if (n == 0)
			return err_set(e, ERR_IO,
				       "read %zu bytes at %llu: the file ends early, %zu short",
				       len, (unsigned long long)off, len - done);
		done += (size_t)n;
	}
	return 0;
}

int fd_write_all(int fd, const void *buf, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_os(e, ERR_IO, "write %zu bytes", len);
		done += (size_t)n;
	}
	return 0;
}

/* Reads on to the end; one byte past max tells that there is more. */
int fd_slurp_open(int fd, const char *name, size_t max, char **out, size_t *len, struct err *e)
{
	AUTO_FREE char *buf = NULL;
	size_t size = 0, used = 0;

	for (;;) {
		ssize_t n;

		if (used == size) {
			size_t more = size ? size * 2 : 4096;

			if (more > max + 1)
				more = max + 1;
			buf = mem_resize(buf, size, more + 1, 1);
			size = more;
		}
		n = read(fd, buf + used, size - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_os(e, ERR_IO, "read %s", name);
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return err_set(e, ERR_BAD, "%s is larger than %zu bytes", name, max);
	}
	buf[used] = '\0';
	*len = used;
	*out = take(&buf);
	return 0;
}

int fd_slurp(const char *path, size_t max, char **out, size_t *len, struct err *e)
{
	AUTO_FD int fd = fd_open(path, O_RDONLY, 0, e);

	return fd < 0 ? -1 : fd_slurp_open(fd, path, max, out, len, e);
}

int fd_size(int fd, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_os(e, ERR_IO, "find the size");
	if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return err_set(e, ERR_BAD, "neither a regular file nor a block device");
	if (ioctl(fd, BLKGETSIZE64, size) < 0)
		return err_os(e, ERR_IO, "find the size of the block device");
	return 0;
}

int fd_lock(int fd, struct flock *l)
{
	return fcntl(fd, F_OFD_SETLK, l);
}

int fd_may_lock(int fd, struct flock *l)
{
	if (fcntl(fd, F_OFD_GETLK, l) < 0 || l->l_type == F_UNLCK)
		return 0;
	errno = EAGAIN;
	return -1;
}

int fd_event(struct err *e)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return err_os(e, ERR_IO, "make an event descriptor");
	return fd;
}

void fd_signal(int event_fd)
{
	static const uint64_t one = 1;
	ssize_t n;

	do
		n = write(event_fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

uint64_t fd_drain(int event_fd)
{
	uint64_t count;
	ssize_t n;

	do
		n = read(event_fd, &count, sizeof(count));
	while (n < 0 && errno == EINTR);
	return n == sizeof(count) ? count : 0;
}

int fd_unix(struct sockaddr_un *a, const char *path, struct err *e)
{
	int fd;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path || strlen(path) >= sizeof(a->sun_path))
		return err_set(e, ERR_BAD, "the path of a socket has 1 to %zu bytes: %s",
			       sizeof(a->sun_path) - 1, path);
	memcpy(a->sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? err_os(e, ERR_IO, "make a socket") : fd;
}

static int refuse_reach(const char *path, const char *who, struct err *e)
{
	return err_os(e, errno == ENOENT ? ERR_ABSENT : ERR_IO,
		      "connect to %s; %s must listen there", path, who);
}

int fd_reach(const char *path, const char *who, struct err *e)
{
	struct sockaddr_un a;
	AUTO_FD int fd = fd_unix(&a, path, e);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)))
		return refuse_reach(path, who, e);
	return fd_take(&fd);
}

/* A row of /proc/net/unix: seven words, of which the fourth has the flags and the sixth the state, and
 * the name that the socket was given. */
#define ACCEPTS 0x10000u
#define UNCONNECTED 1u
enum { FLAGS = 3, STATE = 5, NAME = 7 };

/* A row from its word n on. What scans formats would be a twentieth of the program. */
static const char *from_word(const char *row, int n)
{
	for (; n; n--) {
		row += strcspn(row, " ");
		row += strspn(row, " ");
	}
	return row;
}

/* Has somebody taken the path, and does not listen? Only where that is sure: names that begin at the
 * root, of sockets that the kernel shows us. */
static bool is_deaf(const char *path)
{
	AUTO_FREE char *rows = NULL;
	struct err unknown = { 0 };
	bool found = false;
	size_t len;
	char *save;

	if (*path != '/' || fd_slurp("/proc/net/unix", UNIX_ROWS_MAX, &rows, &len, &unknown) < 0)
		return false;
	for (char *row = strtok_r(rows, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
		if (strcmp(from_word(row, NAME), path) != 0)
			continue;
		if (strtoul(from_word(row, FLAGS), NULL, 16) & ACCEPTS)
			return false;
		found |= strtoul(from_word(row, STATE), NULL, 16) == UNCONNECTED;
	}
	return found;
}

/* A socket of another kind is turned away, by the kernel, where there is one at all. */
int fd_may_reach(const char *path, const char *who, struct err *e)
{
	AUTO_FD int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	AUTO_FD int fd = fd_unix(&a, path, e);

	if (fd < 0)
		return -1;
	if (other >= 0 && connect(other, (const struct sockaddr *)&a, sizeof(a)) == 0)
		errno = EPROTOTYPE;
	else if (errno == EPROTOTYPE && is_deaf(path))
		errno = ECONNREFUSED;
	else if (errno == EPROTOTYPE)
		return 0;
	return refuse_reach(path, who, e);
}
