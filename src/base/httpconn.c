/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the HTTP server. See httpconn.h.
 *
 * Bytes are looked at first and taken from the socket only as far as they belong to the request
 * that is being read, so that what follows waits in the socket, and descriptors are received with
 * the bytes of their own request. Closing while a client still sends would lose it the answer;
 * therefore the lingering.
 */
#include "base/httpconn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"

#define LINGER_NS HTTP_SECOND_NS
#define LOOK_HEAD 0x1000     /* bytes looked at in one go while a head is read */
#define ROUNDS 4	     /* of reading, until others have their turn */
#define HELD_MAX (64u << 20) /* bytes of all bodies together */

void httpreq_free(struct httpreq *q)
{
	q->s->held -= q->msg.body_cap;
	list_drop(&q->link);
	scm_drop(&q->fds);
	httpmsg_fini(&q->msg);
	free(q);
}

void httpreq_ready(struct httpreq *q)
{
	q->r = (struct http_req){ .method = q->msg.method,
				  .path = q->msg.path,
				  .query = q->msg.query,
				  .body = q->msg.body ? q->msg.body : "",
				  .body_len = q->msg.body_len,
				  .fds = q->fds.fds,
				  .fd_count = q->fds.count,
				  .came_ns = loop_now_ns() };
	list_add_tail(&q->s->requests, &q->link);
	q->s->counts.requests++;
}

/* --- watching and ending --- */

void httpconn_drop(struct httpconn *c)
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
		loop_timer_set(s->loop, &s->rest, 0, s->has_place, s);
}

void httpconn_gone(struct httpconn *c)
{
	struct http_server *s = c->s;
	struct httpreq *q = take(&c->r);

	httpconn_drop(c);
	if (!q)
		return;
	q->conn = NULL;
	q->r.gone = true;
	if (s->a.gone)
		s->a.gone(s->a.arg, &q->r);
}

static void conn_ready(void *arg, uint32_t events);
static void conn_late(void *arg);

static void conn_deadline(struct httpconn *c, uint64_t ns)
{
	loop_timer_set(c->s->loop, &c->timer, loop_now_ns() + ns, conn_late, c);
}

static uint32_t wanted(const struct httpconn *c)
{
	switch (c->stage) {
	case READS:
	case LINGERS:
		return EPOLLIN;
	default:
		return httpout_waiting(&c->out) && !c->broken ? EPOLLOUT : 0;
	}
}

/* Hang-ups come unasked. */
void httpconn_settle(struct httpconn *c)
{
	uint32_t events;

	if (c->busy)
		return;
	if (c->dead) {
		httpconn_gone(c);
		return;
	}
	events = wanted(c);
	if (events != c->events)
		loop_rewatch(&c->watch, events);
	c->events = events;
}

/* --- sending --- */

/* All of the answer is on its way. */
static void conn_next(struct httpconn *c)
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

void httpconn_flush(struct httpconn *c)
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
			conn_deadline(c, HTTP_STALL_S * HTTP_SECOND_NS);
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

void httpconn_send(struct httpconn *c)
{
	c->stage = SENDS;
	c->since_ns = loop_now_ns();
	conn_deadline(c, HTTP_STALL_S * HTTP_SECOND_NS);
	httpconn_flush(c);
	httpconn_settle(c);
}

void httpconn_put(struct httpconn *c, const struct http_reply *a, bool bare)
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

char *httpconn_sentence(const char *text)
{
	AUTO_JSON struct json *j = json_arr();

	json_add(j, json_new_str(text));
	return json_text(j, JSON_LINE);
}

/* Answers a request that nobody else sees. */
static void conn_refuse(struct httpconn *c, unsigned int code, const char *why)
{
	AUTO_FREE char *text = httpconn_sentence(why);
	const struct http_reply a = { .code = code, .body = text, .len = strlen(text) };

	c->s->counts.bad++;
	c->s->held -= c->in.body_cap;
	httpmsg_fini(&c->in);
	scm_drop(&c->fds);
	c->keep = false;
	httpconn_put(c, &a, false);
	httpconn_send(c);
}

/* --- reading --- */

static void conn_serve(struct httpconn *c)
{
	struct http_server *s = c->s;
	struct httpreq *q = NEW(struct httpreq);

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
	httpreq_ready(q);
	s->a.request(s->a.arg, &q->r);
}

/* Takes n bytes that were looked at out of the socket, with their descriptors. */
static bool take_bytes(struct httpconn *c, size_t n)
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
static void conn_judge(struct httpconn *c, bool more)
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
		httpconn_flush(c);
	}
}

/* Returns whether there may be more to read at once. */
static bool read_some(struct httpconn *c)
{
	struct http_server *s = c->s;
	size_t room = c->in.stage == HTTPMSG_BODY ? HTTP_LOOK : LOOK_HEAD, used;
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
		conn_deadline(c, HTTP_REQUEST_S * HTTP_SECOND_NS);
	}
	if (!take_bytes(c, used))
		c->dead = true;
	else
		conn_judge(c, used < (size_t)n);
	return used < (size_t)n || (size_t)n == room;
}

/* What comes after the last answer is not read as requests any more. */
static void discard(struct httpconn *c)
{
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = recv(c->fd, c->s->look, HTTP_LOOK, MSG_DONTWAIT);

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
	struct httpconn *c = arg;

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
		httpconn_flush(c);
	}
	c->busy = false;
	httpconn_settle(c);
}

/* The client took too long. */
static void conn_late(void *arg)
{
	struct httpconn *c = arg;

	c->s->counts.dropped += !c->broken && c->stage != LINGERS;
	if (c->stage == READS) {
		c->busy = true;
		conn_refuse(c, 408, "the request was not whole within 10 seconds");
		c->busy = false;
	} else {
		c->dead = true;
	}
	httpconn_settle(c);
}

void httpconn_new(struct http_server *s, int fd)
{
	struct httpconn *c = NEW(struct httpconn);
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
		httpconn_drop(c);
}
