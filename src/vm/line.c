/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams on descriptors. See line.h. Output comes from vCPU threads and the io loop and is guarded
 * by the stream's lock; input and everything that waits belong to the io loop.
 */
#include "vm/line.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "vm/backlog.h"
#include "vm/pty.h"

#define SMALL_WRITE 256 /* what a terminal or pipe that polls writable takes without blocking */
#define SECOND_NS 1000000000ull
#define LOOK_NS (SECOND_NS / 5) /* for a pseudo-terminal's client and window */
#define IN_TURNS 16		/* reads of a file in one turn of the loop */

/* What is on its way out. Under the stream's lock, but for the watch and the timer. */
struct out {
	int fd;
	bool blocks;
	bool dead; /* the other side is gone for good */
	bool cut;  /* a write was cut short: somebody waits */
	struct backlog kept;
	uint64_t stuck_ns; /* since when nothing is taken; 0 = it is */
	uint64_t lost;
	struct loop_msg msg;
	struct loop_fd watch;
	struct loop_timer timer;
};

/* Where input comes from; the io loop's. */
struct in {
	int fd;
	bool ended;
	bool ready_always; /* a file: epoll does not take it */
	struct terminal *terminal;
	struct loop_fd watch;
	struct loop_timer timer; /* until we are in the foreground */
};

struct line {
	struct outlet s; /* first member */
	struct out out;
	struct in in;
	uint64_t patience_ns;
	bool has_window, is_pty;
	bool away; /* nobody has the other end of the pseudo-terminal open; under the lock */
	struct loop_timer look;
};

static struct line *line_of(struct outlet *s)
{
	return container_of(s, struct line, s);
}

/* --- output --- */

/* Bytes taken, 0 when none can be taken now, -1 when the other side is gone. */
static ssize_t out_try(struct out *o, const uint8_t *data, size_t len)
{
	struct pollfd p = { .fd = o->fd, .events = POLLOUT };
	ssize_t n;

	if (o->blocks) {
		if (poll(&p, 1, 0) <= 0)
			return 0;
		len = min_u64(len, SMALL_WRITE);
	}
	n = write(o->fd, data, len);
	if (n >= 0)
		return n;
	if (outlet_would_block(errno))
		return 0;
	if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
		log_guest("console output: %s, %zu bytes are lost", strerror(errno), len);
		return (ssize_t)len;
	}
	return -1;
}

/* Writes until all is gone or nothing is taken; the bytes gone. Keeps account of being stuck. Lock
 * held. */
static size_t out_write(struct line *l, const uint8_t *data, size_t len)
{
	struct out *o = &l->out;
	size_t done = 0;

	while (done < len && !o->dead && !l->away) {
		ssize_t n = out_try(o, data + done, len - done);

		if (n < 0 && l->is_pty) {
			l->away = true;
			o->stuck_ns = 0;
		} else if (n < 0) {
			log_debug("console output ends: %s", strerror(errno));
			o->dead = true;
		} else if (n == 0) {
			if (!o->stuck_ns)
				o->stuck_ns = loop_now_ns();
			break;
		} else {
			done += (size_t)n;
			o->stuck_ns = 0;
		}
	}
	return o->dead ? len : done;
}

/* Writes what was kept; true when nothing is left. Lock held. */
static bool out_flush(struct line *l)
{
	struct backlog *b = &l->out.kept;
	const uint8_t *run;
	size_t len, done;

	while (backlog_len(b)) {
		run = backlog_peek(b, b->tail, &len);
		done = out_write(l, run, len);
		backlog_forget(b, b->tail + done);
		if (done < len)
			return false;
	}
	return true;
}

/* Has the other side stood still for too long? */
static bool out_given_up(const struct line *l, uint64_t now)
{
	return l->away || (l->out.stuck_ns && now - l->out.stuck_ns >= l->patience_ns);
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
	uint64_t now = loop_now_ns(), due = o->stuck_ns + l->patience_ns;
	struct err e = { 0 };

	if (!o->watch.loop && loop_watch(l->s.loop, &o->watch, o->fd, EPOLLOUT, out_ready, l, &e))
		due = now + SECOND_NS / 10;
	if (due > now)
		loop_timer_set(l->s.loop, &o->timer, due, out_turn, l);
}

