/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The muxer with packets by hand on the one side and real unix sockets on the other: both ways of
 * coming about, streams and messages, credit, half-closed ways, ends, time, and each thing that a
 * guest or a program of the host may do wrong.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/vsmux.h"

#define ROOM 4096u
#define GUEST_WINDOW 0x10000u
#define FIRST 0x40000000u
#define SECOND_NS 1000000000ull

/* The time, as the muxer sees it: real, and what a test lets pass at once. */
static uint64_t leap_ns;
static int full_count;

struct net {
	struct loop *loop;
	struct vsmux *m;
	struct link kept;
	char path[64];
	struct vspkt got[64]; /* packets for the guest, the oldest first */
	uint8_t data[64][ROOM];
	unsigned int count, at;
};

static void on_full(void *arg)
{
	(void)arg;
	full_count++;
}

static void up_again(struct net *t, bool seqpacket)
{
	struct vsmux_args a = {
		.path = t->path, .seqpacket = seqpacket, .kept = &t->kept, .full = on_full
	};
	struct err e = { 0 };

	assert_int_equal(loop_new(&t->loop, "vs", &e), 0);
	a.loop = t->loop;
	if (vsmux_new(&t->m, &a, &e))
		fail_msg("%s", err_frame(&e, 0));
	vsmux_set_seqpacket(t->m, true);
}

static void up(struct net *t)
{
	static int count;

	*t = (struct net){ 0 };
	full_count = 0;
	list_init(&t->kept);
	snprintf(t->path, sizeof(t->path), "/tmp/virga-vsmux-%d-%d", getpid(), count++);
	up_again(t, true);
}

static void down_keeping(struct net *t, bool keeps)
{
	vsmux_stop(t->m);
	loop_free(t->loop);
	vsmux_free(t->m, keeps ? &t->kept : NULL);
}

static void down(struct net *t)
{
	struct stat s;

	down_keeping(t, false);
	assert_int_equal(stat(t->path, &s), -1);
}

/* Turns of the loop, none of which sleeps. */
static void turn(struct net *t)
{
	for (int i = 0; i < 4; i++) {
		loop_stop(t->loop);
		loop_run(t->loop);
	}
}

/* Takes what there is for the guest, with rooms of so many bytes. */
static void collect(struct net *t, uint32_t room)
{
	struct kiov k[VSMUX_ROOMS];
	struct vsroom rooms[VSMUX_ROOMS];
	unsigned int n;

	turn(t);
	t->count = t->at = 0;
	for (int tries = 0; tries < 100 && t->count + VSMUX_ROOMS <= 64; tries++) {
		for (unsigned int i = 0; i < VSMUX_ROOMS; i++) {
			k[i] = kiov_of(t->data[t->count + i], room);
			rooms[i] = (struct vsroom){ &k[i], 1, room };
		}
		n = vsmux_wants(t->m);
		if (!n)
			break;
		t->count += vsmux_give(t->m, t->got + t->count, rooms, n);
		turn(t);
	}
}

static struct vspkt *next(struct net *t, uint16_t op)
{
	if (t->at == t->count)
		collect(t, ROOM);
	if (t->at == t->count)
		fail_msg("no packet where op %u was due", op);
	if (t->got[t->at].op != op)
		fail_msg("op %u where %u was due", t->got[t->at].op, op);
	return &t->got[t->at++];
}

static void nothing_more(struct net *t)
{
	if (t->at == t->count)
		collect(t, ROOM);
	if (t->at != t->count)
		fail_msg("op %u where nothing was due", t->got[t->at].op);
}

/* A packet of the guest. */
struct say {
	uint32_t host_port, guest_port, flags, window, forwarded;
	uint16_t type;
};
static void say(struct net *t, const struct say *s, uint16_t op, const void *data, uint32_t len)
{
	struct kiov k = kiov_of((void *)(uintptr_t)data, len);
	struct vspkt p = {
		.host_port = s->host_port,
		.guest_port = s->guest_port,
		.type = s->type ? s->type : VS_TYPE_STREAM,
		.op = op,
		.len = len,
		.flags = s->flags,
		.buf_alloc = s->window ? s->window : GUEST_WINDOW,
		.fwd_cnt = s->forwarded,
	};

	assert_false(vsmux_is_full(t->m));
	vsmux_take(t->m, &p, &k, len ? 1 : 0);
}

static void pass(uint64_t ns)
{
	leap_ns += ns;
}

/* --- programs of the host --- */

static int dial(struct net *t, const char *suffix, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s%s", t->path, suffix);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		fail_msg("connect %s: %s", a.sun_path, strerror(errno));
	return fd;
}

