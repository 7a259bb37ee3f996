/* SPDX-License-Identifier: Apache-2.0 */
/* A page that is gone ends the process by SIGBUS, after a sentence. */
#include "mem/lost.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static void touch_what_is_gone(int words)
{
	const struct rlimit none = { 0, 0 };
	char path[] = "/tmp/unit-lost-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	setrlimit(RLIMIT_CORE, &none);
	dup2(words, STDERR_FILENO);
	lost_told();
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	p[0] = 1;
	_exit(0);
}

TEST(a_page_that_is_gone_is_told_before_the_end)
{
	char text[512] = { 0 };
	int fd[2], status;

	assert_int_equal(pipe(fd), 0);
	pid_t child = fork();

	if (!child)
		touch_what_is_gone(fd[1]);
	close(fd[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
	for (ssize_t n, used = 0;
	     (n = read(fd[0], text + used, sizeof(text) - 1 - (size_t)used)) > 0;)
		used += n;
	assert_non_null(strstr(text, "guest memory is gone"));
	close(fd[0]);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_page_that_is_gone_is_told_before_the_end),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
