/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the HTTP server (src/base/http.c). The server's loop runs in the test's own thread, a
 * moment at a time; clients are plain sockets. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/http.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/scm.h"
#include "base/str.h"
#include "run_for.h"

#define MS 1000000ull
#define PARKED_MAX 200

struct fixture {
	struct loop *loop;
	struct http_server *server;
	struct sockaddr_un at;
	socklen_t at_len;
	int listening;
	struct http_req *parked[PARKED_MAX];
	unsigned int parked_count, gone, served;
	struct http_req *stream;
};

static unsigned int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* /echo, /park, /stream, /fds (takes the first), anything else is absent */
static void on_request(void *arg, struct http_req *r)
{
	struct fixture *f = arg;
	struct http_reply a = { .code = 200, .type = "text/plain" };
	AUTO_STR struct str s = { .max = 8 << 20 };

	f->served++;
	if (!strcmp(r->path, "/park")) {
		f->parked[f->parked_count++] = r;
		return;
	}
	if (!strcmp(r->path, "/stream")) {
		http_stream(r, 200, "text/plain");
		f->stream = r;
		return;
	}
	if (!strcmp(r->path, "/none")) {
		a.code = 204;
	} else if (!strcmp(r->path, "/fds")) {
		str_add(&s, "%u", r->fd_count);
		if (r->fd_count) {
			int fd = http_take_fd(r, 0);

			fd_signal(fd);
			fd_close(&fd);
		}
	} else if (!strcmp(r->path, "/big")) {
		str_fill(&s, 'x', 4 << 20);
	} else if (!strcmp(r->path, "/echo")) {
		str_add(&s, "%s %s ", r->method, r->query);
		str_putn(&s, r->body, r->body_len);
	} else {
		http_refuse(r, 404, "there is no \"%s\"", r->path);
		return;
	}
	a.body = str_text(&s);
	a.len = s.len;
	http_answer(r, &a);
}

static void on_gone(void *arg, struct http_req *r)
{
	struct fixture *f = arg;

	assert_true(r->gone);
	f->gone++;
	if (r == f->stream) {
		http_stream_end(r);
		f->stream = NULL;
	}
}

static void run_for(struct fixture *f, uint64_t ns)
{
	run_loop_past(f->loop, ns);
}

static void begin(struct fixture *f)
{
	struct err e = { 0 };
	struct http_args a = { .server = "Test",
			       .body_max = 4 << 20,
			       .request = on_request,
			       .gone = on_gone,
			       .arg = f };

	*f = (struct fixture){ .at = { .sun_family = AF_UNIX }, .at_len = sizeof(sa_family_t) };
	f->listening = socket(AF_UNIX, SOCK_STREAM, 0);
	/* a name of the kernel's choice, in no file system */
	assert_int_equal(bind(f->listening, (struct sockaddr *)&f->at, f->at_len), 0);
	assert_int_equal(listen(f->listening, 1000), 0);
	f->at_len = sizeof(f->at);
	assert_int_equal(getsockname(f->listening, (struct sockaddr *)&f->at, &f->at_len), 0);
	assert_int_equal(loop_new(&f->loop, "test", &e), 0);
	a.fd = f->listening;
	assert_int_equal(http_server_new(&f->server, f->loop, &a, &e), 0);
}

static void end(struct fixture *f)
{
	http_server_free(f->server);
	loop_free(f->loop);
	close(f->listening);
}

static int client(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&f->at, f->at_len), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static char heard_text[1 << 16];

/* What has come, with "~" behind when it is the end. */
static const char *heard(struct fixture *f, int fd)
{
	size_t used = 0;
	ssize_t n;

	run_for(f, 2 * MS);
	while ((n = recv(fd, heard_text + used, sizeof(heard_text) - 2 - used, 0)) > 0)
		used += (size_t)n;
	if (!n)
		heard_text[used++] = '~';
	heard_text[used] = '\0';
	return heard_text;
}

