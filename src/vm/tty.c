/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams behind serial port and consoles. See tty.h for who waits for whom. Output comes from
 * vCPU threads and the io loop and is guarded by each stream's lock; input and everything that
 * waits belong to the io loop.
 *
 * Descriptors: stdin and stdout are shared with whoever started us, so they are never made
 * non-blocking. Terminals and pipes are opened anew through /proc, which gives flags of our own;
 * where that is not to be had, poll(2) is asked before each small write. Specification: termios(3),
 * POSIX.1-2017 §11 (job control).
 */
#include "vm/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

#define IN_BYTES 4096
#define OUT_FIRST 4096
#define OUT_MAX (1u << 20)
#define SMALL_WRITE 256 /* what a terminal or pipe that polls writable takes without blocking */
#define SECOND_NS 1000000000ull
#define PATIENCE_NS (10 * SECOND_NS)
#define FAREWELL_MS 1000
#define IN_TURNS 16 /* reads of a file in one turn of the loop */

/* What is on its way out; a ring that grows. Under the stream's lock, but for the watch and the
 * timer. */
struct out {
	int fd;	    /* -1: everything is taken and forgotten */
	bool polls; /* fd may block: ask first */
	bool dead;  /* the other side is gone for good */
	bool cut;   /* a write was cut short: somebody waits */
	uint8_t *ring;
	size_t room, at, len;
	uint64_t stuck_ns; /* since when nothing is taken; 0 = it is */
	uint64_t dropped;
	struct loop_msg msg;
	struct loop_fd watch;
	struct loop_timer timer;
};

/* What came in; the io loop's, but for the two flags. */
struct in {
	int fd;	   /* -1: none */
	bool off;  /* the device wants nothing; under the lock */
	bool full; /* the device took less than it was given; under the lock */
	bool ended;
	bool ready_always; /* a file: epoll does not take it */
	uint8_t *buf;
	size_t at, len;
	struct loop_msg msg;
	struct loop_fd watch;
	struct loop_timer timer; /* until we are in the foreground */
};

struct line {
	struct chardev c; /* first member */
	struct tty *tty;
	struct link link;
	pthread_mutex_t lock;
	struct loop *loop; /* while attached; under the lock */
	struct out out;
	struct in in;
	bool window; /* has a terminal's size */
};

struct tty {
	struct link lines;
	bool in_taken;	      /* a line has stdin */
	bool is_terminal;     /* stdin is one */
	bool raw;	      /* we made it so */
	uint64_t patience_ns; /* with a reader that stands still */
	pid_t group;	      /* our process group */
	struct termios saved, ours;
	pid_t keeper;  /* the child, or -1 */
	int keeper_fd; /* our end of its pipe */
};

static struct line *line_of(struct chardev *c)
{
	return container_of(c, struct line, c);
}

/* --- output --- */

static bool would_block(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* Bytes taken, 0 when none can be taken now, -1 when the other side is gone. */
static ssize_t out_try(struct out *o, const uint8_t *data, size_t len)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };
	ssize_t n;

	if (o->polls) {
		if (poll(&p, 1, 0) <= 0)
			return 0;
		len = min_u64(len, SMALL_WRITE);
	}
	n = write(o->fd, data, len);
	if (n >= 0)
		return n;
	if (would_block(errno))
		return 0;
	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
		log_guest("console output: %s, %zu bytes are lost", strerror(errno), len);
		return (ssize_t)len;
	}
	return -1;
}

/* Writes until all is gone or nothing is taken; the bytes gone. Keeps account of being stuck. */
static size_t out_write(struct out *o, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len && !o->dead) {
		ssize_t n = out_try(o, data + done, len - done);

		if (n < 0) {
			log_debug("console output ends: %s", strerror(errno));
			o->dead = true;
		} else if (n == 0) {
			if (!o->stuck_ns)
				o->stuck_ns = loop_now_ns();
			return done;
		} else {
			done += (size_t)n;
			o->stuck_ns = 0;
		}
	}
	return len;
}

/* The ring's bytes into a larger one, in order. */
static void out_grow(struct out *o, size_t need)
{
	size_t room = o->room ? o->room : OUT_FIRST, run;
	uint8_t *ring;

	while (room < need)
		room *= 2;
	if (room == o->room)
		return;
	ring = mem_new(room);
	run = min_u64(o->len, o->room - o->at);
	if (o->len) {
		memcpy(ring, o->ring + o->at, run);
		memcpy(ring + run, o->ring, o->len - run);
	}
	free(o->ring);
	o->ring = ring;
	o->room = room;
	o->at = 0;
}

