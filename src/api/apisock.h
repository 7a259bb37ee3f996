/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket of the REST API: made at a path, or passed by who started us. Who listens at a path
 * holds a write lock on <path>.lock (an open-file-description lock, which Cloud Hypervisor takes
 * too), so that of two starters one gets it, and a socket without a lock holder is known to be left
 * over. It does not speak HTTP (base/http.h). Control thread. unix(7), fcntl(2).
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"

struct apisock;

/* Listens. A socket file that nobody serves is replaced; a live one, and whatever is no socket, is
 * refused. A passed descriptor must be a unix stream socket that is listening; it is taken. */
MUST int apisock_new(struct apisock **out, const struct api_socket_conf *c, struct err *e);
/* The listening descriptor; it stays the apisock's. */
int apisock_fd(const struct apisock *s);
/* Closes it, and removes the files that it made. NULL is fine. */
void apisock_free(struct apisock *s);