#define OK_HEAD(len)                                                                               \
	"HTTP/1.1 200 OK\r\nServer: Test\r\nConnection: keep-alive\r\n"                            \
	"Content-Type: text/plain\r\nContent-Length: " len "\r\n\r\n"
#define NONE "HTTP/1.1 204 No Content\r\nServer: Test\r\nConnection: keep-alive\r\n\r\n"

static void assert_begins(const char *text, const char *with)
{
	assert_memory_equal(text, with, strlen(with));
}

TEST(http_answers_and_keeps_the_connection)
{
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	for (int i = 0; i < 3; i++) {
		say(c, "PUT /echo?q HTTP/1.1\r\nHost:\r\nContent-Length: 5\r\n\r\nhello");
		assert_string_equal(heard(&f, c), OK_HEAD("11") "PUT q hello");
	}
	say(c, "PUT /none HTTP/1.1\r\nHost:\r\n\r\n");
	assert_string_equal(heard(&f, c), NONE);
	say(c, "HEAD /echo HTTP/1.1\r\nHost:\r\n\r\n");
	assert_string_equal(heard(&f, c), OK_HEAD("6"));
	say(c, "GET /x\" HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n");
	assert_string_equal(heard(&f, c),
			    "HTTP/1.1 404 Not Found\r\nServer: Test\r\nConnection: close\r\n"
			    "Content-Type: application/json\r\nContent-Length: 24\r\n\r\n"
			    "[\"there is no \\\"/x\\\"\\\"\"]~");
	close(c);
	run_for(&f, MS);
	assert_int_equal(http_counts(f.server)->clients, 0);
	assert_int_equal(http_counts(f.server)->requests, 6);
	end(&f);
}

TEST(http_serves_pipelined_requests_in_order)
{
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	say(c,
	    "PUT /echo HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\n\r\n1"
	    "PUT /park HTTP/1.1\r\nHost:\r\n\r\n"
	    "PUT /echo HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n3\r\n0\r\n\r\n"
	    "GET /none HTTP/1.1\r\nHost:\r\n\r\nGET");
	assert_string_equal(heard(&f, c), OK_HEAD("6") "PUT  1");
	assert_int_equal(f.parked_count, 1);
	http_answer(f.parked[0], &(struct http_reply){ .code = 204 });
	assert_string_equal(heard(&f, c), NONE OK_HEAD("6") "PUT  3" NONE);
	say(c, " /none HTTP/1.1\r\nHost:\r\n\r\n");
	assert_string_equal(heard(&f, c), NONE);
	close(c);
	end(&f);
}

TEST(http_reads_what_comes_byte_by_byte)
{
	static const char text[] = "PUT /echo HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\n\r\nhi";
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	for (size_t i = 0; i < strlen(text); i++) {
		assert_int_equal(send(c, text + i, 1, 0), 1);
		run_for(&f, 0);
	}
	assert_string_equal(heard(&f, c), OK_HEAD("7") "PUT  hi");
	close(c);
	end(&f);
}

TEST(http_tells_a_sender_that_waits_to_go_on)
{
	static const char head[] = "PUT /echo HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\n"
				   "Content-Length: 2\r\n\r\n";
	char all[sizeof(head) + 2];
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	say(c, head);
	assert_string_equal(heard(&f, c), "HTTP/1.1 100 Continue\r\n\r\n");
	say(c, "hi");
	assert_string_equal(heard(&f, c), OK_HEAD("7") "PUT  hi");
	/* who does not wait need not be told */
	snprintf(all, sizeof(all), "%shi", head);
	say(c, all);
	assert_string_equal(heard(&f, c), OK_HEAD("7") "PUT  hi");
	close(c);
	end(&f);
}

