/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of HTTP/1.1 messages. See httpmsg.h. Lines are gathered until their end and judged
 * whole, so that nothing depends on the cuts; the words of the head lie one behind another in one
 * text, each with a zero byte behind. RFC 9112 §2-§7, RFC 9110 §5.5, §5.6, §10.1.1.
 */
#include "base/httpmsg.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/str.h"

#define TEXT_FIRST 1024
#define BODY_FIRST 4096
#define LENGTH_DIGITS 15 /* of a length that fits 63 bits, whichever its base */

/* What the next bytes are: lines first. */
enum at {
	AT_FIRST,
	AT_HEADER,
	AT_CHUNK_SIZE,
	AT_CHUNK_END,
	AT_TRAILER,
	AT_LENGTH, /* a body whose length is said */
	AT_CHUNK,
	AT_UNTIL_END,
};

/* Headers that the grammar itself reads. */
enum seen {
	SEEN_LENGTH = 1,
	SEEN_CHUNKED = 2,
	SEEN_CLOSE = 4,
	SEEN_KEEP = 8,
	SEEN_EXPECT = 16,
	SEEN_HOST = 32,
};

/* Returns -1. */
__attribute__((format(printf, 3, 4))) static int bad(struct httpmsg *m, unsigned int code,
						     const char *fmt, ...)
{
	va_list va;

	va_start(va, fmt);
	vsnprintf(m->why, sizeof(m->why), fmt, va);
	va_end(va);
	m->bad = code;
	m->stage = HTTPMSG_BAD;
	m->keep = false;
	return -1;
}

/* --- bytes --- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 9110 §5.6.2 */
static bool is_token(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!is_letter(*p) && !is_digit(*p) && !strchr("!#$%&'*+-.^_`|~", *p))
			return false;
	return *s;
}

