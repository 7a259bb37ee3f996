/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the grammar of HTTP messages (src/base/httpmsg.c). Every case is read with every cut
 * into two pieces, and byte by byte: what comes out is the same. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/httpmsg.h"
#include "base/mem.h"
#include "base/str.h"

#define MAX 1000

/* What became of it, as a line of text, and what was left. */
static void tell(struct str *s, const struct httpmsg *m, const char *rest, size_t left)
{
	str_cut(s, 0);
	if (m->stage == HTTPMSG_BAD) {
		str_add(s, "%u %s", m->bad, m->why);
		return;
	}
	if (m->stage < HTTPMSG_BODY) {
		str_puts(s, m->stage == HTTPMSG_EMPTY ? "empty" : "head");
		return;
	}
	if (m->kind == HTTPMSG_REQUEST)
		str_add(s, "%s %s?%s", m->method, m->path, m->query);
	else
		str_add(s, "%u", m->code);
	str_add(s, " 1.%u %s", m->minor, m->keep ? "keep" : "close");
	for (unsigned int i = 0; i < m->header_count; i++)
		str_add(s, " %s=%s", m->headers[i].name, m->headers[i].value);
	str_add(s, " |");
	str_putn(s, m->body ? m->body : "", m->body_len);
	str_add(s, "| %s +", m->stage == HTTPMSG_WHOLE ? "whole" : "body");
	str_putn(s, rest, left);
}

/* Feeds data cut before cut, and from then on in pieces of step bytes. */
static void read_cut(struct str *out, enum httpmsg_kind kind, const char *data, size_t len,
		     size_t cut, size_t step)
{
	struct httpmsg m;
	size_t at = 0, end = cut;

	httpmsg_init(&m, kind, MAX);
	while (at < len && m.stage < HTTPMSG_WHOLE) {
		/* a copy of its own, so that reading on behind it is found */
		size_t n = end - at;
		char *piece = malloc(n ? n : 1);
		size_t used;

		memcpy(piece, data + at, n);
		used = httpmsg_feed(&m, piece, n);
		assert_true(used == n || m.stage >= HTTPMSG_BODY);
		free(piece);
		at += used;
		if (at == end)
			end = end + step < len ? end + step : len;
	}
	if (kind == HTTPMSG_ANSWER)
		httpmsg_end(&m);
	tell(out, &m, data + at, len - at);
	httpmsg_fini(&m);
}

static void check_bytes(enum httpmsg_kind kind, const char *data, size_t len, const char *want)
{
	AUTO_STR struct str got = { 0 };

	for (size_t cut = 0; cut <= len; cut++) {
		read_cut(&got, kind, data, len, cut, len);
		assert_string_equal(str_text(&got), want);
	}
	read_cut(&got, kind, data, len, 1, 1);
	assert_string_equal(str_text(&got), want);
}

static void check(enum httpmsg_kind kind, const char *data, const char *want)
{
	check_bytes(kind, data, strlen(data), want);
}

struct pair {
	const char *data, *want;
};

