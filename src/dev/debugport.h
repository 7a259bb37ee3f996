/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports for those who debug a guest's start: codes at 0x80, each a line in the log with the seconds
 * since the machine was begun; bytes of firmware at 0x402, gathered to lines for a descriptor; and
 * the debug console at 0xe9, byte by byte to a stream. None has state that a guest can see. vCPU
 * threads.
 */
#pragma once

#include "core/chardev.h"
#include "core/fixed.h"

/* Bank 0: codes, 1 port. Bank 1: firmware's text, 1 port. Bank 2: debug console, 1 port. */
struct debugport_conf {
	struct fixed_conf at;
	int text_fd;	     /* of firmware's text, borrowed until fini */
	struct chardev *chr; /* of the debug console, borrowed until fini; NULL: nobody listens */
};
extern const struct fixed_class debugport_class;
