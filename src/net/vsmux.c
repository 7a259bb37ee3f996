/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The muxer: the table of connections, who may say what when, what is owed to the guest, and time.
 * See vsmux.h; a connection's socket is net/vsconn's, the line CONNECT net/vsdoor's.
 *
 *	guest asks	KNOCKS --connected--> OPEN		RESPONSE, or RST
 *	host asks	ASKS -----RESPONSE--> OPEN		REQUEST, then "OK <port>"
 *	end		OPEN --> DYING --> gone			RST; what is kept for the host goes out still
 *
 * Connections that have something for the guest stand in a line and come to their turns one after
 * another. Whatever the guest does wrong ends in an RST for the one connection.
 */
#include "net/vsmux.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/vsdoor.h"

#define BUCKETS 1024
#define RSTS_MAX 256 /* answers to packets without a connection that wait for buffers */
#define FIRST_PORT 0x40000000u
#define ANSWER_NS 2000000000ull /* to a REQUEST, and to the end of a connection */
#define KNOCK_NS 5000000ull	/* between knocks at a listener that has no room */
#define WIDE_MAX 96		/* connections with a wide window; others get narrow ones */
#define SEQPACKET_SUFFIX "_seqpacket"

struct vsmux {
	char *path;
	struct loop *loop;
	void (*full)(void *arg);
	void *arg;
	bool full_told;
	bool seqpacket; /* the guest speaks of it */
	bool paused;
	struct vsdoor doors[2]; /* the second: of messages */

	struct vsconn *bucket[BUCKETS];
	uint32_t open, wide;
	uint32_t last_port;

	struct link ready;
	uint32_t ready_count;
	struct link waits, knocks; /* soonest due first */
	struct link lingers;	   /* not in the table any more */
	struct loop_timer waiting, knocking;

	struct vspkt rst[RSTS_MAX]; /* a ring */
	uint32_t rst_at, rst_count;

	struct vsmux_counters n;
};

static struct vsconn *conn_of_ready(struct link *l)
{
	return container_of(l, struct vsconn, ready);
}

static struct vsconn *conn_of_timed(struct link *l)
{
	return container_of(l, struct vsconn, timed);
}

/* --- the table --- */

static struct vsconn **bucket_of(struct vsmux *m, uint32_t host_port, uint32_t guest_port)
{
	uint32_t h = (host_port * 0x9e3779b1u) ^ (guest_port * 0x85ebca6bu);

	return &m->bucket[(h >> 16 ^ h) % BUCKETS];
}

static struct vsconn *find(struct vsmux *m, uint32_t host_port, uint32_t guest_port)
{
	struct vsconn *c = *bucket_of(m, host_port, guest_port);

	while (c && (c->host_port != host_port || c->guest_port != guest_port))
		c = c->next;
	return c;
}

static void unhash(struct vsconn *c)
{
	struct vsconn **at = bucket_of(c->mux, c->host_port, c->guest_port);

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
}

static void unready(struct vsconn *c)
{
	if (list_empty(&c->ready))
		return;
	list_drop(&c->ready);
	c->mux->ready_count--;
}

static void conn_free(struct vsconn *c)
{
	struct vsmux *m = c->mux;

	unhash(c);
	unready(c);
	list_drop(&c->timed);
	vsconn_close(c);
	m->open--;
	m->wide -= c->window == VS_STREAM_WIDE;
	counter_set(&m->n.open, m->open);
	if (m->open < VSMUX_CONNECTIONS / 2)
		m->full_told = false;
	free(c);
}

/* Who only empties its bytes into a socket gives way. */
static bool has_place(struct vsmux *m)
{
	if (m->open == VSMUX_CONNECTIONS && !list_empty(&m->lingers))
		conn_free(conn_of_timed(m->lingers.next));
	if (m->open < VSMUX_CONNECTIONS)
		return true;
	counter_add(&m->n.refused, 1);
	if (!m->full_told && m->full)
		m->full(m->arg);
	m->full_told = true;
	return false;
}

