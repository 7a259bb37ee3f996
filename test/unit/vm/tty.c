/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams on pipes, files and a pseudo-terminal. Each test plays the program in a child whose stdin
 * and stdout are what the test says, and looks at it from outside; the child's exit status is 0 or
 * the line that failed. The loop runs in the child's own thread, turn by turn, but where waiting is
 * what is tested.
 */
#include "vm/tty.h"

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/bits.h"

#define KEPT_MAX MIB(1)
#define PIPE_MAX KIB(64)
#define SECOND_NS 1000000000ull

/* --- inside --- */

/* In the child: what fails ends it with the line's number, which fits into a status when cut to
 * 1..255. */
#define MUST_BE(x)                                                                                 \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "tty.c:%d: %s\n", __LINE__, #x);                           \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

struct inside {
	struct tty *t;
	struct chardev *c;
	struct loop *io;
	size_t room; /* input that the device takes */
	char got[70000];
	size_t len;
	uint32_t writable, resized;
	char *path;
};

static size_t on_input(void *arg, const uint8_t *data, size_t len)
{
	struct inside *s = arg;
	size_t n = min_u64(min_u64(len, s->room), sizeof(s->got) - 1 - s->len);

	memcpy(s->got + s->len, data, n);
	s->len += n;
	s->room -= n;
	return n;
}

static void on_writable(void *arg)
{
	((struct inside *)arg)->writable++;
}

static void on_resized(void *arg, uint16_t cols, uint16_t rows)
{
	struct inside *s = arg;

	MUST_BE(cols == 100 && rows == 40);
	s->resized++;
}

static void begin_patient(struct inside *s, enum console_mode mode, const char *file,
			  uint64_t patience_ns)
{
	const struct tty_args a = { .mode = mode, .file = file, .socket = file };
	struct err e = { 0 };

	memset(s, 0, sizeof(*s));
	signal(SIGPIPE, SIG_IGN);
	MUST_BE(!loop_new(&s->io, "io", &e));
	MUST_BE(!tty_new(&s->t, &e));
	tty_set_patience(s->t, patience_ns);
	MUST_BE(!tty_open(s->t, &s->c, &s->path, &a, &e));
	s->c->arg = s;
	s->c->input = on_input;
	s->c->writable = on_writable;
	s->c->resized = on_resized;
	s->room = sizeof(s->got);
	tty_attach(s->t, s->io);
}

static void begin(struct inside *s, enum console_mode mode, const char *file)
{
	begin_patient(s, mode, file, 10 * SECOND_NS);
}

static void end(struct inside *s)
{
	tty_detach(s->t);
	loop_free(s->io);
	tty_free(s->t);
	free(s->path);
}

static void turn(struct inside *s)
{
	loop_stop(s->io);
	loop_run(s->io);
}

/* Turns until want bytes came in or two seconds have passed. */
static void turn_until(struct inside *s, size_t want)
{
	uint64_t late = loop_now_ns() + 2 * SECOND_NS;

	while (s->len < want && loop_now_ns() < late) {
		turn(s);
		usleep(1000);
	}
	MUST_BE(s->len == want);
}

static size_t put(struct inside *s, const char *data, size_t len)
{
	return s->c->ops->write(s->c, (const uint8_t *)data, len);
}

/* --- outside --- */

struct outside {
	int to, from; /* pipes to its stdin and from its stdout; or both the terminal's other end */
	pid_t pid;
};