static void tell(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Takes what is there, as text. */
static const char *hear(int fd)
{
	static char text[256];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? "(nothing)" : "(error)";
	text[n] = '\0';
	return n ? text : "(end)";
}

static int serve(struct net *t, uint32_t port, int type, int backlog)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", t->path, port);
	unlink(a.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void serve_no_more(struct net *t, uint32_t port, int fd)
{
	char path[96];

	snprintf(path, sizeof(path), "%s_%u", t->path, port);
	unlink(path);
	close(fd);
}

/* A connection that the host asked for and the guest has taken. */
static int host_opens(struct net *t, struct say *s)
{
	int fd = dial(t, "", SOCK_STREAM);
	struct vspkt *p;

	tell(fd, "CONNECT 52\n");
	p = next(t, VS_OP_REQUEST);
	assert_int_equal(p->guest_port, 52);
	*s = (struct say){ .host_port = p->host_port, .guest_port = 52 };
	say(t, s, VS_OP_RESPONSE, NULL, 0);
	return fd;
}

static int host_opened(struct net *t, struct say *s)
{
	char want[32];
	int fd = host_opens(t, s);

	snprintf(want, sizeof(want), "OK %u\n", s->host_port);
	assert_string_equal(hear(fd), want);
	return fd;
}

/* One that the guest asked for. *at: the listener. */
static int guest_opened(struct net *t, struct say *s, int *at)
{
	*at = serve(t, 1024, SOCK_STREAM, 8);
	*s = (struct say){ .host_port = 1024, .guest_port = 77 };
	say(t, s, VS_OP_REQUEST, NULL, 0);
	assert_int_equal(next(t, VS_OP_RESPONSE)->guest_port, 77);
	return accept4(*at, NULL, NULL, SOCK_NONBLOCK);
}

/* --- coming about --- */

TEST(host_connects_by_a_line_and_hears_its_port)
{
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	assert_int_equal(s.host_port, FIRST);
	nothing_more(&t);
	tell(fd, "hello");
	assert_int_equal(next(&t, VS_OP_RW)->len, 5);
	assert_memory_equal(t.data[0], "hello", 5);
	say(&t, &s, VS_OP_RW, "world", 5);
	assert_string_equal(hear(fd), "world");
	assert_int_equal(vsmux_counters(t.m)->connections, 1);
	assert_int_equal(vsmux_counters(t.m)->rx_bytes, 5);
	assert_int_equal(vsmux_counters(t.m)->tx_bytes, 5);
	close(fd);
	down(&t);
}

TEST(what_follows_the_line_at_once_is_the_guests)
{
	struct say s = { .guest_port = 9 };
	struct net t;
	int fd;

	up(&t);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "conn");
	nothing_more(&t);
	tell(fd, "ect 9\nGET /");
	s.host_port = next(&t, VS_OP_REQUEST)->host_port;
	nothing_more(&t);
	say(&t, &s, VS_OP_RESPONSE, NULL, 0);
	assert_int_equal(next(&t, VS_OP_RW)->len, 5);
	assert_memory_equal(t.data[0], "GET /", 5);
	close(fd);
	down(&t);
}

TEST(a_line_that_is_none_ends_without_a_word)
{
	static const char *const bad[] = { "HELLO\n", "CONNECT x\n", "\n",
					   "CONNECT                               " };
	struct net t;

	up(&t);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = dial(&t, "", SOCK_STREAM);

		tell(fd, bad[i]);
		nothing_more(&t);
		assert_true(strcmp(hear(fd), "(nothing)")); /* an end, or a reset */
		close(fd);
	}
	down(&t);
}

TEST(a_caller_who_leaves_before_his_line_is_forgotten)
{
	struct net t;
	int fd;

	up(&t);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "CONN");
	turn(&t);
	close(fd);
	nothing_more(&t);
	down(&t);
}

TEST(silent_callers_give_way_to_new_ones)
{
	int fd[200];
	struct net t;

	up(&t);
	for (int i = 0; i < 200; i++) {
		fd[i] = dial(&t, "", SOCK_STREAM);
		turn(&t);
	}
	assert_string_equal(hear(fd[0]), "(end)");
	assert_string_equal(hear(fd[199]), "(nothing)");
	tell(fd[199], "CONNECT 5\n");
	next(&t, VS_OP_REQUEST);
	for (int i = 0; i < 200; i++)
		close(fd[i]);
	down(&t);
}

TEST(a_guest_that_refuses_ends_the_caller_without_a_word)
{
	struct say s = { .guest_port = 5 };
	struct net t;
	int fd;

	up(&t);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "CONNECT 5\n");
	s.host_port = next(&t, VS_OP_REQUEST)->host_port;
	say(&t, &s, VS_OP_RST, NULL, 0);
	assert_string_equal(hear(fd), "(end)");
	nothing_more(&t);
	assert_int_equal(vsmux_counters(t.m)->open, 0);
	close(fd);
	down(&t);
}

