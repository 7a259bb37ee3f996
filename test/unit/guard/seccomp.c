/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about system-call filters (src/guard/seccomp.c and the programs that tools/mkfilter makes).
 * A filter cannot be taken off, so each fact is found out in a child process.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/mem.h"
#include "base/thread.h"
#include "guard/filters.h"
#include "guard/seccomp.h"

/* Under sanitizers the profiles are wider: their own calls are in each. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(undefined_behavior_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

struct child {
	int status;
	char words[1024]; /* its stderr */
};

/* Runs fn in a child under that way; its status is what fn returns. */
static struct child in_child(unsigned int way, int (*fn)(void))
{
	struct child c = { 0 };
	struct err e = { 0 };
	size_t used = 0;
	ssize_t n;
	int p[2];
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		dup2(p[1], STDERR_FILENO);
		close(p[0]);
		close(p[1]);
		if (seccomp_setup(way, &e) < 0)
			_exit(90);
		_exit(fn());
	}
	close(p[1]);
	while ((n = read(p[0], c.words + used, sizeof(c.words) - 1 - used)) > 0)
		used += (size_t)n;
	close(p[0]);
	assert_int_equal(waitpid(pid, &c.status, 0), pid);
	return c;
}

static int confined(const char *profile)
{
	struct err e = { 0 };

	if (thread_confine(profile, &e) < 0)
		_exit(91);
	return 0;
}

/* getpriority is harmless, and in no profile. */
static int call_outside(void)
{
	confined("io");
	if (syscall(SYS_getpriority, 0, 0) > 0)
		return 7;
	return errno == EPERM ? 5 : 6;
}

TEST(seccomp_names_thread_and_call_and_ends_by_sigsys)
{
	struct child c = in_child(SECCOMP_WAY_TRAP, call_outside);

	assert_true(WIFSIGNALED(c.status));
	assert_int_equal(WTERMSIG(c.status), SIGSYS);
	assert_int_equal(strncmp(c.words, "virga: thread ", 14), 0);
	assert_non_null(strstr(c.words, " getpriority ("));
	assert_int_equal(c.words[strlen(c.words) - 1], '\n');
}

TEST(seccomp_errno_answers_eperm)
{
	struct child c = in_child(SECCOMP_WAY_ERRNO, call_outside);

	assert_true(WIFEXITED(c.status));
	assert_int_equal(WEXITSTATUS(c.status), 5);
	assert_string_equal(c.words, "");
}

TEST(seccomp_log_and_false_let_it_run)
{
	struct child logs = in_child(SECCOMP_WAY_LOG, call_outside);
	struct child off = in_child(SECCOMP_WAY_OFF, call_outside);
	struct child trap = in_child(SECCOMP_WAY_TRAP, call_outside);

	assert_int_equal(WEXITSTATUS(logs.status), 7);
	assert_int_equal(WEXITSTATUS(off.status), 7);
	assert_int_equal(WTERMSIG(trap.status), SIGSYS);
}

static int ask_for_nonsense(void)
{
	struct err e = { 0 };

	if (thread_confine("nonsense", &e) == 0)
		return 1;
	return e.os == ENOENT && e.count ? 9 : 2;
}

TEST(seccomp_refuses_a_profile_that_is_not_there)
{
	struct child c = in_child(SECCOMP_WAY_TRAP, ask_for_nonsense);
	struct err e = { 0 };

	assert_int_equal(WEXITSTATUS(c.status), 9);
	assert_int_equal(seccomp_setup(SECCOMP_WAY_COUNT, &e), -1);
}

#ifdef __x86_64__
static int call_by_32_bits(void)
{
	long nr = 20; /* getpid of i386 */

	confined("io");
	__asm__ volatile("int $0x80" : "+a"(nr) : : "memory", "r8", "r9", "r10", "r11");
	return 3;
}

static int call_x32(void)
{
	confined("io");
	return syscall(0x40000000 | SYS_getpid) > 0 ? 3 : 4;
}

TEST(seccomp_kills_the_call_of_another_architecture)
{
	struct child c = in_child(SECCOMP_WAY_ERRNO, call_by_32_bits);

	assert_true(WIFSIGNALED(c.status));
	assert_int_equal(WTERMSIG(c.status), SIGSYS);
	c = in_child(SECCOMP_WAY_TRAP, call_x32);
	assert_false(WIFEXITED(c.status) && WEXITSTATUS(c.status) == 3);
}
#endif

static int ioctls_of_vcpu(void)
{
	confined("vcpu");
	if (ioctl(-1, KVM_RUN, 0) != -1 || errno != EBADF)
		return 2;
	if (ioctl(-1, KVM_CREATE_VM, 0) != -1 || errno != EPERM)
		return 3;
	return 0;
}

