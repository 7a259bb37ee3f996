/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which stream a mode is, and all of them together. See tty.h; the streams themselves are vm/line's
 * and vm/sock's. Control thread.
 *
 * Descriptors: stdin and stdout are shared with whoever started us, so they are never made
 * non-blocking. Terminals and pipes are opened anew through /proc, which gives flags of our own;
 * where that is not to be had, poll(2) is asked before each small write.
 */
#include "vm/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/listen.h"
#include "base/mem.h"
#include "vm/line.h"
#include "vm/outlet.h"
#include "vm/pty.h"
#include "vm/sock.h"
#include "vm/terminal.h"

struct tty {
	struct link streams;
	bool in_taken; /* a stream has stdin */
	uint64_t patience_ns;
	struct terminal terminal;
};

/* --- descriptors --- */

/* A description of our own of stdin or stdout, non-blocking if that can be; *blocks tells. */
static int own_fd(int fd, int way, bool *blocks, struct err *e)
{
	char path[32];
	struct stat s;
	int own;

	if (fstat(fd, &s) < 0)
		return err_os(e, ERR_IO, "look at %s", fd ? "stdout" : "stdin");
	*blocks = S_ISCHR(s.st_mode) || S_ISFIFO(s.st_mode) || S_ISSOCK(s.st_mode);
	if (S_ISCHR(s.st_mode) || S_ISFIFO(s.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, way | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0) {
			*blocks = false;
			return own;
		}
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return own < 0 ? err_os(e, ERR_IO, "duplicate %s", fd ? "stdout" : "stdin") : own;
}

/* A FIFO without a reader is opened both ways, so that the bytes wait in it for one. */
static int file_open(const char *path, struct err *e)
{
	const int flags = O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY;
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0666);

	if (fd < 0 && errno == ENXIO)
		fd = open(path, O_RDWR | O_CLOEXEC | flags, 0666);
	return fd < 0 ? err_os(e, ERR_IO, "open %s", path) : fd;
}

/* --- opening --- */

static int take_stdin(struct tty *t, struct line_args *l, struct err *e)
{
	bool blocks;

	l->in = own_fd(STDIN_FILENO, O_RDONLY, &blocks, e);
	if (l->in < 0)
		return -1;
	l->terminal = &t->terminal;
	t->in_taken = true;
	return terminal_take(&t->terminal, l->in, e);
}

static int open_tty(struct tty *t, struct line_args *l, struct err *e)
{
	bool no_stdin = fcntl(STDIN_FILENO, F_GETFD) < 0;

	l->out = own_fd(STDOUT_FILENO, O_WRONLY, &l->out_blocks, e);
	if (l->out < 0)
		return -1;
	l->has_window = true;
	return t->in_taken || no_stdin ? 0 : take_stdin(t, l, e);
}

static int open_pty(char **path, struct line_args *l, struct err *e)
{
	if (pty_open(&l->out, path, e) < 0)
		return -1;
	l->is_pty = true;
	l->in = fcntl(l->out, F_DUPFD_CLOEXEC, 3);
	if (l->in >= 0)
		return 0;
	free(take(path));
	return err_os(e, ERR_IO, "duplicate a pseudo-terminal");
}

static int open_line(struct tty *t, struct outlet **out, char **path, const struct tty_args *a,
		     struct err *e)
{
	struct line_args l = { .out = -1, .in = -1, .patience_ns = t->patience_ns };
	int r = 0;

	if (a->mode == CONSOLE_TTY)
		r = open_tty(t, &l, e);
	else if (a->mode == CONSOLE_PTY)
		r = open_pty(path, &l, e);
	else if (a->mode == CONSOLE_FILE)
		r = l.out = file_open(a->file, e);
	if (r < 0) {
		fd_close(&l.out);
		fd_close(&l.in);
		return -1;
	}
	*out = line_new(&l);
	return 0;
}

static int judge_args(const struct tty_args *a, struct err *e)
{
	if (a->mode == CONSOLE_FILE && !a->file)
		return err_set(e, ERR_BAD, "mode file needs the name of one: file=<path>");
	if (a->mode == CONSOLE_SOCKET && !a->socket)
		return err_set(e, ERR_BAD, "mode socket needs the path of one: socket=<path>");
	return 0;
}

int tty_open(struct tty *t, struct chardev **out, char **path, const struct tty_args *a,
	     struct err *e)
{
	struct outlet *s;
	int r;

	*out = NULL;
	*path = NULL;
	if (a->mode == CONSOLE_OFF)
		return 0;
	if (judge_args(a, e) < 0)
		return -1;
	r = a->mode == CONSOLE_SOCKET ? sock_new(&s, a->socket, e) : open_line(t, &s, path, a, e);
	if (r < 0)
		return -1;
	list_add_tail(&t->streams, &s->link);
	*out = &s->c;
	return 0;
}

/* One that is there is written to, and else it is made. */
static int judge_file(const char *path, struct err *e)
{
	AUTO_FREE char *dir = mem_str(path);
	char *slash = strrchr(dir, '/');
	struct stat st;

	if (slash)
		slash[slash == dir] = '\0';
	if (stat(path, &st) == 0) {
		errno = EISDIR;
		if (!S_ISDIR(st.st_mode) && access(path, W_OK) == 0)
			return 0;
	} else if (errno == ENOENT && access(slash ? dir : ".", W_OK) == 0) {
		return 0;
	}
	return err_os(e, ERR_IO, "open %s", path);
}

int tty_judge(const struct tty_args *a, struct err *e)
{
	if (judge_args(a, e) < 0)
		return -1;
	if (a->mode == CONSOLE_SOCKET)
		return listener_judge(a->socket, e);
	if (a->mode == CONSOLE_FILE)
		return judge_file(a->file, e);
	if (a->mode == CONSOLE_PTY && access("/dev/ptmx", R_OK | W_OK) < 0)
		return err_os(e, ERR_IO, "open /dev/ptmx");
	if (a->mode == CONSOLE_TTY && fcntl(STDOUT_FILENO, F_GETFD) < 0)
		return err_os(e, ERR_IO, "look at stdout");
	return 0;
}

/* --- all of them --- */

#define each_outlet(s, t)                                                                          \
	list_each (at, &(t)->streams)                                                              \
		for (struct outlet *s = container_of(at, struct outlet, link); s; s = NULL)

void tty_attach(struct tty *t, struct loop *io)
{
	each_outlet(s, t) outlet_attach(s, io);
}

void tty_detach(struct tty *t)
{
	each_outlet(s, t) outlet_detach(s);
}

void tty_winch(struct tty *t)
{
	each_outlet(s, t)
	{
		if (s->ops->winch)
			s->ops->winch(s);
	}
}

void tty_set_patience(struct tty *t, uint64_t ns)
{
	t->patience_ns = ns;
}

int tty_new(struct tty **out, struct err *e)
{
	struct tty *t = NEW(struct tty);

	(void)e;
	list_init(&t->streams);
	t->patience_ns = OUTLET_PATIENCE_NS;
	terminal_init(&t->terminal);
	*out = t;
	return 0;
}

void tty_free(struct tty *t)
{
	if (!t)
		return;
	tty_detach(t);
	list_each (at, &t->streams) {
		struct outlet *s = container_of(at, struct outlet, link);

		list_drop(at);
		s->ops->free(s);
	}
	terminal_fini(&t->terminal);
	free(t);
}
