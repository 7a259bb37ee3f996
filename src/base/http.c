/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server half of HTTP: requests and their answers, newcomers, life. See http.h; a connection's
 * own affairs are httpconn.c's.
 */
#include "base/http.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/httpconn.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#define GRACE_NS (HTTP_SECOND_NS / 4) /* a client that lets us wait no longer keeps its place */
#define WAIT_NS HTTP_SECOND_NS	      /* newcomers wait for a place before they are told */
#define REST_NS (HTTP_SECOND_NS / 20) /* between looks for a place */
#define ACCEPT_MAX 16		      /* newcomers per turn */

static struct httpreq *request_of(struct http_req *r)
{
	return container_of(r, struct httpreq, r);
}

/* --- requests --- */

const char *http_header(const struct http_req *r, const char *name)
{
	const struct httpreq *q = container_of(r, const struct httpreq, r);

	return httpmsg_header(&q->msg, name);
}

bool http_header_lists(const struct http_req *r, const char *name, const char *word)
{
	const struct httpmsg *m = &container_of(r, const struct httpreq, r)->msg;

	for (unsigned int i = 0; i < m->header_count; i++)
		if (!strcasecmp(m->headers[i].name, name) &&
		    httpmsg_lists(m->headers[i].value, word))
			return true;
	return false;
}

int http_take_fd(struct http_req *r, unsigned int i)
{
	assert(i < r->fd_count);
	return fd_take(&r->fds[i]);
}

void http_answer(struct http_req *r, const struct http_reply *a)
{
	struct httpreq *q = request_of(r);
	struct httpconn *c = q->conn;

	if (q->answered)
		q->answered(q->answered_arg, a);
	if (c) {
		c->r = NULL;
		httpconn_put(c, a, !strcmp(r->method, "HEAD"));
	}
	httpreq_free(q);
	if (c)
		httpconn_send(c);
}

void http_refuse(struct http_req *r, unsigned int code, const char *fmt, ...)
{
	AUTO_FREE char *text = NULL;
	struct http_reply a = { .code = code };
	char why[ERR_TEXT];
	va_list va;

	va_start(va, fmt);
	vsnprintf(why, sizeof(why), fmt, va);
	va_end(va);
	text = httpconn_sentence(why);
	a.body = text;
	a.len = strlen(text);
	http_answer(r, &a);
}

void http_stream(struct http_req *r, unsigned int code, const char *type)
{
	struct httpreq *q = request_of(r);
	struct httpconn *c = q->conn;
	struct httpout_head h = { .code = code, .type = type };

	q->chunked = q->msg.minor > 0;
	if (!c)
		return;
	c->keep = c->keep && q->chunked;
	h.server = c->s->a.server;
	h.keep = c->keep;
	h.chunked = q->chunked;
	httpout_head(&c->out, &h);
	c->stage = STREAMS;
	c->since_ns = loop_now_ns();
	httpconn_flush(c);
	httpconn_settle(c);
}

bool http_chunk(struct http_req *r, const char *data, size_t len)
{
	struct httpreq *q = request_of(r);
	struct httpconn *c = q->conn;

	if (!c || c->broken || len > HTTP_STREAM_MAX - httpout_waiting(&c->out))
		return false;
	if (len && q->chunked)
		httpout_chunk(&c->out, data, len);
	else
		httpout_put(&c->out, data, len);
	httpconn_flush(c);
	httpconn_settle(c);
	return true;
}

void http_stream_end(struct http_req *r)
{
	struct httpreq *q = request_of(r);
	struct httpconn *c = q->conn;

	if (c) {
		c->r = NULL;
		if (q->chunked)
			httpout_puts(&c->out, "0\r\n\r\n");
	}
	httpreq_free(q);
	if (c)
		httpconn_send(c);
}

/* --- requests that are brought --- */

/* Read as if it had come over a connection, so that nothing gets in that could not come so. */
static bool read_brought(struct httpreq *q, const struct http_brought *b)
{
	AUTO_STR struct str head = { 0 };

	str_add(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
		b->method, b->path, b->body_len);
	if (httpmsg_feed(&q->msg, str_text(&head), head.len) < head.len)
		return false;
	if (b->body_len && q->msg.stage == HTTPMSG_BODY)
		httpmsg_feed(&q->msg, b->body, b->body_len);
	return q->msg.stage == HTTPMSG_WHOLE;
}

static bool copy_fds(struct httpreq *q, const struct http_brought *b)
{
	for (unsigned int i = 0; i < b->fd_count; i++) {
		int fd = i < HTTP_FDS_MAX ? fcntl(b->fds[i], F_DUPFD_CLOEXEC, 3) : -1;

		if (fd < 0)
			return false;
		q->fds.fds[q->fds.count++] = fd;
	}
	return true;
}

void http_bring(struct http_server *s, const struct http_brought *b)
{
	struct httpreq *q = NEW(struct httpreq);
	bool good;

	q->s = s;
	q->answered = b->answered;
	q->answered_arg = b->arg;
	httpmsg_init(&q->msg, HTTPMSG_REQUEST, s->a.body_max);
	good = read_brought(q, b) && copy_fds(q, b);
	s->held += q->msg.body_cap;
	httpreq_ready(q);
	if (good)
		s->a.request(s->a.arg, &q->r);
	else
		http_refuse(&q->r, 400, "%s",
			    q->msg.stage == HTTPMSG_BAD
				    ? q->msg.why
				    : "the request or its descriptors are none");
}