TEST(http_answers_a_client_that_has_ended_its_sending)
{
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	say(c, "GET /none HTTP/1.1\r\nHost:\r\n\r\nGET /none HTTP/1.1\r\nHost:\r\n\r\n");
	shutdown(c, SHUT_WR);
	assert_string_equal(heard(&f, c), NONE NONE "~");
	close(c);
	c = client(&f);
	say(c, "GET /park HTTP/1.1\r\nHost:\r\n\r\n");
	shutdown(c, SHUT_WR);
	run_for(&f, MS);
	assert_int_equal(f.gone, 0);
	http_answer(f.parked[0], &(struct http_reply){ .code = 204 });
	assert_string_equal(heard(&f, c), NONE "~");
	close(c);
	c = client(&f);
	say(c, "GET /none HTTP/1.1\r\nHost:\r\nCont");
	shutdown(c, SHUT_WR);
	assert_begins(heard(&f, c), "HTTP/1.1 400 ");
	assert_non_null(strstr(heard_text, "[\"it ends early\"]~"));
	close(c);
	end(&f);
}

TEST(http_ends_the_connection_behind_a_bad_request)
{
	static const struct {
		const char *said, *code, *why;
	} cases[] = {
		{ "hello\r\n\r\nGET /none HTTP/1.1\r\nHost:\r\n\r\n", "400", "METHOD /path" },
		{ "GET /none HTTP/3.0\r\n\r\n", "505", "HTTP/3" },
		{ "PUT /echo HTTP/1.1\r\nHost:\r\nContent-Length: 4194305\r\n\r\n", "413",
		  "4194304 bytes" },
		{ "PUT /echo HTTP/1.1\r\nHost:\r\nExpect: x\r\n\r\n", "417", "100-continue" },
		{ "PUT /echo HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "400001\r\n",
		  "413", "4194304 bytes" },
	};
	struct fixture f;

	begin(&f);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int c = client(&f);

		say(c, cases[i].said);
		assert_begins(heard(&f, c), "HTTP/1.1 ");
		assert_begins(heard_text + 9, cases[i].code);
		assert_non_null(strstr(heard_text, "Connection: close\r\n"));
		assert_non_null(strstr(heard_text, cases[i].why));
		assert_non_null(strstr(heard_text, "\"]~"));
		close(c);
	}
	run_for(&f, MS);
	assert_int_equal(f.served, 0);
	assert_int_equal(http_counts(f.server)->bad, ARRAY_LEN(cases));
	assert_int_equal(http_counts(f.server)->clients, 0);
	end(&f);
}

