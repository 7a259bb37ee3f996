/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client half of HTTP/1.1 over unix sockets: one connection on which one request after another
 * is sent and its answer waited for. Descriptors travel with a request (SCM_RIGHTS). The server is a
 * peer like any other: its answers are bounded and judged by base/httpmsg. It blocks, so it is for
 * programs that have nothing else to do, never for a loop; a connection belongs to one thread. It
 * follows no redirection and knows no route. RFC 9112.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/httpmsg.h"
#include "base/scm.h"

#define HTTPC_BODY_MAX (64u << 20) /* bytes of an answer that is kept */
#define HTTPC_FDS_MAX SCM_FDS_MAX  /* with one request */

struct httpc;

struct httpc_ask {
	const char *method, *path; /* "GET", "/api/v1/vm.info" */
	const char *headers;	   /* further lines, each with "\r\n" behind; or NULL */
	const char *body;	   /* JSON, or NULL */
	size_t body_len;
	const int *fds; /* borrowed; they stay open */
	unsigned int fd_count;
	/* The body of an answer of 200 to 299 goes here piece by piece, and is not limited. NULL: it
	 * is kept. */
	httpmsg_sink_fn *sink;
	void *sink_arg;
};

struct httpc_answer {
	unsigned int code;
	const char *body; /* "" when there is none, or it went to the sink */
	size_t body_len;
};

/* Connects to the socket at a path. timeout_ms is how long the server may neither take nor send a
 * byte, 0 for as long as it likes. The caller closes. */
MUST int httpc_open(struct httpc **out, const char *path, unsigned int timeout_ms, struct err *e);
/* The same on a socket that is connected, which is taken over. */
struct httpc *httpc_take(int fd, unsigned int timeout_ms) __attribute__((returns_nonnull));
/* NULL is fine. */
void httpc_close(struct httpc *c);

/* Sends a request and waits for the end of its answer, of whichever code; the answer is the
 * connection's, until the next call. After a failure, and after an answer with which the server ends
 * the connection, every further call fails. */
MUST int httpc_call(struct httpc *c, const struct httpc_ask *a, struct httpc_answer *out,
		    struct err *e);
/* The value of a header of the last answer, or NULL. */
const char *httpc_header(const struct httpc *c, const char *name);
