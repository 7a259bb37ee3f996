/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames over a connected unix stream socket: each as four bytes of length, most significant
 * first, and the bare Ethernet frame, in both directions. passt speaks it, and so does what
 * connects to QEMU's "-netdev stream". There is no header with wishes, so there are no offloads,
 * and no right over the host's network is needed.
 *
 * Many small frames make one system call: what is received is read by the buffer, what is sent is
 * kept back until the batch ends (flush). A length that no frame has, and the end of the stream,
 * are the end of the link; one that was reached by a path can be knocked at again. Opening and
 * knocking are for the control thread, the rest for the pair's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/frame.h"
#include "net/link.h"

#define LENGTH_BYTES 4
#define IN_BYTES 0x20000
#define OUT_BYTES 0x20000
#define COPY_MAX 4096 /* longer frames are sent from where they lie */
#define PIECES_MAX 1023

struct stream {
	char *path;	   /* NULL: passed, and never to come again */
	uint8_t *in, *out; /* what is between at and end waits */
	uint32_t in_at, in_end;
	uint32_t out_at, out_end;
	struct kiov pieces[PIECES_MAX + 1];
};

static bool is_later(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

/* --- in --- */

static long take_more(struct nlink *l, struct stream *s)
{
	ssize_t n;

	/* Behind what is left there is room for a whole frame. */
	if (s->in_at && IN_BYTES - s->in_end < LENGTH_BYTES + FRAME_MAX) {
		memmove(s->in, s->in + s->in_at, s->in_end - s->in_at);
		s->in_end -= s->in_at;
		s->in_at = 0;
	}
	n = read(l->fd, s->in + s->in_end, IN_BYTES - s->in_end);
	if (n > 0)
		s->in_end += (uint32_t)n;
	if (n > 0)
		return n;
	return n < 0 && is_later(errno) ? LINK_AGAIN : LINK_DEAD;
}

static long give(struct stream *s, uint32_t len, const struct kiov *k, unsigned int n)
{
	static const uint8_t header[FRAME_HEADER];
	const uint8_t *frame = s->in + s->in_at + LENGTH_BYTES;
	size_t given = kiov_put(k, n, 0, header, sizeof(header));

	given += kiov_put(k, n, FRAME_HEADER, frame, len);
	s->in_at += LENGTH_BYTES + len;
	if (s->in_at == s->in_end)
		s->in_at = s->in_end = 0;
	return (long)given;
}

static long stream_rx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	struct stream *s = l->priv;

	for (;;) {
		uint32_t have = s->in_end - s->in_at, len = 0;
		long got;

		if (have >= LENGTH_BYTES) {
			len = be32_get(s->in + s->in_at);
			if (!len || len > FRAME_MAX) {
				log_guest(
					"a peer of %s sends a frame of %u bytes: not a stream of frames",
					s->path ? s->path : "a passed socket", len);
				return LINK_DEAD;
			}
			if (have >= LENGTH_BYTES + len)
				return give(s, len, k, n);
		}
		got = take_more(l, s);
		if (got < 0)
			return got;
	}
}

/* --- out --- */

static long stream_flush(struct nlink *l)
{
	struct stream *s = l->priv;

	while (s->out_at < s->out_end) {
		ssize_t n = write(l->fd, s->out + s->out_at, s->out_end - s->out_at);

		if (n <= 0)
			return n < 0 && is_later(errno) ? LINK_AGAIN : LINK_DEAD;
		s->out_at += (uint32_t)n;
	}
	s->out_at = s->out_end = 0;
	return 0;
}

/* The frame from its byte `from` on, length included, behind what waits. There is room. */
static void keep(struct stream *s, uint32_t len, uint32_t from, const struct kiov *k,
		 unsigned int n)
{
	uint8_t length[LENGTH_BYTES];

	be32_put(length, len);
	for (; from < LENGTH_BYTES; from++)
		s->out[s->out_end++] = length[from];
	s->out_end += (uint32_t)kiov_get(k, n, FRAME_HEADER + from - LENGTH_BYTES,
					 s->out + s->out_end, len + LENGTH_BYTES - from);
}

