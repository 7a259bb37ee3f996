/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP from a hostile client, cut into reads of any length: the input is the way of cutting, then
 * the bytes. First the grammar alone, as a request and as an answer, then the server with a real
 * socket. What comes out must be what one long read would give.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/http.h"
#include "base/httpmsg.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/scm.h"
#include "base/str.h"

#define BODY_MAX 5000

/* --- the grammar --- */

static void tell(struct str *s, const struct httpmsg *m)
{
	str_add(s, "[%d %u %s", m->stage, m->bad, m->why);
	if (m->stage == HTTPMSG_WHOLE) {
		str_add(s, " %s %s %s %u %u %d %d", m->method, m->path, m->query, m->code, m->minor,
			m->keep, m->expects);
		for (unsigned int i = 0; i < m->header_count; i++) {
			if (httpmsg_header(m, m->headers[i].name) == NULL)
				abort();
			str_add(s, " %s=%s", m->headers[i].name, m->headers[i].value);
			httpmsg_lists(m->headers[i].value, "close");
		}
		str_putn(s, m->body ? m->body : "", m->body_len);
		if (m->body && m->body[m->body_len])
			abort();
	}
	str_putc(s, ']');
}

/* All messages of a stream, in pieces of step bytes, each in memory of its own. */
static void read_stream(struct str *s, enum httpmsg_kind kind, const uint8_t *data, size_t size,
			size_t step)
{
	struct httpmsg m;
	size_t at = 0;

	httpmsg_init(&m, kind, BODY_MAX);
	while (at < size && m.stage != HTTPMSG_BAD) {
		size_t n = min_u64(step, size - at), used = 0;
		char *piece = malloc(n);

		memcpy(piece, data + at, n);
		while (used < n && m.stage != HTTPMSG_BAD) {
			used += httpmsg_feed(&m, piece + used, n - used);
			if (m.stage != HTTPMSG_WHOLE)
				continue;
			tell(s, &m);
			httpmsg_fini(&m);
		}
		free(piece);
		at += used;
	}
	httpmsg_end(&m);
	tell(s, &m);
	httpmsg_fini(&m);
}

static void check_grammar(const uint8_t *data, size_t size, size_t step)
{
	for (int kind = HTTPMSG_REQUEST; kind <= HTTPMSG_ANSWER; kind++) {
		AUTO_STR struct str whole = { 0 }, cut = { 0 };

		read_stream(&whole, (enum httpmsg_kind)kind, data, size, size);
		read_stream(&cut, (enum httpmsg_kind)kind, data, size, step);
		if (strcmp(str_text(&whole), str_text(&cut)))
			abort();
	}
}

/* --- the server --- */

struct peer {
	struct loop *loop;
	struct str served;
	struct http_req *parked;
};

static void on_request(void *arg, struct http_req *r)
{
	struct peer *p = arg;

	str_add(&p->served, "[%s %s %s %zu %u", r->method, r->path, r->query, r->body_len,
		r->fd_count);
	str_putn(&p->served, r->body, r->body_len);
	str_putc(&p->served, ']');
	if (r->body_len % 3 == 1) {
		p->parked = r;
	} else if (r->body_len % 3 == 2) {
		http_stream(r, 200, "text/plain");
		http_chunk(r, r->body, r->body_len);
		http_stream_end(r);
	} else {
		http_refuse(r, 404, "%s", r->path);
	}
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void turn(struct peer *p)
{
	struct loop_timer end = { 0 };

	loop_timer_set(p->loop, &end, 0, stop, p->loop);
	loop_run(p->loop);
	loop_timer_stop(&end);
	if (p->parked)
		http_answer(take(&p->parked), &(struct http_reply){ .code = 204 });
}

static void serve(struct peer *p, int fd, const uint8_t *data, size_t size, size_t step)
{
	char answers[4096];

	for (size_t at = 0; at < size;) {
		size_t want = min_u64(step, size - at);
		int with = STDERR_FILENO;
		ssize_t n = scm_send(fd, data + at, want, &with, step % 5 == 1);

		if (n > 0)
			at += (size_t)n;
		turn(p);
		while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0)
			;
		if (n < 0)
			break;
	}
	for (int i = 0; i < 8; i++) {
		turn(p);
		while (recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0)
			;
	}
}

static void check_server(const uint8_t *data, size_t size, size_t step)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct peer p = { 0 };
	struct http_args args = { .fd = listening,
				  .server = "f",
				  .body_max = BODY_MAX,
				  .request = on_request,
				  .arg = &p };
	struct http_server *s;
	struct err e = { 0 };

	if (bind(listening, (struct sockaddr *)&a, len) || listen(listening, 5))
		abort();
	len = sizeof(a);
	if (getsockname(listening, (struct sockaddr *)&a, &len) || loop_new(&p.loop, "fuzz", &e) ||
	    http_server_new(&s, p.loop, &args, &e) || connect(fd, (struct sockaddr *)&a, len))
		abort();
	serve(&p, fd, data, size, step);
	close(fd);
	turn(&p);
	http_server_free(s);
	loop_free(p.loop);
	close(listening);
	str_fini(&p.served);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step;

	if (size < 4)
		return -1;
	log_init(LOG_ERROR, 2);
	step = 1u + le16_get(data) % 700;
	check_grammar(data + 2, size - 2, step);
	if (data[1] & 0x80)
		check_server(data + 2, size - 2, step);
	return 0;
}
