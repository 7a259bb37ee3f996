/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times a program from just before its start to the first byte it writes to stdout, and to its
 * end. A guest's first port write becomes that byte, so this is the start time of a VMM, seen
 * from outside and alike for all. Prints four numbers: nanoseconds to the first byte, nanoseconds
 * to the end, microseconds of processor time, exit status. With -k the program is killed after its
 * first byte. One thread.
 * Use: firstbyte [-k] PROGRAM ARGUMENT...
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000l + t.tv_nsec;
}

static int64_t usec(struct timeval t)
{
	return t.tv_sec * 1000000l + t.tv_usec;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	int p[2], status;
	struct rusage used;
	char byte, rest[4096];
	pid_t pid;

	bool kills = argc > 1 && !strcmp(argv[1], "-k");

	argv += kills;
	argc -= kills;
	if (argc < 2 || pipe2(p, O_CLOEXEC) < 0)
		return 2;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, p[1], 1);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	int64_t start = now_ns();

	errno = posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ);
	if (errno) {
		perror(argv[1]);
		return 2;
	}
	close(p[1]);
	ssize_t n = read(p[0], &byte, 1);
	int64_t first = now_ns() - start;

	if (kills)
		kill(pid, SIGKILL);
	while (read(p[0], rest, sizeof rest) > 0)
		;
	if (wait4(pid, &status, 0, &used) < 0)
		return 2;
	int64_t end = now_ns() - start;

	if (n != 1)
		first = -1;
	printf("%ld %ld %ld %d\n", first, end, usec(used.ru_utime) + usec(used.ru_stime),
	       WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	return 0;
}
