/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client half against a server that the test plays: what it sends, descriptors with it, answers
 * of every shape, and servers that are silent, slow, wrong or gone.
 */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/httpc.h"
#include "base/mem.h"
#include "base/str.h"

static struct {
	int server;
	struct httpc *c;
	struct httpc_answer answer;
	struct err e;
} t;

static void begin(unsigned int timeout_ms)
{
	int p[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	t.server = p[0];
	t.c = httpc_take(p[1], timeout_ms);
	err_clear(&t.e);
}

static void end(void)
{
	httpc_close(t.c);
	fd_close(&t.server);
}

static void server_says(const char *text)
{
	assert_int_equal(write(t.server, text, strlen(text)), strlen(text));
}

static int get(void)
{
	const struct httpc_ask a = { .method = "GET", .path = "/api/v1/vm.info" };

	return httpc_call(t.c, &a, &t.answer, &t.e);
}

/* What the server has been sent so far. */
static const char *request(void)
{
	static char text[8192];
	ssize_t n = recv(t.server, text, sizeof(text) - 1, MSG_DONTWAIT);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

TEST(a_request_says_method_path_and_length)
{
	const struct httpc_ask put = { .method = "PUT",
				       .path = "/api/v1/vm.resize",
				       .headers = "Prefer: respond-async\r\n",
				       .body = "{\"desired_vcpus\":2}",
				       .body_len = 19 };
	const struct httpc_ask bare = { .method = "PUT", .path = "/api/v1/vm.boot" };
	const char *text;

	begin(0);
	server_says("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
	assert_int_equal(httpc_call(t.c, &put, &t.answer, &t.e), 0);
	text = request();
	assert_ptr_equal(strstr(text, "PUT /api/v1/vm.resize HTTP/1.1\r\n"), text);
	assert_non_null(strstr(text, "\r\nHost: localhost\r\n"));
	assert_non_null(strstr(text, "\r\nPrefer: respond-async\r\n"));
	assert_non_null(strstr(text, "\r\nContent-Length: 19\r\n"));
	assert_non_null(strstr(text, "\r\n\r\n{\"desired_vcpus\":2}"));
	assert_int_equal(httpc_call(t.c, &bare, &t.answer, &t.e), 0);
	assert_non_null(strstr(request(), "\r\nContent-Length: 0\r\n\r\n"));
	end();
}

TEST(one_connection_carries_many_requests)
{
	char text[100];

	begin(0);
	for (unsigned int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02u", i);
		server_says(text);
		assert_int_equal(get(), 0);
		assert_int_equal(t.answer.code, 200);
		assert_int_equal(t.answer.body_len, 2);
		assert_int_equal(atoi(t.answer.body), i);
		assert_non_null(strstr(request(), "GET "));
	}
	end();
}

TEST(bodies_come_by_length_by_chunks_and_until_the_end)
{
	begin(0);
	server_says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello");
	assert_int_equal(get(), 0);
	assert_string_equal(t.answer.body, "hello");
	assert_string_equal(httpc_header(t.c, "x-a"), "b");
	assert_null(httpc_header(t.c, "x-b"));
	server_says(
		"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[\"a\r\n2;x=y\r\n\"]\r\n0\r\n\r\n");
	assert_int_equal(get(), 0);
	assert_int_equal(t.answer.code, 500);
	assert_string_equal(t.answer.body, "[\"a\"]");
	server_says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is");
	shutdown(t.server, SHUT_WR);
	assert_int_equal(get(), 0);
	assert_string_equal(t.answer.body, "all there is");
	assert_int_equal(get(), -1);
	assert_string_equal(err_frame(&t.e, 0), "the server has ended the connection");
	end();
}

TEST(interim_answers_are_passed_over_but_not_for_ever)
{
	begin(0);
	server_says(
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 204 No\r\n\r\n");
	assert_int_equal(get(), 0);
	assert_int_equal(t.answer.code, 204);
	assert_string_equal(t.answer.body, "");
	for (unsigned int i = 0; i < 20; i++)
		server_says("HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(get(), -1);
	assert_string_equal(err_frame(&t.e, 0), "the server sends interim answers only");
	end();
}

TEST(answers_that_are_none_are_refused)
{
	static const char *const bad[] = {
		"",
		"\r\n",
		"HTTP/1.1\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		begin(0);
		server_says(bad[i]);
		shutdown(t.server, SHUT_WR);
		if (get() != -1)
			fail_msg("'%s' was taken", bad[i]);
		assert_true(strlen(err_frame(&t.e, 0)) > 10);
		assert_int_equal(get(), -1);
		end();
	}
}

TEST(a_head_without_end_is_refused_before_it_fills_memory)
{
	AUTO_FREE char *line = mem_new(4001);

	memset(line, 'a', 4000);
	begin(0);
	server_says("HTTP/1.1 200 OK\r\n");
	for (unsigned int i = 0; i < 20; i++) {
		server_says("a: ");
		server_says(line);
		server_says("\r\n");
	}
	assert_int_equal(get(), -1);
	assert_non_null(strstr(err_frame(&t.e, 0), "the answer cannot be read"));
	end();
}

TEST(a_silent_server_is_left_after_the_timeout)
{
	begin(30);
	assert_int_equal(get(), -1);
	assert_string_equal(err_frame(&t.e, 0), "the server was silent for 30 ms");
	end();
	begin(30);
	server_says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
	assert_int_equal(get(), -1);
	assert_string_equal(err_frame(&t.e, 0), "the server was silent for 30 ms");
	end();
}

TEST(a_server_that_has_gone_is_an_error_and_no_signal)
{
	begin(0);
	fd_close(&t.server);
	assert_int_equal(get(), -1);
	assert_string_equal(err_frame(&t.e, 0), "the server hung up without an answer");
	end();
}

TEST(descriptors_go_with_the_request)
{
	char control[CMSG_SPACE(sizeof(int) * 2)] __attribute__((aligned(8))), text[4096];
	struct iovec v = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	int p[2], got[2];
	struct httpc_ask a = {
		.method = "PUT", .path = "/x", .body = "{}", .body_len = 2, .fds = p, .fd_count = 2
	};
	struct stat sent, came;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	begin(0);
	server_says("HTTP/1.1 204 No Content\r\n\r\n");
	assert_int_equal(httpc_call(t.c, &a, &t.answer, &t.e), 0);
	assert_true(recvmsg(t.server, &m, MSG_CMSG_CLOEXEC) > 0);
	assert_int_equal(CMSG_FIRSTHDR(&m)->cmsg_len, CMSG_LEN(sizeof(int) * 2));
	memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(got));
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(fstat(p[i], &sent), 0);
		assert_int_equal(fstat(got[i], &came), 0);
		assert_int_equal(sent.st_ino, came.st_ino);
		close(got[i]);
		close(p[i]);
	}
	a.fd_count = HTTPC_FDS_MAX + 1;
	assert_int_equal(httpc_call(t.c, &a, &t.answer, &t.e), -1);
	end();
}

static void on_piece(void *arg, const char *piece, size_t len)
{
	str_putn(arg, piece, len);
}

TEST(a_stream_goes_to_its_sink_and_a_refusal_does_not)
{
	AUTO_STR struct str got = { 0 };
	const struct httpc_ask a = {
		.method = "GET", .path = "/events", .sink = on_piece, .sink_arg = &got
	};

	begin(0);
	server_says(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n3\r\n[]\n\r\n0\r\n\r\n");
	assert_int_equal(httpc_call(t.c, &a, &t.answer, &t.e), 0);
	assert_string_equal(str_text(&got), "{}\n[]\n");
	assert_int_equal(t.answer.body_len, 0);
	server_says("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n[\"a\"]");
	assert_int_equal(httpc_call(t.c, &a, &t.answer, &t.e), 0);
	assert_string_equal(str_text(&got), "{}\n[]\n");
	assert_string_equal(t.answer.body, "[\"a\"]");
	end();
}

/* Takes 1000 bytes and answers that it was too much. */
static void *refuse_early(void *arg)
{
	char text[1000];

	(void)arg;
	if (recv(t.server, text, sizeof(text), MSG_WAITALL) == (ssize_t)sizeof(text))
		server_says(
			"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\n[0]");
	shutdown(t.server, SHUT_RDWR);
	return NULL;
}

TEST(an_answer_before_the_end_of_the_request_is_heard)
{
	AUTO_FREE char *body = mem_new(8 << 20);
	const struct httpc_ask a = {
		.method = "PUT", .path = "/x", .body = body, .body_len = 8 << 20
	};
	pthread_t thread;

	begin(0);
	assert_int_equal(pthread_create(&thread, NULL, refuse_early, NULL), 0);
	assert_int_equal(httpc_call(t.c, &a, &t.answer, &t.e), 0);
	assert_int_equal(t.answer.code, 413);
	assert_string_equal(t.answer.body, "[0]");
	pthread_join(thread, NULL);
	end();
}

TEST(opening_says_what_is_wrong_with_the_path)
{
	char dir[] = "/tmp/virga-httpc-XXXXXX", path[64];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct httpc *c;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	memcpy(a.sun_path, path, strlen(path));
	assert_int_equal(httpc_open(&c, path, 0, &t.e), -1);
	assert_int_equal(t.e.kind, ERR_ABSENT);
	assert_non_null(strstr(err_frame(&t.e, 0), path));
	assert_int_equal(httpc_open(&c, "", 0, &t.e), -1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(httpc_open(&c, path, 0, &t.e), -1);
	assert_int_equal(t.e.kind, ERR_ABSENT);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(httpc_open(&c, path, 20, &t.e), 0);
	httpc_close(c);
	close(fd);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_request_says_method_path_and_length),
		T(one_connection_carries_many_requests),
		T(bodies_come_by_length_by_chunks_and_until_the_end),
		T(interim_answers_are_passed_over_but_not_for_ever),
		T(answers_that_are_none_are_refused),
		T(a_head_without_end_is_refused_before_it_fills_memory),
		T(a_silent_server_is_left_after_the_timeout),
		T(a_server_that_has_gone_is_an_error_and_no_signal),
		T(descriptors_go_with_the_request),
		T(a_stream_goes_to_its_sink_and_a_refusal_does_not),
		T(an_answer_before_the_end_of_the_request_is_heard),
		T(opening_says_what_is_wrong_with_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
