/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams on a listening socket. See sock.h. Output is put into the backlog by any thread; the io
 * loop carries it to the clients, each of which stands at a position of its own, and owns all else.
 * The lock guards the backlog, the clients' positions and their list.
 */
#include "vm/sock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/mem.h"
#include "vm/backlog.h"

#define WAITING_MAX 16 /* connections not yet accepted */
#define HOLD_NS 1000000000ull

struct client {
	struct link link; /* in order of coming */
	struct sock *sock;
	int fd;
	uint64_t pos;	  /* of the next byte for it */
	uint64_t hold_ns; /* since when others wait for it; 0 = they do not */
	bool no_in;	  /* it has ended its sending */
	bool no_out;	  /* it takes nothing any more */
	bool blocked;	  /* its last write was cut short */
	struct loop_fd watch;
};

struct sock {
	struct outlet s; /* first member */
	struct listener at;
	struct loop_fd watch;
	struct link clients;
	uint32_t count;
	struct backlog kept;
	uint64_t given; /* position behind the last byte that some client was given */
	uint64_t lost;
	bool cut; /* a write was cut short: the device waits */
	struct loop_msg msg;
	struct loop_timer timer;
	struct loop_timer rest; /* from accepting, when there are no descriptors left */
};

static struct sock *sock_of(struct outlet *s)
{
	return container_of(s, struct sock, s);
}

static struct client *client_of(struct link *l)
{
	return container_of(l, struct client, link);
}

/* Whose input the guest gets; NULL: nobody's. */
static struct client *writer(struct sock *k)
{
	list_each (at, &k->clients) {
		if (!client_of(at)->no_in)
			return client_of(at);
	}
	return NULL;
}

static bool full(const struct sock *k)
{
	return backlog_len(&k->kept) > BACKLOG_MAX / 2;
}

/* --- output --- */

/* Gives a client what it takes; lock held. */
static void client_flush(struct client *c)
{
	struct sock *k = c->sock;
	const uint8_t *run;
	size_t len;

	c->blocked = false;
	while (!c->no_out && (run = backlog_peek(&k->kept, c->pos, &len))) {
		ssize_t n = write(c->fd, run, len);

		if (n < 0 && !outlet_would_block(errno)) {
			c->no_out = true;
		} else if (n < 0) {
			c->blocked = true;
			return;
		} else {
			c->pos += (uint64_t)n;
			/* the writer may be slow, but not stand still */
			if (c == writer(k))
				c->hold_ns = 0;
		}
	}
}

/* Does the guest wait too long for this client? Lock held. */
static bool client_holds(struct client *c, uint64_t now)
{
	struct sock *k = c->sock;

	if (c->no_out || !k->cut || k->kept.head - c->pos <= BACKLOG_MAX / 2)
		c->hold_ns = 0;
	else if (!c->hold_ns)
		c->hold_ns = now;
	return c->hold_ns && now - c->hold_ns >= HOLD_NS;
}

/* Forgets what every client has. Without a client that reads, what none was given stays. Lock
 * held. */
static void forget_given(struct sock *k)
{
	uint64_t least = UINT64_MAX;

	list_each (at, &k->clients) {
		struct client *c = client_of(at);

		k->given = max_u64(k->given, c->pos);
		if (!c->no_out)
			least = min_u64(least, c->pos);
	}
	backlog_forget(&k->kept, min_u64(least, k->given));
}

static bool has_reader(struct sock *k)
{
	list_each (at, &k->clients) {
		if (!client_of(at)->no_out)
			return true;
	}
	return false;
}

/* Lock held. */
static void client_drop(struct client *c)
{
	struct sock *k = c->sock;

	k->given = max_u64(k->given, c->pos);
	loop_unwatch(&c->watch);
	fd_close(&c->fd);
	list_drop(&c->link);
	k->count--;
	free(c);
}

static void client_ready(void *arg, uint32_t events);

