/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virga-remote snapshot-inspect and snapshot-check: what is in a snapshot, and whether this host can go
 * on from it. The first reads the directory itself and needs no virga; the second asks virga, which
 * alone has the tables and the hypervisor (vm/restorable), and takes its place in the process. What is
 * read is foreign, and may be of another version. One thread.
 */
#pragma once

#include <stdio.h>

#include "conf/routes.h"

struct json;

/* The commands: no server's, so they have no path. */
extern const struct route inspect_route, check_route;

/* Carries one of them out. */
MUST int inspect_command(const struct route *r, char *const *args, unsigned int count,
			 struct err *e);

/* --- for tests --- */

/* What is in memory-ranges. */
struct inspect_memory {
	uint64_t bytes, data; /* data: without the holes */
};
/* What is told of a snapshot, for the caller to put. state and config are foreign. */
MUST int inspect_describe(struct json **out, const struct json *state, const struct json *config,
			  const struct inspect_memory *m, struct err *e);
/* The same for people. Control characters are shown as question marks. */
void inspect_print(FILE *f, const struct json *told);
