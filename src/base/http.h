/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server half of HTTP/1.1 over unix sockets, on a loop: connections, limits, keep-alive,
 * pipelining, descriptors that come with a request, answers that are given later, streams of
 * chunks. It knows no routes and no VM. All of it is for the loop's own thread, or for its maker
 * before it runs; nothing here waits for a client.
 *
 *   order	A client's requests are served one after another: the next is read when the answer to
 *		the one before has been sent. Clients do not wait for each other.
 *   slow	A request that is begun must be whole within HTTP_REQUEST_S seconds, an answer must be
 *		taken without a pause of HTTP_STALL_S. A connection that is idle may stay.
 *   many	At HTTP_CLIENTS_MAX connections a newcomer takes the place of the one that is idle
 *		longest, else of the one that keeps us waiting longest; if all wait for us, it is told 503.
 *   descriptors belong to the request whose bytes they came with, however the reads are cut.
 *   bad	requests are answered with an array of one sentence, and the connection ends.
 *
 * RFC 9110, RFC 9112. The grammar is base/httpmsg's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

#define HTTP_CLIENTS_MAX 128
#define HTTP_REQUEST_S 10
#define HTTP_STALL_S 30
#define HTTP_FDS_MAX 253	/* with one request */
#define HTTP_STREAM_MAX 0x40000 /* bytes that wait for the reader of a stream */

/* A request that is whole. It lives until it is answered: http_answer, http_refuse or
 * http_stream_end free it, in any order with those of other clients, and also when the client has
 * gone. The texts and descriptors are the request's. */
struct http_req {
	const char *method, *path; /* "GET", "/api/v1/vm.info" */
	const char *query;	   /* behind the question mark, or "" */
	const char *body;	   /* a zero byte stands behind it; "" when there is none */
	size_t body_len;	   /* 0: no body, as with "Content-Length: 0" */
	int *fds;		   /* see http_take_fd */
	unsigned int fd_count;
	bool gone;	  /* nobody waits for the answer any more, which is still to be given */
	uint64_t came_ns; /* when it was whole, CLOCK_MONOTONIC */
	void *user;	  /* the server's user's */
};

struct http_args {
	int fd; /* listening socket, borrowed; becomes non-blocking; -1: there is none */
	const char *server; /* name in answers; lives as long as the server */
	size_t body_max;    /* bytes of a request's body */
	/* A request has come. It is answered in this call or later. */
	void (*request)(void *arg, struct http_req *r);
	/* The client of a request that waits for its answer, or of a stream, has gone. May be NULL. */
	void (*gone)(void *arg, struct http_req *r);
	void *arg;
};

/* What has happened so far, and what is. */
struct http_counts {
	uint64_t connections, requests, bad; /* bad: answered here, without the user */
	uint64_t refused;		     /* connections that found no place */
	uint64_t dropped;		     /* those that lost theirs, or were too slow */
	unsigned int clients;		     /* now */
};

struct http_server;
MUST int http_server_new(struct http_server **out, struct loop *l, const struct http_args *a,
			 struct err *e);
/* Sends what its clients take at once, closes all connections and frees the requests that are not
 * answered, without a word to `gone`. Not from within a callback. NULL is fine. */
void http_server_free(struct http_server *s);
const struct http_counts *http_counts(const struct http_server *s);

/* The value of a header, its name in any case; or NULL. */
const char *http_header(const struct http_req *r, const char *name);
/* Does the list of a header ("Prefer: a, b") hold that word? */
bool http_header_lists(const struct http_req *r, const char *name, const char *word);
/* Descriptor i < fd_count becomes the caller's; those not taken are closed with the request. */
int http_take_fd(struct http_req *r, unsigned int i);

struct http_reply {
	unsigned int code;   /* 204 and 304 have no body */
	const char *headers; /* further lines, each with "\r\n" behind; or NULL */
	const char *type;    /* of the body; NULL: application/json */
	const char *body;
	size_t len;
};
/* Once, now or later; what it points to is copied. */
void http_answer(struct http_req *r, const struct http_reply *a);
/* Answers with a JSON array of one sentence. */
void http_refuse(struct http_req *r, unsigned int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Begins an answer that comes in pieces. */
void http_stream(struct http_req *r, unsigned int code, const char *type);
/* One more piece, which is copied. False when the client is too slow, and has HTTP_STREAM_MAX bytes
 * waiting, or has gone: then nothing of it is sent. */
bool http_chunk(struct http_req *r, const char *data, size_t len);
/* Nothing follows; what waits is still sent. */
void http_stream_end(struct http_req *r);

/* A request that came another way than over a connection of the server's. */
struct http_brought {
	const char *method, *path;
	const char *body; /* NULL: none */
	size_t body_len;
	const int *fds; /* borrowed: the request gets copies */
	unsigned int fd_count;
	/* Called once with the answer, whose texts live as long as the call; not when the server is
	 * freed before. */
	void (*answered)(void *arg, const struct http_reply *a);
	void *arg;
};
/* Hands it to the server's user as if a client had sent it; its answer is not to be a stream. What no
 * client could send is answered with 400. */
void http_bring(struct http_server *s, const struct http_brought *b);
