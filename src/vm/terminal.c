/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modes of the terminal and the child that keeps them. See terminal.h. The modes are set from the
 * io loop, everything else is the control thread's.
 */
#include "vm/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"

/* Is the terminal as we left it? Then nobody else has taken care of it. */
static bool still_ours(const struct terminal *t)
{
	struct termios now;

	return !tcgetattr(STDIN_FILENO, &now) && now.c_iflag == t->ours.c_iflag &&
	       now.c_oflag == t->ours.c_oflag && now.c_lflag == t->ours.c_lflag;
}

/* In the child: async-signal-safe calls only. It ends when the last writing end of the pipe is
 * closed, by whatever death. */
static void __attribute__((noreturn)) keeper_run(const struct terminal *t, int pipe_fd)
{
	struct err e = { 0 };
	sigset_t all;
	char byte;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "virga-tty");
	if (dup2(pipe_fd, STDOUT_FILENO) < 0)
		_exit(1);
	close_range(STDERR_FILENO, ~0u, 0);
	if (thread_confine("tty", &e))
		_exit(1);
	while (read(STDOUT_FILENO, &byte, 1) < 0 && errno == EINTR)
		;
	if (still_ours(t))
		tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	_exit(0);
}

static int keeper_start(struct terminal *t, struct err *e)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_os(e, ERR_IO, "make a pipe");
	t->keeper = fork();
	if (t->keeper == 0) {
		close(ends[1]);
		keeper_run(t, ends[0]);
	}
	close(ends[0]);
	if (t->keeper < 0) {
		close(ends[1]);
		return err_os(e, ERR_IO, "start the process that keeps the terminal's modes");
	}
	t->keeper_fd = ends[1];
	return 0;
}

static void keeper_end(struct terminal *t)
{
	fd_close(&t->keeper_fd);
	if (t->keeper > 0)
		while (waitpid(t->keeper, NULL, 0) < 0 && errno == EINTR)
			;
	t->keeper = -1;
}

/* SIGTTOU is held back so that a program in the background is not stopped on its way out. */
static void restore(struct terminal *t)
{
	sigset_t ttou, was;
	pid_t group;

	if (!t->raw)
		return;
	group = tcgetpgrp(STDIN_FILENO);
	if (group >= 0 && group != t->group && !still_ours(t))
		return;
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &was);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &t->saved))
		log_warn("the terminal's modes cannot be restored: %s", strerror(errno));
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	t->raw = false;
}

void terminal_init(struct terminal *t)
{
	*t = (struct terminal){ .keeper = -1, .keeper_fd = -1 };
}

int terminal_take(struct terminal *t, int fd, struct err *e)
{
	if (tcgetattr(fd, &t->saved) < 0)
		return 0;
	t->is_terminal = true;
	t->group = getpgrp();
	t->ours = t->saved;
	cfmakeraw(&t->ours);
	return keeper_start(t, e);
}

/* Background processes are neither given a terminal's input nor may they change its modes. A
 * terminal that does not control us knows no background. */
bool terminal_is_ours(const struct terminal *t, int fd)
{
	pid_t group = t->is_terminal ? tcgetpgrp(fd) : -1;

	return group < 0 || group == t->group;
}

void terminal_raw(struct terminal *t, int fd)
{
	if (t->is_terminal && !t->raw)
		t->raw = !tcsetattr(fd, TCSANOW, &t->ours);
}

void terminal_fini(struct terminal *t)
{
	restore(t);
	keeper_end(t);
}

void terminal_window(int fd, int other, uint16_t *cols, uint16_t *rows)
{
	struct winsize w = { 0 };

	if (ioctl(fd, TIOCGWINSZ, &w) < 0 && other >= 0)
		ioctl(other, TIOCGWINSZ, &w);
	*cols = w.ws_col;
	*rows = w.ws_row;
}
