/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening, and reading of one line. See vsdoor.h. The line is looked at where it lies until it is
 * whole, and then read to its end and no further: what follows is the guest's.
 */
#include "net/vsdoor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/vsline.h"

#define WAITING_MAX 1024 /* connections not yet accepted */
#define CALLERS_MAX 128
#define TURN 16 /* are accepted before anything else is looked at */
#define REST_NS 100000000ull

struct caller {
	struct link link;
	struct vsdoor *door;
	struct loop_fd watch;
	int fd;
};

static void caller_drop(struct caller *c)
{
	loop_unwatch(&c->watch);
	fd_close(&c->fd);
	list_drop(&c->link);
	c->door->count--;
	free(c);
}

/* A message may come without the end of a line, for it has one of its own. */
static enum vsline judge(struct caller *c, uint32_t *port, uint32_t *used, char *text, ssize_t n)
{
	if (c->door->at.packets && n < VSLINE_MAX && text[n - 1] != '\n')
		text[n++] = '\n';
	return vsline_read(port, used, text, (uint32_t)n);
}

static void caller_ready(void *arg, uint32_t events)
{
	struct caller *c = arg;
	struct vsdoor *d = c->door;
	char text[VSLINE_MAX];
	uint32_t port = 0, used = 0;
	ssize_t n = recv(c->fd, text, sizeof(text), MSG_PEEK | MSG_DONTWAIT);
	enum vsline l = n > 0 ? judge(c, &port, &used, text, n) : VSLINE_MORE;
	bool later = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
	int fd;

	if (l == VSLINE_MORE && later && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	if (l != VSLINE_OK || recv(c->fd, text, used, MSG_DONTWAIT) <= 0) {
		caller_drop(c);
		return;
	}
	loop_unwatch(&c->watch);
	fd = fd_take(&c->fd);
	caller_drop(c);
	d->called(d->arg, fd, port, d->at.packets);
}

static void caller_new(struct vsdoor *d, int fd)
{
	struct caller *c = NEW(struct caller);
	struct err e = { 0 };

	if (d->count == CALLERS_MAX)
		caller_drop(container_of(d->callers.next, struct caller, link));
	c->door = d;
	c->fd = fd;
	d->count++;
	list_add_tail(&d->callers, &c->link);
	if (loop_watch(d->loop, &c->watch, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, caller_ready, c, &e))
		caller_drop(c);
}

static void door_ready(void *arg, uint32_t events);

static void door_open_again(void *arg)
{
	struct vsdoor *d = arg;
	struct err e = { 0 };

	if (loop_watch(d->loop, &d->watch, d->at.fd, EPOLLIN, door_ready, d, &e))
		log_error("%s: %s", d->at.path, err_frame(&e, 0));
}

static void door_ready(void *arg, uint32_t events)
{
	struct vsdoor *d = arg;

	(void)events;
	for (int i = 0; i < TURN; i++) {
		int fd = accept4(d->at.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			caller_new(d, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			loop_unwatch(&d->watch);
			loop_timer_set(d->loop, &d->rest, loop_now_ns() + REST_NS, door_open_again,
				       d);
		}
		return;
	}
}

int vsdoor_open(struct vsdoor *d, const char *path, struct link *kept, struct err *e)
{
	if (!(kept && listener_get(kept, &d->at, path)) &&
	    listener_open(&d->at, path, WAITING_MAX, e))
		return -1;
	if (loop_watch(d->loop, &d->watch, d->at.fd, EPOLLIN, door_ready, d, e)) {
		listener_close(&d->at);
		return -1;
	}
	return 0;
}

void vsdoor_stop(struct vsdoor *d)
{
	loop_timer_stop(&d->rest);
	loop_unwatch(&d->watch);
	while (!list_empty(&d->callers))
		caller_drop(container_of(d->callers.next, struct caller, link));
}

void vsdoor_close(struct vsdoor *d, struct link *kept)
{
	if (d->at.fd < 0)
		return;
	if (kept)
		listener_put(kept, &d->at);
	else
		listener_close(&d->at);
}
