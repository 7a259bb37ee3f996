/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that wait for a peer. See httpout.h. What was sent is forgotten when all of it was, or when
 * room is needed; a large buffer goes back as soon as it is empty.
 */
#include "base/httpout.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/httpmsg.h"
#include "base/mem.h"

#define KEEP_BYTES 0x4000 /* a buffer up to this size waits for the next answer */

void httpout_fini(struct httpout *o)
{
	free(o->text);
	*o = (struct httpout){ 0 };
}

void httpout_put(struct httpout *o, const char *data, size_t len)
{
	size_t cap = o->cap ? o->cap : 1024;

	if (o->at && o->len + len > o->cap) {
		memmove(o->text, o->text + o->at, o->len - o->at);
		o->len -= o->at;
		o->at = 0;
	}
	while (cap < o->len + len)
		cap *= 2;
	if (cap != o->cap)
		o->text = mem_resize(o->text, o->cap, cap, 1);
	o->cap = cap;
	if (len)
		memcpy(o->text + o->len, data, len);
	o->len += len;
}

void httpout_puts(struct httpout *o, const char *text)
{
	httpout_put(o, text, strlen(text));
}

/* One short line. */
__attribute__((format(printf, 2, 3))) static void add(struct httpout *o, const char *fmt, ...)
{
	char text[256];
	va_list va;

	va_start(va, fmt);
	vsnprintf(text, sizeof(text), fmt, va);
	va_end(va);
	httpout_puts(o, text);
}

enum httpout_result httpout_flush(struct httpout *o, int sock)
{
	while (o->at < o->len) {
		ssize_t n =
			send(sock, o->text + o->at, o->len - o->at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM
				       ? HTTPOUT_WAITS
				       : HTTPOUT_BROKEN;
		o->at += (size_t)n;
	}
	o->at = o->len = 0;
	if (o->cap > KEEP_BYTES)
		httpout_fini(o);
	return HTTPOUT_SENT;
}

void httpout_head(struct httpout *o, const struct httpout_head *h)
{
	add(o, "HTTP/1.1 %u %s\r\n", h->code, httpmsg_phrase(h->code));
	add(o, "Server: %s\r\n", h->server);
	add(o, "Connection: %s\r\n", h->keep ? "keep-alive" : "close");
	if (h->headers)
		httpout_puts(o, h->headers);
	if (h->type)
		add(o, "Content-Type: %s\r\n", h->type);
	if (h->chunked)
		httpout_puts(o, "Transfer-Encoding: chunked\r\n");
	else if (h->has_length)
		add(o, "Content-Length: %zu\r\n", h->length);
	httpout_puts(o, "\r\n");
}

void httpout_chunk(struct httpout *o, const char *data, size_t len)
{
	add(o, "%zx\r\n", len);
	httpout_put(o, data, len);
	httpout_puts(o, "\r\n");
}
