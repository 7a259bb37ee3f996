/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server half of HTTP. See http.h. A connection is always at one stage, which says whom it
 * waits for:
 *
 *	READS    the client, for a request      -> SERVES when it is whole
 *	SERVES   the user, for an answer        -> SENDS, or STREAMS
 *	STREAMS  the user, for pieces           -> SENDS
 *	SENDS    the client, to take the answer -> READS, or LINGERS
 *	LINGERS  the client, to see the end     -> gone
 *
 * Bytes are looked at first and taken from the socket only as far as they belong to the request
 * that is being read, so that what follows waits in the socket, and descriptors are received with
 * the bytes of their own request. Closing while a client still sends would lose it the answer;
 * therefore the lingering.
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
#include "base/httpmsg.h"
#include "base/httpout.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scm.h"

#define SECOND_NS 1000000000ull
#define LINGER_NS SECOND_NS
#define GRACE_NS (SECOND_NS / 4) /* a client that lets us wait no longer keeps its place */
#define WAIT_NS SECOND_NS	 /* newcomers wait for a place before they are told */
#define REST_NS (SECOND_NS / 20) /* between looks for a place */
#define LOOK_HEAD 0x1000	 /* bytes looked at in one go while a head is read */
#define LOOK_BODY 0x10000
#define ROUNDS 4	     /* of reading, until others have their turn */
#define ACCEPT_MAX 16	     /* newcomers per turn */
#define HELD_MAX (64u << 20) /* bytes of all bodies together */

enum stage { READS, SERVES, STREAMS, SENDS, LINGERS };

struct conn;

struct request {
	struct http_req r;
	struct link link; /* in the server's list */
	struct http_server *s;
	struct conn *conn; /* NULL: gone */
	struct httpmsg msg;
	struct scm_fds fds;
	bool chunked; /* the stream has chunks */
};

struct conn {
	struct link link; /* in the server's list */
	struct http_server *s;
	struct loop_fd watch;
	uint32_t events; /* that are watched for */
	struct loop_timer timer;
	int fd;
	enum stage stage;
	uint64_t since_ns; /* since when it waits for whom it waits for */
	struct httpmsg in;
	struct scm_fds fds; /* that came with it */
	struct request *r;  /* at SERVES and STREAMS */
	struct httpout out;
	bool keep;     /* after the answer */
	bool told;     /* 100 Continue */
	bool too_many; /* descriptors */
	bool broken;   /* nothing can be sent any more */
	bool busy;     /* its handler runs, and will see to what follows */
	bool dead;     /* to be dropped by that */
};

struct http_server {
	struct loop *loop;
	struct http_args a;
	struct loop_fd watch;
	struct loop_timer rest; /* from accepting */
	uint64_t full_ns;	/* since when there was no place; 0: there is */
	struct link conns, requests;
	struct http_counts counts;
	size_t held; /* bytes of bodies */
	char look[LOOK_BODY];
};

static struct conn *conn_of(struct link *l)
{
	return container_of(l, struct conn, link);
}

static struct request *request_of(struct http_req *r)
{
	return container_of(r, struct request, r);
}

/* --- requests --- */

static void request_free(struct request *q)
{
	q->s->held -= q->msg.body_cap;
	list_drop(&q->link);
	scm_drop(&q->fds);
	httpmsg_fini(&q->msg);
	free(q);
}

const char *http_header(const struct http_req *r, const char *name)
{
	const struct request *q = container_of(r, const struct request, r);

	return httpmsg_header(&q->msg, name);
}

