/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about bytes with descriptors (src/base/scm.c). */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/scm.h"

TEST(scm_passes_descriptors)
{
	struct scm_fds got;
	int s[2], p[2], many[SCM_FDS_MAX];
	char text[8];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(scm_send(s[0], "one", 3, NULL, 0), 3);
	assert_int_equal(scm_send(s[0], "two", 3, p, 2), 3);
	assert_int_equal(scm_send(s[0], "three", 5, NULL, 0), 5);
	/* a read ends behind the bytes with descriptors */
	assert_int_equal(scm_recv(s[1], text, sizeof(text), 0, &got), 6);
	assert_memory_equal(text, "onetwo", 6);
	assert_int_equal(got.count, 2);
	assert_int_equal(got.lost, 0);
	assert_true(fcntl(got.fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(got.fds[1], "x", 1), 1);
	assert_int_equal(read(p[0], text, 1), 1);
	scm_drop(&got);
	assert_int_equal(scm_recv(s[1], text, sizeof(text), 0, &got), 5);
	assert_int_equal(got.count, 0);
	for (int i = 0; i < SCM_FDS_MAX; i++)
		many[i] = p[i % 2];
	assert_int_equal(scm_send(s[0], "m", 1, many, SCM_FDS_MAX), 1);
	assert_int_equal(scm_recv(s[1], text, sizeof(text), 0, &got), 1);
	assert_int_equal(got.count, SCM_FDS_MAX);
	scm_drop(&got);
	assert_int_equal(got.count, 0);
	close(s[0]);
	assert_int_equal(scm_recv(s[1], text, sizeof(text), 0, &got), 0);
	assert_int_equal(scm_send(s[1], "x", 1, NULL, 0), -1);
	assert_int_equal(errno, EPIPE);
	close(s[1]);
	close(p[0]);
	close(p[1]);
}

TEST(scm_says_that_descriptors_were_lost)
{
	struct scm_fds got;
	struct rlimit old, low;
	int s[2], fds[10];
	char text[8];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	for (int i = 0; i < 10; i++)
		fds[i] = s[0];
	assert_int_equal(scm_send(s[0], "x", 1, fds, 10), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = (struct rlimit){ .rlim_cur = (rlim_t)s[1] + 4, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(scm_recv(s[1], text, sizeof(text), 0, &got), 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(got.count < 10);
	assert_true(got.lost);
	scm_drop(&got);
	close(s[0]);
	close(s[1]);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(scm_passes_descriptors),
		T(scm_says_that_descriptors_were_lost),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
