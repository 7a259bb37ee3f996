/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The REST API: what a request asks for, done and answered. Rows of conf/routes.def say which
 * requests there are; base/http carries them, vm/vmm does what they ask for. Reads are answered at
 * once, whatever else goes on. A verb is handed to vm/vmm, and its request waits, without holding
 * anybody up, for what comes of it; unless the client would rather have a job (Prefer:
 * respond-async, RFC 7240).
 *
 * It has no thread and no lock: everything here is the control loop's. It knows no sockets by path
 * (api/apisock) and no HTTP.
 */
#pragma once

#include <stdint.h>

#include "api/metrics.h"
#include "base/err.h"
#include "base/loop.h"
#include "conf/routes.h"

#define API_BODY_MAX (4u << 20)
#define API_STREAMS_MAX 32 /* of events; the other places for clients stay free */

struct api;
struct http_brought; /* base/http.h */
struct http_counts;
struct http_req;
struct vmm;

struct api_args {
	int fd;		     /* listening socket, borrowed; -1: requests are only brought */
	struct loop *ctl;    /* the control loop */
	struct vmm *vmm;     /* borrowed */
	const char *program; /* what the program is called: see doc_program */
};

/* Answers whoever connects. */
MUST int api_new(struct api **out, const struct api_args *a, struct err *e);
/* Sends the answers that are there, and closes all connections. Nothing of vm/vmm's is under way
 * any more: it is freed, with what waits there, before the API. NULL is fine. */
void api_free(struct api *a);

/* One request, as if it had come from a client: it is answered now or later. Tests call this. */
void api_request(struct api *a, struct http_req *r);

/* A request that came another way than over the socket; see base/http.h. */
void api_bring(struct api *a, const struct http_brought *b);

/* How requests went, per row of conf/routes.def. */
const struct api_count *api_counts(const struct api *a, enum route_id route);
const struct http_counts *api_http(const struct api *a);
