/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening unix socket with a file at a path. A file that a dead process has left there is
 * replaced; a socket that somebody serves, and whatever is no socket, is refused. Two who come to a
 * dead file in the same moment need a lock of their own (api/apisock has one). Any thread may call.
 * unix(7).
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/list.h"

/* Zero-initialise with fd = -1. */
struct listener {
	bool packets; /* SOCK_SEQPACKET, set before it is opened; else SOCK_STREAM */
	int fd;	      /* non-blocking, close-on-exec */
	char *path;
	struct stat place; /* of the file, so that no other's is removed */
};

/* Binds and listens, with a queue of so many connections. The file has the rights that the umask
 * leaves. ERR_TAKEN when the path is not free. */
MUST int listener_open(struct listener *l, const char *path, int waiting, struct err *e);
/* Could one be opened there? Whoever serves it finds a caller who leaves at once. */
MUST int listener_judge(const char *path, struct err *e);
/* Closes it and removes its file. Twice is fine. */
void listener_close(struct listener *l);

/* Open listeners that wait for who serves them next, in a list of their own: who comes to one of
 * them meanwhile finds it there and waits. Put moves it in, get moves it out again, or returns
 * false; drop closes all that nobody wanted. */
void listener_put(struct link *kept, struct listener *l);
bool listener_get(struct link *kept, struct listener *l, const char *path);
void listener_drop(struct link *kept);
