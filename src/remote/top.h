/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virga-remote top: what one machine does now, on a screen that is renewed: exits and processor time
 * of vCPUs, what devices move, memory, jobs. It reads GET /api/v1/metrics and shows differences; on
 * what is no terminal, and with --once, it prints plain text. One thread.
 */
#pragma once

#include <stdio.h>

#include "base/httpc.h"
#include "conf/routes.h"

/* The command: not the server's, but with rows like those of any. */
extern const struct route top_route;

/* Shows the machine behind c until a signal or a key ends it, or once, as the words of the command
 * say. The terminal is afterwards as it was. */
MUST int top_run(struct httpc *c, char *const *args, unsigned int count, struct err *e);

/* --- for tests --- */

struct top_look;
/* Reads metrics as they were seen at a time; the caller frees it. */
struct top_look *top_look_new(const char *metrics, uint64_t at_ns) __attribute__((returns_nonnull));
void top_look_free(struct top_look *l);
/* What the screen says of now; before is an earlier look, or NULL: then sums stand in place of
 * rates. The caller frees it. */
char *top_page(const struct top_look *now, const struct top_look *before)
	__attribute__((returns_nonnull));