static struct vsconn *conn_new(struct vsmux *m, uint32_t host_port, uint32_t guest_port,
			       bool packets)
{
	struct vsconn **at = bucket_of(m, host_port, guest_port), *c = NEW(struct vsconn);

	*c = (struct vsconn){
		.mux = m,
		.next = *at,
		.fd = -1,
		.host_port = host_port,
		.guest_port = guest_port,
		.packets = packets,
		.window = packets	       ? VS_PACKETS
			  : m->wide < WIDE_MAX ? VS_STREAM_WIDE
					       : VS_STREAM_NARROW,
	};
	/* small messages cost as much again for their bounds */
	c->kept.room = packets ? 2 * c->window : c->window;
	list_init(&c->ready);
	list_init(&c->timed);
	*at = c;
	m->wide += c->window == VS_STREAM_WIDE;
	counter_set(&m->n.open, ++m->open);
	return c;
}

/* --- the line of those with something for the guest --- */

static void stir(struct vsconn *c)
{
	bool has = c->owes || vsconn_has_more(c) || (c->state == VS_OPEN && vsconn_owes_credit(c));

	if (!has || !list_empty(&c->ready))
		return;
	list_add_tail(&c->mux->ready, &c->ready);
	c->mux->ready_count++;
}

static void owe_rst(struct vsmux *m, const struct vspkt *p)
{
	if (p->op == VS_OP_RST)
		return;
	m->rst[(m->rst_at + m->rst_count++) % RSTS_MAX] = (struct vspkt){
		.host_port = p->host_port,
		.guest_port = p->guest_port,
		.type = p->type,
		.op = VS_OP_RST,
	};
	counter_add(&m->n.resets, 1);
}

bool vsmux_is_full(const struct vsmux *m)
{
	return m->rst_count == RSTS_MAX;
}

/* --- ends --- */

/* The guest knows nothing of it any more. What is kept for the host still goes there. */
static void part_with(struct vsconn *c)
{
	struct vsmux *m = c->mux;

	if (!c->kept.len || !c->watch.loop) {
		conn_free(c);
		return;
	}
	unhash(c);
	unready(c);
	list_drop(&c->timed);
	list_add_tail(&m->lingers, &c->timed);
	c->owes = 0;
	c->lingers = true;
}

/* The end, as the guest wishes it: it gets its RST. */
static void finish(struct vsconn *c)
{
	list_drop(&c->timed);
	c->state = VS_DYING;
	c->owes = VS_OWES_RST;
	if (!c->kept.len)
		vsconn_close(c);
	stir(c);
}

/* The end against somebody's will. */
static void fault(struct vsconn *c)
{
	counter_add(&c->mux->n.resets, 1);
	vsconn_close(c);
	finish(c);
}

/* --- time --- */

static void waiting_due(void *arg);

static void waiting_arm(struct vsmux *m)
{
	if (m->paused || list_empty(&m->waits))
		loop_timer_stop(&m->waiting);
	else
		loop_timer_set(m->loop, &m->waiting, conn_of_timed(m->waits.next)->due_ns,
			       waiting_due, m);
}

/* The guest has to answer within its time. */
static void wait_for_guest(struct vsconn *c)
{
	struct vsmux *m = c->mux;

	list_drop(&c->timed);
	c->due_ns = loop_now_ns() + ANSWER_NS;
	list_add_tail(&m->waits, &c->timed);
	if (!m->waiting.loop)
		waiting_arm(m);
}

static void waiting_due(void *arg)
{
	struct vsmux *m = arg;
	uint64_t now = loop_now_ns();

	while (!list_empty(&m->waits) && conn_of_timed(m->waits.next)->due_ns <= now) {
		struct vsconn *c = conn_of_timed(m->waits.next);

		/* a REQUEST that it never saw needs no RST */
		if (c->owes & VS_OWES_REQUEST)
			conn_free(c);
		else
			fault(c);
	}
	waiting_arm(m);
}

static void renew(struct link *list, uint64_t due_ns)
{
	list_each (at, list)
		conn_of_timed(at)->due_ns = due_ns;
}

/* --- the socket's side --- */

