/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: opening, whole reads and writes, sizes, eventfds. Nothing here waits except for the
 * file itself; sockets and readiness are base/loop. Any thread.
 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

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
