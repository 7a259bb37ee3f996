/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes with open descriptors on unix sockets. Any thread may call. unix(7), SCM_RIGHTS.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define SCM_FDS_MAX 253 /* with one message: the kernel's limit */

/* Sends bytes with count <= SCM_FDS_MAX descriptors, which stay the caller's; no SIGPIPE. Returns
 * how many bytes went, with the first of which the descriptors went too; -1 and errno. */
ssize_t scm_send(int sock, const void *buf, size_t len, const int *fds, unsigned int count);

struct scm_fds {
	int fds[SCM_FDS_MAX]; /* the receiver's, close-on-exec */
	unsigned int count;
	int lost; /* some could not be had: this process has too many open */
};
/* Receives bytes, and the descriptors that came with one of them. A read ends behind bytes with
 * descriptors, so that they are those of the last piece. Returns as recv(2). */
ssize_t scm_recv(int sock, void *buf, size_t len, int flags, struct scm_fds *got);
/* Closes those that nobody took (-1 is one that was taken); got is empty afterwards. */
void scm_drop(struct scm_fds *got);