TEST(a_guest_that_does_not_answer_in_two_seconds_gets_a_reset)
{
	struct net t;
	int fd;

	up(&t);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "CONNECT 5\n");
	next(&t, VS_OP_REQUEST);
	pass(1900000000ull);
	nothing_more(&t);
	assert_string_equal(hear(fd), "(nothing)");
	pass(200000000ull);
	next(&t, VS_OP_RST);
	assert_string_equal(hear(fd), "(end)");
	nothing_more(&t);
	close(fd);
	down(&t);
}

TEST(a_request_that_no_guest_ever_saw_ends_in_two_seconds_too)
{
	struct net t;
	int fd;

	up(&t);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "CONNECT 5\n");
	turn(&t);
	pass(2100000000ull);
	turn(&t);
	assert_string_equal(hear(fd), "(end)");
	nothing_more(&t);
	close(fd);
	down(&t);
}

TEST(time_stands_still_while_paused)
{
	struct net t;
	int fd;

	up(&t);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "CONNECT 5\n");
	next(&t, VS_OP_REQUEST);
	vsmux_pause(t.m);
	pass(60 * SECOND_NS);
	nothing_more(&t);
	assert_string_equal(hear(fd), "(nothing)");
	vsmux_resume(t.m);
	pass(1900000000ull);
	nothing_more(&t);
	assert_string_equal(hear(fd), "(nothing)");
	pass(200000000ull);
	next(&t, VS_OP_RST);
	close(fd);
	down(&t);
}

TEST(the_guest_connects_to_the_socket_of_a_port)
{
	struct say s;
	struct net t;
	int at, fd;

	up(&t);
	fd = guest_opened(&t, &s, &at);
	say(&t, &s, VS_OP_RW, "hello", 5);
	assert_string_equal(hear(fd), "hello");
	tell(fd, "world");
	assert_int_equal(next(&t, VS_OP_RW)->len, 5);
	close(fd);
	serve_no_more(&t, 1024, at);
	down(&t);
}

TEST(a_port_where_nobody_listens_is_refused)
{
	struct say s = { .host_port = 1025, .guest_port = 1 };
	struct net t;

	up(&t);
	say(&t, &s, VS_OP_REQUEST, NULL, 0);
	assert_int_equal(next(&t, VS_OP_RST)->host_port, 1025);
	assert_int_equal(vsmux_counters(t.m)->refused, 1);
	assert_int_equal(vsmux_counters(t.m)->open, 0);
	nothing_more(&t);
	down(&t);
}

TEST(a_listener_without_room_is_asked_again)
{
	struct say s = { .host_port = 1024, .guest_port = 1 };
	struct net t;
	int at, fd;

	up(&t);
	at = serve(&t, 1024, SOCK_STREAM, 0);
	for (s.guest_port = 1; s.guest_port <= 3; s.guest_port++)
		say(&t, &s, VS_OP_REQUEST, NULL, 0);
	assert_int_equal(next(&t, VS_OP_RESPONSE)->guest_port, 1);
	nothing_more(&t);
	for (uint32_t i = 2; i <= 3; i++) {
		fd = accept4(at, NULL, NULL, SOCK_NONBLOCK);
		assert_true(fd >= 0);
		close(fd);
		pass(10000000);
		next(&t, VS_OP_SHUTDOWN); /* of the one before */
		assert_int_equal(next(&t, VS_OP_RESPONSE)->guest_port, i);
	}
	serve_no_more(&t, 1024, at);
	down(&t);
}

TEST(a_listener_that_never_has_room_is_given_up)
{
	struct say s = { .host_port = 1024, .guest_port = 1 };
	struct net t;
	int at;

	up(&t);
	at = serve(&t, 1024, SOCK_STREAM, 0);
	say(&t, &s, VS_OP_REQUEST, NULL, 0);
	next(&t, VS_OP_RESPONSE);
	s.guest_port = 2;
	say(&t, &s, VS_OP_REQUEST, NULL, 0);
	nothing_more(&t);
	pass(2100000000ull);
	assert_int_equal(next(&t, VS_OP_RST)->guest_port, 2);
	serve_no_more(&t, 1024, at);
	down(&t);
}

/* --- credit --- */

TEST(the_host_sends_no_more_than_the_guest_takes)
{
	struct say s;
	struct net t;
	char *big = mem_new(100000);
	uint32_t total = 0;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	assert_int_equal(send(fd, big, 100000, 0), 100000);
	collect(&t, ROOM);
	for (unsigned int i = 0; i < t.count && t.got[i].op == VS_OP_RW; i++)
		total += t.got[i].len;
	assert_int_equal(total, GUEST_WINDOW);
	/* out of credit, it asks once */
	assert_int_equal(t.got[t.count - 1].op, VS_OP_CREDIT_REQUEST);
	t.at = t.count;
	nothing_more(&t);
	s.forwarded = 10000;
	say(&t, &s, VS_OP_CREDIT_UPDATE, NULL, 0);
	total = 0;
	collect(&t, ROOM);
	for (unsigned int i = 0; i < t.count && t.got[i].op == VS_OP_RW; i++)
		total += t.got[i].len;
	assert_int_equal(total, 10000);
	close(fd);
	free(big);
	down(&t);
}

