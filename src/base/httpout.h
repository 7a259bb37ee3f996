/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that wait to be sent to one peer, and the writing of an answer's head into them. It has no
 * limit of its own: who puts asks for httpout_waiting first where the peer may be slow. Belongs to
 * one thread. The sending half of base/http. RFC 9112 §4, §6.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialise to make one. */
struct httpout {
	char *text;
	size_t at, len, cap; /* what lies between at and len waits */
};
void httpout_fini(struct httpout *o);

static inline size_t httpout_waiting(const struct httpout *o)
{
	return o->len - o->at;
}
void httpout_put(struct httpout *o, const char *data, size_t len);
void httpout_puts(struct httpout *o, const char *text);

enum httpout_result { HTTPOUT_SENT, HTTPOUT_WAITS, HTTPOUT_BROKEN };
/* Sends what the peer takes at once. */
enum httpout_result httpout_flush(struct httpout *o, int sock);

/* What a head says beside its code. */
struct httpout_head {
	unsigned int code;
	const char *server;
	bool keep;	     /* the connection */
	const char *headers; /* further lines with their ends, or NULL */
	const char *type;    /* of the body; NULL: there is none */
	bool chunked;	     /* else length bytes follow, or whatever comes until the end */
	bool has_length;
	size_t length;
};
void httpout_head(struct httpout *o, const struct httpout_head *h);
/* One chunk; len is not 0. */
void httpout_chunk(struct httpout *o, const char *data, size_t len);