/* Text of a header's value: no control characters but the tab. */
static bool is_text(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool httpmsg_lists(const char *value, const char *word)
{
	size_t len = strlen(word);

	while (*value) {
		size_t n;

		while (is_blank(*value) || *value == ',')
			value++;
		n = strcspn(value, ",");
		while (n && is_blank(value[n - 1]))
			n--;
		if (n == len && !strncasecmp(value, word, len))
			return true;
		value += n;
		value += strcspn(value, ",");
	}
	return false;
}

/* --- the first line --- */

/* "HTTP/1.1": the digits. */
static int version(struct httpmsg *m, const char *s)
{
	if (strncmp(s, "HTTP/", 5) || !is_digit(s[5]) || s[6] != '.' || !is_digit(s[7]) || s[8])
		return bad(m, 400, "the first line does not name a version as HTTP/1.1");
	if (s[5] != '1')
		return bad(m, 505, "HTTP/%c is not spoken here, HTTP/1.1 is", s[5]);
	m->minor = s[7] == '0' ? 0 : 1;
	return 0;
}

/* RFC 3986 §6.2.2.2: an escaped character that needs no escape is that character. Any other stays
 * escaped, for "%2F" is a part of a name and no slash. */
static int unescape(struct httpmsg *m, char *s)
{
	char *to = s;

	while (*s) {
		int high = *s == '%' ? str_digit(s[1]) : 0;
		int low = *s == '%' && high >= 0 ? str_digit(s[2]) : 0;
		char c;

		if (high < 0 || low < 0)
			return bad(
				m, 400,
				"behind a percent sign in the path are no two hexadecimal digits");
		c = (char)(high << 4 | low);
		if (*s == '%' && (is_digit(c) || is_letter(c) || (c && strchr("-._~", c)))) {
			*to++ = c;
			s += 3;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
	return 0;
}

/* A path with a query, or the same behind "http://name". Cuts both apart. */
static int target(struct httpmsg *m, char *s)
{
	char *path = s, *query;

	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '#')
			return bad(m, 400, "the path holds a character that has no place there");
	if (!strncasecmp(s, "http://", 7)) {
		path = strchr(s + 7, '/');
		if (!path)
			return bad(m, 400, "the address has no path");
	}
	if (*path != '/')
		return bad(m, 400, "the path does not begin with a slash");
	query = strchr(path, '?');
	if (query)
		*query++ = '\0';
	else
		query = path + strlen(path);
	if (unescape(m, path) < 0)
		return -1;
	m->first[1] = (uint32_t)(path - m->text);
	m->first[2] = (uint32_t)(query - m->text);
	return 0;
}

/* "GET /path HTTP/1.1" */
static int request_line(struct httpmsg *m, char *s)
{
	char *path = strchr(s, ' '), *last = path ? strchr(path + 1, ' ') : NULL;

	if (!last)
		return bad(m, 400, "the first line is not \"METHOD /path HTTP/1.1\"");
	*path++ = '\0';
	*last++ = '\0';
	if (!is_token(s))
		return bad(m, 400, "the first line does not begin with a method");
	m->first[0] = (uint32_t)(s - m->text);
	return version(m, last) < 0 || target(m, path) < 0 ? -1 : 0;
}

/* "HTTP/1.1 200 OK", perhaps without the phrase */
static int status_line(struct httpmsg *m, char *s)
{
	char *code = strchr(s, ' ');

	if (!code)
		return bad(m, 400, "the first line is not \"HTTP/1.1 200 OK\"");
	*code++ = '\0';
	for (int i = 0; i < 3; i++)
		if (!is_digit(code[i]))
			return bad(m, 400, "the status is no number of three digits");
	if (code[0] == '0' || (code[3] && code[3] != ' '))
		return bad(m, 400, "the status is no number of three digits");
	m->code = (unsigned int)(100 * (code[0] - '0') + 10 * (code[1] - '0') + code[2] - '0');
	return version(m, s);
}

static int first_line(struct httpmsg *m, char *s, size_t len)
{
	if (!len)
		return 0; /* RFC 9112 §2.2: left over from a message before */
	if (!is_text(s, len))
		return bad(m, 400, "the first line holds a control character");
	m->text_len += (uint32_t)len + 1;
	m->first_len = m->text_len;
	m->at = AT_HEADER;
	return m->kind == HTTPMSG_REQUEST ? request_line(m, s) : status_line(m, s);
}

/* --- headers --- */

static int content_length(struct httpmsg *m, const char *s)
{
	uint64_t n = 0;
	size_t len = strspn(s, "0123456789");

	if (!len || s[len])
		return bad(m, 400, "Content-Length is no number");
	while (*s == '0')
		s++;
	if (strlen(s) > LENGTH_DIGITS)
		return bad(m, 413, "Content-Length is far too large");
	for (; *s; s++)
		n = n * 10 + (uint64_t)(*s - '0');
	if (m->seen & SEEN_LENGTH && n != m->left)
		return bad(m, 400, "Content-Length is said twice, with different numbers");
	m->left = n;
	m->seen |= SEEN_LENGTH;
	return 0;
}

static int transfer_encoding(struct httpmsg *m, const char *s)
{
	if (strcasecmp(s, "chunked"))
		return bad(m, 501, "of transfer encodings only \"chunked\" is known");
	if (m->seen & SEEN_CHUNKED)
		return bad(m, 400, "Transfer-Encoding is said twice");
	m->seen |= SEEN_CHUNKED;
	return 0;
}

static int connection(struct httpmsg *m, const char *s)
{
	if (httpmsg_lists(s, "close"))
		m->seen |= SEEN_CLOSE;
	if (httpmsg_lists(s, "keep-alive"))
		m->seen |= SEEN_KEEP;
	return 0;
}

static int expect(struct httpmsg *m, const char *s)
{
	if (m->kind == HTTPMSG_REQUEST && strcasecmp(s, "100-continue"))
		return bad(m, 417, "of expectations only \"100-continue\" is known");
	m->seen |= SEEN_EXPECT;
	return 0;
}

/* RFC 9112 §3.2: one, and empty where there is no name. */
static int host(struct httpmsg *m, const char *s)
{
	if (m->kind != HTTPMSG_REQUEST)
		return 0;
	if (m->seen & SEEN_HOST)
		return bad(m, 400, "Host is said twice");
	if (s[strcspn(s, " \t,/?#@\\\"<>")])
		return bad(m, 400, "Host is no name of a host");
	m->seen |= SEEN_HOST;
	return 0;
}

static const struct {
	const char *name;
	int (*read)(struct httpmsg *m, const char *value);
} known[] = {
	{ "Content-Length", content_length },
	{ "Transfer-Encoding", transfer_encoding },
	{ "Connection", connection },
	{ "Expect", expect },
	{ "Host", host },
};

/* "Name: value" cut into both, the blanks around the value dropped. */
static int split(struct httpmsg *m, char *s, size_t *len, char **value)
{
	char *colon = memchr(s, ':', *len), *end = s + *len;

	if (is_blank(*s))
		return bad(m, 400, "a header is folded into a second line");
	if (!is_text(s, *len))
		return bad(m, 400, "a header holds a control character");
	if (!colon)
		return bad(m, 400, "a header has no colon");
	*colon = '\0';
	if (!is_token(s))
		return bad(m, 400,
			   "the name of a header holds a character that has no place there");
	*value = colon + 1;
	while (is_blank(**value))
		(*value)++;
	while (end > *value && is_blank(end[-1]))
		end--;
	*len = (size_t)(end - *value);
	memmove(colon + 1, *value, *len);
	*value = colon + 1;
	(*value)[*len] = '\0';
	return 0;
}

static int header(struct httpmsg *m, char *s, size_t len)
{
	char *value;

	if (split(m, s, &len, &value) < 0)
		return -1;
	if (m->header_count == HTTPMSG_HEADERS_MAX)
		return bad(m, 431, "there are more than %d headers", HTTPMSG_HEADERS_MAX);
	m->header_count++;
	m->text_len = (uint32_t)(value + len + 1 - m->text);
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!strcasecmp(s, known[i].name))
			return known[i].read(m, value);
	return 0;
}

static void grow_text(struct httpmsg *m, size_t more)
{
	size_t cap = m->text_cap ? m->text_cap : TEXT_FIRST;

	while (cap < m->text_len + m->line_len + more)
		cap *= 2;
	if (cap != m->text_cap)
		m->text = mem_resize(m->text, m->text_cap, cap, 1);
	m->text_cap = (uint32_t)cap;
}

/* The text does not move any more: what its words are is written down. */
static void point(struct httpmsg *m)
{
	const char *at;

	grow_text(m, HTTPMSG_LINE_MAX);
	m->method = m->path = m->query = "";
	if (m->kind == HTTPMSG_REQUEST) {
		m->method = m->text + m->first[0];
		m->path = m->text + m->first[1];
		m->query = m->text + m->first[2];
	}
	at = m->text + m->first_len;
	for (unsigned int i = 0; i < m->header_count; i++) {
		m->headers[i].name = at;
		at += strlen(at) + 1;
		m->headers[i].value = at;
		at += strlen(at) + 1;
	}
}

static int whole(struct httpmsg *m)
{
	if (m->body)
		m->body[m->body_len] = '\0';
	m->stage = HTTPMSG_WHOLE;
	return 0;
}

static int is_too_big(struct httpmsg *m)
{
	return bad(m, 413, "the body has more than %zu bytes", m->body_max);
}

static bool fits(const struct httpmsg *m, uint64_t more)
{
	return m->sink || more <= m->body_max - m->body_len;
}

/* A request's body has a length or is none. */
static int request_body(struct httpmsg *m)
{
	if (m->seen & SEEN_CHUNKED && !m->minor)
		return bad(m, 400, "HTTP/1.0 has no chunks");
	m->expects = m->seen & SEEN_EXPECT && m->minor;
	if (m->expects && !(m->seen & (SEEN_CHUNKED | SEEN_LENGTH)))
		return bad(m, 411, "a body is to be expected, but its length is not said");
	if (m->minor && !(m->seen & SEEN_HOST))
		return bad(m, 400, "the header Host is missing");
	return 0;
}

/* RFC 9112 §6.3 */
static int head_end(struct httpmsg *m)
{
	bool bare =
		m->kind == HTTPMSG_ANSWER && (m->code < 200 || m->code == 204 || m->code == 304);
	bool until_end = m->kind == HTTPMSG_ANSWER && !(m->seen & (SEEN_CHUNKED | SEEN_LENGTH));

	m->keep = !(m->seen & SEEN_CLOSE) && (m->minor || m->seen & SEEN_KEEP);
	if (m->seen & SEEN_CHUNKED && m->seen & SEEN_LENGTH)
		return bad(m, 400, "both Content-Length and Transfer-Encoding are said");
	if (m->kind == HTTPMSG_REQUEST && request_body(m) < 0)
		return -1;
	point(m);
	m->head_used = 0;
	m->stage = HTTPMSG_BODY;
	if (bare || (!until_end && !(m->seen & SEEN_CHUNKED) && !m->left))
		return whole(m);
	if (m->seen & SEEN_CHUNKED) {
		m->at = AT_CHUNK_SIZE;
		return 0;
	}
	m->keep = m->keep && !until_end;
	m->at = until_end ? AT_UNTIL_END : AT_LENGTH;
	return fits(m, m->left) ? 0 : is_too_big(m);
}

/* --- chunks --- */

static int chunk_size(struct httpmsg *m, char *s, size_t len)
{
	size_t digits = strspn(s, "0123456789abcdefABCDEF"), blanks = strspn(s + digits, " \t");

	if (!digits || (s[digits + blanks] && s[digits + blanks] != ';') || !is_text(s, len))
		return bad(m, 400, "the size of a chunk is no hexadecimal number");
	s[digits] = '\0';
	while (*s == '0')
		s++;
	if (strlen(s) > LENGTH_DIGITS)
		return is_too_big(m);
	m->left = strtoull(s, NULL, 16);
	m->at = m->left ? AT_CHUNK : AT_TRAILER;
	m->head_used = 0;
	return fits(m, m->left) ? 0 : is_too_big(m);
}

static int trailer(struct httpmsg *m, char *s, size_t len)
{
	char *value;

	return len ? split(m, s, &len, &value) : whole(m);
}

/* --- pieces --- */

static void body_put(struct httpmsg *m, const char *data, size_t n)
{
	size_t cap = m->body_cap ? m->body_cap : BODY_FIRST;

	if (m->sink) {
		m->sink(m->sink_arg, data, n);
		return;
	}
	while (cap < m->body_len + n + 1)
		cap *= 2;
	cap = min_u64(cap, m->body_max + 1);
	if (cap != m->body_cap)
		m->body = mem_resize(m->body, m->body_cap, cap, 1);
	m->body_cap = cap;
	memcpy(m->body + m->body_len, data, n);
	m->body_len += n;
}

static size_t take_body(struct httpmsg *m, const char *data, size_t len)
{
	size_t n = m->at == AT_UNTIL_END ? len : (size_t)min_u64(len, m->left);

	if (!fits(m, n)) {
		is_too_big(m);
		return 0;
	}
	body_put(m, data, n);
	if (m->at == AT_UNTIL_END)
		return n;
	m->left -= n;
	if (!m->left && m->at == AT_LENGTH)
		whole(m);
	else if (!m->left)
		m->at = AT_CHUNK_END;
	return n;
}

/* A whole line without its end, which has a zero byte behind in its place. */
static int line(struct httpmsg *m, char *s, size_t len)
{
	if (memchr(s, '\0', len) || memchr(s, '\r', len))
		return bad(m, 400, "a line holds a byte that has no place there");
	switch (m->at) {
	case AT_FIRST:
		return first_line(m, s, len);
	case AT_HEADER:
		return len ? header(m, s, len) : head_end(m);
	case AT_CHUNK_SIZE:
		return chunk_size(m, s, len);
	case AT_CHUNK_END:
		m->at = AT_CHUNK_SIZE;
		return len ? bad(m, 400, "a chunk is longer than its size") : 0;
	default:
		return trailer(m, s, len);
	}
}

static int line_too_long(struct httpmsg *m)
{
	if (m->at == AT_FIRST && m->kind == HTTPMSG_REQUEST)
		return bad(m, 414, "the first line has more than %d bytes", HTTPMSG_LINE_MAX);
	if (m->at == AT_CHUNK_END)
		return bad(m, 400, "a chunk is longer than its size");
	if (m->line_len > HTTPMSG_LINE_MAX)
		return bad(m, 431, "a line has more than %d bytes", HTTPMSG_LINE_MAX);
	return bad(m, 431, "the headers have more than %d bytes", HTTPMSG_HEAD_MAX);
}

static size_t take_line(struct httpmsg *m, const char *data, size_t len)
{
	size_t room = m->at == AT_CHUNK_END ? 2 : HTTPMSG_LINE_MAX, n;
	const char *end;
	char *s;

	room = min_u64(room, HTTPMSG_HEAD_MAX - m->head_used) - m->line_len;
	len = min_u64(len, room + 1);
	end = memchr(data, '\n', len);
	n = end ? (size_t)(end - data) + 1 : len;
	if (n > room) {
		m->line_len += (uint32_t)n;
		line_too_long(m);
		return n;
	}
	grow_text(m, n);
	s = m->text + m->text_len;
	memcpy(s + m->line_len, data, n);
	m->line_len += (uint32_t)n;
	if (m->stage == HTTPMSG_EMPTY && s[0] != '\r' && s[0] != '\n')
		m->stage = HTTPMSG_HEAD;
	if (!end)
		return n;
	len = m->line_len;
	m->head_used += m->line_len;
	m->line_len = 0;
	if (len < 2 || s[len - 2] != '\r') {
		bad(m, 400, "a line does not end with CR and LF");
		return n;
	}
	s[len - 2] = '\0';
	line(m, s, len - 2);
	return n;
}

size_t httpmsg_feed(struct httpmsg *m, const char *data, size_t len)
{
	size_t used = 0;

	while (used < len && m->stage < HTTPMSG_WHOLE) {
		bool head = m->stage < HTTPMSG_BODY;

		used += m->at < AT_LENGTH ? take_line(m, data + used, len - used)
					  : take_body(m, data + used, len - used);
		if (head && m->stage == HTTPMSG_BODY && m->expects)
			break;
	}
	return used;
}

void httpmsg_end(struct httpmsg *m)
{
	if (m->stage == HTTPMSG_BODY && m->at == AT_UNTIL_END)
		whole(m);
	else if (m->stage == HTTPMSG_HEAD || m->stage == HTTPMSG_BODY)
		bad(m, 400, "it ends early");
}

const char *httpmsg_header(const struct httpmsg *m, const char *name)
{
	for (unsigned int i = 0; m->stage >= HTTPMSG_BODY && i < m->header_count; i++)
		if (m->headers[i].name && !strcasecmp(m->headers[i].name, name))
			return m->headers[i].value;
	return NULL;
}

/* --- life --- */

void httpmsg_init(struct httpmsg *m, enum httpmsg_kind kind, size_t body_max)
{
	*m = (struct httpmsg){ .kind = kind, .body_max = body_max };
}

void httpmsg_fini(struct httpmsg *m)
{
	free(m->text);
	free(m->body);
	*m = (struct httpmsg){ .kind = m->kind, .body_max = m->body_max };
}

static const struct {
	unsigned int code;
	const char *phrase;
} phrases[] = {
	{ 100, "Continue" },
	{ 200, "OK" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 400, "Bad Request" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 411, "Length Required" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 417, "Expectation Failed" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 505, "HTTP Version Not Supported" },
};

const char *httpmsg_phrase(unsigned int code)
{
	for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
		if (phrases[i].code == code)
			return phrases[i].phrase;
	return "";
}