TEST(a_guest_that_lies_about_credit_gets_nothing)
{
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	s.forwarded = 1000; /* of nothing sent */
	say(&t, &s, VS_OP_CREDIT_UPDATE, NULL, 0);
	tell(fd, "x");
	next(&t, VS_OP_CREDIT_REQUEST);
	nothing_more(&t);
	s.forwarded = 0;
	say(&t, &s, VS_OP_CREDIT_UPDATE, NULL, 0);
	next(&t, VS_OP_RW);
	close(fd);
	down(&t);
}

/* Sends until the muxer has n bytes more than the socket took. */
static uint32_t stuff(struct net *t, const struct say *s, uint32_t window)
{
	static uint8_t block[4096];
	uint32_t sent = 0, forwarded = 0;

	/* until nothing of what is sent is forwarded any more, and all of the window is used */
	for (;;) {
		struct vspkt *p;

		if (sent - forwarded + sizeof(block) > window) {
			say(t, s, VS_OP_CREDIT_REQUEST, NULL, 0);
			collect(t, ROOM);
			p = &t->got[t->count - 1];
			t->at = t->count;
			assert_int_equal(p->op, VS_OP_CREDIT_UPDATE);
			assert_int_equal(p->buf_alloc, window);
			if (sent - p->fwd_cnt + sizeof(block) > window)
				return sent;
			forwarded = p->fwd_cnt;
		}
		say(t, s, VS_OP_RW, block, sizeof(block));
		sent += sizeof(block);
	}
}

static uint32_t drain(struct net *t, int fd)
{
	static char sink[65536];
	uint32_t total = 0;

	for (;;) {
		ssize_t n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);

		if (n == 0)
			return total;
		if (n > 0) {
			total += (uint32_t)n;
			continue;
		}
		turn(t);
		n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
		if (n <= 0)
			return total;
		total += (uint32_t)n;
	}
}

TEST(a_host_that_does_not_read_is_kept_for_within_credit)
{
	struct say s, other;
	struct net t;
	uint32_t sent;
	int fd, fd2, at;

	up(&t);
	fd = host_opened(&t, &s);
	sent = stuff(&t, &s, VS_STREAM_WIDE);
	assert_true(sent > VS_STREAM_WIDE);
	/* it holds only itself */
	fd2 = guest_opened(&t, &other, &at);
	say(&t, &other, VS_OP_RW, "quick", 5);
	assert_string_equal(hear(fd2), "quick");
	assert_int_equal(drain(&t, fd), sent);
	/* and hears of its credit */
	assert_int_equal(next(&t, VS_OP_CREDIT_UPDATE)->fwd_cnt, sent);
	say(&t, &s, VS_OP_RW, "again", 5);
	assert_string_equal(hear(fd), "again");
	close(fd);
	close(fd2);
	serve_no_more(&t, 1024, at);
	down(&t);
}

TEST(more_than_the_credit_ends_in_a_reset)
{
	static uint8_t block[4096];
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	stuff(&t, &s, VS_STREAM_WIDE);
	say(&t, &s, VS_OP_RW, block, sizeof(block));
	assert_int_equal(next(&t, VS_OP_RST)->host_port, s.host_port);
	assert_int_equal(vsmux_counters(t.m)->resets, 1);
	close(fd);
	down(&t);
}

/* --- ends --- */

TEST(each_way_ends_by_itself)
{
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	tell(fd, "last words");
	shutdown(fd, SHUT_WR);
	assert_int_equal(next(&t, VS_OP_RW)->len, 10);
	assert_int_equal(next(&t, VS_OP_SHUTDOWN)->flags, VS_NO_SEND);
	nothing_more(&t);
	say(&t, &s, VS_OP_RW, "answer", 6);
	assert_string_equal(hear(fd), "answer");
	pass(10 * SECOND_NS); /* half a connection may last */
	nothing_more(&t);
	s.flags = VS_NO_SEND;
	say(&t, &s, VS_OP_SHUTDOWN, NULL, 0);
	assert_string_equal(hear(fd), "(end)");
	close(fd);
	turn(&t);
	/* now the other way is closed too */
	assert_int_equal(next(&t, VS_OP_SHUTDOWN)->flags, VS_NO_WAY);
	say(&t, &s, VS_OP_RST, NULL, 0);
	nothing_more(&t);
	assert_int_equal(vsmux_counters(t.m)->open, 0);
	down(&t);
}