static void sock_ready(void *arg, uint32_t events)
{
	struct vsconn *c = arg;
	const uint32_t gone = EPOLLHUP | EPOLLERR;

	c->ended |= (events & (EPOLLRDHUP | gone)) != 0;
	c->hung_up |= (events & gone) != 0;
	c->readable |= (events & (EPOLLIN | EPOLLRDHUP | gone)) != 0;
	if (c->kept.len && events & (EPOLLOUT | gone)) {
		vsconn_flush(c);
		if (!c->kept.len)
			vsconn_shut(c);
	}
	if (c->lingers) {
		if (!c->kept.len)
			conn_free(c);
		return;
	}
	if (c->state == VS_DYING && !c->kept.len)
		vsconn_close(c);
	else if (c->state == VS_ASKS && c->hung_up && c->owes & VS_OWES_REQUEST)
		conn_free(c);
	else if (c->state == VS_ASKS && c->hung_up)
		fault(c);
	else {
		/* told of even where nothing is left to read, or the guest reads no more */
		if (c->hung_up && c->host_shut != VS_NO_WAY && c->state == VS_OPEN &&
		    (c->guest_shut & VS_NO_RCV || c->host_shut & VS_NO_SEND)) {
			c->host_shut = VS_NO_WAY;
			c->owes |= VS_OWES_SHUTDOWN;
		}
		stir(c);
	}
}

static int watch(struct vsconn *c)
{
	struct err e = { 0 };

	if (!loop_watch(c->mux->loop, &c->watch, c->fd, EPOLLIN | EPOLLRDHUP | EPOLLET, sock_ready,
			c, &e))
		return 0;
	log_warn("vsock: %s", err_frame(&e, 0));
	return -1;
}

static uint32_t next_port(struct vsmux *m, uint32_t guest_port)
{
	do {
		m->last_port = (m->last_port + 1) & (FIRST_PORT - 1);
	} while (find(m, FIRST_PORT | m->last_port, guest_port));
	return FIRST_PORT | m->last_port;
}

/* A program of the host wants a port of the guest. */
static void called(void *arg, int fd, uint32_t port, bool packets)
{
	struct vsmux *m = arg;
	AUTO_FD int own = fd;
	struct vsconn *c;

	if ((packets && !m->seqpacket) || !has_place(m))
		return;
	c = conn_new(m, next_port(m, port), port, packets);
	c->fd = fd_take(&own);
	c->state = VS_ASKS;
	c->owes = VS_OWES_REQUEST;
	if (watch(c)) {
		conn_free(c);
		return;
	}
	wait_for_guest(c);
	stir(c);
}

/* The guest has taken it: the other end may speak. */
static enum vs_moved say_ok(struct vsconn *c)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	return send(c->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len ? VS_MOVED
										  : VS_FAULT;
}

/* --- the guest asks for a port of the host --- */

