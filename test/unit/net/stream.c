/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of frames against a peer that the test plays: frames cut anywhere, batches, a peer
 * that does not read, lies about lengths, leaves and comes back.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "net/link.h"

#define HEADER 12
#define FRAME_MAX (65535 + 18)

static struct peer {
	char dir[64], path[100];
	int listener, fd;
	struct nlink link;
} peer;

static void peer_listen(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", peer.path);
	peer.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(peer.path);
	assert_int_equal(bind(peer.listener, (const struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(peer.listener, 1), 0);
}

static void begin(void)
{
	struct err e = { 0 };

	peer = (struct peer){ .dir = "/tmp/virga-stream-XXXXXX", .listener = -1, .fd = -1 };
	assert_non_null(mkdtemp(peer.dir));
	snprintf(peer.path, sizeof(peer.path), "%s/s", peer.dir);
	peer_listen();
	if (stream_open(&peer.link, peer.path, &e))
		fail_msg("%s", err_frame(&e, 0));
	peer.fd = accept(peer.listener, NULL, NULL);
	assert_true(peer.fd >= 0);
}

static void end(void)
{
	peer.link.ops->close(&peer.link);
	fd_close(&peer.fd);
	fd_close(&peer.listener);
	unlink(peer.path);
	rmdir(peer.dir);
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(3 + i % 241);
}

/* A frame as it lies on the stream; returns its bytes. */
static size_t wire(uint8_t *out, uint32_t len)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(len >> (24 - 8 * i));
	for (size_t i = 0; i < len; i++)
		out[4 + i] = byte_at(i + len);
	return 4 + len;
}

static void peer_says(const uint8_t *b, size_t len)
{
	assert_int_equal(write(peer.fd, b, len), len);
}

static uint8_t got[HEADER + FRAME_MAX + 100];

static long receive(void)
{
	struct kiov k[3] = { kiov_of(got, 5), kiov_of(got + 5, 100),
			     kiov_of(got + 105, sizeof(got) - 105) };

	memset(got, 0xee, HEADER);
	return peer.link.ops->rx(&peer.link, k, 3);
}

static void expect_frame(uint32_t len)
{
	static const uint8_t zeros[HEADER];

	assert_int_equal(receive(), HEADER + len);
	assert_memory_equal(got, zeros, HEADER);
	for (size_t i = 0; i < len; i++)
		if (got[HEADER + i] != byte_at(i + len))
			fail_msg("byte %zu of a frame of %u is wrong", i, len);
}

static long give(uint32_t len)
{
	static uint8_t frame[HEADER + FRAME_MAX + 1];
	uint32_t second = len < 38 ? len + 2 : 40;
	struct kiov k[3] = { kiov_of(frame, HEADER - 2), kiov_of(frame + HEADER - 2, second),
			     kiov_of(frame + HEADER - 2 + second, len + 2 - second) };

	memset(frame, 0x99, HEADER); /* not for the stream */
	for (size_t i = 0; i < len; i++)
		frame[HEADER + i] = byte_at(i + len);
	return peer.link.ops->tx(&peer.link, k, 3);
}

/* The peer reads one frame, whole. */
static void peer_gets(uint32_t len)
{
	static uint8_t want[4 + FRAME_MAX], have[4 + FRAME_MAX];
	size_t n = wire(want, len);

	for (size_t at = 0; at < n;) {
		ssize_t part = recv(peer.fd, have + at, n - at, MSG_DONTWAIT);

		if (part < 0 && errno == EAGAIN) {
			long flushed = peer.link.ops->flush(&peer.link);

			assert_true(!flushed || flushed == LINK_AGAIN);
			continue;
		}
		assert_true(part > 0);
		at += (size_t)part;
	}
	assert_memory_equal(want, have, n);
}

TEST(frames_come_in_however_they_are_cut)
{
	uint8_t b[3000];
	size_t n = 0;

	begin();
	n += wire(b + n, 60);
	n += wire(b + n, 1514);
	n += wire(b + n, 14);
	n += wire(b + n, 700);
	/* byte by byte */
	for (size_t i = 0, frames = 0; i < n; i++) {
		static const size_t ends[] = { 64, 64 + 1518, 64 + 1518 + 18,
					       64 + 1518 + 18 + 704 };
		static const uint32_t lens[] = { 60, 1514, 14, 700 };

		assert_int_equal(receive(), LINK_AGAIN);
		peer_says(b + i, 1);
		if (i + 1 == ends[frames])
			expect_frame(lens[frames++]);
	}
	/* cut in two, anywhere */
	for (size_t cut = 1; cut < n; cut += 7) {
		uint32_t left[] = { 60, 1514, 14, 700 };
		size_t next = 0;
		long got_n;

		peer_says(b, cut);
		while ((got_n = receive()) > 0)
			assert_int_equal(got_n, HEADER + left[next++]);
		assert_int_equal(got_n, LINK_AGAIN);
		peer_says(b + cut, n - cut);
		while (next < 4)
			expect_frame(left[next++]);
		assert_int_equal(receive(), LINK_AGAIN);
	}
	end();
}

TEST(the_longest_frames_come_in)
{
	static uint8_t b[4 + FRAME_MAX];

	begin();
	for (int i = 0; i < 20; i++) {
		size_t n = wire(b, FRAME_MAX);

		peer_says(b, n);
		expect_frame(FRAME_MAX);
		n = wire(b, 1000);
		peer_says(b, n);
		expect_frame(1000);
	}
	end();
}

TEST(small_frames_are_kept_back_until_the_flush)
{
	uint8_t b[4];

	begin();
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(give(60 + i), HEADER + 60 + i);
	assert_int_equal(recv(peer.fd, b, 1, MSG_DONTWAIT | MSG_PEEK), -1);
	assert_int_equal(peer.link.ops->flush(&peer.link), 0);
	for (uint32_t i = 0; i < 64; i++)
		peer_gets(60 + i);
	/* a long one goes at once, and does not overtake */
	assert_int_equal(give(60), HEADER + 60);
	assert_int_equal(give(30000), HEADER + 30000);
	peer_gets(60);
	peer_gets(30000);
	end();
}

TEST(a_peer_that_does_not_read_gets_every_frame_in_the_end)
{
	static const uint32_t lens[] = { 60000, 100, 9000, 1500, FRAME_MAX, 14 };
	unsigned int sent = 0, seen = 0;

	begin();
	for (int round = 0; round < 30; round++) {
		while (give(lens[sent % 6]) > 0)
			sent++;
		assert_int_equal(give(lens[sent % 6]), LINK_AGAIN);
		/* a part of it is read, in another rhythm */
		for (int i = 0; i < 2 && seen < sent; i++)
			peer_gets(lens[seen++ % 6]);
	}
	assert_true(sent > 30);
	while (seen < sent)
		peer_gets(lens[seen++ % 6]);
	end();
}

TEST(frames_that_are_none_are_not_sent)
{
	begin();
	assert_int_equal(give(0), LINK_DROP);
	assert_int_equal(give(FRAME_MAX + 1), LINK_DROP);
	assert_int_equal(give(20), HEADER + 20);
	assert_int_equal(peer.link.ops->flush(&peer.link), 0);
	peer_gets(20);
	end();
}

TEST(a_length_that_no_frame_has_ends_the_link)
{
	static const uint8_t bad[][4] = {
		{ 0, 0, 0, 0 },
		{ 0, 1, 0, 18 }, /* one more than the longest */
		{ 0xff, 0xff, 0xff, 0xff },
		{ 0x47, 0x45, 0x54, 0x20 }, /* "GET " */
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint8_t b[100];

		begin();
		peer_says(b, wire(b, 60));
		peer_says(bad[i], 4);
		expect_frame(60);
		assert_int_equal(receive(), LINK_DEAD);
		end();
	}
}

TEST(the_end_of_the_stream_is_the_end_of_the_link)
{
	uint8_t b[100];

	begin();
	peer_says(b, wire(b, 60) - 1);
	fd_close(&peer.fd);
	assert_int_equal(receive(), LINK_DEAD);
	assert_int_equal(give(60), HEADER + 60);
	assert_int_equal(peer.link.ops->flush(&peer.link), LINK_DEAD);
	assert_int_equal(give(30000), LINK_DEAD);
	end();
}

TEST(a_peer_that_comes_back_is_reached_again)
{
	uint8_t b[100];
	int fd;

	begin();
	peer_says(b, wire(b, 60) - 10); /* half a frame, never to be ended */
	fd_close(&peer.fd);
	fd_close(&peer.listener);
	assert_int_equal(receive(), LINK_DEAD);
	assert_int_equal(peer.link.ops->knock(&peer.link), -1);
	unlink(peer.path);
	assert_int_equal(peer.link.ops->knock(&peer.link), -1);
	peer_listen();
	fd = peer.link.ops->knock(&peer.link);
	assert_true(fd >= 0);
	peer.link.ops->renew(&peer.link, fd);
	peer.fd = accept(peer.listener, NULL, NULL);
	peer_says(b, wire(b, 61));
	expect_frame(61);
	assert_int_equal(give(80), HEADER + 80);
	assert_int_equal(peer.link.ops->flush(&peer.link), 0);
	peer_gets(80);
	end();
}

TEST(a_knock_at_a_peer_that_is_busy_does_not_wait)
{
	int fds[8];
	int n = 0;

	begin();
	while (n < 8 && (fds[n] = peer.link.ops->knock(&peer.link)) >= 0)
		n++;
	assert_true(n < 8);
	while (n)
		fd_close(&fds[--n]);
	end();
}

TEST(places_where_nobody_listens_are_refused)
{
	char longest[200];
	struct err e = { 0 };
	struct nlink l;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(stream_open(&l, longest, &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "1 to 107 bytes"));
	err_clear(&e);
	assert_int_equal(stream_open(&l, "/nowhere/at/all", &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "connect to /nowhere/at/all; a program such as"));
}

TEST(a_passed_socket_is_one_and_does_not_come_back)
{
	struct err e = { 0 };
	struct nlink l;
	int p[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	assert_true(stream_is(p[0]));
	assert_false(stream_is(null));
	assert_false(stream_is(1000));
	assert_int_equal(stream_take(&l, p[0], &e), 0);
	assert_int_equal(stream_take(&l, 1000, &e), -1);
	fd_close(&p[0]);
	peer.link = l;
	peer.fd = p[1];
	assert_int_equal(give(60), HEADER + 60);
	assert_int_equal(l.ops->flush(&l), 0);
	peer_gets(60);
	assert_null(l.ops->knock);
	assert_null(l.ops->offload);
	l.ops->close(&l);
	fd_close(&p[1]);
	fd_close(&null);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(frames_come_in_however_they_are_cut),
		T(the_longest_frames_come_in),
		T(small_frames_are_kept_back_until_the_flush),
		T(a_peer_that_does_not_read_gets_every_frame_in_the_end),
		T(frames_that_are_none_are_not_sent),
		T(a_length_that_no_frame_has_ends_the_link),
		T(the_end_of_the_stream_is_the_end_of_the_link),
		T(a_peer_that_comes_back_is_reached_again),
		T(a_knock_at_a_peer_that_is_busy_does_not_wait),
		T(places_where_nobody_listens_are_refused),
		T(a_passed_socket_is_one_and_does_not_come_back),
	};

	signal(SIGPIPE, SIG_IGN); /* as main does */
	return cmocka_run_group_tests(t, NULL, NULL);
}