TEST(a_guest_that_sends_no_more_ends_the_hosts_reading_after_what_is_kept)
{
	struct say s;
	struct net t;
	uint32_t sent;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	sent = stuff(&t, &s, VS_STREAM_WIDE);
	s.flags = VS_NO_SEND;
	say(&t, &s, VS_OP_SHUTDOWN, NULL, 0);
	assert_int_equal(drain(&t, fd), sent);
	turn(&t);
	assert_string_equal(hear(fd), "(end)");
	tell(fd, "yet"); /* the other way is open */
	collect(&t, ROOM);
	assert_int_equal(t.got[t.count - 1].op, VS_OP_RW);
	t.at = t.count;
	s.flags = 0;
	say(&t, &s, VS_OP_RW, "x", 1); /* it said that it would not */
	next(&t, VS_OP_RST);
	close(fd);
	down(&t);
}

TEST(a_guest_that_receives_no_more_stops_the_hosts_writing)
{
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	s.flags = VS_NO_RCV;
	say(&t, &s, VS_OP_SHUTDOWN, NULL, 0);
	turn(&t);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	s.flags = 0;
	say(&t, &s, VS_OP_RW, "still", 5);
	assert_string_equal(hear(fd), "still");
	close(fd);
	assert_int_equal(next(&t, VS_OP_SHUTDOWN)->flags, VS_NO_WAY);
	down(&t);
}

TEST(a_guest_that_closes_gets_its_reset_and_the_host_all_that_was_sent)
{
	struct say s;
	struct net t;
	uint32_t sent;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	sent = stuff(&t, &s, VS_STREAM_WIDE);
	s.flags = VS_NO_WAY;
	say(&t, &s, VS_OP_SHUTDOWN, NULL, 0);
	next(&t, VS_OP_RST);
	nothing_more(&t);
	pass(10 * SECOND_NS); /* a slow reader loses nothing */
	assert_int_equal(drain(&t, fd), sent);
	turn(&t);
	assert_string_equal(hear(fd), "(end)");
	assert_int_equal(vsmux_counters(t.m)->open, 0);
	close(fd);
	down(&t);
}

TEST(a_guest_that_does_not_answer_an_end_gets_a_reset)
{
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	close(fd);
	assert_int_equal(next(&t, VS_OP_SHUTDOWN)->flags, VS_NO_WAY);
	pass(1900000000ull);
	nothing_more(&t);
	pass(200000000ull);
	next(&t, VS_OP_RST);
	assert_int_equal(vsmux_counters(t.m)->open, 0);
	down(&t);
}

TEST(a_host_that_is_killed_costs_the_guest_nothing_else)
{
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	stuff(&t, &s, VS_STREAM_WIDE);
	close(fd); /* with bytes that it never read */
	turn(&t);
	say(&t, &s, VS_OP_RW, "x", 1); /* is lost, and no fault */
	assert_int_equal(next(&t, VS_OP_SHUTDOWN)->flags, VS_NO_WAY);
	s.flags = VS_NO_WAY;
	say(&t, &s, VS_OP_SHUTDOWN, NULL, 0);
	next(&t, VS_OP_RST);
	nothing_more(&t);
	down(&t);
}

TEST(a_reset_of_the_guest_ends_the_socket)
{
	struct say s;
	struct net t;
	int fd;

	up(&t);
	fd = host_opened(&t, &s);
	say(&t, &s, VS_OP_RST, NULL, 0);
	assert_string_equal(hear(fd), "(end)");
	nothing_more(&t);
	close(fd);
	down(&t);
}

TEST(a_guest_that_forgets_all_leaves_the_listener_and_what_it_said)
{
	struct say s, other;
	struct net t;
	uint32_t sent;
	int fd, fd2, fd3;

	up(&t);
	fd = host_opened(&t, &s);
	fd2 = host_opened(&t, &other);
	sent = stuff(&t, &s, VS_STREAM_WIDE);
	fd3 = dial(&t, "", SOCK_STREAM);
	tell(fd3, "CONNECT 5\n");
	turn(&t);
	vsmux_forget(t.m);
	assert_string_equal(hear(fd2), "(end)");
	assert_int_equal(drain(&t, fd), sent);
	/* who had not been heard yet is heard by the next driver */
	assert_int_equal(next(&t, VS_OP_REQUEST)->guest_port, 5);
	nothing_more(&t);
	close(fd3);
	next(&t, VS_OP_RST);
	close(fd);
	close(fd2);
	fd = host_opened(&t, &s);
	close(fd);
	down(&t);
}

