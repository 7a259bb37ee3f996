/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client half: a request is put together, sent while the socket takes it, and then bytes are fed
 * to base/httpmsg until it has a whole answer. A server may answer, and hang up, before it has read
 * all: what it says is worth more than what it left unread. One thread; it blocks.
 */
#include "base/httpc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/scm.h"
#include "base/str.h"

#define INTERIM_MAX 8 /* answers of 100 to 199 before the one that counts */

struct httpc {
	int fd;
	int timeout_ms; /* of poll(2) */
	bool over;	/* nothing can be asked any more */
	const struct httpc_ask *ask;
	struct httpmsg msg;
	struct str body;
	char buf[16384];
	size_t from, to; /* what of it has not been fed */
};

struct httpc *httpc_take(int fd, unsigned int timeout_ms)
{
	struct httpc *c = NEW(struct httpc);

	/* what cannot be sent at once is waited for together with an early answer */
	fcntl(fd, F_SETFL, O_NONBLOCK);
	c->fd = fd;
	c->timeout_ms = timeout_ms ? (int)(timeout_ms & INT32_MAX) : -1;
	httpmsg_init(&c->msg, HTTPMSG_ANSWER, HTTPC_BODY_MAX);
	return c;
}

/* connect(2) waits while the server's line of newcomers is full, but not for ever. */
static int reach(int fd, const struct sockaddr_un *a, unsigned int timeout_ms)
{
	const struct timeval t = { .tv_sec = timeout_ms / 1000,
				   .tv_usec = timeout_ms % 1000 * 1000 };

	if (fcntl(fd, F_SETFL, 0) < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0)
		return -1;
	while (connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

int httpc_open(struct httpc **out, const char *path, unsigned int timeout_ms, struct err *e)
{
	struct sockaddr_un a;
	AUTO_FD int fd = fd_unix(&a, path, e);

	if (fd < 0)
		return -1;
	if (reach(fd, &a, timeout_ms) < 0)
		return err_os(e, errno == ENOENT || errno == ECONNREFUSED ? ERR_ABSENT : ERR_IO,
			      "connect to %s", path);
	*out = httpc_take(fd_take(&fd), timeout_ms);
	return 0;
}

void httpc_close(struct httpc *c)
{
	if (!c)
		return;
	fd_close(&c->fd);
	httpmsg_fini(&c->msg);
	str_fini(&c->body);
	free(c);
}

/* Which of the events came, or 0 when the server was silent for too long. */
static int await(struct httpc *c, short events, struct err *e)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	int n;

	do
		n = poll(&p, 1, c->timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_os(e, ERR_IO, "wait for the server");
	if (n == 0)
		return err_set(e, ERR_IO, "the server was silent for %d ms", c->timeout_ms);
	return p.revents;
}

static int send_all(struct httpc *c, const char *data, size_t len, struct err *e)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = scm_send(c->fd, data + done, len - done, c->ask->fds,
				     done ? 0 : c->ask->fd_count);
		int ready;

		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno == EPIPE || errno == ECONNRESET)
			return 0; /* the answer may say why */
		if (errno != EAGAIN && errno != EINTR)
			return err_os(e, errno == EBADF ? ERR_BAD : ERR_IO, "send the request");
		ready = await(c, POLLIN | POLLOUT, e);
		if (ready < 0)
			return -1;
		if (ready & POLLIN)
			return 0;
	}
	return 0;
}

/* More bytes of the answer into buf; 0 at the end of the connection. */
static ssize_t pull(struct httpc *c, struct err *e)
{
	ssize_t n;

	for (;;) {
		n = recv(c->fd, c->buf, sizeof(c->buf), MSG_DONTWAIT);
		if (n >= 0)
			break;
		if (errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return err_os(e, ERR_IO, "read the answer");
		if (await(c, POLLIN, e) < 0)
			return -1;
	}
	c->from = 0;
	c->to = (size_t)n;
	return n;
}

static void on_body(void *arg, const char *piece, size_t len)
{
	struct httpc *c = arg;

	if (c->msg.code / 100 == 2)
		c->ask->sink(c->ask->sink_arg, piece, len);
	else
		str_putn(&c->body, piece, len);
}

/* One answer, an interim one too. */
static int read_one(struct httpc *c, struct err *e)
{
	struct httpmsg *m = &c->msg;

	httpmsg_fini(m);
	httpmsg_init(m, HTTPMSG_ANSWER, HTTPC_BODY_MAX);
	if (c->ask->sink) {
		m->sink = on_body;
		m->sink_arg = c;
	}
	while (m->stage != HTTPMSG_WHOLE && m->stage != HTTPMSG_BAD) {
		ssize_t n = c->from < c->to ? 1 : pull(c, e);

		if (n < 0)
			return -1;
		if (n == 0 && m->stage == HTTPMSG_EMPTY)
			return err_set(e, ERR_IO, "the server hung up without an answer");
		if (n == 0)
			httpmsg_end(m);
		else
			c->from += httpmsg_feed(m, c->buf + c->from, c->to - c->from);
	}
	if (m->stage == HTTPMSG_BAD)
		return err_set(e, ERR_BAD, "the answer cannot be read: %s", m->why);
	return 0;
}

static int read_answer(struct httpc *c, struct err *e)
{
	for (unsigned int i = 0; i < INTERIM_MAX; i++) {
		if (read_one(c, e) < 0)
			return -1;
		if (c->msg.code >= 200)
			return 0;
	}
	return err_set(e, ERR_BAD, "the server sends interim answers only");
}

static void write_request(struct str *out, const struct httpc_ask *a)
{
	str_add(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n", a->method, a->path);
	if (a->headers)
		str_puts(out, a->headers);
	if (a->body)
		str_add(out, "Content-Type: application/json\r\n");
	/* A PUT without a body says so: some servers wait for one otherwise. */
	if (a->body || strcmp(a->method, "GET"))
		str_add(out, "Content-Length: %zu\r\n", a->body ? a->body_len : 0);
	str_puts(out, "\r\n");
	if (a->body)
		str_putn(out, a->body, a->body_len);
}

int httpc_call(struct httpc *c, const struct httpc_ask *a, struct httpc_answer *out, struct err *e)
{
	AUTO_STR struct str text = { .max = 4096 + strlen(a->path) + a->body_len +
					    (a->headers ? strlen(a->headers) : 0) };

	if (c->over)
		return err_set(e, ERR_IO, "the server has ended the connection");
	if (a->fd_count > HTTPC_FDS_MAX)
		return err_set(e, ERR_BAD,
			       "%u descriptors are more than the %d that go with a request",
			       a->fd_count, HTTPC_FDS_MAX);
	c->over = true;
	c->ask = a;
	str_cut(&c->body, 0);
	write_request(&text, a);
	if (send_all(c, str_text(&text), text.len, e) < 0 || read_answer(c, e) < 0)
		return -1;
	c->over = !c->msg.keep;
	out->code = c->msg.code;
	out->body = c->msg.body ? c->msg.body : str_text(&c->body);
	out->body_len = c->msg.body ? c->msg.body_len : c->body.len;
	return 0;
}

const char *httpc_header(const struct httpc *c, const char *name)
{
	return httpmsg_header(&c->msg, name);
}