/* Tries to reach the listener. NOTHING: it has no room just now. */
static enum vs_moved knock(struct vsconn *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int len = snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", c->mux->path, c->host_port);

	if (len < 0 || (size_t)len >= sizeof(a.sun_path))
		return VS_FAULT;
	if (c->fd < 0)
		c->fd = socket(AF_UNIX,
			       (c->packets ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK |
				       SOCK_CLOEXEC,
			       0);
	if (c->fd < 0)
		return VS_FAULT;
	if (connect(c->fd, (const struct sockaddr *)&a, sizeof(a)))
		return errno == EAGAIN || errno == EINTR ? VS_NOTHING : VS_FAULT;
	return watch(c) ? VS_FAULT : VS_MOVED;
}

static void opened(struct vsconn *c)
{
	list_drop(&c->timed);
	c->state = VS_OPEN;
	counter_add(&c->mux->n.connections, 1);
}

/* What came of a knock. */
static void knocked(struct vsconn *c, enum vs_moved r)
{
	if (r == VS_MOVED) {
		opened(c);
		c->owes |= VS_OWES_RESPONSE;
		stir(c);
	} else if (r == VS_FAULT) {
		counter_add(&c->mux->n.refused, 1);
		fault(c);
	}
}

static void knock_again(void *arg)
{
	struct vsmux *m = arg;
	uint64_t now = loop_now_ns();

	list_each (at, &m->knocks) {
		struct vsconn *c = conn_of_timed(at);

		knocked(c, c->due_ns <= now ? VS_FAULT : knock(c));
	}
	if (!list_empty(&m->knocks))
		loop_timer_set(m->loop, &m->knocking, now + KNOCK_NS, knock_again, m);
}

static void on_new(struct vsmux *m, const struct vspkt *p)
{
	bool packets = p->type == VS_TYPE_SEQPACKET;
	enum vs_moved r;
	struct vsconn *c;

	if (!has_place(m)) {
		owe_rst(m, p);
		return;
	}
	c = conn_new(m, p->host_port, p->guest_port, packets);
	c->state = VS_KNOCKS;
	vsconn_hear_credit(c, p->buf_alloc, p->fwd_cnt);
	r = knock(c);
	if (r != VS_NOTHING) {
		knocked(c, r);
		return;
	}
	c->due_ns = loop_now_ns() + ANSWER_NS;
	list_add_tail(&m->knocks, &c->timed);
	if (!m->knocking.loop)
		loop_timer_set(m->loop, &m->knocking, loop_now_ns() + KNOCK_NS, knock_again, m);
}

/* --- packets of the guest, on a connection that there is --- */

static enum vs_moved on_response(struct vsconn *c)
{
	if (c->state != VS_ASKS || c->owes & VS_OWES_REQUEST)
		return VS_FAULT;
	opened(c);
	return say_ok(c);
}

static enum vs_moved on_shutdown(struct vsconn *c, const struct vspkt *p)
{
	if (c->state != VS_OPEN && c->state != VS_KNOCKS)
		return VS_FAULT;
	c->guest_shut |= p->flags & VS_NO_WAY;
	if (c->guest_shut == VS_NO_WAY || c->state == VS_KNOCKS)
		finish(c);
	else
		vsconn_shut(c);
	return VS_MOVED;
}

static enum vs_moved on_data(struct vsconn *c, const struct vspkt *p, const struct kiov *k,
			     unsigned int n)
{
	if (c->state != VS_OPEN || c->guest_shut & VS_NO_SEND)
		return VS_FAULT;
	counter_add(&c->mux->n.tx_bytes, p->len);
	return vsconn_write(c, k, n, p->len, p->flags & VS_FLAG_EOM);
}

static enum vs_moved on_packet(struct vsconn *c, const struct vspkt *p, const struct kiov *k,
			       unsigned int n)
{
	switch (p->op) {
	case VS_OP_RESPONSE:
		return on_response(c);
	case VS_OP_SHUTDOWN:
		return on_shutdown(c, p);
	case VS_OP_RW:
		return on_data(c, p, k, n);
	case VS_OP_CREDIT_UPDATE:
		return VS_MOVED;
	case VS_OP_CREDIT_REQUEST:
		c->owes |= VS_OWES_CREDIT;
		return VS_MOVED;
	default:
		return VS_FAULT;
	}
}

static bool type_fits(const struct vsmux *m, uint16_t type)
{
	return type == VS_TYPE_STREAM || (type == VS_TYPE_SEQPACKET && m->seqpacket);
}

void vsmux_take(struct vsmux *m, const struct vspkt *p, const struct kiov *k, unsigned int n)
{
	struct vsconn *c = find(m, p->host_port, p->guest_port);

	counter_add(&m->n.tx_packets, 1);
	if (!type_fits(m, p->type) || (c && c->packets != (p->type == VS_TYPE_SEQPACKET))) {
		owe_rst(m, p);
	} else if (!c && p->op == VS_OP_REQUEST) {
		on_new(m, p);
	} else if (!c) {
		owe_rst(m, p);
	} else if (p->op == VS_OP_RST) {
		part_with(c);
	} else if (c->state != VS_DYING) {
		vsconn_hear_credit(c, p->buf_alloc, p->fwd_cnt);
		if (on_packet(c, p, k, n) == VS_FAULT)
			fault(c);
		else
			stir(c);
	}
}

void vsmux_refuse(struct vsmux *m, const struct vspkt *p)
{
	struct vsconn *c = find(m, p->host_port, p->guest_port);

	counter_add(&m->n.tx_packets, 1);
	if (!c)
		owe_rst(m, p);
	else if (c->state != VS_DYING)
		fault(c);
}

/* --- packets for the guest --- */

unsigned int vsmux_wants(const struct vsmux *m)
{
	uint32_t n = m->rst_count + m->ready_count;

	if (m->ready_count && container_of(m->ready.next, struct vsconn, ready)->hungry)
		return VSMUX_ROOMS;
	return (unsigned int)min_u64(n, VSMUX_ROOMS);
}

static void packet(struct vsconn *c, struct vspkt *out, uint16_t op)
{
	*out = (struct vspkt){
		.host_port = c->host_port,
		.guest_port = c->guest_port,
		.type = c->packets ? VS_TYPE_SEQPACKET : VS_TYPE_STREAM,
		.op = op,
		.buf_alloc = c->window,
		.fwd_cnt = c->forwarded,
	};
	c->told = c->forwarded;
	c->owes &= (uint8_t)~VS_OWES_CREDIT;
}

static unsigned int give_data(struct vsconn *c, struct vspkt *out, const struct vsroom *rooms,
			      unsigned int n)
{
	unsigned int used = 0;
	uint32_t left;
	bool whole;

	if (vsconn_read(c, rooms, n, &left, &whole) == VS_FAULT) {
		fault(c);
		return 0;
	}
	counter_add(&c->mux->n.rx_bytes, left);
	for (; left; used++) {
		packet(c, &out[used], VS_OP_RW);
		out[used].len = (uint32_t)min_u64(left, rooms[used].bytes);
		left -= out[used].len;
	}
	if (used && whole)
		out[used - 1].flags = VS_FLAG_EOM;
	return used;
}

/* What is owed besides data, the more pressing first; 0: nothing. */
static uint16_t owed_op(struct vsconn *c)
{
	static const struct {
		uint8_t bit;
		uint16_t op;
	} rows[] = {
		{ VS_OWES_REQUEST, VS_OP_REQUEST },	    { VS_OWES_RESPONSE, VS_OP_RESPONSE },
		{ VS_OWES_QUESTION, VS_OP_CREDIT_REQUEST }, { VS_OWES_SHUTDOWN, VS_OP_SHUTDOWN },
		{ VS_OWES_CREDIT, VS_OP_CREDIT_UPDATE },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(c->owes & rows[i].bit))
			continue;
		c->owes &= (uint8_t)~rows[i].bit;
		return rows[i].op;
	}
	return c->state == VS_OPEN && vsconn_owes_credit(c) ? VS_OP_CREDIT_UPDATE : 0;
}