/* Nothing waits. What the socket does not take of a frame that it began is kept. */
static long send_long(struct nlink *l, uint32_t len, const struct kiov *k, unsigned int n)
{
	struct stream *s = l->priv;
	uint8_t length[LENGTH_BYTES];
	int count = kiov_slice(k, n, FRAME_HEADER, len, s->pieces + 1, PIECES_MAX);
	ssize_t sent;

	if (count < 0)
		return LINK_DROP;
	be32_put(length, len);
	s->pieces[0] = kiov_of(length, sizeof(length));
	sent = writev(l->fd, &s->pieces[0].v, count + 1);
	if (sent <= 0)
		return sent < 0 && is_later(errno) ? LINK_AGAIN : LINK_DEAD;
	if ((size_t)sent < LENGTH_BYTES + len)
		keep(s, len, (uint32_t)sent, k, n);
	return FRAME_HEADER + (long)len;
}

static long stream_tx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	struct stream *s = l->priv;
	size_t total = kiov_total(k, n);
	uint32_t len;
	long wait;

	if (total <= FRAME_HEADER || total > FRAME_HEADER + FRAME_MAX)
		return LINK_DROP;
	len = (uint32_t)total - FRAME_HEADER;
	if (len > COPY_MAX || OUT_BYTES - s->out_end < LENGTH_BYTES + len) {
		wait = stream_flush(l);
		if (wait)
			return wait;
	}
	if (len > COPY_MAX)
		return send_long(l, len, k, n);
	keep(s, len, 0, k, n);
	return (long)total;
}

/* --- life --- */

static int stream_knock(const struct nlink *l)
{
	const struct stream *s = l->priv;
	struct err e = { 0 };

	return fd_reach(s->path, "a program such as passt", &e);
}

static void stream_renew(struct nlink *l, int fd)
{
	struct stream *s = l->priv;

	fd_close(&l->fd);
	l->fd = fd;
	s->in_at = s->in_end = s->out_at = s->out_end = 0;
}

static void stream_close(struct nlink *l)
{
	struct stream *s = l->priv;

	fd_close(&l->fd);
	if (!s)
		return;
	free(s->path);
	free(s->in);
	free(s->out);
	free(s);
	l->priv = NULL;
}

static const struct link_ops stream_ops = {
	.name = "stream",
	.rx_copies = true,
	.tx = stream_tx,
	.rx = stream_rx,
	.flush = stream_flush,
	.knock = stream_knock,
	.renew = stream_renew,
	.close = stream_close,
};

static const struct link_ops passed_ops = {
	.name = "passed stream",
	.rx_copies = true,
	.tx = stream_tx,
	.rx = stream_rx,
	.flush = stream_flush,
	.close = stream_close,
};

static struct stream *stream_new(const char *path)
{
	struct stream *s = NEW(struct stream);

	s->path = path ? mem_str(path) : NULL;
	s->in = mem_new(IN_BYTES);
	s->out = mem_new(OUT_BYTES);
	return s;
}

int stream_open(struct nlink *l, const char *path, struct err *e)
{
	int fd = fd_reach(path, "a program such as passt", e);

	if (fd < 0)
		return -1;
	*l = (struct nlink){ .ops = &stream_ops, .fd = fd, .priv = stream_new(path) };
	return 0;
}

int stream_judge(struct nlink *l, const char *path, struct err *e)
{
	*l = (struct nlink){ .ops = &stream_ops, .fd = -1 };
	return fd_may_reach(path, "a program such as passt", e);
}

bool stream_is(int fd)
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && domain == AF_UNIX &&
	       type == SOCK_STREAM;
}

int stream_take(struct nlink *l, int fd, struct err *e)
{
	AUTO_FD int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int flags = own < 0 ? -1 : fcntl(own, F_GETFL);

	if (flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK))
		return err_os(e, ERR_IO, "set up fd=%d", fd);
	*l = (struct nlink){ .ops = &passed_ops, .fd = fd_take(&own), .priv = stream_new(NULL) };
	return 0;
}
