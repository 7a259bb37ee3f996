/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream on descriptors: the terminal or whatever stdin and stdout are, a file, a pseudo-terminal.
 *
 *   output	Written at once by whoever writes, without blocking. What the other side does not take is
 *		kept, then the device is told to wait. When the other side has taken nothing for the
 *		patience, the guest goes on and the oldest bytes are lost for new ones.
 *   a pseudo-terminal	whose other end nobody has open keeps the newest megabyte for who comes, and holds up
 *		nobody. Coming and going is looked for a few times a second, and so is its window's size.
 */
#pragma once

#include "vm/outlet.h"
#include "vm/terminal.h"

struct line_args {
	int out;		   /* -1: everything is taken and forgotten */
	bool out_blocks;	   /* it may block: poll(2) is asked before each small write */
	int in;			   /* -1: none */
	struct terminal *terminal; /* behind in; NULL: none */
	bool has_window;	   /* asks for the window's size when it changes */
	bool is_pty;		   /* out and in are our end of one */
	uint64_t patience_ns;
};

/* Takes the descriptors. Control thread. */
struct outlet *line_new(const struct line_args *a);