/* Keeps what fits; the bytes kept. */
static size_t out_keep(struct out *o, const uint8_t *data, size_t len)
{
	size_t n = min_u64(len, OUT_MAX - o->len), end, run;

	if (!n)
		return 0;
	out_grow(o, o->len + n);
	end = (o->at + o->len) % o->room;
	run = min_u64(n, o->room - end);
	memcpy(o->ring + end, data, run);
	memcpy(o->ring, data + run, n - run);
	o->len += n;
	return n;
}

/* Writes what was kept; true when nothing is left. */
static bool out_flush(struct out *o)
{
	while (o->len) {
		size_t run = min_u64(o->len, o->room - o->at);
		size_t n = out_write(o, o->ring + o->at, run);

		o->at = (o->at + n) % o->room;
		o->len -= n;
		if (n < run)
			return false;
	}
	free(o->ring);
	o->ring = NULL;
	o->room = o->at = 0;
	return true;
}

/* Has the other side stood still for too long? */
static bool out_given_up(const struct line *l, uint64_t now)
{
	return l->out.stuck_ns && now - l->out.stuck_ns >= l->tty->patience_ns;
}

static void out_turn(void *arg);

static void out_ready(void *arg, uint32_t events)
{
	(void)events;
	out_turn(arg);
}

/* Waits for room by epoll (what epoll does not take is looked at ten times a second), and for the
 * time to give up. */
static void out_wait(struct line *l)
{
	struct out *o = &l->out;
	uint64_t now = loop_now_ns(), due = o->stuck_ns + l->tty->patience_ns;
	struct err e = { 0 };

	if (!o->watch.loop && loop_watch(l->loop, &o->watch, o->fd, EPOLLOUT, out_ready, l, &e))
		due = now + SECOND_NS / 10;
	if (due > now)
		loop_timer_set(l->loop, &o->timer, due, out_turn, l);
}

/* Io loop: takes up what is kept, and tells a device that waits. */
static void out_turn(void *arg)
{
	struct line *l = arg;
	struct out *o = &l->out;
	bool tell;

	pthread_mutex_lock(&l->lock);
	if (!l->loop) {
		pthread_mutex_unlock(&l->lock);
		return;
	}
	if (out_flush(o)) {
		loop_unwatch(&o->watch);
		loop_timer_stop(&o->timer);
		if (o->dropped)
			log_warn("console output: nobody read for a while, %llu bytes are lost",
				 (unsigned long long)o->dropped);
		o->dropped = 0;
	} else {
		out_wait(l);
	}
	tell = o->cut && (o->len <= OUT_MAX / 2 || out_given_up(l, loop_now_ns()));
	if (tell)
		o->cut = false;
	pthread_mutex_unlock(&l->lock);
	if (tell && l->c.writable)
		l->c.writable(l->c.arg);
}

static size_t line_write(struct chardev *c, const uint8_t *data, size_t len)
{
	struct line *l = line_of(c);
	struct out *o = &l->out;
	size_t done = 0;

	if (o->fd < 0)
		return len;
	pthread_mutex_lock(&l->lock);
	if (!o->len)
		done = out_write(o, data, len);
	if (o->dead)
		done = len;
	if (done < len) {
		done += out_keep(o, data + done, len - done);
		if (l->loop)
			loop_post(l->loop, &o->msg, out_turn, l);
	}
	if (done < len && out_given_up(l, loop_now_ns())) {
		o->dropped += len - done;
		done = len;
	}
	o->cut |= done < len;
	pthread_mutex_unlock(&l->lock);
	return done;
}

/* The last second: what is kept goes out or is lost. */
static void out_fini(struct out *o)
{
	uint64_t end_ns = loop_now_ns() + FAREWELL_MS * 1000000ull, now;

	while (o->fd >= 0 && !out_flush(o) && (now = loop_now_ns()) < end_ns) {
		struct pollfd p = { .fd = o->fd, .events = POLLOUT };

		poll(&p, 1, (int)((end_ns - now) / 1000000) + 1);
	}
	if (o->len + o->dropped)
		log_warn("console output: nobody reads, %llu bytes are lost",
			 (unsigned long long)(o->len + o->dropped));
	free(o->ring);
	fd_close(&o->fd);
}

/* --- input; io loop --- */

static void in_turn(void *arg);

/* Gives the device what was read; true when nothing is left and it wants more. The flag is set
 * before the call, because the device may say from another thread, meanwhile, that it has room. */
static bool in_deliver(struct line *l)
{
	struct in *in = &l->in;

	while (in->at < in->len) {
		size_t left = in->len - in->at, n;
		bool wanted;

		pthread_mutex_lock(&l->lock);
		wanted = !in->off && !in->full && l->c.input;
		in->full |= wanted;
		pthread_mutex_unlock(&l->lock);
		if (!wanted)
			return false;
		n = min_u64(l->c.input(l->c.arg, in->buf + in->at, left), left);
		in->at += n;
		if (n < left)
			return false;
		pthread_mutex_lock(&l->lock);
		in->full = false;
		pthread_mutex_unlock(&l->lock);
	}
	pthread_mutex_lock(&l->lock);
	bool more = !in->off && !in->full && l->c.input;
	pthread_mutex_unlock(&l->lock);
	return more;
}

