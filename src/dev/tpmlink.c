/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swtpm's control and data sockets. See tpmlink.h.
 */
#include "dev/tpmlink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/scm.h"

/* Commands of the control channel. */
enum { CMD_INIT = 2, CMD_CANCEL = 9, CMD_STOP = 14, CMD_SET_DATAFD = 16, CMD_SET_BUFFERSIZE = 17 };

/* How it is set up: stopped first, for it may have served another machine before. */
static const struct step {
	uint8_t cmd;
	bool has_room; /* as argument; others that have one have 0 */
	uint8_t len, answer;
	const char *what;
} steps[] = {
	{ CMD_SET_DATAFD, false, 4, 4, "take a data channel" },
	{ CMD_STOP, false, 4, 4, "stop" },
	{ CMD_SET_BUFFERSIZE, true, 8, 16, "take a buffer size" },
	{ CMD_INIT, false, 8, 4, "start" },
};
#define READY ARRAY_LEN(steps)
#define INIT_TAKES_VOLATILE 1 /* what was given of it is for this start only */
#define ANSWER_SIZE 4	      /* of a cancelled command's request */

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void be32_put(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void tpmlink_unwatch(struct tpmlink *l)
{
	loop_unwatch(&l->ctrl_watch);
	loop_unwatch(&l->data_watch);
}

void tpmlink_close(struct tpmlink *l)
{
	tpmlink_unwatch(l);
	/* in this order: a control channel that ends may be the end of the other process */
	fd_close(&l->data);
	fd_close(&l->ctrl);
}

static void lose(struct tpmlink *l, const char *why)
{
	tpmlink_close(l);
	l->asked = false;
	l->why = why;
	l->lost(l->arg, why);
}

/* --- the control channel --- */

static uint32_t step_bytes(const struct tpmlink *l, const struct step *s, uint8_t *out)
{
	be32_put(out, s->cmd);
	be32_put(out + 4, s->has_room ? l->room : 0);
	if (s->cmd == CMD_INIT && l->before_start)
		be32_put(out + 4, INIT_TAKES_VOLATILE);
	return s->len;
}

/* A few bytes into a socket whose peer has answered all before: they fit, or it is no such peer. */
static bool tell(struct tpmlink *l, const uint8_t *bytes, uint32_t len)
{
	return write(l->ctrl, bytes, len) == (ssize_t)len;
}

static bool data_flush(struct tpmlink *l);

/* The answer to what was asked first is whole. */
static void ctrl_answer(struct tpmlink *l)
{
	const struct step *s = &steps[l->step];
	uint8_t out[8];

	l->ctrl_have = 0;
	if (l->step == READY) {
		l->cancels--;
		return;
	}
	if (be32(l->ctrl_in)) {
		lose(l, s->what);
		return;
	}
	if (++l->step == READY) {
		data_flush(l);
		return;
	}
	s++;
	if (s->cmd == CMD_INIT && l->before_start && !l->before_start(l->arg)) {
		lose(l, "take the saved state");
		return;
	}
	if (!tell(l, out, step_bytes(l, s, out)))
		lose(l, s->what);
}

static void ctrl_ready(void *arg, uint32_t events)
{
	struct tpmlink *l = arg;
	uint32_t want = l->step < READY ? steps[l->step].answer : ANSWER_SIZE;
	ssize_t n;

	(void)events;
	if (tpmblob_is_late(&l->late)) {
		if (!tpmblob_skip(&l->late, l->ctrl))
			lose(l, "be understood: its late answer is none");
		return;
	}
	if (l->step == READY && !l->cancels)
		want = 1; /* nothing is to come but the end */
	n = read(l->ctrl, l->ctrl_in + l->ctrl_have, want - l->ctrl_have);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(l, "go on: it has hung up");
		return;
	}
	if (l->step == READY && !l->cancels) {
		lose(l, "be understood: it speaks unasked");
		return;
	}
	l->ctrl_have += (uint32_t)n;
	if (l->ctrl_have == want)
		ctrl_answer(l);
}

void tpmlink_cancel(struct tpmlink *l)
{
	uint8_t out[4];

	/* one at a time is enough, and more would only fill its socket */
	if (l->ctrl < 0 || l->step != READY || !l->asked || l->cancels)
		return;
	be32_put(out, CMD_CANCEL);
	l->cancels++;
	if (!tell(l, out, sizeof(out)))
		lose(l, "cancel a command");
}

/* --- the data channel --- */

