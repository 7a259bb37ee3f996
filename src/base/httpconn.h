/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of base/http, for its two files only: one connection (httpconn.c), and the server with
 * its requests and newcomers (http.c). A connection is always at one stage, which says whom it waits
 * for:
 *
 *	READS    the client, for a request      -> SERVES when it is whole
 *	SERVES   the user, for an answer        -> SENDS, or STREAMS
 *	STREAMS  the user, for pieces           -> SENDS
 *	SENDS    the client, to take the answer -> READS, or LINGERS
 *	LINGERS  the client, to see the end     -> gone
 *
 * All of it is for the loop's thread.
 */
#pragma once

#include "base/http.h"
#include "base/httpmsg.h"
#include "base/httpout.h"
#include "base/mem.h"
#include "base/scm.h"

#define HTTP_SECOND_NS 1000000000ull
#define HTTP_LOOK 0x10000 /* bytes looked at in one go */

enum httpconn_stage { READS, SERVES, STREAMS, SENDS, LINGERS };

struct httpconn;

struct httpreq {
	struct http_req r;
	struct link link; /* in the server's list */
	struct http_server *s;
	struct httpconn *conn; /* NULL: gone */
	struct httpmsg msg;
	struct scm_fds fds;
	bool chunked; /* the stream has chunks */
	/* of a request that was brought, in place of conn */
	void (*answered)(void *arg, const struct http_reply *a);
	void *answered_arg;
};

struct httpconn {
	struct link link; /* in the server's list */
	struct http_server *s;
	struct loop_fd watch;
	uint32_t events; /* that are watched for */
	struct loop_timer timer;
	int fd;
	enum httpconn_stage stage;
	uint64_t since_ns; /* since when it waits for whom it waits for */
	struct httpmsg in;
	struct scm_fds fds; /* that came with it */
	struct httpreq *r;  /* at SERVES and STREAMS */
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
	struct loop_timer rest;	      /* from accepting */
	uint64_t full_ns;	      /* since when there was no place; 0: there is */
	void (*has_place)(void *arg); /* called then from the loop, when one is left */
	struct link conns, requests;
	struct http_counts counts;
	size_t held; /* bytes of bodies */
	char look[HTTP_LOOK];
};

static inline struct httpconn *httpconn_of(struct link *l)
{
	return container_of(l, struct httpconn, link);
}

/* A newcomer; takes fd. */
void httpconn_new(struct http_server *s, int fd);
/* Ends a connection without a request. */
void httpconn_drop(struct httpconn *c);
/* The same with one: its user is told. */
void httpconn_gone(struct httpconn *c);
/* After whatever was done to it: watches for what it waits for now, or ends it. */
void httpconn_settle(struct httpconn *c);

/* Puts an answer's head and, unless bare, its body. */
void httpconn_put(struct httpconn *c, const struct http_reply *a, bool bare);
/* Sends what the client takes at once. */
void httpconn_flush(struct httpconn *c);
/* The same; what was put is the end of the answer. */
void httpconn_send(struct httpconn *c);

/* A JSON array of one sentence; the caller frees it. */
char *httpconn_sentence(const char *text);
/* The message is whole: the request may be shown to the server's user. */
void httpreq_ready(struct httpreq *q);
/* Closes descriptors that nobody took. */
void httpreq_free(struct httpreq *q);
