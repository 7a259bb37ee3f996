/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal's two screens and its signals, which come as a descriptor. See screen.h.
 */
#include "remote/screen.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/str.h"

#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME "\033[H"
#define LINE_END "\033[K\r\n" /* what the line before had longer is wiped out */
#define WIPE "\033[J"
#define ROWS 24
#define COLUMNS 80
#define QUIT 'q'

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH };

static bool say(const char *text)
{
	struct err e = { 0 };

	return fd_write_all(STDOUT_FILENO, text, strlen(text), &e) == 0;
}

static void enter(struct screen *s)
{
	struct termios raw = s->was;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	if (s->keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	say(ENTER);
}

static void leave(struct screen *s)
{
	say(LEAVE);
	if (s->keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &s->was);
}

int screen_init(struct screen *s, enum screen_mode mode, struct err *e)
{
	sigset_t mine;

	*s = (struct screen){ .signal_fd = -1 };
	s->live = mode == SCREEN_LIVE && isatty(STDOUT_FILENO);
	s->keys = s->live && tcgetattr(STDIN_FILENO, &s->was) == 0;
	sigemptyset(&mine);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&mine, signals[i]);
	signal(SIGPIPE, SIG_IGN);
	if (!s->live)
		return 0;
	if (sigprocmask(SIG_BLOCK, &mine, &s->before) < 0)
		return err_os(e, ERR_IO, "block signals");
	s->signal_fd = signalfd(-1, &mine, SFD_CLOEXEC);
	if (s->signal_fd < 0) {
		sigprocmask(SIG_SETMASK, &s->before, NULL);
		return err_os(e, ERR_IO, "make a signal descriptor");
	}
	enter(s);
	return 0;
}

void screen_fini(struct screen *s)
{
	if (!s->live)
		return;
	leave(s);
	fd_close(&s->signal_fd);
	if (s->ended_by)
		raise(s->ended_by); /* blocked until the next line */
	sigprocmask(SIG_SETMASK, &s->before, NULL);
}

static struct winsize size_now(void)
{
	struct winsize w = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		w = (struct winsize){ .ws_row = ROWS, .ws_col = COLUMNS };
	return w;
}

bool screen_show(struct screen *s, const char *page)
{
	struct winsize w = size_now();
	AUTO_STR struct str out = { 0 };

	if (!s->live)
		return say(page);
	str_puts(&out, HOME);
	/* the last row stays empty, so that nothing scrolls */
	for (int row = 1; row < w.ws_row && *page; row++) {
		size_t n = strcspn(page, "\n");

		str_putn(&out, page, n < w.ws_col ? n : w.ws_col);
		str_puts(&out, LINE_END);
		page += n + (page[n] == '\n');
	}
	str_puts(&out, WIPE);
	return say(str_text(&out));
}

/* False when it is enough. */
static bool take_signal(struct screen *s)
{
	struct signalfd_siginfo i;

	if (read(s->signal_fd, &i, sizeof(i)) != (ssize_t)sizeof(i) || i.ssi_signo == SIGWINCH)
		return true;
	if (i.ssi_signo != SIGTSTP) {
		s->ended_by = (int)i.ssi_signo;
		return false;
	}
	leave(s);
	raise(SIGSTOP); /* until somebody continues us */
	enter(s);
	return true;
}

static bool take_keys(void)
{
	char keys[32];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	return n > 0 && !memchr(keys, QUIT, (size_t)n);
}

bool screen_wait(struct screen *s, unsigned int ms)
{
	uint64_t end = loop_now_ns() + ms * 1000000ull, now;
	struct pollfd p[] = { { .fd = s->live ? s->signal_fd : -1, .events = POLLIN },
			      { .fd = s->keys ? STDIN_FILENO : -1, .events = POLLIN } };

	while ((now = loop_now_ns()) < end) {
		int n = poll(p, 2, (int)((end - now + 999999) / 1000000));

		if (n > 0 && p[0].revents)
			return take_signal(s);
		if (n > 0 && p[1].revents && !take_keys())
			return false;
	}
	return true;
}
