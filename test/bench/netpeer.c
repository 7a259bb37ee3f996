/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of a network card that is measured: sends frames as fast as they go, or takes them,
 * until it is killed.
 *
 *	netpeer packets IFNAME LENGTH    into an interface, from a packet socket
 *	netpeer mirror IFNAME            sends back what comes out of an interface
 *	netpeer source PATH LENGTH       down the streams of a unix socket that it listens on, once
 *	                                 it has been told SIGUSR1: not every VMM gets through its
 *	                                 start in a flood
 *	netpeer sink PATH                takes what such streams bring
 *	netpeer echo PATH                and sends it back
 *	netpeer datagrams PORT LENGTH    to a port of this host, as fast as it takes them
 *
 * Frames are of ethertype 0x88b5, to everybody. Streams carry four bytes of length, most
 * significant first, and the frame.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 64
#define LENGTH_MAX 65549

static unsigned char frames[BATCH * (4 + LENGTH_MAX)];

static void frame_put(unsigned char *f, unsigned int len)
{
	memset(f, 0xff, 6);
	memset(f + 6, 2, 6);
	f[12] = 0x88;
	f[13] = 0xb5;
	memset(f + 14, 'x', len - 14);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int packet_socket(const char *name)
{
	struct sockaddr_ll a = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(0x88b5),
		.sll_ifindex = (int)if_nametoindex(name),
		.sll_halen = 6,
	};
	int s = socket(AF_PACKET, SOCK_RAW, 0);

	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)))
		die(name);
	return s;
}

static void mirror(const char *name)
{
	int s = packet_socket(name), on = 1;

	setsockopt(s, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	for (;;) {
		ssize_t n = recv(s, frames, LENGTH_MAX, 0);

		if (n > 0)
			send(s, frames, (size_t)n, 0);
	}
}

static void packets(const char *name, unsigned int len)
{
	int s = packet_socket(name), on = 1;
	struct iovec v = { frames, len };
	struct mmsghdr m[BATCH] = { 0 };

	/* past the queue that shapes, where the kernel has that */
	setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	frame_put(frames, len);
	for (int i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v, .msg_iovlen = 1 };
	for (;;)
		if (sendmmsg(s, m, BATCH, 0) < 0)
			usleep(50); /* its queue is full, or nobody has it open */
}

static void datagrams(unsigned int port, unsigned int len)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	struct iovec v = { frames, len };
	struct mmsghdr m[BATCH] = { 0 };

	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)))
		die("datagrams");
	for (int i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v, .msg_iovlen = 1 };
	for (;;)
		if (sendmmsg(s, m, BATCH, 0) < 0)
			usleep(50);
}

static void stream(const char *path, unsigned int len, bool echo)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c;
	size_t total = 0;
	sigset_t usr1;
	int at_signal;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 8))
		die(path);
	while (len && total + 4 + len <= 128 * 1024 && total / (4 + len) < BATCH) {
		uint32_t be = htonl(len);

		memcpy(frames + total, &be, 4);
		frame_put(frames + total + 4, len);
		total += 4 + len;
	}
	for (;;) {
		size_t at = 0;

		c = accept(s, NULL, NULL);
		if (len)
			sigwait(&usr1, &at_signal);
		for (;;) {
			ssize_t n = len ? send(c, frames + at, total - at, MSG_NOSIGNAL)
					: read(c, frames, sizeof(frames));

			if (n <= 0 || (echo && send(c, frames, (size_t)n, MSG_NOSIGNAL) != n))
				break;
			at = (at + (size_t)n) % (total ? total : 1);
		}
		close(c);
	}
}

int main(int argc, char **argv)
{
	unsigned int len = argc > 3 ? (unsigned int)atoi(argv[3]) : 0;

	if (argc == 4 && len >= 14 && len <= LENGTH_MAX && !strcmp(argv[1], "packets"))
		packets(argv[2], len);
	if (argc == 4 && len >= 14 && len <= LENGTH_MAX && !strcmp(argv[1], "source"))
		stream(argv[2], len, false);
	if (argc == 3 && !strcmp(argv[1], "sink"))
		stream(argv[2], 0, false);
	if (argc == 3 && !strcmp(argv[1], "echo"))
		stream(argv[2], 0, true);
	if (argc == 3 && !strcmp(argv[1], "mirror"))
		mirror(argv[2]);
	if (argc == 4 && len >= 1 && len <= 65507 && !strcmp(argv[1], "datagrams"))
		datagrams((unsigned int)atoi(argv[2]), len);
	fprintf(stderr,
		"usage: netpeer packets IFNAME LENGTH | mirror IFNAME | source PATH LENGTH |"
		" sink PATH | echo PATH | datagrams PORT LENGTH\n");
	return 2;
}