TEST(listeners_go_from_one_machine_to_the_next)
{
	struct say s = { .guest_port = 3 };
	struct net t;
	struct stat before, after;
	int fd;

	up(&t);
	assert_int_equal(stat(t.path, &before), 0);
	down_keeping(&t, true);
	fd = dial(&t, "", SOCK_STREAM); /* waits for the next */
	tell(fd, "CONNECT 3\n");
	up_again(&t, true);
	assert_true(list_empty(&t.kept));
	assert_int_equal(stat(t.path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	s.host_port = next(&t, VS_OP_REQUEST)->host_port;
	say(&t, &s, VS_OP_RESPONSE, NULL, 0);
	assert_memory_equal(hear(fd), "OK ", 3);
	close(fd);
	down(&t);
}

/* --- messages --- */

static int seq_opened(struct net *t, struct say *s, int *at)
{
	*at = serve(t, 2000, SOCK_SEQPACKET, 8);
	*s = (struct say){ .host_port = 2000, .guest_port = 8, .type = VS_TYPE_SEQPACKET };
	say(t, s, VS_OP_REQUEST, NULL, 0);
	assert_int_equal(next(t, VS_OP_RESPONSE)->type, VS_TYPE_SEQPACKET);
	return accept4(*at, NULL, NULL, SOCK_NONBLOCK);
}

TEST(messages_keep_their_bounds_both_ways)
{
	struct say s;
	struct net t;
	char *big = mem_new(20000);
	int at, fd;

	up(&t);
	fd = seq_opened(&t, &s, &at);
	say(&t, &s, VS_OP_RW, "one ", 4);
	assert_string_equal(hear(fd), "(nothing)");
	s.flags = VS_FLAG_EOM;
	say(&t, &s, VS_OP_RW, "message", 7);
	say(&t, &s, VS_OP_RW, "two", 3);
	assert_string_equal(hear(fd), "one message");
	assert_string_equal(hear(fd), "two");
	tell(fd, "a");
	tell(fd, "bc");
	assert_int_equal(next(&t, VS_OP_RW)->len, 1);
	assert_int_equal(t.got[0].flags, VS_FLAG_EOM);
	assert_int_equal(next(&t, VS_OP_RW)->len, 2);
	/* one that needs several buffers, in one go and in several */
	memset(big, 'q', 20000);
	for (int i = 0; i < 2; i++) {
		uint32_t total = 0;

		assert_int_equal(send(fd, big, 20000, 0), 20000);
		collect(&t, i ? 1000 : ROOM);
		for (unsigned int n = 0; n < t.count; n++) {
			total += t.got[n].len;
			assert_int_equal(t.got[n].flags, total == 20000 ? VS_FLAG_EOM : 0);
		}
		assert_int_equal(total, 20000);
		t.at = t.count;
	}
	free(big);
	shutdown(fd, SHUT_WR);
	assert_int_equal(next(&t, VS_OP_SHUTDOWN)->flags, VS_NO_SEND);
	close(fd);
	serve_no_more(&t, 2000, at);
	down(&t);
}

TEST(messages_wait_whole_for_a_host_that_does_not_read)
{
	struct say s;
	struct net t;
	int at, fd, n = 0;
	uint32_t sent = 0, forwarded = 0;

	up(&t);
	fd = seq_opened(&t, &s, &at);
	s.flags = VS_FLAG_EOM;
	/* small ones, which cost most for their bounds, to the end of the credit */
	while (sent - forwarded < VS_PACKETS) {
		say(&t, &s, VS_OP_RW, "x", 1);
		sent++;
		if (sent - forwarded == VS_PACKETS) {
			say(&t, &s, VS_OP_CREDIT_REQUEST, NULL, 0);
			collect(&t, ROOM);
			forwarded = t.got[t.count - 1].fwd_cnt;
		}
	}
	t.at = t.count;
	nothing_more(&t);
	for (const char *got = hear(fd);; got = hear(fd)) {
		if (!strcmp(got, "(nothing)")) {
			turn(&t);
			got = hear(fd);
		}
		if (!strcmp(got, "(nothing)"))
			break;
		assert_string_equal(got, "x");
		n++;
	}
	assert_int_equal(n, sent);
	close(fd);
	serve_no_more(&t, 2000, at);
	down(&t);
}

TEST(a_message_waits_for_credit_and_one_that_never_fits_ends_it)
{
	struct say s;
	struct net t;
	char *big = mem_new(0x10000);
	int at, fd;

	up(&t);
	fd = seq_opened(&t, &s, &at);
	assert_int_equal(send(fd, big, 40000, 0), 40000);
	assert_int_equal(send(fd, big, 40000, 0), 40000);
	collect(&t, ROOM);
	assert_int_equal(t.got[t.count - 1].op, VS_OP_CREDIT_REQUEST);
	t.at = t.count;
	nothing_more(&t);
	s.forwarded = 40000;
	say(&t, &s, VS_OP_CREDIT_UPDATE, NULL, 0);
	collect(&t, ROOM);
	assert_int_equal(t.got[t.count - 1].flags, VS_FLAG_EOM);
	t.at = t.count;
	s.window = 30000;
	s.forwarded = 80000;
	say(&t, &s, VS_OP_CREDIT_UPDATE, NULL, 0);
	assert_int_equal(send(fd, big, 40000, 0), 40000);
	next(&t, VS_OP_RST);
	free(big);
	close(fd);
	serve_no_more(&t, 2000, at);
	down(&t);
}

TEST(the_host_asks_for_messages_at_a_socket_of_its_own)
{
	struct say s = { .guest_port = 6, .type = VS_TYPE_SEQPACKET };
	struct net t;
	char want[32];
	int fd;

	up(&t);
	fd = dial(&t, "_seqpacket", SOCK_SEQPACKET);
	tell(fd, "CONNECT 6");
	s.host_port = next(&t, VS_OP_REQUEST)->host_port;
	assert_int_equal(t.got[0].type, VS_TYPE_SEQPACKET);
	say(&t, &s, VS_OP_RESPONSE, NULL, 0);
	snprintf(want, sizeof(want), "OK %u\n", s.host_port);
	assert_string_equal(hear(fd), want);
	close(fd);
	vsmux_set_seqpacket(t.m, false);
	fd = dial(&t, "_seqpacket", SOCK_SEQPACKET);
	tell(fd, "CONNECT 6");
	collect(&t, ROOM);
	assert_string_equal(hear(fd), "(end)");
	close(fd);
	down(&t);
}

/* --- what is against the rules --- */

TEST(a_packet_without_a_connection_is_answered_by_a_reset)
{
	static const uint16_t ops[] = { VS_OP_RESPONSE,
					VS_OP_SHUTDOWN,
					VS_OP_RW,
					VS_OP_CREDIT_UPDATE,
					VS_OP_CREDIT_REQUEST,
					0,
					8,
					0xffff };
	struct say s = { .host_port = 1, .guest_port = 2 };
	struct net t;

	up(&t);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		say(&t, &s, ops[i], NULL, 0);
		assert_int_equal(next(&t, VS_OP_RST)->guest_port, 2);
	}
	say(&t, &s, VS_OP_RST, NULL, 0); /* never by another */
	nothing_more(&t);
	down(&t);
}

TEST(a_wrong_word_ends_its_connection)
{
	static const uint16_t ops[] = { VS_OP_REQUEST, VS_OP_RESPONSE, 0, 8, 0xffff };
	struct say s;
	struct net t;

	up(&t);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		int fd = host_opened(&t, &s);

		say(&t, &s, ops[i], NULL, 0);
		next(&t, VS_OP_RST);
		assert_string_equal(hear(fd), "(end)");
		nothing_more(&t);
		close(fd);
	}
	assert_int_equal(vsmux_counters(t.m)->open, 0);
	down(&t);
}