/* Waits for what is to be waited for; a hang-up comes unasked, and is not asked for twice. */
static void client_watch(struct client *c, bool reads)
{
	uint32_t events = (reads ? (uint32_t)EPOLLIN : 0) | (c->blocked ? (uint32_t)EPOLLOUT : 0);
	struct err e = { 0 };

	if (c->no_out && !reads) {
		loop_unwatch(&c->watch);
		return;
	}
	if (c->watch.loop)
		loop_rewatch(&c->watch, events);
	else if (loop_watch(c->sock->s.loop, &c->watch, c->fd, events, client_ready, c, &e) < 0)
		c->no_in = c->no_out = true;
}

/* After whatever has happened: the dead are buried, the writer's input is watched when the device
 * wants it, that of others always, to be thrown away. */
static void settle(struct sock *k)
{
	bool wants = outlet_deliver(&k->s);
	struct client *w;

	pthread_mutex_lock(&k->s.lock);
	w = writer(k);
	list_each (at, &k->clients) {
		struct client *c = client_of(at);

		if (!(c->no_in && c->no_out))
			client_watch(c, !c->no_in && (c != w || wants));
		if (c->no_in && c->no_out)
			client_drop(c);
	}
	pthread_mutex_unlock(&k->s.lock);
}

/* Io loop: carries output to the clients, and tells a device that waits. */
static void out_turn(void *arg)
{
	struct sock *k = arg;
	uint64_t now = loop_now_ns();
	bool tell;

	pthread_mutex_lock(&k->s.lock);
	if (!k->s.loop) {
		pthread_mutex_unlock(&k->s.lock);
		return;
	}
	list_each (at, &k->clients) {
		struct client *c = client_of(at);

		client_flush(c);
		if (client_holds(c, now)) {
			log_guest("console socket %s: a client that does not read is disconnected",
				  k->at.path);
			c->no_in = c->no_out = true;
		}
	}
	forget_given(k);
	tell = k->cut && (!full(k) || !has_reader(k));
	if (tell)
		k->cut = false;
	if (k->cut)
		loop_timer_set(k->s.loop, &k->timer, now + HOLD_NS / 4, out_turn, k);
	else
		loop_timer_stop(&k->timer);
	pthread_mutex_unlock(&k->s.lock);
	settle(k);
	if (tell && k->s.c.writable)
		k->s.c.writable(k->s.c.arg);
}

static size_t sock_write(struct chardev *c, const uint8_t *data, size_t len)
{
	struct sock *k = sock_of(container_of(c, struct outlet, c));
	size_t done;

	pthread_mutex_lock(&k->s.lock);
	done = backlog_put(&k->kept, data, len);
	if (done < len && !has_reader(k)) {
		k->lost += backlog_push(&k->kept, data + done, len - done);
		k->given = max_u64(k->given, k->kept.tail);
		done = len;
	}
	k->cut |= done < len;
	if (k->s.loop && k->count)
		loop_post(k->s.loop, &k->msg, out_turn, k);
	pthread_mutex_unlock(&k->s.lock);
	return done;
}

/* --- input; io loop --- */

/* Reads the writer's input for the device, that of others for nobody. */
static void client_read(struct client *c)
{
	struct sock *k = c->sock;
	uint8_t nobody[4096];
	ssize_t n;

	if (c != writer(k))
		n = read(c->fd, nobody, sizeof(nobody));
	else if (outlet_deliver(&k->s))
		n = outlet_read(&k->s, c->fd);
	else
		return;
	if (n > 0 || (n < 0 && outlet_would_block(errno)))
		return;
	c->no_in = true;
	c->no_out |= n < 0;
}

static void client_ready(void *arg, uint32_t events)
{
	struct client *c = arg;
	struct sock *k = c->sock;

	pthread_mutex_lock(&k->s.lock);
	c->no_out |= (events & (EPOLLHUP | EPOLLERR)) != 0;
	pthread_mutex_unlock(&k->s.lock);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		client_read(c);
	out_turn(k);
}