/* Background processes are neither given a terminal's input nor may they change its modes. A
 * terminal that does not control us knows no background. */
static bool in_foreground(const struct line *l)
{
	pid_t group = l->tty->is_terminal ? tcgetpgrp(l->in.fd) : -1;

	return group < 0 || group == l->tty->group;
}

static void in_wait_foreground(struct line *l)
{
	loop_unwatch(&l->in.watch);
	loop_timer_set(l->loop, &l->in.timer, loop_now_ns() + SECOND_NS, in_turn, l);
}

/* Reads once; false when there is nothing to be had now. */
static bool in_read(struct line *l)
{
	struct in *in = &l->in;
	ssize_t n = read(in->fd, in->buf, IN_BYTES);

	if (n > 0) {
		in->at = 0;
		in->len = (size_t)n;
		return true;
	}
	if (n < 0 && would_block(errno))
		return false;
	if (n < 0 && errno == EIO && !in_foreground(l)) {
		in_wait_foreground(l);
		return false;
	}
	in->ended = true;
	loop_unwatch(&in->watch);
	return false;
}

static void in_ready(void *arg, uint32_t events)
{
	struct line *l = arg;

	(void)events;
	if (in_read(l))
		in_turn(l);
}

static void raw_set(struct tty *t, int fd)
{
	if (t->is_terminal && !t->raw)
		t->raw = !tcsetattr(fd, TCSANOW, &t->ours);
}

/* A file is read here, a few pieces a turn. */
static void in_read_file(struct line *l)
{
	for (int i = 0; i < IN_TURNS; i++)
		if (!in_read(l) || !in_deliver(l))
			return;
	loop_post(l->loop, &l->in.msg, in_turn, l);
}

/* Brings input to where it should be: the rest delivered, the descriptor watched or not. */
static void in_turn(void *arg)
{
	struct line *l = arg;
	struct in *in = &l->in;
	struct err e = { 0 };

	if (!l->loop)
		return;
	if (!in_deliver(l) || in->ended) {
		loop_unwatch(&in->watch);
		return;
	}
	if (!in_foreground(l)) {
		in_wait_foreground(l);
		return;
	}
	raw_set(l->tty, in->fd);
	if (in->ready_always) {
		in_read_file(l);
	} else if (!in->watch.loop &&
		   loop_watch(l->loop, &in->watch, in->fd, EPOLLIN, in_ready, l, &e)) {
		in->ready_always = true;
		loop_post(l->loop, &in->msg, in_turn, l);
	}
}

static void line_want_input(struct chardev *c, bool on)
{
	struct line *l = line_of(c);

	if (l->in.fd < 0)
		return;
	pthread_mutex_lock(&l->lock);
	l->in.off = !on;
	if (on)
		l->in.full = false;
	if (on && l->loop)
		loop_post(l->loop, &l->in.msg, in_turn, l);
	pthread_mutex_unlock(&l->lock);
}

static const struct chardev_ops line_ops = { .write = line_write, .want_input = line_want_input };

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

/* Size of the terminal's window, 0 when there is none. */
static void window_ask(const struct line *l, uint16_t *cols, uint16_t *rows)
{
	struct winsize w = { 0 };

	if (ioctl(l->out.fd, TIOCGWINSZ, &w) < 0 && l->in.fd >= 0)
		ioctl(l->in.fd, TIOCGWINSZ, &w);
	*cols = w.ws_col;
	*rows = w.ws_row;
}

/* --- the child that puts the terminal back --- */

/* Is the terminal as we left it? Then nobody else has taken care of it. */
static bool still_ours(const struct tty *t)
{
	struct termios now;

	return !tcgetattr(STDIN_FILENO, &now) && now.c_iflag == t->ours.c_iflag &&
	       now.c_oflag == t->ours.c_oflag && now.c_lflag == t->ours.c_lflag;
}

/* In the child: async-signal-safe calls only. It ends when the last writing end of the pipe is
 * closed, by whatever death. */
static void __attribute__((noreturn)) keeper_run(const struct tty *t, int pipe_fd)
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

static int keeper_start(struct tty *t, struct err *e)
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

static void keeper_end(struct tty *t)
{
	fd_close(&t->keeper_fd);
	if (t->keeper > 0)
		while (waitpid(t->keeper, NULL, 0) < 0 && errno == EINTR)
			;
	t->keeper = -1;
}

/* --- opening --- */