bool http_header_lists(const struct http_req *r, const char *name, const char *word)
{
	const struct httpmsg *m = &container_of(r, const struct request, r)->msg;

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

/* --- connections: watching and ending --- */

static void accept_again(void *arg);

static void conn_drop(struct conn *c)
{
	struct http_server *s = c->s;

	assert(!c->r);
	loop_unwatch(&c->watch);
	loop_timer_stop(&c->timer);
	fd_close(&c->fd);
	s->held -= c->in.body_cap;
	httpmsg_fini(&c->in);
	scm_drop(&c->fds);
	httpout_fini(&c->out);
	list_drop(&c->link);
	s->counts.clients--;
	free(c);
	if (s->full_ns)
		loop_timer_set(s->loop, &s->rest, 0, accept_again, s);
}

/* Nobody is there for the answer. */
static void conn_gone(struct conn *c)
{
	struct http_server *s = c->s;
	struct request *q = take(&c->r);

	conn_drop(c);
	if (!q)
		return;
	q->conn = NULL;
	q->r.gone = true;
	if (s->a.gone)
		s->a.gone(s->a.arg, &q->r);
}

static void conn_ready(void *arg, uint32_t events);
static void conn_late(void *arg);

static void conn_deadline(struct conn *c, uint64_t ns)
{
	loop_timer_set(c->s->loop, &c->timer, loop_now_ns() + ns, conn_late, c);
}

static uint32_t wanted(const struct conn *c)
{
	switch (c->stage) {
	case READS:
	case LINGERS:
		return EPOLLIN;
	default:
		return httpout_waiting(&c->out) && !c->broken ? EPOLLOUT : 0;
	}
}

/* After whatever was done to it: watches for what it waits for now. Hang-ups come unasked. */
static void settle(struct conn *c)
{
	uint32_t events;

	if (c->busy)
		return;
	if (c->dead) {
		conn_gone(c);
		return;
	}
	events = wanted(c);
	if (events != c->events)
		loop_rewatch(&c->watch, events);
	c->events = events;
}

/* --- connections: sending --- */

/* All of the answer is on its way. */
static void conn_next(struct conn *c)
{
	loop_timer_stop(&c->timer);
	c->since_ns = loop_now_ns();
	if (c->keep) {
		c->stage = READS;
		c->told = false;
		return;
	}
	shutdown(c->fd, SHUT_WR);
	c->stage = LINGERS;
	conn_deadline(c, LINGER_NS);
}

/* Sends what the client takes. */
static void conn_flush(struct conn *c)
{
	size_t before = httpout_waiting(&c->out);

	switch (httpout_flush(&c->out, c->fd)) {
	case HTTPOUT_SENT:
		if (c->stage == SENDS)
			conn_next(c);
		break;
	case HTTPOUT_WAITS:
		if (httpout_waiting(&c->out) == before)
			break;
		c->since_ns = loop_now_ns();
		if (c->stage == SENDS)
			conn_deadline(c, HTTP_STALL_S * SECOND_NS);
		break;
	default:
		c->broken = true;
		/* the user of a stream hears of it from the loop, not while he speaks */
		if (c->stage == STREAMS)
			conn_deadline(c, 0);
		else
			c->dead = true;
	}
}

/* What was put is the end of the answer. */
static void conn_send(struct conn *c)
{
	c->stage = SENDS;
	c->since_ns = loop_now_ns();
	conn_deadline(c, HTTP_STALL_S * SECOND_NS);
	conn_flush(c);
	settle(c);
}

static void put_answer(struct conn *c, const struct http_reply *a, bool bare)
{
	bool empty = a->code < 200 || a->code == 204 || a->code == 304;
	const char *type = a->type ? a->type : "application/json";
	const struct httpout_head h = { .code = a->code,
					.server = c->s->a.server,
					.keep = c->keep,
					.headers = a->headers,
					.type = empty || !a->len ? NULL : type,
					.has_length = !empty,
					.length = a->len };

	httpout_head(&c->out, &h);
	if (!empty && !bare)
		httpout_put(&c->out, a->body, a->len);
}

static char *sentence(const char *text)
{
	AUTO_JSON struct json *j = json_arr();

	json_add(j, json_new_str(text));
	return json_text(j, JSON_LINE);
}

/* Answers a request that nobody else sees. */
static void conn_refuse(struct conn *c, unsigned int code, const char *why)
{
	AUTO_FREE char *text = sentence(why);
	const struct http_reply a = { .code = code, .body = text, .len = strlen(text) };

	c->s->counts.bad++;
	c->s->held -= c->in.body_cap;
	httpmsg_fini(&c->in);
	scm_drop(&c->fds);
	c->keep = false;
	put_answer(c, &a, false);
	conn_send(c);
}

void http_answer(struct http_req *r, const struct http_reply *a)
{
	struct request *q = request_of(r);
	struct conn *c = q->conn;

	if (c) {
		c->r = NULL;
		put_answer(c, a, !strcmp(r->method, "HEAD"));
	}
	request_free(q);
	if (c)
		conn_send(c);
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
	text = sentence(why);
	a.body = text;
	a.len = strlen(text);
	http_answer(r, &a);
}

void http_stream(struct http_req *r, unsigned int code, const char *type)
{
	struct request *q = request_of(r);
	struct conn *c = q->conn;
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
	conn_flush(c);
	settle(c);
}

bool http_chunk(struct http_req *r, const char *data, size_t len)
{
	struct request *q = request_of(r);
	struct conn *c = q->conn;

	if (!c || c->broken || len > HTTP_STREAM_MAX - httpout_waiting(&c->out))
		return false;
	if (len && q->chunked)
		httpout_chunk(&c->out, data, len);
	else
		httpout_put(&c->out, data, len);
	conn_flush(c);
	settle(c);
	return true;
}

void http_stream_end(struct http_req *r)
{
	struct request *q = request_of(r);
	struct conn *c = q->conn;

	if (c) {
		c->r = NULL;
		if (q->chunked)
			httpout_puts(&c->out, "0\r\n\r\n");
	}
	request_free(q);
	if (c)
		conn_send(c);
}

/* --- connections: reading --- */

static void conn_serve(struct conn *c)
{
	struct http_server *s = c->s;
	struct request *q = NEW(struct request);

	loop_timer_stop(&c->timer);
	q->s = s;
	q->conn = c;
	q->msg = c->in;
	q->fds = c->fds;
	httpmsg_init(&c->in, HTTPMSG_REQUEST, s->a.body_max);
	c->fds.count = 0;
	c->keep = q->msg.keep;
	c->r = q;
	c->stage = SERVES;
	q->r = (struct http_req){ .method = q->msg.method,
				  .path = q->msg.path,
				  .query = q->msg.query,
				  .body = q->msg.body ? q->msg.body : "",
				  .body_len = q->msg.body_len,
				  .fds = q->fds.fds,
				  .fd_count = q->fds.count,
				  .came_ns = loop_now_ns() };
	list_add_tail(&s->requests, &q->link);
	s->counts.requests++;
	s->a.request(s->a.arg, &q->r);
}

/* Takes n bytes that were looked at out of the socket, with their descriptors. */
static bool take_bytes(struct conn *c, size_t n)
{
	struct scm_fds got;

	while (n) {
		ssize_t r = scm_recv(c->fd, c->s->look, n, MSG_DONTWAIT, &got);

		if (r <= 0)
			return false;
		n -= (size_t)r;
		for (unsigned int i = 0; i < got.count && c->fds.count < HTTP_FDS_MAX; i++)
			c->fds.fds[c->fds.count++] = fd_take(&got.fds[i]);
		for (unsigned int i = 0; i < got.count; i++)
			c->too_many |= got.fds[i] >= 0;
		scm_drop(&got);
		c->fds.lost |= got.lost;
	}
	return true;
}

/* Judges what has come so far. */
static void conn_judge(struct conn *c, bool more)
{
	struct http_server *s = c->s;

	if (c->in.stage == HTTPMSG_BAD)
		conn_refuse(c, c->in.bad, c->in.why);
	else if (c->too_many)
		conn_refuse(c, 400, "more than 253 descriptors came with one request");
	else if (c->fds.lost)
		conn_refuse(c, 500, "descriptors were lost, too many are open here");
	else if (s->held > HELD_MAX)
		conn_refuse(c, 503, "too many large requests are being read, try again later");
	else if (c->in.stage == HTTPMSG_WHOLE)
		conn_serve(c);
	else if (c->in.stage == HTTPMSG_EMPTY || c->told)
		return;
	else if (c->in.stage == HTTPMSG_BODY && c->in.expects) {
		c->told = true;
		if (!more)
			httpout_puts(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
		conn_flush(c);
	}
}

/* Returns whether there may be more to read at once. */
static bool read_some(struct conn *c)
{
	struct http_server *s = c->s;
	size_t room = c->in.stage == HTTPMSG_BODY ? LOOK_BODY : LOOK_HEAD, used;
	size_t before = c->in.body_cap;
	ssize_t n = recv(c->fd, s->look, room, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		httpmsg_end(&c->in);
		c->dead = n < 0 || c->in.stage == HTTPMSG_EMPTY;
		if (!c->dead)
			conn_judge(c, true);
		return false;
	}
	used = httpmsg_feed(&c->in, s->look, (size_t)n);
	s->held += c->in.body_cap - before;
	if (c->in.stage != HTTPMSG_EMPTY && !c->timer.loop) {
		c->since_ns = loop_now_ns();
		conn_deadline(c, HTTP_REQUEST_S * SECOND_NS);
	}
	if (!take_bytes(c, used))
		c->dead = true;
	else
		conn_judge(c, used < (size_t)n);
	return used < (size_t)n || (size_t)n == room;
}

/* What comes after the last answer is not read as requests any more. */
static void discard(struct conn *c)
{
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = recv(c->fd, c->s->look, LOOK_BODY, MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			c->dead = true;
			return;
		}
	}
}

static void conn_ready(void *arg, uint32_t events)
{
	struct conn *c = arg;

	c->busy = true;
	if (c->stage == READS) {
		for (int i = 0; i < ROUNDS && c->stage == READS && !c->dead; i++)
			if (!read_some(c))
				break;
	} else if (c->stage == LINGERS) {
		discard(c);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		c->dead = true;
	} else {
		conn_flush(c);
	}
	c->busy = false;
	settle(c);
}

/* The client took too long. */
static void conn_late(void *arg)
{
	struct conn *c = arg;

	c->s->counts.dropped += !c->broken && c->stage != LINGERS;
	if (c->stage == READS) {
		c->busy = true;
		conn_refuse(c, 408, "the request was not whole within 10 seconds");
		c->busy = false;
	} else {
		c->dead = true;
	}
	settle(c);
}

/* --- newcomers --- */

static bool has_bytes(const struct conn *c)
{
	char b;

	return recv(c->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static struct conn *older(struct conn *a, struct conn *b)
{
	return a && a->since_ns <= b->since_ns ? a : b;
}

/* Whose place a newcomer gets; NULL: nobody's. */
static struct conn *victim(struct http_server *s, uint64_t now)
{
	struct conn *idle = NULL, *slow = NULL;

	list_each (at, &s->conns) {
		struct conn *c = conn_of(at);

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

static void rest(struct http_server *s)
{
	loop_rewatch(&s->watch, 0);
	loop_timer_set(s->loop, &s->rest, loop_now_ns() + REST_NS, accept_again, s);
}

/* Makes room for one more. */
static bool has_place(struct http_server *s)
{
	struct conn *v;

	if (s->counts.clients >= HTTP_CLIENTS_MAX) {
		v = victim(s, loop_now_ns());
		if (!v)
			return false;
		s->counts.dropped++;
		conn_gone(v);
	}
	s->full_ns = 0;
	return true;
}

/* Tells a newcomer for whom there is no place, and no hope of one. */
static void turn_away(struct http_server *s, int fd)
{
	AUTO_FREE char *text = sentence("too many clients are being served, try again later");
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

static void conn_new(struct http_server *s, int fd)
{
	struct conn *c = NEW(struct conn);
	struct err e = { 0 };

	c->s = s;
	c->fd = fd;
	c->events = EPOLLIN;
	c->since_ns = loop_now_ns();
	httpmsg_init(&c->in, HTTPMSG_REQUEST, s->a.body_max);
	list_add_tail(&s->conns, &c->link);
	s->counts.clients++;
	s->counts.connections++;
	if (loop_watch(s->loop, &c->watch, fd, EPOLLIN, conn_ready, c, &e) < 0)
		conn_drop(c);
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
			conn_new(s, fd);
		} else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			log_warn("http: cannot accept a client: %s", strerror(errno));
			rest(s);
			return;
		} else {
			return;
		}
	}
}

static void accept_again(void *arg)
{
	struct http_server *s = arg;

	loop_rewatch(&s->watch, EPOLLIN);
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
	int flags = fcntl(a->fd, F_GETFL);

	s->loop = l;
	s->a = *a;
	list_init(&s->conns);
	list_init(&s->requests);
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
		struct request *q = container_of(at, struct request, link);

		if (q->conn)
			q->conn->r = NULL;
		request_free(q);
	}
	while ((at = list_take_first(&s->conns))) {
		struct conn *c = conn_of(at);

		s->full_ns = 0;
		if (httpout_flush(&c->out, c->fd) == HTTPOUT_WAITS)
			log_debug("http: a client has not taken its answer");
		conn_drop(c);
	}
	loop_timer_stop(&s->rest);
	free(s);
}