TEST(http_speaks_http_1_0)
{
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	say(c, "GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_string_equal(heard(&f, c), NONE);
	say(c, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	run_for(&f, MS);
	assert_true(http_chunk(f.stream, "abc", 3));
	http_stream_end(take(&f.stream));
	assert_begins(heard(&f, c), "HTTP/1.1 200 OK\r\nServer: Test\r\nConnection: close\r\n");
	assert_non_null(strstr(heard_text, "\r\n\r\nabc~"));
	close(c);
	end(&f);
}

TEST(http_streams_chunks)
{
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	say(c, "GET /stream HTTP/1.1\r\nHost:\r\n\r\n");
	heard(&f, c);
	assert_non_null(strstr(heard_text, "Transfer-Encoding: chunked\r\n\r\n"));
	assert_true(http_chunk(f.stream, "hello", 5));
	assert_true(http_chunk(f.stream, "", 0));
	assert_string_equal(heard(&f, c), "5\r\nhello\r\n");
	assert_true(http_chunk(f.stream, "0123456789abcdef", 16));
	http_stream_end(take(&f.stream));
	assert_string_equal(heard(&f, c), "10\r\n0123456789abcdef\r\n0\r\n\r\n");
	say(c, "GET /none HTTP/1.1\r\nHost:\r\n\r\n");
	assert_string_equal(heard(&f, c), NONE);
	close(c);
	end(&f);
}

TEST(http_says_when_the_reader_of_a_stream_is_slow_or_gone)
{
	static char piece[1000];
	struct fixture f;
	size_t sent = 0, got = 0;
	ssize_t n;
	int c;

	begin(&f);
	memset(piece, 'x', sizeof(piece));
	c = client(&f);
	say(c, "GET /stream HTTP/1.1\r\nHost:\r\n\r\n");
	run_for(&f, MS);
	while (http_chunk(f.stream, piece, sizeof(piece)))
		sent += sizeof(piece);
	assert_true(sent >= HTTP_STREAM_MAX - 2 * sizeof(piece) && sent < 2 << 20);
	assert_false(http_chunk(f.stream, piece, sizeof(piece)));
	do {
		run_for(&f, MS);
		while ((n = recv(c, heard_text, sizeof(heard_text), 0)) > 0)
			for (ssize_t i = 0; i < n; i++)
				got += heard_text[i] == 'x';
	} while (got < sent);
	assert_int_equal(got, sent + 1); /* "text" in the head */
	assert_true(http_chunk(f.stream, piece, sizeof(piece)));
	close(c);
	assert_true(f.stream && (http_chunk(f.stream, piece, 1) || true));
	assert_int_equal(f.gone, 0);
	run_for(&f, MS);
	assert_int_equal(f.gone, 1);
	assert_null(f.stream);
	/* who takes nothing any more, but has not gone */
	c = client(&f);
	say(c, "GET /stream HTTP/1.1\r\nHost:\r\n\r\n");
	run_for(&f, MS);
	shutdown(c, SHUT_RD);
	http_chunk(f.stream, piece, 1);
	assert_int_equal(f.gone, 1);
	run_for(&f, MS);
	assert_int_equal(f.gone, 2);
	close(c);
	end(&f);
}

TEST(http_tells_that_a_client_has_gone_and_takes_the_answer_all_the_same)
{
	struct fixture f;
	int c;

	begin(&f);
	c = client(&f);
	say(c, "GET /park HTTP/1.1\r\nHost:\r\n\r\nGET /park HTTP/1.1\r\nHost:\r\n\r\n");
	run_for(&f, MS);
	close(c);
	run_for(&f, MS);
	assert_int_equal(f.gone, 1);
	assert_int_equal(http_counts(f.server)->clients, 0);
	assert_true(f.parked[0]->gone);
	assert_string_equal(f.parked[0]->path, "/park");
	http_refuse(f.parked[0], 500, "too late");
	/* a client that sends and leaves is served */
	c = client(&f);
	say(c, "GET /none HTTP/1.1\r\nHost:\r\n\r\n");
	close(c);
	run_for(&f, MS);
	assert_int_equal(f.served, 2);
	assert_int_equal(http_counts(f.server)->clients, 0);
	end(&f);
}

static void say_with(int c, const char *text, const int *fds, unsigned int count)
{
	assert_int_equal(scm_send(c, text, strlen(text), fds, count), strlen(text));
}

TEST(http_gives_descriptors_to_the_request_they_came_with)
{
	unsigned int before = open_fds();
	struct fixture f;
	int c, fds[3];

	begin(&f);
	for (int i = 0; i < 3; i++)
		fds[i] = open("/dev/null", O_RDWR);
	c = client(&f);
	/* the end of one request, and the beginning of the next, around one with descriptors */
	say(c, "PUT /fds HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\n\r\nx");
	say(c, "xGET /f");
	say_with(c, "ds HTTP/1.1\r\nHost:\r\n\r\n", fds, 3);
	say(c, "PUT /fds HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n");
	assert_string_equal(heard(&f, c), OK_HEAD("1") "0" OK_HEAD("1") "3" OK_HEAD("1") "0");
	/* with a message's first byte, those of its end go with the first request */
	say_with(c, "GET /fds HTTP/1.1\r\nHost:\r\n\r\nGET /fds HTTP/1.1\r\nHost:\r\n\r\n", fds, 2);
	say_with(c, "GET /fds HTTP/1.1\r\nHost:\r\n", fds, 1);
	say_with(c, "\r\n", fds, 2);
	assert_string_equal(heard(&f, c), OK_HEAD("1") "2" OK_HEAD("1") "0" OK_HEAD("1") "3");
	close(c);
	run_for(&f, MS);
	end(&f);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	assert_int_equal(open_fds(), before);
}

TEST(http_leaks_no_descriptor)
{
	unsigned int before = open_fds(), served;
	struct fixture f;
	int c, fds[SCM_FDS_MAX];

	begin(&f);
	served = open_fds();
	for (int i = 0; i < SCM_FDS_MAX; i++)
		fds[i] = STDERR_FILENO;
	/* of a request that is refused, never whole, parked when its client goes, or that of the end */
	c = client(&f);
	say_with(c, "foul\r\n", fds, 100);
	assert_begins(heard(&f, c), "HTTP/1.1 400 ");
	close(c);
	c = client(&f);
	say_with(c, "GET /fds", fds, 100);
	run_for(&f, MS);
	close(c);
	c = client(&f);
	say_with(c, "GET /park HTTP/1.1\r\nHost:\r\n\r\n", fds, SCM_FDS_MAX);
	run_for(&f, MS);
	close(c);
	run_for(&f, MS);
	http_refuse(f.parked[0], 500, "too late");
	c = client(&f);
	say_with(c, "GET /fds HTTP/1.1\r\nHost:\r\n", fds, SCM_FDS_MAX);
	say_with(c, "\r\n", fds, 1);
	assert_begins(heard(&f, c), "HTTP/1.1 400 ");
	assert_non_null(
		strstr(heard_text, "[\"more than 253 descriptors came with one request\"]"));
	say_with(c, "GET /fds HTTP/1.1\r\nHost:\r\n", fds, 3);
	run_for(&f, MS);
	close(c);
	run_for(&f, MS);
	assert_int_equal(http_counts(f.server)->clients, 0);
	assert_int_equal(open_fds(), served);
	c = client(&f);
	say_with(c, "GET /park HTTP/1.1\r\nHost:\r\n\r\n", fds, 5);
	run_for(&f, MS);
	end(&f);
	close(c);
	assert_int_equal(open_fds(), before);
}

TEST(http_sends_a_large_answer_to_a_slow_reader)
{
	size_t got = 0, want = strlen(OK_HEAD("4194304")) + (4 << 20);
	struct fixture f;
	int c, other;

	begin(&f);
	c = client(&f);
	other = client(&f);
	say(c, "GET /big HTTP/1.1\r\nHost:\r\n\r\nGET /none HTTP/1.1\r\nHost:\r\n\r\n");
	run_for(&f, MS);
	while (got < want) {
		ssize_t n = recv(c, heard_text, min_u64(10000, want - got), 0);

		if (n > 0)
			got += (size_t)n;
		else
			run_for(&f, MS / 10);
		if (got % 100 == 0) {
			say(other, "GET /none HTTP/1.1\r\nHost:\r\n\r\n");
			assert_string_equal(heard(&f, other), NONE);
		}
	}
	assert_string_equal(heard(&f, c), NONE);
	close(c);
	close(other);
	end(&f);
}

TEST(http_takes_a_large_body)
{
	struct fixture f;
	char *body = mem_new(4 << 20);
	size_t sent = 0;
	int c;

	begin(&f);
	c = client(&f);
	say(c, "PUT /fds HTTP/1.1\r\nHost:\r\nContent-Length: 4194304\r\n\r\n");
	while (sent < 4 << 20) {
		ssize_t n = send(c, body + sent, (4 << 20) - sent, MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		run_for(&f, MS / 10);
	}
	assert_string_equal(heard(&f, c), OK_HEAD("1") "0");
	free(body);
	close(c);
	end(&f);
}

TEST(http_lets_newcomers_wait_for_a_place)
{
	static int c[HTTP_CLIENTS_MAX + 10];
	struct fixture f;

	begin(&f);
	/* all places are taken by clients whom we keep waiting */
	for (int i = 0; i < HTTP_CLIENTS_MAX; i++) {
		c[i] = client(&f);
		say(c[i], "GET /park HTTP/1.1\r\nHost:\r\n\r\n");
	}
	for (int i = 0; f.parked_count < HTTP_CLIENTS_MAX && i < 200; i++)
		run_for(&f, 10 * MS);
	assert_int_equal(f.parked_count, HTTP_CLIENTS_MAX);
	for (int i = HTTP_CLIENTS_MAX; i < HTTP_CLIENTS_MAX + 10; i++) {
		c[i] = client(&f);
		say(c[i], "GET /none HTTP/1.1\r\nHost:\r\n\r\n");
	}
	assert_string_equal(heard(&f, c[HTTP_CLIENTS_MAX]), "");
	http_refuse(f.parked[7], 500, "enough");
	close(c[7]);
	assert_string_equal(heard(&f, c[HTTP_CLIENTS_MAX]), NONE);
	/* each takes the place of the one before, who has what he came for */
	run_for(&f, 9 * 300 * MS);
	for (int i = HTTP_CLIENTS_MAX + 1; i < HTTP_CLIENTS_MAX + 10; i++)
		assert_begins(heard(&f, c[i]), NONE);
	assert_int_equal(http_counts(f.server)->dropped, 9);
	assert_int_equal(http_counts(f.server)->refused, 0);
	end(&f);
	for (int i = 0; i < HTTP_CLIENTS_MAX + 10; i++)
		if (i != 7)
			close(c[i]);
}

TEST(http_tells_newcomers_when_all_wait_for_us)
{
	static int c[HTTP_CLIENTS_MAX];
	struct fixture f;
	int newcomer;

	begin(&f);
	for (int i = 0; i < HTTP_CLIENTS_MAX; i++) {
		c[i] = client(&f);
		say(c[i], "GET /park HTTP/1.1\r\nHost:\r\n\r\n");
	}
	run_for(&f, 10 * MS);
	newcomer = client(&f);
	run_for(&f, 1200 * MS);
	assert_begins(heard(&f, newcomer), "HTTP/1.1 503 Service Unavailable\r\n");
	assert_non_null(strstr(heard_text, "try again later\"]~"));
	close(newcomer);
	/* those who had a place lose nothing */
	http_answer(f.parked[0], &(struct http_reply){ .code = 204 });
	assert_string_equal(heard(&f, c[0]), NONE);
	end(&f);
	for (int i = 0; i < HTTP_CLIENTS_MAX; i++)
		close(c[i]);
}

TEST(http_gives_a_newcomer_the_place_of_the_idle)
{
	static int c[HTTP_CLIENTS_MAX];
	struct fixture f;
	int newcomer;

	begin(&f);
	for (int i = 0; i < HTTP_CLIENTS_MAX; i++) {
		c[i] = client(&f);
		if (i < 5)
			say(c[i], "GET /park HTTP/1.1\r\nHost:\r\n\r\n");
		run_for(&f, MS / 10);
	}
	run_for(&f, 1100 * MS);
	newcomer = client(&f);
	say(newcomer, "GET /none HTTP/1.1\r\nHost:\r\n\r\n");
	assert_string_equal(heard(&f, newcomer), NONE);
	assert_string_equal(heard(&f, c[5]), "~");
	assert_string_equal(heard(&f, c[6]), "");
	assert_string_equal(heard(&f, c[0]), "");
	assert_int_equal(http_counts(f.server)->dropped, 1);
	close(newcomer);
	end(&f);
	for (int i = 0; i < HTTP_CLIENTS_MAX; i++)
		close(c[i]);
}

TEST(http_survives_clients_that_die_at_any_byte)
{
	static const char text[] = "PUT /echo HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\n"
				   "Content-Length: 2\r\n\r\nhiGET /park HTTP/1.1\r\nHost:\r\n\r\n";
	unsigned int before = open_fds();
	struct fixture f;

	begin(&f);
	for (size_t i = 0; i <= strlen(text); i++) {
		for (int how = 0; how < 3; how++) {
			int c = client(&f);

			assert_int_equal(send(c, text, i, 0), i);
			if (how)
				run_for(&f, 0);
			if (how == 2)
				shutdown(c, SHUT_RDWR);
			close(c);
			run_for(&f, 0);
		}
	}
	run_for(&f, 5 * MS);
	assert_int_equal(http_counts(f.server)->clients, 0);
	while (f.parked_count)
		http_refuse(f.parked[--f.parked_count], 500, "too late");
	end(&f);
	assert_int_equal(open_fds(), before);
}

TEST(http_ends_a_request_that_does_not_end)
{
	struct fixture f;
	int c, silent;

	begin(&f);
	c = client(&f);
	silent = client(&f);
	say(c, "GET /none HT");
	run_for(&f, (HTTP_REQUEST_S - 1) * 1000 * MS);
	say(c, "T");
	assert_string_equal(heard(&f, c), "");
	run_for(&f, 1100 * MS);
	assert_begins(heard(&f, c), "HTTP/1.1 408 ");
	close(c);
	/* who has not begun may stay */
	say(silent, "GET /none HTTP/1.1\r\nHost:\r\n\r\n");
	assert_string_equal(heard(&f, silent), NONE);
	close(silent);
	end(&f);
}

struct brought {
	unsigned int times, code;
	char body[200];
};

static void on_answered(void *arg, const struct http_reply *a)
{
	struct brought *b = arg;

	b->times++;
	b->code = a->code;
	snprintf(b->body, sizeof(b->body), "%.*s", (int)a->len, a->body ? a->body : "");
}

TEST(http_serves_requests_that_are_brought)
{
	struct fixture f;
	struct brought b = { 0 };
	struct http_brought r = { .method = "PUT",
				  .path = "/echo",
				  .body = "{}",
				  .body_len = 2,
				  .answered = on_answered,
				  .arg = &b };
	unsigned int before;
	uint64_t n;
	int fd;

	begin(&f);
	http_bring(f.server, &r);
	assert_int_equal(b.times, 1);
	assert_int_equal(b.code, 200);
	assert_string_equal(b.body, "PUT  {}");
	r.path = "/park";
	r.body = NULL;
	r.body_len = 0;
	http_bring(f.server, &r);
	assert_int_equal(b.times, 1);
	http_refuse(f.parked[0], 500, "no");
	assert_int_equal(b.times, 2);
	assert_int_equal(b.code, 500);
	assert_string_equal(b.body, "[\"no\"]");
	fd = eventfd(0, EFD_CLOEXEC);
	before = open_fds();
	r.path = "/fds";
	r.fds = &fd;
	r.fd_count = 1;
	http_bring(f.server, &r);
	assert_string_equal(b.body, "1");
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(open_fds(), before);
	close(fd);
	http_bring(f.server, &r); /* a descriptor that is none */
	assert_int_equal(b.code, 400);
	r.fd_count = 0;
	r.path = "no path";
	http_bring(f.server, &r);
	assert_int_equal(b.code, 400);
	r.path = "/park";
	http_bring(f.server, &r); /* and is never answered */
	n = b.times;
	end(&f);
	assert_int_equal(b.times, n);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(http_answers_and_keeps_the_connection),
		T(http_serves_pipelined_requests_in_order),
		T(http_reads_what_comes_byte_by_byte),
		T(http_tells_a_sender_that_waits_to_go_on),
		T(http_answers_a_client_that_has_ended_its_sending),
		T(http_ends_the_connection_behind_a_bad_request),
		T(http_speaks_http_1_0),
		T(http_streams_chunks),
		T(http_says_when_the_reader_of_a_stream_is_slow_or_gone),
		T(http_tells_that_a_client_has_gone_and_takes_the_answer_all_the_same),
		T(http_gives_descriptors_to_the_request_they_came_with),
		T(http_leaks_no_descriptor),
		T(http_sends_a_large_answer_to_a_slow_reader),
		T(http_takes_a_large_body),
		T(http_lets_newcomers_wait_for_a_place),
		T(http_tells_newcomers_when_all_wait_for_us),
		T(http_gives_a_newcomer_the_place_of_the_idle),
		T(http_survives_clients_that_die_at_any_byte),
		T(http_ends_a_request_that_does_not_end),
		T(http_serves_requests_that_are_brought),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