static void outside_pipes(struct outside *o, void (*play)(void))
{
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	o->pid = fork();
	if (!o->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close_range(3, ~0u, 0);
		play();
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	o->to = in[1];
	o->from = out[0];
}

/* The child leads a session on a terminal of its own. */
static void outside_terminal(struct outside *o, void (*play)(void))
{
	struct winsize w = { .ws_col = 80, .ws_row = 25 };

	o->pid = forkpty(&o->to, NULL, NULL, &w);
	if (!o->pid) {
		close_range(3, ~0u, 0);
		play();
		_exit(0);
	}
	assert_true(o->pid > 0);
	o->from = o->to;
}

static void outside_ends_well(struct outside *o)
{
	int status = -1;

	waitpid(o->pid, &status, 0);
	close(o->to);
	if (o->from != o->to)
		close(o->from);
	assert_int_equal(status, 0);
}

/* Reads until text has come; false after two seconds. */
static bool hears(struct outside *o, const char *text)
{
	char got[4096] = { 0 };
	size_t len = 0;
	struct pollfd p = { .fd = o->from, .events = POLLIN };

	while (!strstr(got, text) && poll(&p, 1, 2000) > 0 && len < sizeof(got) - 1) {
		ssize_t n = read(o->from, got + len, sizeof(got) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return strstr(got, text);
}

static bool is_raw(int fd)
{
	struct termios t;

	assert_int_equal(tcgetattr(fd, &t), 0);
	return !(t.c_lflag & ICANON);
}

/* Waits up to two seconds for the terminal to be raw or not. */
static bool becomes(int fd, bool raw)
{
	for (int i = 0; i < 2000 && is_raw(fd) != raw; i++)
		usleep(10000);
	return is_raw(fd) == raw;
}

/* --- files and nothing --- */

TEST(a_file_takes_all_and_begins_empty)
{
	struct inside s;
	char path[64], got[16] = { 0 };

	snprintf(path, sizeof(path), "/tmp/virga-tty-%d", getpid());
	for (int i = 0; i < 2; i++) {
		begin(&s, CONSOLE_FILE, path);
		assert_int_equal(put(&s, "hello\n", 6), 6);
		end(&s);
	}
	FILE *f = fopen(path, "r");

	assert_int_equal(fread(got, 1, sizeof(got), f), 6);
	assert_string_equal(got, "hello\n");
	fclose(f);
	unlink(path);
}

TEST(off_is_no_stream_and_null_takes_all)
{
	struct inside s;
	const struct tty_args off = { .mode = CONSOLE_OFF };
	struct chardev *c = (struct chardev *)&s;
	struct err e = { 0 };
	char *path;

	begin(&s, CONSOLE_NULL, NULL);
	assert_int_equal(put(&s, "hello", 5), 5);
	assert_int_equal(tty_open(s.t, &c, &path, &off, &e), 0);
	assert_null(c);
	end(&s);
}

TEST(what_is_not_built_or_not_there_is_refused_by_a_sentence)
{
	static const struct {
		enum console_mode mode;
		const char *file, *says;
	} rows[] = {
		{ CONSOLE_SOCKET, NULL, "socket=" },
		{ CONSOLE_SOCKET, "/nowhere/at/all", "/nowhere/at/all" },
		{ CONSOLE_FILE, NULL, "file=" },
		{ CONSOLE_FILE, "/nowhere/at/all", "/nowhere/at/all" },
	};
	struct tty *t;
	struct err none = { 0 };

	assert_int_equal(tty_new(&t, &none), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct tty_args a = { rows[i].mode, rows[i].file, rows[i].file };
		struct err e = { 0 };
		struct chardev *c;
		char line[256], *path;

		assert_int_equal(tty_open(t, &c, &path, &a, &e), -1);
		assert_non_null(strstr(err_line(&e, line, sizeof(line)), rows[i].says));
	}
	tty_free(t);
}

TEST(a_fifo_without_a_reader_does_not_hang_the_opening)
{
	struct inside s;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/virga-tty-%d", getpid());
	assert_int_equal(mkfifo(path, 0600), 0);
	begin(&s, CONSOLE_FILE, path);
	assert_int_equal(put(&s, "hello", 5), 5);
	end(&s);
	unlink(path);
}

/* --- pipes --- */

static void play_says_hello(void)
{
	struct inside s;

	begin(&s, CONSOLE_TTY, NULL);
	MUST_BE(s.c->cols == 0);
	MUST_BE(put(&s, "hello", 5) == 5);
	end(&s);
}

TEST(output_goes_to_a_pipe_at_once)
{
	struct outside o;

	outside_pipes(&o, play_says_hello);
	assert_true(hears(&o, "hello"));
	outside_ends_well(&o);
}

/* Numbers of eight bytes, so that order and loss can be seen. */
static void play_nobody_reads(void)
{
	struct inside s;
	uint64_t n = 0;
	size_t took;

	begin(&s, CONSOLE_TTY, NULL);
	for (;; n++) {
		took = put(&s, (const char *)&n, 8);
		if (took < 8)
			break;
	}
	MUST_BE(n * 8 + took >= KEPT_MAX);
	MUST_BE(n * 8 + took <= KEPT_MAX + PIPE_MAX);
	MUST_BE(put(&s, "x", 1) == 0);
	turn(&s);
	MUST_BE(s.writable == 0);
	kill(getpid(), SIGSTOP); /* the reader comes */
	while (!s.writable)
		turn(&s);
	end(&s); /* what is left goes out */
}

TEST(what_a_late_reader_gets_is_whole_and_in_order)
{
	struct outside o;
	uint64_t want = 0, got;
	int status;
	FILE *f;

	outside_pipes(&o, play_nobody_reads);
	waitpid(o.pid, &status, WUNTRACED);
	assert_true(WIFSTOPPED(status));
	kill(o.pid, SIGCONT);
	f = fdopen(dup(o.from), "r");
	while (fread(&got, 8, 1, f) == 1)
		assert_int_equal(got, want++);
	assert_true(want * 8 >= KEPT_MAX);
	fclose(f);
	outside_ends_well(&o);
}

static void play_nobody_ever_reads(void)
{
	struct inside s;
	char block[4096] = { 0 };
	uint64_t began = loop_now_ns();

	begin_patient(&s, CONSOLE_TTY, NULL, SECOND_NS / 5);
	while (put(&s, block, sizeof(block)) == sizeof(block))
		;
	while (!s.writable && loop_now_ns() - began < 2 * SECOND_NS)
		turn(&s);
	MUST_BE(s.writable);
	MUST_BE(put(&s, block, sizeof(block)) == sizeof(block)); /* dropped: the guest goes on */
	MUST_BE(loop_now_ns() - began < 2 * SECOND_NS);
	end(&s);
	MUST_BE(loop_now_ns() - began < 4 * SECOND_NS);
}

TEST(a_reader_that_never_reads_costs_bytes_and_not_the_guest)
{
	struct outside o;

	outside_pipes(&o, play_nobody_ever_reads);
	outside_ends_well(&o);
}

static void play_reader_is_gone(void)
{
	struct inside s;

	begin(&s, CONSOLE_TTY, NULL);
	turn_until(&s, 1); /* the outside says that it has closed */
	MUST_BE(put(&s, "hello", 5) == 5);
	MUST_BE(put(&s, "hello", 5) == 5);
	end(&s);
}

TEST(a_reader_that_is_gone_hurts_nobody)
{
	struct outside o;

	outside_pipes(&o, play_reader_is_gone);
	close(o.from);
	o.from = o.to;
	assert_int_equal(write(o.to, "x", 1), 1);
	outside_ends_well(&o);
}

static void play_takes_in_parts(void)
{
	struct inside s;

	begin(&s, CONSOLE_TTY, NULL);
	s.room = 4;
	turn_until(&s, 4);
	for (int i = 0; i < 5; i++)
		turn(&s);
	MUST_BE(s.len == 4);
	s.room = 3;
	s.c->ops->want_input(s.c, true);
	turn_until(&s, 7);
	s.c->ops->want_input(s.c, false);
	s.room = 100;
	for (int i = 0; i < 5; i++)
		turn(&s);
	MUST_BE(s.len == 7);
	s.c->ops->want_input(s.c, true);
	turn_until(&s, 10);
	MUST_BE(!strcmp(s.got, "0123456789"));
	for (int i = 0; i < 20; i++) /* the end of stdin is nothing to turn for */
		turn(&s);
	end(&s);
}

TEST(input_comes_when_the_device_has_room)
{
	struct outside o;

	outside_pipes(&o, play_takes_in_parts);
	assert_int_equal(write(o.to, "0123456789", 10), 10);
	close(o.to);
	o.to = o.from;
	outside_ends_well(&o);
}

static void play_next_machine(void)
{
	struct inside s;
	struct err e = { 0 };

	begin(&s, CONSOLE_TTY, NULL);
	turn_until(&s, 3);
	tty_detach(s.t);
	loop_free(s.io);
	MUST_BE(put(&s, "between", 7) == 7);
	MUST_BE(!loop_new(&s.io, "io", &e));
	tty_attach(s.t, s.io);
	turn_until(&s, 6);
	MUST_BE(!strcmp(s.got, "onetwo"));
	end(&s);
}

TEST(a_stream_goes_on_with_the_next_machine)
{
	struct outside o;

	outside_pipes(&o, play_next_machine);
	assert_int_equal(write(o.to, "one", 3), 3);
	assert_true(hears(&o, "between"));
	assert_int_equal(write(o.to, "two", 3), 3);
	outside_ends_well(&o);
}

static void play_file_and_null(void)
{
	struct inside s;
	char path[] = "/tmp/virga-tty-in-XXXXXX";
	char text[40000];
	int fd = mkstemp(path);

	unlink(path);
	memset(text, 'y', sizeof(text));
	MUST_BE(write(fd, text, sizeof(text)) == (ssize_t)sizeof(text));
	lseek(fd, 0, SEEK_SET);
	dup2(fd, 0);
	begin(&s, CONSOLE_TTY, NULL);
	turn_until(&s, sizeof(text));
	end(&s);
	fd = open("/dev/null", O_RDWR);
	dup2(fd, 0);
	begin(&s, CONSOLE_TTY, NULL);
	for (int i = 0; i < 5; i++)
		turn(&s);
	MUST_BE(s.len == 0);
	end(&s);
	close(0);
	begin(&s, CONSOLE_TTY, NULL);
	MUST_BE(put(&s, "deaf", 4) == 4);
	end(&s);
}

TEST(stdin_may_be_a_file_or_nothing_or_closed)
{
	struct outside o;

	outside_pipes(&o, play_file_and_null);
	outside_ends_well(&o);
}

static void play_stdout_is_a_file(void)
{
	struct inside s;
	char path[] = "/tmp/virga-tty-out-XXXXXX", got[32] = { 0 };
	int fd = mkstemp(path);

	unlink(path);
	MUST_BE(write(fd, "before ", 7) == 7);
	dup2(fd, 1);
	begin(&s, CONSOLE_TTY, NULL);
	MUST_BE(put(&s, "after", 5) == 5);
	end(&s);
	MUST_BE(pread(fd, got, sizeof(got), 0) == 12);
	MUST_BE(!strcmp(got, "before after"));
}

TEST(output_to_a_file_is_appended_where_stdout_stands)
{
	struct outside o;

	outside_pipes(&o, play_stdout_is_a_file);
	outside_ends_well(&o);
}

static void play_shared_flags(void)
{
	struct inside s;

	begin(&s, CONSOLE_TTY, NULL);
	MUST_BE(!(fcntl(0, F_GETFL) & O_NONBLOCK));
	MUST_BE(!(fcntl(1, F_GETFL) & O_NONBLOCK));
	end(&s);
}

TEST(the_flags_of_stdin_and_stdout_are_left_alone)
{
	struct outside o;

	outside_pipes(&o, play_shared_flags);
	outside_ends_well(&o);
	outside_terminal(&o, play_shared_flags);
	outside_ends_well(&o);
}

/* --- a terminal --- */

static void play_session(void)
{
	struct inside s;

	begin(&s, CONSOLE_TTY, NULL);
	MUST_BE(s.c->cols == 80 && s.c->rows == 25);
	put(&s, "ready", 5);
	turn_until(&s, 3);
	MUST_BE(s.got[0] == 3 && s.got[1] == '\r' && s.got[2] == 4); /* ^C, Enter, ^D as they are */
	end(&s);
	MUST_BE(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD); /* no child is left */
	sleep(1); /* the terminal must not go before the outside has looked */
}

TEST(the_terminal_is_raw_while_it_is_used_and_restored_at_the_end)
{
	struct outside o;
	int status;

	outside_terminal(&o, play_session);
	assert_true(hears(&o, "ready"));
	assert_true(is_raw(o.to));
	assert_int_equal(write(o.to, "\003\r\004", 3), 3);
	assert_true(becomes(o.to, false));
	waitpid(o.pid, &status, 0);
	assert_int_equal(status, 0);
	close(o.to);
}

static const int deadly[] = { SIGKILL, SIGSEGV, SIGABRT, SIGSYS, SIGBUS };

static void play_waits_for_death(void)
{
	struct inside s;

	signal(SIGHUP, SIG_DFL);
	/* the kernel's death, not a sanitizer's that would first tell of it at length */
	for (size_t i = 1; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		signal(deadly[i], SIG_DFL);
	begin(&s, CONSOLE_TTY, NULL);
	put(&s, "ready", 5);
	for (;;)
		pause();
}

/* A session leader's death would hang up the terminal, so a grandchild is the program. */
static void play_dies(void)
{
	pid_t pid = fork();
	char text[32];

	if (!pid)
		play_waits_for_death();
	snprintf(text, sizeof(text), "pid=%d.", pid);
	MUST_BE(write(1, text, strlen(text)) > 0);
	waitpid(pid, NULL, 0);
	pause();
}

static pid_t program_of(struct outside *o)
{
	char got[256] = { 0 };
	size_t len = 0;

	while (!strstr(got, "ready") || !strchr(got, '.'))
		len += (size_t)read(o->from, got + len, sizeof(got) - 1 - len);
	return atoi(strstr(got, "pid=") + 4);
}

TEST(the_terminal_is_restored_by_whatever_death)
{
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		struct outside o;
		pid_t program;

		outside_terminal(&o, play_dies);
		program = program_of(&o);
		assert_true(is_raw(o.to));
		kill(program, deadly[i]);
		if (!becomes(o.to, false))
			fail_msg("raw after signal %d", deadly[i]);
		kill(o.pid, SIGKILL);
		waitpid(o.pid, NULL, 0);
		close(o.to);
	}
}

TEST(modes_that_another_has_set_meanwhile_are_left_alone)
{
	struct outside o;
	struct termios t;
	pid_t program;

	outside_terminal(&o, play_dies);
	program = program_of(&o);
	assert_int_equal(tcgetattr(o.to, &t), 0);
	t.c_lflag |= ISIG; /* as a shell's line editor: not raw, not as before */
	assert_int_equal(tcsetattr(o.to, TCSANOW, &t), 0);
	kill(program, SIGKILL);
	usleep(300000);
	assert_true(is_raw(o.to));
	kill(o.pid, SIGKILL);
	waitpid(o.pid, NULL, 0);
	close(o.to);
}

static void play_window(void)
{
	struct inside s;

	begin(&s, CONSOLE_TTY, NULL);
	tty_winch(s.t);
	MUST_BE(!s.resized);
	put(&s, "ready", 5);
	turn_until(&s, 1);
	tty_winch(s.t);
	tty_winch(s.t);
	MUST_BE(s.resized == 1 && s.c->cols == 100 && s.c->rows == 40);
	end(&s);
}

TEST(a_window_that_changes_is_told_once)
{
	const struct winsize w = { .ws_col = 100, .ws_row = 40 };
	struct outside o;

	outside_terminal(&o, play_window);
	assert_true(hears(&o, "ready"));
	assert_int_equal(ioctl(o.to, TIOCSWINSZ, &w), 0);
	assert_int_equal(write(o.to, "x", 1), 1);
	outside_ends_well(&o);
}

static void play_two_streams(void)
{
	const struct tty_args a = { .mode = CONSOLE_TTY };
	struct inside s;
	struct chardev *second;
	struct err e = { 0 };

	begin(&s, CONSOLE_TTY, NULL);
	MUST_BE(!tty_open(s.t, &second, &s.path, &a, &e));
	put(&s, "one ", 4);
	MUST_BE(second->ops->write(second, (const uint8_t *)"two ready", 9) == 9);
	turn_until(&s, 1);
	end(&s);
}

TEST(two_streams_share_a_terminal_and_the_first_has_its_input)
{
	struct outside o;

	outside_terminal(&o, play_two_streams);
	assert_true(hears(&o, "one two ready"));
	assert_int_equal(write(o.to, "x", 1), 1);
	outside_ends_well(&o);
}

/* A job in the background: it must neither be stopped nor take the shell's terminal. */
static void play_background(void)
{
	struct inside s;

	MUST_BE(setpgid(0, 0) == 0);
	begin(&s, CONSOLE_TTY, NULL);
	put(&s, "ready", 5);
	for (int i = 0; i < 10; i++)
		turn(&s);
	turn_until(&s, 1);
	end(&s);
	_exit(0);
}

static void play_shell(void)
{
	pid_t pid;
	int status;

	signal(SIGTTOU, SIG_IGN);
	pid = fork();
	if (!pid) {
		signal(SIGTTOU, SIG_DFL);
		play_background();
	}
	usleep(300000);
	struct termios t;

	MUST_BE(!tcgetattr(0, &t) && t.c_lflag & ICANON);
	MUST_BE(!tcsetpgrp(0, pid)); /* fg */
	waitpid(pid, &status, 0);
	MUST_BE(status == 0);
	MUST_BE(!tcgetattr(0, &t) && t.c_lflag & ICANON);
}

TEST(in_the_background_the_terminal_is_left_alone_until_the_foreground)
{
	struct outside o;

	outside_terminal(&o, play_shell);
	assert_true(hears(&o, "ready"));
	assert_true(becomes(o.to, true));
	assert_int_equal(write(o.to, "x", 1), 1);
	outside_ends_well(&o);
}

static void play_not_controlling(void)
{
	struct inside s;

	if (fork())
		pause();
	setsid();
	begin(&s, CONSOLE_TTY, NULL);
	put(&s, "ready", 5);
	turn_until(&s, 1);
	end(&s);
	kill(getppid(), SIGKILL);
}

TEST(a_terminal_that_does_not_control_us_works_as_well)
{
	struct outside o;

	outside_terminal(&o, play_not_controlling);
	assert_true(hears(&o, "ready"));
	assert_true(becomes(o.to, true));
	assert_int_equal(write(o.to, "x", 1), 1);
	assert_true(becomes(o.to, false));
	waitpid(o.pid, NULL, 0);
	close(o.to);
}

/* --- a pseudo-terminal --- */

static int open_client(const struct inside *s)
{
	int fd = open(s->path, O_RDWR | O_NOCTTY | O_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

/* Turns until want bytes came to the client or two seconds have passed. */
static size_t client_reads(struct inside *s, int fd, char *to, size_t want)
{
	uint64_t late = loop_now_ns() + 2 * SECOND_NS;
	size_t len = 0;

	while (len < want && loop_now_ns() < late) {
		ssize_t n = read(fd, to + len, want - len);

		turn(s);
		if (n > 0)
			len += (size_t)n;
		else
			usleep(1000);
	}
	return len;
}

TEST(a_pty_keeps_what_was_said_for_who_opens_it)
{
	struct inside s;
	char got[64] = { 0 };

	begin(&s, CONSOLE_PTY, NULL);
	assert_int_equal(strncmp(s.path, "/dev/pts/", 9), 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(put(&s, "early\n", 6), 6);
		turn(&s);
		int fd = open_client(&s);

		assert_int_equal(client_reads(&s, fd, got, 6), 6);
		assert_string_equal(got, "early\n");
		assert_int_equal(write(fd, "\003\r\021", 3),
				 3); /* raw: ^C, Enter, XON as they are */
		s.len = 0;
		turn_until(&s, 3);
		assert_memory_equal(s.got, "\003\r\021", 3);
		close(fd);
		for (int i = 0; i < 5; i++)
			turn(&s);
	}
	end(&s);
}

TEST(a_pty_that_nobody_opens_keeps_the_newest_megabyte_and_holds_up_nobody)
{
	static uint64_t block[1024];
	struct inside s;
	uint64_t n = 0, began = loop_now_ns(), first;

	begin(&s, CONSOLE_PTY, NULL);
	for (int i = 0; i < 300; i++) {
		for (size_t k = 0; k < 1024; k++)
			block[k] = n++;
		assert_int_equal(put(&s, (char *)block, sizeof(block)), sizeof(block));
	}
	turn(&s);
	assert_true(loop_now_ns() - began < SECOND_NS);
	int fd = open_client(&s);

	first = n - KEPT_MAX / 8;
	for (size_t got = 0; got < KEPT_MAX; got += sizeof(block)) {
		assert_int_equal(client_reads(&s, fd, (char *)block, sizeof(block)), sizeof(block));
		for (size_t k = 0; k < 1024; k++)
			assert_int_equal(block[k], first++);
	}
	close(fd);
	end(&s);
	assert_true(loop_now_ns() - began < 5 * SECOND_NS);
}

TEST(input_left_in_a_pty_by_who_has_gone_is_not_lost)
{
	struct inside s;

	begin(&s, CONSOLE_PTY, NULL);
	int fd = open_client(&s);

	assert_int_equal(write(fd, "left", 4), 4);
	close(fd);
	turn_until(&s, 4);
	end(&s);
}

TEST(the_window_of_a_pty_is_told)
{
	const struct winsize w = { .ws_col = 100, .ws_row = 40 };
	struct inside s;

	begin(&s, CONSOLE_PTY, NULL);
	int fd = open_client(&s);

	assert_int_equal(ioctl(fd, TIOCSWINSZ, &w), 0);
	for (int i = 0; i < 1000 && !s.resized; i++) {
		turn(&s);
		usleep(1000);
	}
	assert_int_equal(s.resized, 1);
	close(fd);
	end(&s);
}

/* Last words, to a client whose coming was seen so many milliseconds before. */
static void say_bye(int seen_ms)
{
	struct inside s;
	char got[64] = { 0 };
	int status;

	begin(&s, CONSOLE_PTY, NULL);
	turn(&s);
	int fd = open_client(&s);
	pid_t pid = fork();

	if (!pid) {
		usleep(700000);
		_exit(read(fd, got, sizeof(got)) != 5 || strcmp(got, "bye.\n"));
	}
	close(fd);
	for (int i = 0; i < seen_ms; i++) {
		turn(&s);
		usleep(1000);
	}
	put(&s, "bye.\n", 5);
	end(&s);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

TEST(the_last_words_on_a_pty_are_read_before_it_goes)
{
	say_bye(300);
}

TEST(the_last_words_on_a_pty_reach_a_client_that_came_a_moment_before)
{
	say_bye(0);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_file_takes_all_and_begins_empty),
		T(off_is_no_stream_and_null_takes_all),
		T(what_is_not_built_or_not_there_is_refused_by_a_sentence),
		T(a_fifo_without_a_reader_does_not_hang_the_opening),
		T(output_goes_to_a_pipe_at_once),
		T(what_a_late_reader_gets_is_whole_and_in_order),
		T(a_reader_that_never_reads_costs_bytes_and_not_the_guest),
		T(a_reader_that_is_gone_hurts_nobody),
		T(input_comes_when_the_device_has_room),
		T(a_stream_goes_on_with_the_next_machine),
		T(stdin_may_be_a_file_or_nothing_or_closed),
		T(output_to_a_file_is_appended_where_stdout_stands),
		T(the_flags_of_stdin_and_stdout_are_left_alone),
		T(the_terminal_is_raw_while_it_is_used_and_restored_at_the_end),
		T(the_terminal_is_restored_by_whatever_death),
		T(modes_that_another_has_set_meanwhile_are_left_alone),
		T(a_window_that_changes_is_told_once),
		T(two_streams_share_a_terminal_and_the_first_has_its_input),
		T(a_terminal_that_does_not_control_us_works_as_well),
		T(in_the_background_the_terminal_is_left_alone_until_the_foreground),
		T(a_pty_keeps_what_was_said_for_who_opens_it),
		T(a_pty_that_nobody_opens_keeps_the_newest_megabyte_and_holds_up_nobody),
		T(input_left_in_a_pty_by_who_has_gone_is_not_lost),
		T(the_window_of_a_pty_is_told),
		T(the_last_words_on_a_pty_are_read_before_it_goes),
		T(the_last_words_on_a_pty_reach_a_client_that_came_a_moment_before),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
