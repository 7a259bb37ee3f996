/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pseudo-terminal for a console: made, looked at, drained. What travels through it is vm/line's.
 * pty(7), ptmx(4).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Control thread. A raw one whose other end nobody has open; *fd is our end, non-blocking, *path
 * where clients find the other. Both are the caller's. */
MUST int pty_open(int *fd, char **path, struct err *e);
/* Any thread. Has somebody the other end open? */
bool pty_is_open(int fd);
/* Control thread. Waits until the client has read what was written, or the time has come: what lies
 * between the ends is lost when ours is closed. */
void pty_drain(int fd, uint64_t end_ns);