/* --- newcomers --- */

static bool has_bytes(const struct httpconn *c)
{
	char b;

	return recv(c->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static struct httpconn *older(struct httpconn *a, struct httpconn *b)
{
	return a && a->since_ns <= b->since_ns ? a : b;
}

/* Whose place a newcomer gets; NULL: nobody's. */
static struct httpconn *victim(struct http_server *s, uint64_t now)
{
	struct httpconn *idle = NULL, *slow = NULL;

	list_each (at, &s->conns) {
		struct httpconn *c = httpconn_of(at);

		if (now - c->since_ns < GRACE_NS)
			continue;
		if (c->stage == READS && c->in.stage == HTTPMSG_EMPTY) {
			if (!has_bytes(c))
				idle = older(idle, c);
		} else if (c->stage != SERVES &&
			   (c->stage != STREAMS || httpout_waiting(&c->out))) {
			slow = older(slow, c);
		}
	}
	return idle ? idle : slow;
}

static void accept_again(void *arg)
{
	struct http_server *s = arg;

	loop_rewatch(&s->watch, EPOLLIN);
}

static void rest(struct http_server *s)
{
	loop_rewatch(&s->watch, 0);
	loop_timer_set(s->loop, &s->rest, loop_now_ns() + REST_NS, accept_again, s);
}

/* Makes room for one more. */
static bool has_place(struct http_server *s)
{
	struct httpconn *v;

	if (s->counts.clients >= HTTP_CLIENTS_MAX) {
		v = victim(s, loop_now_ns());
		if (!v)
			return false;
		s->counts.dropped++;
		httpconn_gone(v);
	}
	s->full_ns = 0;
	return true;
}

/* Tells a newcomer for whom there is no place, and no hope of one. */
static void turn_away(struct http_server *s, int fd)
{
	AUTO_FREE char *text =
		httpconn_sentence("too many clients are being served, try again later");
	const struct httpout_head h = { .code = 503,
					.server = s->a.server,
					.headers = "Retry-After: 1\r\n",
					.type = "application/json",
					.has_length = true,
					.length = strlen(text) };
	struct httpout out = { 0 };

	s->counts.refused++;
	httpout_head(&out, &h);
	httpout_puts(&out, text);
	if (httpout_flush(&out, fd) != HTTPOUT_SENT)
		log_debug("http: a client that was turned away was not told");
	httpout_fini(&out);
	fd_close(&fd);
}

/* There is no place: newcomers wait a moment in the kernel's queue, then they are told. */
static bool shall_wait(struct http_server *s)
{
	uint64_t now = loop_now_ns();

	if (has_place(s))
		return false;
	if (!s->full_ns)
		s->full_ns = now;
	return now - s->full_ns < WAIT_NS;
}

static void on_connection(void *arg, uint32_t events)
{
	struct http_server *s = arg;

	(void)events;
	for (int i = 0; i < ACCEPT_MAX; i++) {
		int fd;

		/* only the first is known to be there, and nobody loses a place for nobody */
		if (s->counts.clients >= HTTP_CLIENTS_MAX && i)
			return;
		if (shall_wait(s)) {
			rest(s);
			return;
		}
		fd = accept4(s->a.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0 && s->full_ns) {
			turn_away(s, fd);
		} else if (fd >= 0) {
			httpconn_new(s, fd);
		} else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			log_warn("http: cannot accept a client: %s", strerror(errno));
			rest(s);
			return;
		} else {
			return;
		}
	}
}

/* --- life --- */

const struct http_counts *http_counts(const struct http_server *s)
{
	return &s->counts;
}

int http_server_new(struct http_server **out, struct loop *l, const struct http_args *a,
		    struct err *e)
{
	struct http_server *s = NEW(struct http_server);
	int flags = a->fd < 0 ? 0 : fcntl(a->fd, F_GETFL);

	s->loop = l;
	s->a = *a;
	s->has_place = accept_again;
	list_init(&s->conns);
	list_init(&s->requests);
	if (a->fd < 0) {
		*out = s;
		return 0;
	}
	if (flags < 0 || fcntl(a->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		err_os(e, ERR_IO, "listen on descriptor %d", a->fd);
		free(s);
		return -1;
	}
	if (loop_watch(l, &s->watch, a->fd, EPOLLIN, on_connection, s, e) < 0) {
		free(s);
		return -1;
	}
	*out = s;
	return 0;
}

void http_server_free(struct http_server *s)
{
	struct link *at;

	if (!s)
		return;
	loop_unwatch(&s->watch);
	while ((at = list_take_first(&s->requests))) {
		struct httpreq *q = container_of(at, struct httpreq, link);

		if (q->conn)
			q->conn->r = NULL;
		httpreq_free(q);
	}
	while ((at = list_take_first(&s->conns))) {
		struct httpconn *c = httpconn_of(at);

		s->full_ns = 0;
		if (httpout_flush(&c->out, c->fd) == HTTPOUT_WAITS)
			log_debug("http: a client has not taken its answer");
		httpconn_drop(c);
	}
	loop_timer_stop(&s->rest);
	free(s);
}
