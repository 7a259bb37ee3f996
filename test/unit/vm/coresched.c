/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who takes which cookie of the kernel, over a prctl of our own that gives out cookies by thread
 * and can do without.
 */
#include "vm/coresched.h"

#include <errno.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

#define THREADS 8

/* The kernel's part. */
static struct {
	int fails;    /* errno of every call; 0 = it works */
	bool forgets; /* nobody is there any more to take a cookie from */
	unsigned int calls, cookies;
	struct {
		int tid;
		unsigned int cookie;
	} task[64];
	unsigned int tasks;
} kernel;

static unsigned int *cookie_of(int tid)
{
	for (unsigned int i = 0; i < kernel.tasks; i++)
		if (kernel.task[i].tid == tid)
			return &kernel.task[i].cookie;
	kernel.task[kernel.tasks].tid = tid;
	kernel.task[kernel.tasks].cookie = 0;
	return &kernel.task[kernel.tasks++].cookie;
}

/* In the C library's place. The room's lock keeps calls apart. */
int prctl(int op, ...)
{
	unsigned long a[4];
	va_list v;

	va_start(v, op);
	for (unsigned int i = 0; i < 4; i++)
		a[i] = va_arg(v, unsigned long);
	va_end(v);
	if (op != PR_SCHED_CORE)
		return 0;
	kernel.calls++;
	if (kernel.fails) {
		errno = kernel.fails;
		return -1;
	}
	assert_int_equal((int)a[2], PR_SCHED_CORE_SCOPE_THREAD);
	if ((int)a[0] == PR_SCHED_CORE_CREATE) {
		assert_int_equal((int)a[1], 0);
		*cookie_of((int)syscall(SYS_gettid)) = ++kernel.cookies;
	} else {
		assert_int_equal((int)a[0], PR_SCHED_CORE_SHARE_FROM);
		unsigned int from = *cookie_of((int)a[1]);

		if (kernel.forgets) {
			errno = ESRCH;
			return -1;
		}
		assert_true(from);
		*cookie_of((int)syscall(SYS_gettid)) = from;
	}
	return 0;
}

static void *vcpu(void *arg)
{
	struct err e = { 0 };

	return (void *)(intptr_t)coresched_join(arg, &e);
}

/* All vCPUs of a VM join; returns how many could not. */
static int all_join(struct coresched *s)
{
	pthread_t t[THREADS];
	int failed = 0;
	void *r;

	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, vcpu, s), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &r);
		failed += r != NULL;
	}
	return failed;
}

static int run(enum core_scheduling how, int fails)
{
	struct coresched s;
	int failed;

	memset(&kernel, 0, sizeof kernel);
	kernel.fails = fails;
	coresched_init(&s, how);
	failed = all_join(&s);
	coresched_fini(&s);
	return failed;
}

TEST(vcpus_of_a_vm_share_one_cookie)
{
	assert_int_equal(run(CORE_SCHEDULING_VM, 0), 0);
	assert_int_equal(kernel.cookies, 1);
	assert_int_equal(kernel.calls, THREADS);
	for (unsigned int i = 0; i < kernel.tasks; i++)
		assert_int_equal(kernel.task[i].cookie, 1);
}

TEST(each_vcpu_has_its_own_when_asked_for)
{
	assert_int_equal(run(CORE_SCHEDULING_VCPU, 0), 0);
	assert_int_equal(kernel.cookies, THREADS);
}

TEST(off_asks_the_kernel_nothing)
{
	assert_int_equal(run(CORE_SCHEDULING_OFF, 0), 0);
	assert_int_equal(kernel.calls, 0);
}

TEST(a_host_without_it_is_asked_once_and_no_failure)
{
	assert_int_equal(run(CORE_SCHEDULING_VM, EINVAL), 0);
	assert_int_equal(kernel.calls, 1);
	assert_int_equal(run(CORE_SCHEDULING_VCPU, ENODEV), 0);
	assert_int_equal(kernel.calls, 1);
}

TEST(a_vcpu_whose_leader_is_gone_stays_apart)
{
	struct coresched s;

	memset(&kernel, 0, sizeof kernel);
	kernel.forgets = true;
	coresched_init(&s, CORE_SCHEDULING_VM);
	assert_int_equal(all_join(&s), 0);
	assert_int_equal(kernel.cookies, THREADS);
	coresched_fini(&s);
}

TEST(a_refusal_is_a_failure)
{
	assert_int_equal(run(CORE_SCHEDULING_VM, EPERM), THREADS);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(vcpus_of_a_vm_share_one_cookie),
		T(each_vcpu_has_its_own_when_asked_for),
		T(off_asks_the_kernel_nothing),
		T(a_host_without_it_is_asked_once_and_no_failure),
		T(a_vcpu_whose_leader_is_gone_stays_apart),
		T(a_refusal_is_a_failure),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
