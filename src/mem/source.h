/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that guest memory is taken from bit by bit, while the guest runs: it stays open, whoever
 * removes it, and it is told when somebody has written to it or made it shorter since. What that is
 * told by is its size and its time of modification, so bytes that were read before the file was
 * found unchanged are those of then. Any thread. fstat(2), lseek(2) SEEK_DATA, inotify(7).
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "base/err.h"

struct source {
	int fd;
	uint64_t size;
	struct timespec modified;
};

/* fd is borrowed, and stays the caller's. */
MUST int source_open(struct source *s, int fd, struct err *e);
/* One that was never opened, but with fd -1, is fine. */
void source_close(struct source *s);
/* Is it as it was? */
MUST int source_check(const struct source *s, struct err *e);
/* A descriptor, the caller's, that is readable when somebody has written to the file or made it shorter
 * by a system call; -1, with a log line, where the host cannot watch it. What is read from it need
 * not be looked at. */
int source_watch(const struct source *s);
/* All of [off, off+len), or an error: it cannot be read, ends early, was changed. */
MUST int source_read(const struct source *s, void *to, size_t len, uint64_t off, struct err *e);

/* What a file was asked last: from asked on it has nothing before data, and then nothing else before
 * hole. A file system may walk all of that to say so. Zero-initialise; one thread's. */
struct source_run {
	uint64_t asked, data, hole;
};
/* Of any file: where the next data of [off, end) begins and ends; both are end when there is none. What
 * the file system does not know to be a hole is data. As of when run was asked. */
void source_data(int fd, struct source_run *run, uint64_t off, uint64_t end, uint64_t *from,
		 uint64_t *to);
