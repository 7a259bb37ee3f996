/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A terminal that shows pages: on its other screen, without echo, back as it was however it ends (but
 * by SIGKILL). On what is no terminal pages follow each other as plain text. One thread, one
 * screen. ECMA-48, termios(3).
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <termios.h>

#include "base/err.h"

enum screen_mode { SCREEN_PLAIN, SCREEN_LIVE };

struct screen {
	bool live;	 /* standard output is a terminal, and taken */
	bool keys;	 /* standard input is one too */
	int signal_fd;	 /* signals that end it, or change its size */
	int ended_by;	 /* signal, or 0 */
	sigset_t before; /* signals that were blocked */
	struct termios was;
};

/* On a failure nothing is changed. */
MUST int screen_init(struct screen *s, enum screen_mode mode, struct err *e);
/* Puts the terminal back; one that a signal has ended gets that signal now. */
void screen_fini(struct screen *s);
/* Lines that do not fit are left out. False when nobody takes them any more. */
bool screen_show(struct screen *s, const char *page);
/* Waits so long, or until the window has another size. False when a key or a signal says that it is
 * enough. */
bool screen_wait(struct screen *s, unsigned int ms);