static int terminal_take(struct tty *t, struct line *l, struct err *e)
{
	bool blocks;

	l->in.fd = own_fd(STDIN_FILENO, O_RDONLY, &blocks, e);
	if (l->in.fd < 0)
		return -1;
	l->in.buf = mem_new(IN_BYTES);
	t->in_taken = true;
	if (tcgetattr(l->in.fd, &t->saved) < 0)
		return 0;
	t->is_terminal = true;
	t->group = getpgrp();
	t->ours = t->saved;
	cfmakeraw(&t->ours);
	return keeper_start(t, e);
}

static int open_tty(struct tty *t, struct line *l, struct err *e)
{
	bool no_stdin = fcntl(STDIN_FILENO, F_GETFD) < 0;

	l->out.fd = own_fd(STDOUT_FILENO, O_WRONLY, &l->out.polls, e);
	if (l->out.fd < 0)
		return -1;
	if (!t->in_taken && !no_stdin && terminal_take(t, l, e))
		return -1;
	window_ask(l, &l->c.cols, &l->c.rows);
	l->window = true;
	return 0;
}

static int line_open(struct tty *t, struct line *l, enum console_mode mode, const char *file,
		     struct err *e)
{
	switch (mode) {
	case CONSOLE_NULL:
		return 0;
	case CONSOLE_TTY:
		return open_tty(t, l, e);
	case CONSOLE_FILE:
		if (!file)
			return err_set(e, ERR_BAD, "mode file needs the name of one: file=<path>");
		l->out.fd = file_open(file, e);
		return l->out.fd < 0 ? -1 : 0;
	default:
		return err_set(e, ERR_UNBUILT, "not in this build: consoles on a pty or socket");
	}
}

static void line_free(struct line *l)
{
	out_fini(&l->out);
	fd_close(&l->in.fd);
	free(l->in.buf);
	pthread_mutex_destroy(&l->lock);
	list_drop(&l->link);
	free(l);
}

int tty_open(struct tty *t, struct chardev **out, enum console_mode mode, const char *file,
	     struct err *e)
{
	struct line *l;

	*out = NULL;
	if (mode == CONSOLE_OFF)
		return 0;
	l = NEW(struct line);
	l->c.ops = &line_ops;
	l->tty = t;
	l->out.fd = l->in.fd = -1;
	pthread_mutex_init(&l->lock, NULL);
	list_add_tail(&t->lines, &l->link);
	if (line_open(t, l, mode, file, e)) {
		line_free(l);
		return -1;
	}
	*out = &l->c;
	return 0;
}

/* --- attaching --- */

struct attaching {
	struct line *l;
	struct loop *io;
};

static void line_attach(void *arg)
{
	struct attaching *a = arg;
	struct line *l = a->l;

	pthread_mutex_lock(&l->lock);
	l->loop = a->io;
	l->in.full = l->in.off = false;
	pthread_mutex_unlock(&l->lock);
	if (l->out.fd >= 0)
		out_turn(l);
	if (l->in.fd >= 0)
		in_turn(l);
}

/* After this nothing is posted any more, and what is on its way finds no loop. */
static void line_detach(void *arg)
{
	struct line *l = arg;

	pthread_mutex_lock(&l->lock);
	loop_unwatch(&l->out.watch);
	loop_timer_stop(&l->out.timer);
	loop_unwatch(&l->in.watch);
	loop_timer_stop(&l->in.timer);
	l->loop = NULL;
	pthread_mutex_unlock(&l->lock);
}

void tty_attach(struct tty *t, struct loop *io)
{
	list_each (at, &t->lines) {
		struct attaching a = { .l = container_of(at, struct line, link), .io = io };

		loop_call(io, line_attach, &a);
	}
}

void tty_detach(struct tty *t)
{
	list_each (at, &t->lines) {
		struct line *l = container_of(at, struct line, link);

		if (l->loop)
			loop_call(l->loop, line_detach, l);
	}
}

void tty_winch(struct tty *t)
{
	list_each (at, &t->lines) {
		struct line *l = container_of(at, struct line, link);
		uint16_t cols, rows;

		if (!l->window)
			continue;
		window_ask(l, &cols, &rows);
		if (cols == l->c.cols && rows == l->c.rows)
			continue;
		l->c.cols = cols;
		l->c.rows = rows;
		if (l->c.resized)
			l->c.resized(l->c.arg, cols, rows);
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
	list_init(&t->lines);
	t->patience_ns = PATIENCE_NS;
	t->keeper = -1;
	t->keeper_fd = -1;
	*out = t;
	return 0;
}

/* SIGTTOU is held back so that a program in the background is not stopped on its way out. */
static void terminal_restore(struct tty *t)
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

void tty_free(struct tty *t)
{
	if (!t)
		return;
	tty_detach(t);
	list_each (at, &t->lines)
		line_free(container_of(at, struct line, link));
	terminal_restore(t);
	keeper_end(t);
	free(t);
}
