/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams behind a VM's consoles, opened from its config by vm/tty. They outlive the machine.
 * Control thread.
 */
#pragma once

#include "base/err.h"
#include "base/reasons.h"
#include "conf/conf.h"
#include "core/chardev.h"
#include "vm/tty.h"

#define CHARS 3
struct chars {
	struct tty *tty;
	struct chardev *serial, *console, *debug_console; /* tty's; NULL = no such device */
};

/* On failure nothing is left. The path of a pseudo-terminal becomes the config's `file` and is
 * logged: that is where its clients read it. */
MUST int chars_open(struct chars *s, struct vm_conf *c, struct err *e);
/* In place of opening: adds each reason why that would fail, and has streams in `none` that swallow what
 * they are told. There is nothing to be closed. */
void chars_rehearse(struct chars *s, struct chardev none[CHARS], struct vm_conf *c,
		    struct reasons *r);
void chars_close(struct chars *s);