TEST(words_before_the_answer_end_the_connection)
{
	static const uint16_t ops[] = { VS_OP_RW, VS_OP_SHUTDOWN, VS_OP_REQUEST };
	struct say s = { .guest_port = 7 };
	struct net t;

	up(&t);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		int fd = dial(&t, "", SOCK_STREAM);

		tell(fd, "CONNECT 7\n");
		s.host_port = next(&t, VS_OP_REQUEST)->host_port;
		say(&t, &s, ops[i], NULL, 0);
		next(&t, VS_OP_RST);
		assert_string_equal(hear(fd), "(end)");
		close(fd);
	}
	down(&t);
}

TEST(an_answer_before_the_question_ends_the_connection)
{
	struct say s = { .host_port = FIRST, .guest_port = 7 };
	struct net t;
	int fd;

	up(&t);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "CONNECT 7\n");
	turn(&t);
	say(&t, &s, VS_OP_RESPONSE, NULL, 0);
	next(&t, VS_OP_RST);
	assert_string_equal(hear(fd), "(end)");
	close(fd);
	down(&t);
}

TEST(a_type_that_is_none_or_another_is_refused)
{
	struct say s = { .host_port = 1, .guest_port = 2, .type = 3 };
	struct net t;
	int fd;

	up(&t);
	say(&t, &s, VS_OP_REQUEST, NULL, 0);
	assert_int_equal(next(&t, VS_OP_RST)->type, 3);
	fd = host_opened(&t, &s);
	s.type = VS_TYPE_SEQPACKET;
	say(&t, &s, VS_OP_RW, "x", 1);
	next(&t, VS_OP_RST);
	vsmux_set_seqpacket(t.m, false);
	s.host_port = 1;
	say(&t, &s, VS_OP_REQUEST, NULL, 0);
	next(&t, VS_OP_RST);
	close(fd);
	down(&t);
}

