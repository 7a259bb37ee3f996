/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream on a listening Unix socket. Any number of clients up to a limit may be connected:
 *
 *   output	goes to all of them. What no client was given yet is kept, the newest megabyte, for the
 *		next that comes; with no client the guest never waits.
 *   input	is that of the one who came first, the writer; what others send is thrown away. When the
 *		writer has gone, or has ended its sending, the next takes its place.
 *   who is slow	The guest waits a second at most for one that stands still while a megabyte is kept for
 *		it, and the same second for one other than the writer that is slower than the guest. Then
 *		it is disconnected.
 *
 * unix(7).
 */
#pragma once

#include "base/err.h"
#include "vm/outlet.h"

#define SOCK_CLIENTS_MAX 32

/* Control thread. A socket that a dead process has left at the path is replaced, anything else
 * there is refused. */
MUST int sock_new(struct outlet **out, const char *path, struct err *e);