TEST(httpmsg_reads_requests)
{
	static const struct pair cases[] = {
		{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET /? 1.1 keep Host= || whole +" },
		{ "GET /a?b?c HTTP/1.1\r\nHost: x\r\n\r\nGET",
		  "GET /a?b?c 1.1 keep Host=x || whole +GET" },
		{ "\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n", "GET /? 1.1 keep Host= || whole +" },
		{ "GET http://localhost/a HTTP/1.1\r\nHost:\r\n\r\n",
		  "GET /a? 1.1 keep Host= || whole +" },
		{ "GET / HTTP/1.0\r\n\r\n", "GET /? 1.0 close || whole +" },
		{ "GET / HTTP/1.0\r\nConnection: x,Keep-Alive\r\n\r\n",
		  "GET /? 1.0 keep Connection=x,Keep-Alive || whole +" },
		{ "GET / HTTP/1.9\r\nHost:\r\nconnection: a , CLOSE ,\r\n\r\n",
		  "GET /? 1.1 close Host= connection=a , CLOSE , || whole +" },
		{ "PUT /x HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n",
		  "PUT /x? 1.1 keep Host= Content-Length=0 || whole +" },
		{ "PUT /x HTTP/1.1\r\nHost:\r\nContent-Length:\t 0005\t\r\n\r\nhellothere",
		  "PUT /x? 1.1 keep Host= Content-Length=0005 |hello| whole +there" },
		{ "PUT / HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nhi",
		  "PUT /? 1.1 keep Host= Content-Length=2 content-length=2 |hi| whole +" },
		{ "PUT / HTTP/1.1\r\nHost:\r\nA:\r\nB: \xc3\xa4 b \r\n\r\n",
		  "PUT /? 1.1 keep Host= A= B=\xc3\xa4 b || whole +" },
		{ "GET /%61%2Fb%2e%7E%25%00?%61 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		  "GET /a%2Fb.~%25%00?%61 1.1 keep Host=[::1]:80 || whole +" },
		{ "GET /half", "head" },
		{ "\r\n", "empty" },
		{ "PUT / HTTP/1.1\r\nHost:\r\nContent-Length: 9\r\n\r\nshort",
		  "PUT /? 1.1 keep Host= Content-Length=9 |short| body +" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(HTTPMSG_REQUEST, cases[i].data, cases[i].want);
}

#define CHUNKED "PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: Chunked\r\n\r\n"
#define CHUNKED_SAYS "PUT /? 1.1 keep Host= Transfer-Encoding=Chunked "

TEST(httpmsg_reads_chunks)
{
	static const struct pair cases[] = {
		{ CHUNKED "0\r\n\r\n", CHUNKED_SAYS "|| whole +" },
		{ CHUNKED "5\r\nhello\r\n00a ;x=\"y\"\r\n, my world\r\n0\r\nX: y\r\n\r\nZ",
		  CHUNKED_SAYS "|hello, my world| whole +Z" },
		{ CHUNKED "5\r\nhell", CHUNKED_SAYS "|hell| body +" },
		{ CHUNKED "5\r\nhello!\r\n0\r\n\r\n", "400 a chunk is longer than its size" },
		{ CHUNKED "5\r\nhello\n", "400 a line does not end with CR and LF" },
		{ CHUNKED "g\r\n", "400 the size of a chunk is no hexadecimal number" },
		{ CHUNKED "\r\n", "400 the size of a chunk is no hexadecimal number" },
		{ CHUNKED "-1\r\n", "400 the size of a chunk is no hexadecimal number" },
		{ CHUNKED "0x1\r\n", "400 the size of a chunk is no hexadecimal number" },
		{ CHUNKED "3e9\r\n", "413 the body has more than 1000 bytes" },
		{ CHUNKED "ffffffffffffffff\r\n", "413 the body has more than 1000 bytes" },
		{ CHUNKED "0000000000000000001\r\nx\r\n0\r\n\r\n", CHUNKED_SAYS "|x| whole +" },
		{ CHUNKED "5\r\nhello\r\n3e4\r\n", "413 the body has more than 1000 bytes" },
		{ CHUNKED "0\r\nbad trailer\r\n", "400 a header has no colon" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(HTTPMSG_REQUEST, cases[i].data, cases[i].want);
}

TEST(httpmsg_refuses_requests_by_the_code_that_fits)
{
	static const struct pair cases[] = {
		{ "GET / HTTP/1.1\r\n\r\n", "400 the header Host is missing" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "400 Host is said twice" },
		{ "GET / HTTP/1.1\r\nHost: a,b\r\n", "400 Host is no name of a host" },
		{ "GET /%6 HTTP/1.1\r\n",
		  "400 behind a percent sign in the path are no two hexadecimal digits" },
		{ "GET /%x1 HTTP/1.1\r\n",
		  "400 behind a percent sign in the path are no two hexadecimal digits" },
		{ "GET /\r\n", "400 the first line is not \"METHOD /path HTTP/1.1\"" },
		{ "GET / HTTP/1.1 \r\n", "400 the first line does not name a version as HTTP/1.1" },
		{ "GET /  HTTP/1.1\r\n", "400 the first line does not name a version as HTTP/1.1" },
		{ "GET / http/1.1\r\n", "400 the first line does not name a version as HTTP/1.1" },
		{ "GET / HTTP/2.0\r\n", "505 HTTP/2 is not spoken here, HTTP/1.1 is" },
		{ "G(T / HTTP/1.1\r\n", "400 the first line does not begin with a method" },
		{ " / HTTP/1.1\r\n", "400 the first line does not begin with a method" },
		{ "GET x HTTP/1.1\r\n", "400 the path does not begin with a slash" },
		{ "GET * HTTP/1.1\r\n", "400 the path does not begin with a slash" },
		{ "GET http://x HTTP/1.1\r\n", "400 the address has no path" },
		{ "GET /\xff HTTP/1.1\r\n",
		  "400 the path holds a character that has no place there" },
		{ "GET /#a HTTP/1.1\r\n",
		  "400 the path holds a character that has no place there" },
		{ "GET /\x01 HTTP/1.1\r\n", "400 the first line holds a control character" },
		{ "GET / HTTP/1.1\n", "400 a line does not end with CR and LF" },
		{ "GET /\r HTTP/1.1\r\n", "400 a line holds a byte that has no place there" },
		{ "GET / HTTP/1.1\r\n a: b\r\n", "400 a header is folded into a second line" },
		{ "GET / HTTP/1.1\r\na : b\r\n",
		  "400 the name of a header holds a character that has no place there" },
		{ "GET / HTTP/1.1\r\n: b\r\n",
		  "400 the name of a header holds a character that has no place there" },
		{ "GET / HTTP/1.1\r\na: \x7f\r\n", "400 a header holds a control character" },
		{ "GET / HTTP/1.1\r\nab\r\n", "400 a header has no colon" },
		{ "GET / HTTP/1.1\r\nContent-Length: +1\r\n", "400 Content-Length is no number" },
		{ "GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n", "400 Content-Length is no number" },
		{ "GET / HTTP/1.1\r\nContent-Length:\r\n", "400 Content-Length is no number" },
		{ "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
		  "400 Content-Length is said twice, with different numbers" },
		{ "GET / HTTP/1.1\r\nHost:\r\nContent-Length: 1001\r\n\r\n",
		  "413 the body has more than 1000 bytes" },
		{ "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		  "413 Content-Length is far too large" },
		{ "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n",
		  "501 of transfer encodings only \"chunked\" is known" },
		{ "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		  "400 Transfer-Encoding is said twice" },
		{ "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		  "400 both Content-Length and Transfer-Encoding are said" },
		{ "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		  "400 HTTP/1.0 has no chunks" },
		{ "GET / HTTP/1.1\r\nExpect: tea\r\n",
		  "417 of expectations only \"100-continue\" is known" },
		{ "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
		  "411 a body is to be expected, but its length is not said" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(HTTPMSG_REQUEST, cases[i].data, cases[i].want);
	check_bytes(HTTPMSG_REQUEST, "GET /\0 HTTP/1.1\r\n", 17,
		    "400 a line holds a byte that has no place there");
}

TEST(httpmsg_reads_answers)
{
	static const struct pair cases[] = {
		{ "HTTP/1.1 204 No Content\r\n\r\n", "204 1.1 keep || whole +" },
		{ "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
		  "200 1.1 keep Content-Length=2 |hi| whole +" },
		{ "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		  "200 1.1 keep Transfer-Encoding=chunked |hi| whole +" },
		{ "HTTP/1.0 200 OK\r\n\r\nuntil the end", "200 1.0 close |until the end| whole +" },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1", "100 1.1 keep || whole +HTTP/1.1" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "400 it ends early" },
		{ "HTTP/1.1 2x0 OK\r\n", "400 the status is no number of three digits" },
		{ "HTTP/1.1 2000 OK\r\n", "400 the status is no number of three digits" },
		{ "HTTP/1.1 20\r\n", "400 the status is no number of three digits" },
		{ "HTTP/1.1\r\n", "400 the first line is not \"HTTP/1.1 200 OK\"" },
		{ "HTTP/3.1 200\r\n", "505 HTTP/3 is not spoken here, HTTP/1.1 is" },
		{ "", "empty" },
		{ "HTTP", "400 it ends early" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(HTTPMSG_ANSWER, cases[i].data, cases[i].want);
}

/* A request with so many bytes of path, headers of so many bytes each, and so on. */
static void check_sizes(size_t path, size_t headers, size_t value, const char *want)
{
	AUTO_STR struct str s = { 0 }, got = { 0 };

	str_puts(&s, "GET /");
	str_fill(&s, 'a', path);
	str_puts(&s, " HTTP/1.1\r\nHost:\r\n");
	for (size_t i = 0; i < headers; i++) {
		str_puts(&s, "x: ");
		str_fill(&s, 'b', value);
		str_puts(&s, "\r\n");
	}
	str_puts(&s, "\r\n");
	for (size_t step = 1; step < 100000; step = step * 7 + 1) {
		read_cut(&got, HTTPMSG_REQUEST, s.text, s.len, 0, step);
		assert_memory_equal(str_text(&got), want, strlen(want));
	}
}

TEST(httpmsg_bounds_lines_heads_and_headers)
{
	check_sizes(HTTPMSG_LINE_MAX - 16, 0, 0, "GET /aaa");
	check_sizes(HTTPMSG_LINE_MAX - 15, 0, 0, "414 the first line has more than 8192 bytes");
	check_sizes(0, 1, HTTPMSG_LINE_MAX - 5, "GET /?");
	check_sizes(0, 1, HTTPMSG_LINE_MAX - 4, "431 a line has more than 8192 bytes");
	check_sizes(0, HTTPMSG_HEADERS_MAX - 1, 100, "GET /?");
	check_sizes(0, HTTPMSG_HEADERS_MAX, 100, "431 there are more than 64 headers");
	check_sizes(0, 5, 7000, "431 the headers have more than 32768 bytes");
}

TEST(httpmsg_bounds_trailers)
{
	AUTO_STR struct str s = { 0 }, got = { 0 };

	str_puts(&s, CHUNKED "0\r\n");
	for (int i = 0; i < 5; i++) {
		str_puts(&s, "x: ");
		str_fill(&s, 'b', 7000);
		str_puts(&s, "\r\n");
	}
	read_cut(&got, HTTPMSG_REQUEST, s.text, s.len, 0, 100);
	assert_string_equal(str_text(&got), "431 the headers have more than 32768 bytes");
}

TEST(httpmsg_takes_many_chunks)
{
	struct httpmsg m;

	httpmsg_init(&m, HTTPMSG_REQUEST, 100000);
	httpmsg_feed(&m, CHUNKED, strlen(CHUNKED));
	for (int i = 0; i < 100000; i++)
		assert_int_equal(httpmsg_feed(&m, "1\r\nx\r\n", 6), 6);
	assert_int_equal(httpmsg_feed(&m, "0\r\n\r\nrest", 9), 5);
	assert_int_equal(m.stage, HTTPMSG_WHOLE);
	assert_int_equal(m.body_len, 100000);
	assert_int_equal(m.body[100000], 0);
	httpmsg_fini(&m);
	httpmsg_fini(&m);
}

TEST(httpmsg_stops_once_where_the_sender_waits)
{
	static const char head[] =
		"PUT / HTTP/1.1\r\nHost:\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
	char all[sizeof(head) + 2];
	struct httpmsg m;

	snprintf(all, sizeof(all), "%shi", head);
	httpmsg_init(&m, HTTPMSG_REQUEST, MAX);
	assert_int_equal(httpmsg_feed(&m, all, strlen(all)), strlen(head));
	assert_int_equal(m.stage, HTTPMSG_BODY);
	assert_true(m.expects);
	assert_int_equal(httpmsg_feed(&m, "hi", 2), 2);
	assert_int_equal(m.stage, HTTPMSG_WHOLE);
	assert_string_equal(m.body, "hi");
	assert_string_equal(httpmsg_header(&m, "EXPECT"), "100-Continue");
	assert_null(httpmsg_header(&m, "Expec"));
	httpmsg_fini(&m);
}

static void gather(void *arg, const char *piece, size_t len)
{
	str_putn(arg, piece, len);
}

TEST(httpmsg_gives_a_body_piece_by_piece)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				   "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
	AUTO_STR struct str s = { 0 };
	struct httpmsg m;

	httpmsg_init(&m, HTTPMSG_ANSWER, 0);
	m.sink = gather;
	m.sink_arg = &s;
	assert_int_equal(httpmsg_feed(&m, text, strlen(text)), strlen(text));
	assert_int_equal(m.stage, HTTPMSG_WHOLE);
	assert_string_equal(str_text(&s), "abcdef");
	httpmsg_fini(&m);
}

TEST(httpmsg_finds_words_in_lists)
{
	assert_true(httpmsg_lists("close", "close"));
	assert_true(httpmsg_lists(" a,\tCLOSE ,b", "close"));
	assert_false(httpmsg_lists("closed, not-close", "close"));
	assert_false(httpmsg_lists("", "close"));
	assert_false(httpmsg_lists(", ,", "close"));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(httpmsg_reads_requests),
		T(httpmsg_reads_chunks),
		T(httpmsg_refuses_requests_by_the_code_that_fits),
		T(httpmsg_reads_answers),
		T(httpmsg_bounds_lines_heads_and_headers),
		T(httpmsg_bounds_trailers),
		T(httpmsg_takes_many_chunks),
		T(httpmsg_stops_once_where_the_sender_waits),
		T(httpmsg_gives_a_body_piece_by_piece),
		T(httpmsg_finds_words_in_lists),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
