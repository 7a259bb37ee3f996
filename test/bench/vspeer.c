/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a vsock for measurements and for streams too long for a script: a pattern sent
 * or looked at, bytes sent back; and the same between two unix sockets, with nothing between them,
 * as what could be had at best.
 *
 *	vspeer sink PATH          listens, takes one stream to its end and looks whether it is the pattern
 *	vspeer source PATH MIB    listens, sends so much of the pattern
 *	vspeer echo PATH          listens, sends back what comes
 *	vspeer pair MIB TIMES     both ways without a vsock: MiB a second, and nanoseconds there and back
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 65536u
#define ODD 0x9e3779b97f4a7c15ull /* as the tiny guest's pattern has it */
#define PING 64

static uint8_t block[BLOCK];

static void die(const char *what)
{
	fprintf(stderr, "vspeer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t pattern(uint64_t off)
{
	return (off / 8 + 1) * ODD;
}

static int take_one(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), peer;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8))
		die(path);
	puts("LISTENING");
	fflush(stdout);
	peer = accept(fd, NULL, NULL);
	if (peer < 0)
		die("accept");
	unlink(path);
	return peer;
}

static void send_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n <= 0)
			die("write");
		data += n;
		len -= (size_t)n;
	}
}

static void source(int fd, uint64_t total)
{
	for (uint64_t off = 0; off < total; off += BLOCK) {
		for (uint64_t i = 0; i < BLOCK; i += 8) {
			uint64_t p = pattern(off + i);

			memcpy(block + i, &p, 8);
		}
		send_all(fd, block, BLOCK);
	}
}

/* Takes all there is, most at most; false when it is not the pattern. */
static bool sink(int fd, uint64_t *total, uint64_t most)
{
	bool good = true;

	for (*total = 0; *total < most;) {
		ssize_t n = read(fd, block, BLOCK);
		uint64_t i = 0;

		if (n < 0)
			die("read");
		if (n == 0)
			break;
		for (; i < (uint64_t)n && (*total + i) % 8; i++)
			good &= block[i] ==
				(uint8_t)(pattern(*total + i) >> ((*total + i) % 8 * 8));
		for (uint64_t p = pattern(*total + i); i + 8 <= (uint64_t)n; i += 8, p += ODD)
			good &= !memcmp(block + i, &p, 8);
		for (; i < (uint64_t)n; i++)
			good &= block[i] ==
				(uint8_t)(pattern(*total + i) >> ((*total + i) % 8 * 8));
		*total += (uint64_t)n;
	}
	return good;
}

static void echo(int fd)
{
	ssize_t n;

	while ((n = read(fd, block, BLOCK)) > 0)
		send_all(fd, block, (size_t)n);
}

static void pair(uint64_t total, uint64_t times)
{
	uint64_t got, start;
	pid_t child = -1;
	bool good;
	int p[2];

	if (!socketpair(AF_UNIX, SOCK_STREAM, 0, p))
		child = fork();
	if (child < 0)
		die("pair");
	if (!child) {
		close(p[0]);
		source(p[1], total);
		echo(p[1]);
		_exit(0);
	}
	close(p[1]);
	start = now_ns();
	good = sink(p[0], &got, total);
	printf("PAIR bytes=%llu mibs=%llu good=%d\n", (unsigned long long)got,
	       (unsigned long long)((got * 1000 / ((now_ns() - start) / 1000000 + 1)) >> 20), good);
	start = now_ns();
	for (uint64_t i = 0; i < times; i++) {
		send_all(p[0], block, PING);
		for (size_t n = 0; n < PING;) {
			ssize_t more = read(p[0], block, PING - n);

			if (more <= 0)
				die("read");
			n += (size_t)more;
		}
	}
	printf("PAIRPING ns=%llu\n", (unsigned long long)((now_ns() - start) / times));
	close(p[0]);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	uint64_t total;

	if (argc == 3 && !strcmp(argv[1], "sink")) {
		bool good = sink(take_one(argv[2]), &total, UINT64_MAX);

		printf("SUNK bytes=%llu good=%d\n", (unsigned long long)total, good);
		return !good;
	}
	if (argc == 4 && !strcmp(argv[1], "source"))
		source(take_one(argv[2]), strtoull(argv[3], NULL, 10) << 20);
	else if (argc == 3 && !strcmp(argv[1], "echo"))
		echo(take_one(argv[2]));
	else if (argc == 4 && !strcmp(argv[1], "pair"))
		pair(strtoull(argv[2], NULL, 10) << 20, strtoull(argv[3], NULL, 10));
	else
		return fprintf(stderr, "usage: vspeer sink PATH | source PATH MIB | echo PATH |"
				       " pair MIB TIMES\n"),
		       2;
	return 0;
}
