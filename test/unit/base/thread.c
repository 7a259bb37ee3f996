/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about threads (src/base/thread.c): filter first, name, signals, kick, pinning. */
#include "test.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

static int filters_loaded; /* atomic */
static char filter_seen[32];

static int test_filter(const char *profile)
{
	if (!strcmp(profile, "broken"))
		return ENOSYS;
	snprintf(filter_seen, sizeof(filter_seen), "%s", profile);
	__atomic_fetch_add(&filters_loaded, 1, __ATOMIC_RELEASE);
	return 0;
}

struct seen {
	int filters;
	char name[32], comm[32];
	sigset_t blocked;
};

static void look(void *arg)
{
	struct seen *s = arg;

	s->filters = __atomic_load_n(&filters_loaded, __ATOMIC_ACQUIRE);
	snprintf(s->name, sizeof(s->name), "%s", thread_name());
	pthread_getname_np(pthread_self(), s->comm, sizeof(s->comm));
	pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
}

static void say_alive(void *arg)
{
	assert_int_equal(write(*(int *)arg, "alive", 5), 5);
}

TEST(thread_is_confined_and_named_before_its_first_instruction)
{
	struct thread t = { 0 };
	struct seen s = { 0 };
	struct err e = { 0 };
	int before = filters_loaded;

	assert_int_equal(thread_start(&t, "_disk0_q0_and_more", "blk", look, &s, &e), 0);
	thread_join(&t);
	assert_int_equal(s.filters, before + 1);
	assert_string_equal(filter_seen, "blk");
	assert_string_equal(s.name, "_disk0_q0_and_m");
	assert_string_equal(s.comm, s.name);
}

/* In a child process, for it ends. */
static void start_without_filter(int pipe_fd)
{
	struct thread t = { 0 };
	struct err e = { 0 };

	dup2(pipe_fd, STDERR_FILENO);
	if (thread_start(&t, "vcpu0", "broken", say_alive, &pipe_fd, &e) == 0)
		thread_join(&t);
	_exit(0);
}

TEST(thread_whose_filter_cannot_be_loaded_never_runs)
{
	char said[256] = "";
	struct err e = { 0 };
	int p[2], status;
	size_t got = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0)
		start_without_filter(p[1]);
	close(p[1]);
	while ((n = read(p[0], said + got, sizeof(said) - 1 - got)) > 0)
		got += (size_t)n;
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(said, "\"broken\""));
	assert_null(strstr(said, "alive"));
	assert_int_equal(thread_confine("broken", &e), -1);
	assert_int_equal(e.os, ENOSYS);
	assert_int_equal(thread_confine("control", &e), 0);
}

TEST(thread_blocks_all_signals_but_its_own_faults_and_the_kick)
{
	struct thread t = { 0 };
	struct seen s = { 0 };
	struct err e = { 0 };
	sigset_t after;

	assert_int_equal(thread_start(&t, "io", "io", look, &s, &e), 0);
	thread_join(&t);
	assert_true(sigismember(&s.blocked, SIGTERM));
	assert_true(sigismember(&s.blocked, SIGCHLD));
	assert_true(sigismember(&s.blocked, SIGWINCH));
	assert_false(sigismember(&s.blocked, SIGSYS));
	assert_false(sigismember(&s.blocked, SIGSEGV));
	assert_false(sigismember(&s.blocked, thread_kick_signal()));
	/* and the starter's own mask is what it was */
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_false(sigismember(&after, SIGTERM));
}

struct sleeper {
	int asleep; /* atomic */
	int os;
};

static void sleep_long(void *arg)
{
	struct sleeper *s = arg;
	struct timespec long_time = { .tv_sec = 60 };

	__atomic_store_n(&s->asleep, 1, __ATOMIC_RELEASE);
	while (!s->os)
		if (nanosleep(&long_time, NULL) < 0)
			__atomic_store_n(&s->os, errno, __ATOMIC_RELEASE);
}

TEST(thread_kick_interrupts_a_sleeping_call)
{
	struct sleeper s = { 0 };
	struct thread t = { 0 };
	struct err e = { 0 };

	assert_int_equal(thread_start(&t, "vcpu0", "vcpu", sleep_long, &s, &e), 0);
	while (!__atomic_load_n(&s.asleep, __ATOMIC_ACQUIRE))
		sched_yield();
	/* the kick may come before the sleep: so do vCPUs' kicks, which are repeated until heard */
	while (!__atomic_load_n(&s.os, __ATOMIC_ACQUIRE)) {
		thread_kick(&t);
		usleep(1000);
	}
	thread_join(&t);
	assert_int_equal(s.os, EINTR);
}

static void look_where(void *arg)
{
	struct sleeper *s = arg;

	while (!__atomic_load_n(&s->asleep, __ATOMIC_ACQUIRE))
		usleep(1000);
	s->os = sched_getcpu();
}

TEST(thread_pin_puts_it_on_the_host_cpu)
{
	struct sleeper s = { 0 };
	struct thread t = { 0 };
	struct err e = { 0 };
	uint32_t here = (uint32_t)sched_getcpu(), nowhere = 8191, far = 100000;
	char line[128];

	assert_int_equal(thread_start(&t, "q0", "blk", look_where, &s, &e), 0);
	assert_int_equal(thread_pin(&t, NULL, 0, &e), 0);
	assert_int_equal(thread_pin(&t, &nowhere, 1, &e), -1);
	assert_string_equal(err_line(&e, line, sizeof(line)),
			    "pin q0 to host CPU 8191: Invalid argument");
	assert_int_equal(thread_pin(&t, &far, 1, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
	assert_int_equal(thread_pin(&t, &here, 1, &e), 0);
	assert_int_equal(thread_may_pin(&nowhere, 1, &e), -1);
	assert_int_equal(thread_may_pin(&far, 1, &e), -1);
	assert_int_equal(thread_may_pin(&here, 1, &e), 0);
	assert_int_equal(thread_may_pin(NULL, 0, &e), 0);
	__atomic_store_n(&s.asleep, 1, __ATOMIC_RELEASE);
	thread_join(&t);
	assert_int_equal(s.os, here);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(thread_is_confined_and_named_before_its_first_instruction),
		T(thread_whose_filter_cannot_be_loaded_never_runs),
		T(thread_blocks_all_signals_but_its_own_faults_and_the_kick),
		T(thread_kick_interrupts_a_sleeping_call),
		T(thread_pin_puts_it_on_the_host_cpu),
	};

	thread_set_filter(test_filter);
	return cmocka_run_group_tests(t, NULL, NULL);
}