static void input_turn(void *arg)
{
	struct sock *k = arg;

	if (k->s.loop)
		settle(k);
}

/* --- coming --- */

static void client_add(struct sock *k, int fd)
{
	struct client *c = NEW(struct client);

	c->sock = k;
	c->fd = fd;
	pthread_mutex_lock(&k->s.lock);
	c->pos = max_u64(k->given, k->kept.tail);
	list_add_tail(&k->clients, &c->link);
	k->count++;
	if (k->lost)
		log_guest("console socket %s: nobody read for a while, %llu bytes are lost",
			  k->at.path, (unsigned long long)k->lost);
	k->lost = 0;
	pthread_mutex_unlock(&k->s.lock);
}

static void listen_on(void *arg);

static void on_connection(void *arg, uint32_t events)
{
	struct sock *k = arg;
	int fd;

	(void)events;
	while ((fd = accept4(k->at.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (k->count < SOCK_CLIENTS_MAX) {
			client_add(k, fd);
			continue;
		}
		log_guest("console socket %s: more than %d clients are refused", k->at.path,
			  SOCK_CLIENTS_MAX);
		fd_close(&fd);
	}
	if (!outlet_would_block(errno) && errno != ECONNABORTED) {
		log_warn("console socket %s: cannot accept: %s", k->at.path, strerror(errno));
		loop_unwatch(&k->watch);
		loop_timer_set(k->s.loop, &k->rest, loop_now_ns() + HOLD_NS, listen_on, k);
	}
	out_turn(k);
}

static void listen_on(void *arg)
{
	struct sock *k = arg;
	struct err e = { 0 };

	if (loop_watch(k->s.loop, &k->watch, k->at.fd, EPOLLIN, on_connection, k, &e) < 0)
		log_warn("console socket %s: nobody can connect", k->at.path);
}

/* --- life --- */

static void sock_attach(struct outlet *s)
{
	listen_on(sock_of(s));
	out_turn(sock_of(s));
}

static void sock_detach(struct outlet *s)
{
	struct sock *k = sock_of(s);

	loop_unwatch(&k->watch);
	loop_timer_stop(&k->timer);
	loop_timer_stop(&k->rest);
	list_each (at, &k->clients)
		loop_unwatch(&client_of(at)->watch);
}

/* The last second of those who still read. */
static void farewell(struct sock *k)
{
	uint64_t end_ns = loop_now_ns() + OUTLET_FAREWELL_NS;

	list_each (at, &k->clients) {
		struct client *c = client_of(at);
		struct pollfd p = { .fd = c->fd, .events = POLLOUT };
		uint64_t now;

		for (client_flush(c); c->blocked && (now = loop_now_ns()) < end_ns;) {
			poll(&p, 1, (int)((end_ns - now) / 1000000) + 1);
			client_flush(c);
		}
		client_drop(c);
	}
}

static void sock_free(struct outlet *s)
{
	struct sock *k = sock_of(s);

	farewell(k);
	k->lost += k->kept.head - max_u64(k->given, k->kept.tail);
	if (k->lost)
		log_info("console socket %s: %llu bytes for which no client came", k->at.path,
			 (unsigned long long)k->lost);
	backlog_clear(&k->kept);
	listener_close(&k->at);
	outlet_fini(s);
	free(k);
}

static const struct outlet_ops sock_ops = {
	.chardev = { .write = sock_write, .want_input = outlet_want_input },
	.attach = sock_attach,
	.detach = sock_detach,
	.input_turn = input_turn,
	.free = sock_free,
};

int sock_new(struct outlet **out, const char *path, struct err *e)
{
	struct listener at = { .fd = -1 };
	struct sock *k;

	if (listener_open(&at, path, WAITING_MAX, e) < 0)
		return -1;
	k = NEW(struct sock);
	outlet_init(&k->s, &sock_ops);
	list_init(&k->clients);
	k->at = at;
	*out = &k->s;
	return 0;
}