static int sockets_of_control(void)
{
	confined("control");
	if (socket(AF_INET, SOCK_DGRAM, 0) < 0)
		return 2;
	if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != EPERM)
		return 3;
	return 0;
}

static int code_pages(void)
{
	confined("control");
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	    MAP_FAILED)
		return 2;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	    MAP_FAILED)
		return 3;
	return 0;
}

static int signals_abroad(void)
{
	pid_t other = getppid();

	confined("blk");
	if (syscall(SYS_tgkill, getpid(), gettid(), 0))
		return 2;
	if (syscall(SYS_tgkill, other, other, 0) != -1 || errno != EPERM)
		return 3;
	return 0;
}

TEST(seccomp_looks_at_arguments)
{
	assert_int_equal(WEXITSTATUS(in_child(SECCOMP_WAY_ERRNO, signals_abroad).status), 0);
	assert_int_equal(WEXITSTATUS(in_child(SECCOMP_WAY_ERRNO, sockets_of_control).status), 0);
	if (SANITIZED)
		return; /* their rows allow ioctl and mmap whole */
	assert_int_equal(WEXITSTATUS(in_child(SECCOMP_WAY_ERRNO, ioctls_of_vcpu).status), 0);
	assert_int_equal(WEXITSTATUS(in_child(SECCOMP_WAY_ERRNO, code_pages).status), 0);
}

static int privileges(void)
{
	confined("control");
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

TEST(seccomp_gives_up_new_privileges)
{
	assert_int_equal(WEXITSTATUS(in_child(SECCOMP_WAY_LOG, privileges).status), 1);
}

static void count_up(void *arg)
{
	*(int *)arg += 1;
}

static void allocate(void *arg)
{
	free(mem_new(1 << 20));
	*(int *)arg += 1;
}

/* Control makes a loop of every profile under its own filter, and each does what any loop does. */
static int house(void)
{
	struct loop *l[16];
	struct err e = { 0 };
	int n = 0;

	if (confined("control") || seccomp_filter_count > ARRAY_LEN(l))
		return 2;
	for (unsigned int i = 0; i < seccomp_filter_count; i++) {
		if (loop_new(&l[i], seccomp_filters[i].profile, &e) < 0 ||
		    loop_start(l[i], seccomp_filters[i].profile, &e) < 0)
			return 3;
		loop_call(l[i], count_up, &n);
		loop_call(l[i], allocate, &n);
	}
	for (unsigned int i = 0; i < seccomp_filter_count; i++)
		loop_free(l[i]);
	return n == 2 * (int)seccomp_filter_count ? 0 : 4;
}

TEST(seccomp_control_can_make_a_loop_of_every_profile)
{
	struct child c = in_child(SECCOMP_WAY_TRAP, house);

	assert_string_equal(c.words, "");
	assert_true(WIFEXITED(c.status));
	assert_int_equal(WEXITSTATUS(c.status), 0);
}

static void outside_in_loop(void *arg)
{
	(void)arg;
	syscall(SYS_getpriority, 0, 0);
}

static int loop_breaks_out(void)
{
	struct err e = { 0 };
	struct loop *l;

	if (confined("control") || loop_new(&l, "_disk0_q0", &e) < 0 ||
	    loop_start(l, "blk", &e) < 0)
		return 2;
	loop_call(l, outside_in_loop, NULL);
	return 3;
}

TEST(seccomp_names_the_loop_that_broke_out)
{
	struct child c = in_child(SECCOMP_WAY_TRAP, loop_breaks_out);

	assert_true(WIFSIGNALED(c.status));
	assert_int_equal(WTERMSIG(c.status), SIGSYS);
	assert_non_null(strstr(c.words, "thread _disk0_q0 made the system call getpriority"));
}

TEST(seccomp_call_names_are_those_of_this_architecture)
{
	assert_string_equal(seccomp_call_name(SYS_read), "read");
	assert_string_equal(seccomp_call_name(SYS_clone3), "clone3");
	assert_null(seccomp_call_name(seccomp_call_count));
	assert_null(seccomp_call_name(400)); /* between the old numbers and the new */
	assert_null(seccomp_call_name(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(seccomp_names_thread_and_call_and_ends_by_sigsys),
		T(seccomp_errno_answers_eperm),
		T(seccomp_log_and_false_let_it_run),
		T(seccomp_refuses_a_profile_that_is_not_there),
#ifdef __x86_64__
		T(seccomp_kills_the_call_of_another_architecture),
#endif
		T(seccomp_looks_at_arguments),
		T(seccomp_gives_up_new_privileges),
		T(seccomp_control_can_make_a_loop_of_every_profile),
		T(seccomp_names_the_loop_that_broke_out),
		T(seccomp_call_names_are_those_of_this_architecture),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