/* Sends what it takes; false when it is lost. */
static bool data_flush(struct tpmlink *l)
{
	if (l->step != READY || l->data < 0)
		return l->data >= 0;
	while (l->out_done < l->out_len) {
		ssize_t n = write(l->data, l->out + l->out_done, l->out_len - l->out_done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			lose(l, "take a command");
			return false;
		}
		l->out_done += (uint32_t)n;
	}
	if (l->data_watch.loop)
		loop_rewatch(&l->data_watch,
			     l->out_done < l->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return true;
}

/* What came so far: false, and lost, when it can be no answer; the answer when it is whole. */
static bool data_look(struct tpmlink *l)
{
	uint32_t len;

	if (!l->asked) {
		lose(l, "be understood: it answers unasked");
		return false;
	}
	if (l->have < TPMLINK_HEAD)
		return true;
	len = be32(l->in + 2);
	if (len < TPMLINK_HEAD || len > l->room || l->have > len) {
		lose(l, "be understood: its answer has no length");
		return false;
	}
	if (l->have < len)
		return true;
	l->asked = false;
	l->have = 0;
	l->answered(l->arg, l->in, len);
	return true;
}

static void data_ready(void *arg, uint32_t events)
{
	struct tpmlink *l = arg;
	ssize_t n;

	if (events & EPOLLOUT && !data_flush(l))
		return;
	if (!(events & ~(uint32_t)EPOLLOUT))
		return;
	n = read(l->data, l->in + l->have, sizeof(l->in) - l->have);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(l, "go on: it has hung up");
		return;
	}
	l->have += (uint32_t)n;
	data_look(l);
}

bool tpmlink_send(struct tpmlink *l, const uint8_t *bytes, uint32_t len)
{
	if (l->data < 0)
		return false;
	memcpy(l->out, bytes, len);
	l->out_len = len;
	l->out_done = 0;
	l->asked = true;
	return data_flush(l);
}

/* --- without the loop --- */

#define SETTLE_NS 30000000000ull
#define MS_NS 1000000ull

int tpmlink_settle(struct tpmlink *l, struct err *e)
{
	uint64_t until = loop_now_ns() + SETTLE_NS;

	while (l->ctrl >= 0 &&
	       (l->step != READY || l->cancels || l->asked || tpmblob_is_late(&l->late))) {
		bool sends = l->step == READY && l->out_done < l->out_len;
		struct pollfd f[] = {
			{ .fd = l->ctrl, .events = POLLIN },
			{ .fd = l->data, .events = sends ? POLLIN | POLLOUT : POLLIN },
		};
		uint64_t now = loop_now_ns();

		if (now >= until || poll(f, 2, (int)((until - now) / MS_NS) + 1) == 0)
			return err_set(e, ERR_IO, "its process does not answer");
		if (f[0].revents)
			ctrl_ready(l, EPOLLIN);
		if (f[1].revents && l->data >= 0)
			data_ready(l, (uint32_t)f[1].revents);
	}
	if (l->ctrl < 0)
		return err_set(e, ERR_IO, "its process does not %s", l->why);
	return 0;
}

/* --- life --- */

void tpmlink_watch(struct tpmlink *l)
{
	uint32_t events = l->out_done < l->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN;
	struct err e = { 0 };

	if (l->ctrl < 0)
		return;
	if (loop_watch(l->loop, &l->ctrl_watch, l->ctrl, EPOLLIN, ctrl_ready, l, &e) ||
	    loop_watch(l->loop, &l->data_watch, l->data, events, data_ready, l, &e))
		lose(l, "be heard");
}

static int no_wait(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return err_os(e, ERR_IO, "a socket that does not wait");
	return 0;
}

int tpmlink_judge(struct tpmlink *l, const char *path, struct err *e)
{
	l->ctrl = l->data = -1;
	return fd_may_reach(path, "swtpm", e);
}

/* The first request carries the other end of the data channel. */
int tpmlink_open(struct tpmlink *l, const char *path, struct err *e)
{
	AUTO_FD int ctrl = fd_reach(path, "swtpm", e);
	AUTO_FD int near = -1;
	AUTO_FD int far = -1;
	uint8_t out[8];
	uint32_t len = step_bytes(l, &steps[0], out);
	int pair[2];

	l->ctrl = l->data = -1;
	if (ctrl < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_os(e, ERR_IO, "a data channel");
	near = pair[0];
	far = pair[1];
	if (no_wait(near, e))
		return -1;
	if (scm_send(ctrl, out, len, &far, 1) != (ssize_t)len)
		return err_os(e, ERR_IO, "pass a data channel to %s", path);
	l->ctrl = fd_take(&ctrl);
	l->data = fd_take(&near);
	return 0;
}