TEST(answers_that_nobody_takes_stop_the_guest_and_grow_no_further)
{
	struct say s = { .host_port = 1, .guest_port = 2 };
	struct net t;
	int n = 0;

	up(&t);
	while (!vsmux_is_full(t.m)) {
		say(&t, &s, VS_OP_RW, "x", 1);
		n++;
	}
	assert_int_equal(n, 256);
	for (int i = 0; i < n; i++)
		next(&t, VS_OP_RST);
	assert_false(vsmux_is_full(t.m));
	down(&t);
}

TEST(there_are_1023_connections_and_no_more)
{
	struct say s = { .host_port = 1024 };
	struct rlimit r;
	struct net t;
	int at, fd = -1;

	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	up(&t);
	at = serve(&t, 1024, SOCK_STREAM, 4096);
	for (s.guest_port = 1; s.guest_port <= 1023; s.guest_port++) {
		say(&t, &s, VS_OP_REQUEST, NULL, 0);
		next(&t, VS_OP_RESPONSE);
	}
	assert_int_equal(vsmux_counters(t.m)->open, 1023);
	for (int i = 0; i < 3; i++) {
		say(&t, &s, VS_OP_REQUEST, NULL, 0);
		next(&t, VS_OP_RST);
	}
	assert_int_equal(full_count, 1);
	fd = dial(&t, "", SOCK_STREAM);
	tell(fd, "CONNECT 1\n");
	nothing_more(&t);
	assert_string_equal(hear(fd), "(end)");
	close(fd);
	/* one leaves, one comes */
	s.guest_port = 5;
	say(&t, &s, VS_OP_RST, NULL, 0);
	say(&t, &s, VS_OP_REQUEST, NULL, 0);
	next(&t, VS_OP_RESPONSE);
	serve_no_more(&t, 1024, at);
	down(&t);
}

/* --- the clock of the muxer: real time and what a test lets pass --- */

int clock_gettime(clockid_t id, struct timespec *ts)
{
	struct timespec t;

	timespec_get(&t, TIME_UTC);
	(void)id;
	ts->tv_sec = t.tv_sec + (time_t)(leap_ns / SECOND_NS);
	ts->tv_nsec = t.tv_nsec + (long)(leap_ns % SECOND_NS);
	if (ts->tv_nsec >= (long)SECOND_NS) {
		ts->tv_nsec -= (long)SECOND_NS;
		ts->tv_sec++;
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(host_connects_by_a_line_and_hears_its_port),
		T(what_follows_the_line_at_once_is_the_guests),
		T(a_line_that_is_none_ends_without_a_word),
		T(a_caller_who_leaves_before_his_line_is_forgotten),
		T(silent_callers_give_way_to_new_ones),
		T(a_guest_that_refuses_ends_the_caller_without_a_word),
		T(a_guest_that_does_not_answer_in_two_seconds_gets_a_reset),
		T(a_request_that_no_guest_ever_saw_ends_in_two_seconds_too),
		T(time_stands_still_while_paused),
		T(the_guest_connects_to_the_socket_of_a_port),
		T(a_port_where_nobody_listens_is_refused),
		T(a_listener_without_room_is_asked_again),
		T(a_listener_that_never_has_room_is_given_up),
		T(the_host_sends_no_more_than_the_guest_takes),
		T(a_guest_that_lies_about_credit_gets_nothing),
		T(a_host_that_does_not_read_is_kept_for_within_credit),
		T(more_than_the_credit_ends_in_a_reset),
		T(each_way_ends_by_itself),
		T(a_guest_that_sends_no_more_ends_the_hosts_reading_after_what_is_kept),
		T(a_guest_that_receives_no_more_stops_the_hosts_writing),
		T(a_guest_that_closes_gets_its_reset_and_the_host_all_that_was_sent),
		T(a_guest_that_does_not_answer_an_end_gets_a_reset),
		T(a_host_that_is_killed_costs_the_guest_nothing_else),
		T(a_reset_of_the_guest_ends_the_socket),
		T(a_guest_that_forgets_all_leaves_the_listener_and_what_it_said),
		T(listeners_go_from_one_machine_to_the_next),
		T(messages_keep_their_bounds_both_ways),
		T(messages_wait_whole_for_a_host_that_does_not_read),
		T(a_message_waits_for_credit_and_one_that_never_fits_ends_it),
		T(the_host_asks_for_messages_at_a_socket_of_its_own),
		T(a_packet_without_a_connection_is_answered_by_a_reset),
		T(a_wrong_word_ends_its_connection),
		T(words_before_the_answer_end_the_connection),
		T(an_answer_before_the_question_ends_the_connection),
		T(a_type_that_is_none_or_another_is_refused),
		T(answers_that_nobody_takes_stop_the_guest_and_grow_no_further),
		T(there_are_1023_connections_and_no_more),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