static void out_rest(struct line *l)
{
	loop_unwatch(&l->out.watch);
	loop_timer_stop(&l->out.timer);
}

static void out_tell_lost(struct out *o)
{
	if (o->lost)
		log_warn("console output: nobody read for a while, %llu bytes are lost",
			 (unsigned long long)o->lost);
	o->lost = 0;
}

static void look(void *arg);

/* Io loop: takes up what is kept, and tells a device that waits. */
static void out_turn(void *arg)
{
	struct line *l = arg;
	struct out *o = &l->out;
	bool tell, gone;

	pthread_mutex_lock(&l->s.lock);
	if (!l->s.loop) {
		pthread_mutex_unlock(&l->s.lock);
		return;
	}
	if (out_flush(l)) {
		out_rest(l);
		out_tell_lost(o);
	} else if (l->away) {
		out_rest(l);
	} else {
		out_wait(l);
	}
	gone = l->away;
	tell = o->cut &&
	       (backlog_len(&o->kept) <= BACKLOG_MAX / 2 || out_given_up(l, loop_now_ns()));
	if (tell)
		o->cut = false;
	pthread_mutex_unlock(&l->s.lock);
	if (gone)
		loop_timer_set(l->s.loop, &l->look, loop_now_ns() + LOOK_NS, look, l);
	if (tell && l->s.c.writable)
		l->s.c.writable(l->s.c.arg);
}

static size_t line_write(struct chardev *c, const uint8_t *data, size_t len)
{
	struct line *l = line_of(container_of(c, struct outlet, c));
	struct out *o = &l->out;
	size_t done = 0;

	if (o->fd < 0)
		return len;
	pthread_mutex_lock(&l->s.lock);
	if (!backlog_len(&o->kept)) {
		done = out_write(l, data, len);
		if (done < len && l->s.loop)
			loop_post(l->s.loop, &o->msg, out_turn, l);
	}
	if (done < len && !l->away)
		done += backlog_put(&o->kept, data + done, len - done);
	if (done < len && out_given_up(l, loop_now_ns())) {
		o->lost += backlog_push(&o->kept, data + done, len - done);
		done = len;
	}
	o->cut |= done < len;
	pthread_mutex_unlock(&l->s.lock);
	return done;
}

/* The last second: what is kept goes out or is lost. A pseudo-terminal's client may have come since
 * the last look. */
static void out_fini(struct line *l)
{
	struct out *o = &l->out;
	uint64_t end_ns = loop_now_ns() + OUTLET_FAREWELL_NS, now;

	if (l->away)
		l->away = !pty_is_open(o->fd);
	while (o->fd >= 0 && !out_flush(l) && !l->away && (now = loop_now_ns()) < end_ns) {
		struct pollfd p = { .fd = o->fd, .events = POLLOUT };

		poll(&p, 1, (int)((end_ns - now) / 1000000) + 1);
	}
	if (l->is_pty && !l->away)
		pty_drain(o->fd, end_ns);
	o->lost += backlog_len(&o->kept);
	if (l->away && o->lost)
		log_info("console output: %llu bytes for which no client came",
			 (unsigned long long)o->lost);
	else
		out_tell_lost(o);
	backlog_clear(&o->kept);
	fd_close(&o->fd);
}

/* --- input; io loop --- */

static void in_turn(void *arg);

static void in_wait_foreground(struct line *l)
{
	loop_unwatch(&l->in.watch);
	loop_timer_set(l->s.loop, &l->in.timer, loop_now_ns() + SECOND_NS, in_turn, l);
}

/* The other end of the pseudo-terminal was closed. */
static void in_away(struct line *l)
{
	loop_unwatch(&l->in.watch);
	pthread_mutex_lock(&l->s.lock);
	l->away = true;
	l->out.stuck_ns = 0;
	loop_post(l->s.loop, &l->out.msg, out_turn, l);
	pthread_mutex_unlock(&l->s.lock);
}

