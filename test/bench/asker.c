/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a machine's control socket, and says how long the answers took. A client of the least kind,
 * so that what is measured is the other side: one request, one answer, and again.
 *
 *	asker ask http|qmp PATH COUNT		a line per answer: nanoseconds from request to answer; a
 *						millisecond lies between them
 *	asker start http|qmp PATH ARGV...	starts a program; "ns to the first answer, ns of processor
 *						time that it has used by then"; then kills it
 *
 * http asks for vm.info, or vmm.ping at a start; qmp asks for query-status.
 */
#include <errno.h>
#include <signal.h>
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

#define LIMIT_NS 20000000000ull
#define LOOK_NS 50000 /* between looks whether the socket is there */
/* Between questions. Who asks without a pause uses up his share of a processor on a busy machine. */
#define PAUSE_NS 1000000

static char text[1 << 20];

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		return 0;
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "asker: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Returns the connected socket, or -1. */
static int reach(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		die(path);
	memcpy(a.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Is the answer whole? */
static bool is_whole(bool http, size_t used)
{
	const char *head, *length;

	text[used] = '\0';
	if (!http)
		return used && text[used - 1] == '\n';
	head = strstr(text, "\r\n\r\n");
	length = strstr(text, "Content-Length: ");
	return head && length &&
	       used == (size_t)(head + 4 - text) + strtoull(length + 16, NULL, 10);
}

static void hear(int fd, bool http)
{
	size_t used = 0;

	do {
		ssize_t n = read(fd, text + used, sizeof(text) - 1 - used);

		if (n <= 0)
			die("the answer ends early");
		used += (size_t)n;
	} while (!is_whole(http, used));
	if (http ? !strstr(text, "HTTP/1.1 200") : !!strstr(text, "\"error\""))
		die(text);
}

static void ask(int fd, bool http, const char *request)
{
	if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
		die("send");
	hear(fd, http);
}

/* What comes before the first question. */
static void greet(int fd, bool http)
{
	if (http)
		return;
	hear(fd, http);
	ask(fd, http, "{\"execute\":\"qmp_capabilities\"}\n");
}

#define HTTP_GET(path) "GET /api/v1/" path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define QMP "{\"execute\":\"query-status\"}\n"

static int start(bool http, const char *path, char **argv)
{
	uint64_t from = now(CLOCK_MONOTONIC);
	clockid_t clock;
	int fd, child = fork();

	if (child == 0) {
		if (!freopen("/dev/null", "r+", stdout) || !freopen("/dev/null", "r", stdin))
			die("/dev/null");
		execvp(argv[0], argv);
		die(argv[0]);
	}
	if (child < 0 || clock_getcpuclockid(child, &clock))
		die("start");
	while ((fd = reach(path)) < 0) {
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
		if (now(CLOCK_MONOTONIC) - from > LIMIT_NS || waitpid(child, NULL, WNOHANG)) {
			kill(child, SIGKILL);
			die("the socket does not come");
		}
	}
	greet(fd, http);
	ask(fd, http, http ? HTTP_GET("vmm.ping") : QMP);
	printf("%llu", (unsigned long long)(now(CLOCK_MONOTONIC) - from));
	printf(" %llu\n", (unsigned long long)now(clock));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}

int main(int argc, char **argv)
{
	bool http;
	int fd;

	if (argc < 5)
		return 2;
	http = !strcmp(argv[2], "http");
	if (!strcmp(argv[1], "start"))
		return start(http, argv[3], argv + 4);
	fd = reach(argv[3]);
	if (fd < 0)
		die(argv[3]);
	greet(fd, http);
	for (long i = strtol(argv[4], NULL, 10); i > 0; i--) {
		uint64_t from = now(CLOCK_MONOTONIC);

		ask(fd, http, http ? HTTP_GET("vm.info") : QMP);
		printf("%llu\n", (unsigned long long)(now(CLOCK_MONOTONIC) - from));
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NS }, NULL);
	}
	return 0;
}
