/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes with open descriptors on unix sockets. See scm.h.
 */
#include "base/scm.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fd.h"

#define FDS_BYTES (SCM_FDS_MAX * sizeof(int))

ssize_t scm_send(int sock, const void *buf, size_t len, const int *fds, unsigned int count)
{
	char control[CMSG_SPACE(FDS_BYTES)] __attribute__((aligned(sizeof(size_t))));
	struct iovec io = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (count) {
		memset(control, 0, sizeof(control));
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL);
}

ssize_t scm_recv(int sock, void *buf, size_t len, int flags, struct scm_fds *got)
{
	char control[CMSG_SPACE(FDS_BYTES)] __attribute__((aligned(sizeof(size_t))));
	struct iovec io = { .iov_base = buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(sock, &m, flags | MSG_CMSG_CLOEXEC);

	got->count = 0;
	got->lost = 0;
	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		got->count = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(got->fds, CMSG_DATA(c), got->count * sizeof(int));
	}
	got->lost = (m.msg_flags & MSG_CTRUNC) != 0;
	return n;
}

void scm_drop(struct scm_fds *got)
{
	for (unsigned int i = 0; i < got->count; i++)
		fd_close(&got->fds[i]);
	got->count = 0;
}
