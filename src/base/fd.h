/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owned descriptors: closing locals, full reads and writes, event descriptors. Every descriptor is
 * close-on-exec. Any thread may call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"

/* Closes *fd unless it is negative, and sets it to -1. errno is kept. */
void fd_close(int *fd);
#define AUTO_FD __attribute__((cleanup(fd_close)))
static inline int fd_take(int *fd)
{
	int f = *fd;

	*fd = -1;
	return f;
}

/* open(2) with O_CLOEXEC; err names the path and the cause. Returns the descriptor or -1. */
MUST int fd_open(const char *path, int flags, mode_t mode, struct err *e);
/* A file that is begun anew, to append to; or a FIFO, without waiting for its reader. */
MUST int fd_open_out(const char *path, mode_t mode, bool *fifo, struct err *e);

/* All of it or an error. fd_read_at fails with ERR_IO "ends early" at the end of the file. */
MUST int fd_read_at(int fd, void *buf, size_t len, uint64_t off, struct err *e);
MUST int fd_write_all(int fd, const void *buf, size_t len, struct err *e);

/* A whole small file (at most max bytes) into memory that the caller frees; a zero byte is added
 * behind. */
MUST int fd_slurp(const char *path, size_t max, char **out, size_t *len, struct err *e);
/* The same from where an open descriptor stands, a pipe for one; name is for sentences. */
MUST int fd_slurp_open(int fd, const char *name, size_t max, char **out, size_t *len,
		       struct err *e);

/* Size in bytes of a regular file or block device. */
MUST int fd_size(int fd, uint64_t *size, struct err *e);

struct flock;
/* Takes an open-file-description lock, fcntl(2), or gives it back. 0; -1 with errno, EAGAIN where
 * somebody has one that is in the way. */
MUST int fd_lock(int fd, struct flock *l);
/* The same answer, and takes none. */
MUST int fd_may_lock(int fd, struct flock *l);

/* eventfd(2), non-blocking. Returns the descriptor or -1. */
MUST int fd_event(struct err *e);
/* Adds one; never blocks, never fails in a way that matters (a full counter is a pending event). */
void fd_signal(int event_fd);
/* Empties the counter and returns what it held. */
uint64_t fd_drain(int event_fd);

/* A stream socket, non-blocking and not yet connected, and the address of a path of 1 to 107 bytes.
 * Returns the descriptor or -1. unix(7). */
MUST int fd_unix(struct sockaddr_un *a, const char *path, struct err *e);
/* The same, connected; a failure says that `who` must listen there. Does not wait. */
MUST int fd_reach(const char *path, const char *who, struct err *e);
/* Would that succeed? Whoever listens there hears nothing of it. */
MUST int fd_may_reach(const char *path, const char *who, struct err *e);