/* Reads once; false when there is nothing to be had now. */
static bool in_read(struct line *l)
{
	struct in *in = &l->in;
	ssize_t n = outlet_read(&l->s, in->fd);

	if (n > 0)
		return true;
	if (n < 0 && outlet_would_block(errno))
		return false;
	if (l->is_pty) {
		in_away(l);
		return false;
	}
	if (n < 0 && errno == EIO && in->terminal && !terminal_is_ours(in->terminal, in->fd)) {
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

/* A file is read here, a few pieces a turn. */
static void in_read_file(struct line *l)
{
	for (int i = 0; i < IN_TURNS; i++)
		if (!in_read(l) || !outlet_deliver(&l->s))
			return;
	loop_post(l->s.loop, &l->s.in_msg, in_turn, l);
}

/* Brings input to where it should be: the rest delivered, the descriptor watched or not. */
static void in_turn(void *arg)
{
	struct line *l = arg;
	struct in *in = &l->in;
	struct err e = { 0 };

	if (!l->s.loop || in->fd < 0)
		return;
	if (!outlet_deliver(&l->s) || in->ended || l->away) {
		loop_unwatch(&in->watch);
		return;
	}
	if (in->terminal) {
		if (!terminal_is_ours(in->terminal, in->fd)) {
			in_wait_foreground(l);
			return;
		}
		terminal_raw(in->terminal, in->fd);
	}
	if (in->ready_always) {
		in_read_file(l);
	} else if (!in->watch.loop &&
		   loop_watch(l->s.loop, &in->watch, in->fd, EPOLLIN, in_ready, l, &e)) {
		in->ready_always = true;
		loop_post(l->s.loop, &l->s.in_msg, in_turn, l);
	}
}

/* --- a pseudo-terminal's client and window; io loop --- */

static void window_ask(struct line *l)
{
	uint16_t cols, rows;

	terminal_window(l->out.fd, l->in.fd, &cols, &rows);
	outlet_window(&l->s, cols, rows);
}

/* A client that came and went between two looks may have left input. */
static void came(struct line *l)
{
	pthread_mutex_lock(&l->s.lock);
	l->away = false;
	pthread_mutex_unlock(&l->s.lock);
	out_turn(l);
	in_turn(l);
}

static bool has_left_input(const struct line *l)
{
	struct pollfd p = { .fd = l->in.fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && p.revents & POLLIN;
}

static void look(void *arg)
{
	struct line *l = arg;

	if (!l->s.loop)
		return;
	if (l->away && (pty_is_open(l->out.fd) || has_left_input(l)))
		came(l);
	if (!l->away && l->s.c.resized)
		window_ask(l);
	if (l->away || l->s.c.resized)
		loop_timer_set(l->s.loop, &l->look, loop_now_ns() + LOOK_NS, look, l);
}

/* --- life --- */

static void line_attach(struct outlet *s)
{
	struct line *l = line_of(s);

	if (l->out.fd >= 0)
		out_turn(l);
	in_turn(l);
	if (l->is_pty)
		look(l);
}

static void line_detach(struct outlet *s)
{
	struct line *l = line_of(s);

	out_rest(l);
	loop_unwatch(&l->in.watch);
	loop_timer_stop(&l->in.timer);
	loop_timer_stop(&l->look);
}

static void line_winch(struct outlet *s)
{
	struct line *l = line_of(s);

	if (l->has_window)
		window_ask(l);
}

static void line_free(struct outlet *s)
{
	struct line *l = line_of(s);

	out_fini(l);
	fd_close(&l->in.fd);
	outlet_fini(s);
	free(l);
}

static const struct outlet_ops line_ops = {
	.chardev = { .write = line_write, .want_input = outlet_want_input },
	.attach = line_attach,
	.detach = line_detach,
	.input_turn = in_turn,
	.winch = line_winch,
	.free = line_free,
};

struct outlet *line_new(const struct line_args *a)
{
	struct line *l = NEW(struct line);

	outlet_init(&l->s, &line_ops);
	l->out.fd = a->out;
	l->out.blocks = a->out_blocks;
	l->in.fd = a->in;
	l->in.terminal = a->terminal;
	l->patience_ns = a->patience_ns;
	l->has_window = a->has_window;
	l->is_pty = l->away = a->is_pty;
	if (a->has_window || a->is_pty)
		terminal_window(a->out, a->in, &l->s.c.cols, &l->s.c.rows);
	return &l->s;
}