static unsigned int give_owed(struct vsconn *c, struct vspkt *out)
{
	uint16_t op = owed_op(c);

	if (!op)
		return 0;
	packet(c, out, op);
	if (op != VS_OP_SHUTDOWN)
		return 1;
	out->flags = c->host_shut;
	if (c->host_shut == VS_NO_WAY)
		wait_for_guest(c);
	return 1;
}

static unsigned int give_turn(struct vsconn *c, struct vspkt *out, const struct vsroom *rooms,
			      unsigned int n)
{
	unsigned int used = 0;

	if (c->owes & VS_OWES_RST) {
		packet(c, out, VS_OP_RST);
		part_with(c);
		return 1;
	}
	if (!(c->owes & (VS_OWES_REQUEST | VS_OWES_RESPONSE)) && vsconn_has_more(c))
		used = give_data(c, out, rooms, n);
	if (!used && c->state != VS_DYING)
		used = give_owed(c, out);
	stir(c);
	return used;
}

unsigned int vsmux_give(struct vsmux *m, struct vspkt *out, const struct vsroom *rooms,
			unsigned int n)
{
	uint32_t turns = m->ready_count;
	unsigned int used = 0;

	for (; used < n && m->rst_count; used++) {
		out[used] = m->rst[m->rst_at];
		m->rst_at = (m->rst_at + 1) % RSTS_MAX;
		m->rst_count--;
	}
	for (; turns && used < n && m->ready_count; turns--) {
		struct vsconn *c = conn_of_ready(m->ready.next);

		unready(c);
		used += give_turn(c, out + used, rooms + used, n - used);
	}
	counter_add(&m->n.rx_packets, used);
	return used;
}

