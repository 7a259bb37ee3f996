/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command's words into the request that its row describes: path, JSON body, descriptors. It sends
 * nothing. One thread.
 */
#pragma once

#include "base/httpc.h"
#include "conf/routes.h"

struct str;

struct ask {
	char *path;
	uint64_t id; /* of a job, in the path */
	char *body;  /* NULL: none */
	size_t body_len;
	unsigned int fd_count;
	int fds[HTTPC_FDS_MAX]; /* the caller's caller's: they stay open */
};

/* Overwrites *out; the caller calls ask_free, also after a failure. ERR_BAD where the words are
 * wrong. */
MUST int ask_make(struct ask *out, const struct route *r, char *const *args, unsigned int count,
		  struct err *e);
void ask_free(struct ask *a);

/* How a configuration is said to a command, for help: its keys, behind what may stand without one. */
void ask_config_syntax(struct str *out, const struct desc *body);
