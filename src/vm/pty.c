/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pseudo-terminals. See pty.h. The kernel says that nobody has the other end open only after it was
 * open once, so it is opened and closed here; its modes outlast that.
 */
#include "vm/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"

#define PATH_LEN 256
#define DRAIN_LOOK_MS 5
/* A line discipline gets bytes a moment after they were written: empty counts when seen twice. */
#define DRAIN_LOOKS 2

/* The instance of the mount that we see comes first. */
static int open_multiplexer(struct err *e)
{
	int fd = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? err_os(e, ERR_IO, "open /dev/ptmx") : fd;
}

static int open_peer(int fd)
{
	return ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* The path of a descriptor, owned by the caller; NULL when there is none. */
static char *path_of(int fd)
{
	char link[32], path[PATH_LEN];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	return mem_str(path);
}

int pty_open(int *out, char **path, struct err *e)
{
	AUTO_FD int fd = open_multiplexer(e);
	AUTO_FD int peer = -1;
	struct termios modes;
	int locked = 0;

	if (fd < 0)
		return -1;
	if (ioctl(fd, TIOCSPTLCK, &locked) < 0)
		return err_os(e, ERR_IO, "unlock a pseudo-terminal");
	peer = open_peer(fd);
	if (peer < 0)
		return err_os(e, ERR_IO, "open the other end of a pseudo-terminal");
	if (tcgetattr(peer, &modes) < 0)
		return err_os(e, ERR_IO, "read the modes of a pseudo-terminal");
	cfmakeraw(&modes);
	if (tcsetattr(peer, TCSANOW, &modes) < 0)
		return err_os(e, ERR_IO, "make a pseudo-terminal raw");
	*path = path_of(peer);
	if (!*path)
		return err_os(e, ERR_IO, "find the path of a pseudo-terminal");
	*out = fd_take(&fd);
	return 0;
}

bool pty_is_open(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

void pty_drain(int fd, uint64_t end_ns)
{
	AUTO_FD int peer = open_peer(fd);
	int left = 1;

	if (peer < 0)
		return;
	for (int empty = 0; empty < DRAIN_LOOKS && loop_now_ns() < end_ns;) {
		if (ioctl(peer, FIONREAD, &left) < 0)
			return;
		empty = left ? 0 : empty + 1;
		poll(NULL, 0, DRAIN_LOOK_MS);
	}
}