/* --- life --- */

/* A caller whom no guest has heard of yet waits for the next. */
static bool is_unheard(const struct vsconn *c)
{
	return c->state == VS_ASKS && c->owes & VS_OWES_REQUEST;
}

void vsmux_forget(struct vsmux *m)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct vsconn *next;

		for (struct vsconn *c = m->bucket[i]; c; c = next) {
			next = c->next;
			if (!is_unheard(c))
				part_with(c);
		}
	}
	m->rst_count = 0;
	waiting_arm(m);
}

void vsmux_set_seqpacket(struct vsmux *m, bool on)
{
	m->seqpacket = on;
}

void vsmux_pause(struct vsmux *m)
{
	m->paused = true;
	loop_timer_stop(&m->waiting);
	loop_timer_stop(&m->knocking);
}

void vsmux_resume(struct vsmux *m)
{
	uint64_t due = loop_now_ns() + ANSWER_NS;

	m->paused = false;
	renew(&m->waits, due);
	renew(&m->knocks, due);
	waiting_arm(m);
	knock_again(m);
}

void vsmux_stop(struct vsmux *m)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (m->bucket[i])
			conn_free(m->bucket[i]);
	while (!list_empty(&m->lingers))
		conn_free(conn_of_timed(m->lingers.next));
	loop_timer_stop(&m->waiting);
	loop_timer_stop(&m->knocking);
	for (size_t i = 0; i < ARRAY_LEN(m->doors); i++)
		vsdoor_stop(&m->doors[i]);
}

void vsmux_free(struct vsmux *m, struct link *kept)
{
	if (!m)
		return;
	for (size_t i = 0; i < ARRAY_LEN(m->doors); i++)
		vsdoor_close(&m->doors[i], kept);
	free(m->path);
	free(m);
}

int vsmux_judge(const struct vsmux_args *a, struct err *e)
{
	AUTO_FREE char *second = mem_fmt("%s" SEQPACKET_SUFFIX, a->path);

	return listener_judge(a->path, e) || (a->seqpacket && listener_judge(second, e)) ? -1 : 0;
}

int vsmux_new(struct vsmux **out, const struct vsmux_args *a, struct err *e)
{
	AUTO_FREE char *second = mem_fmt("%s" SEQPACKET_SUFFIX, a->path);
	const char *paths[] = { a->path, a->seqpacket ? second : NULL };
	struct vsmux *m = NEW(struct vsmux);

	m->path = mem_str(a->path);
	m->loop = a->loop;
	m->full = a->full;
	m->arg = a->arg;
	m->last_port = FIRST_PORT - 1;
	list_init(&m->ready);
	list_init(&m->waits);
	list_init(&m->knocks);
	list_init(&m->lingers);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		m->doors[i] = (struct vsdoor){
			.at = { .fd = -1, .packets = i == 1 },
			.loop = a->loop,
			.called = called,
			.arg = m,
		};
	for (size_t i = 0; i < ARRAY_LEN(m->doors); i++)
		list_init(&m->doors[i].callers);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		if (!paths[i] || !vsdoor_open(&m->doors[i], paths[i], a->kept, e))
			continue;
		vsmux_stop(m);
		vsmux_free(m, NULL);
		return -1;
	}
	*out = m;
	return 0;
}

const struct vsmux_counters *vsmux_counters(const struct vsmux *m)
{
	return &m->n;
}

uint32_t vsmux_port(const struct vsmux *m)
{
	return m->last_port;
}

void vsmux_set_port(struct vsmux *m, uint32_t port)
{
	m->last_port = port & (FIRST_PORT - 1);
}
