/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal that the program was started in: raw while it is used, and put back however the
 * program ends, SIGKILL included, by a child process that does nothing but wait for that. The child
 * holds the terminal and one end of a pipe. It leaves the terminal alone when somebody else has
 * changed it meanwhile, as shells do. A program in the background leaves the terminal as it is, and
 * takes it over when it comes to the foreground. termios(3), POSIX.1-2017 §11 (job control).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

#include "base/err.h"

struct terminal {
	bool is_terminal; /* stdin is one */
	bool raw;	  /* we made it so */
	pid_t group;	  /* our process group */
	struct termios saved, ours;
	pid_t keeper;  /* the child, or -1 */
	int keeper_fd; /* our end of its pipe */
};

void terminal_init(struct terminal *t);
/* Control thread. Looks at fd, which is stdin; of a terminal the modes are remembered and the child
 * is started. Anything else is fine. */
MUST int terminal_take(struct terminal *t, int fd, struct err *e);
/* Are we whom the terminal belongs to now? True without a terminal. */
bool terminal_is_ours(const struct terminal *t, int fd);
/* Makes it raw if it is a terminal and is not raw yet. */
void terminal_raw(struct terminal *t, int fd);
/* Control thread: puts it back, ends the child. */
void terminal_fini(struct terminal *t);

/* Size of the window of the first of two descriptors that has one, else 0; the second may be -1. */
void terminal_window(int fd, int other, uint16_t *cols, uint16_t *rows);
