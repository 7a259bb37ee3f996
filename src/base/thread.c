/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads: named, with signals blocked, confined before they run anything of their owner's. What a
 * profile allows is not known here; guard/ hands the hook down. Nobody waits for a new thread to
 * run, which costs a sleeping processor's waking; where its filter cannot be loaded, after the
 * control thread's own could, the process ends.
 */
#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"

/* Small enough that no huge page is ever put under a stack. Sanitizers make frames several times as
 * large. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES MIB(8)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
#define STACK_BYTES MIB(8)
#endif
#endif
#ifndef STACK_BYTES
#define STACK_BYTES KIB(512)
#endif
#define CPUS_MAX 8192

static int no_filter(const char *profile __attribute__((unused)))
{
	return 0;
}

/* Set once, before there are threads. */
static thread_filter_fn *filter_hook = no_filter;

static _Thread_local char my_name[THREAD_NAME_MAX + 1];

void thread_set_filter(thread_filter_fn *fn)
{
	filter_hook = fn;
}

int thread_confine(const char *profile, struct err *e)
{
	errno = filter_hook(profile);
	return errno ? err_os(e, ERR_IO, "load the system-call filter \"%s\"", profile) : 0;
}

int thread_kick_signal(void)
{
	return SIGRTMIN;
}

static void kicked(int sig __attribute__((unused)))
{
}

/* Without SA_RESTART: the point of the kick is that KVM_RUN comes back. The same action each time,
 * so setting it for every thread needs no memory of whether it is set. */
static int kick_prepare(void)
{
	struct sigaction sa = { .sa_handler = kicked };

	sigemptyset(&sa.sa_mask);
	return sigaction(thread_kick_signal(), &sa, NULL);
}

/* Signals that the kernel raises for the thread's own fault stay open: blocked, they would end the
 * process without the words of the one who handles them. */
static void signals_for_thread(sigset_t *set)
{
	static const int open[] = { SIGSYS, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT };

	sigfillset(set);
	sigdelset(set, thread_kick_signal());
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		sigdelset(set, open[i]);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	int failed;

	memcpy(my_name, t->name, sizeof(my_name));
	prctl(PR_SET_NAME, t->name);
	failed = t->profile ? filter_hook(t->profile) : 0;
	if (failed) {
		log_error("start thread %s: load the system-call filter \"%s\": %s", t->name,
			  t->profile, strerror(failed));
		abort();
	}
	t->fn(t->arg);
	return NULL;
}

/* pthread_create with our stack, the thread's signals blocked from its first instruction. */
static int create(struct thread *t)
{
	pthread_attr_t attr;
	sigset_t in, old;
	int os;

	os = pthread_attr_init(&attr);
	if (os)
		return os;
	os = pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (!os) {
		signals_for_thread(&in);
		pthread_sigmask(SIG_SETMASK, &in, &old);
		os = pthread_create(&t->id, &attr, thread_main, t);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attr);
	return os;
}

int thread_start(struct thread *t, const char *name, const char *profile, void (*fn)(void *arg),
		 void *arg, struct err *e)
{
	snprintf(t->name, sizeof(t->name), "%.*s", THREAD_NAME_MAX, name);
	t->profile = profile;
	t->fn = fn;
	t->arg = arg;
	if (kick_prepare() < 0)
		return err_os(e, ERR_IO, "thread %s: set the kick signal", name);
	errno = create(t);
	if (errno)
		return err_os(e, ERR_IO, "start thread %s", name);
	return 0;
}

void thread_join(struct thread *t)
{
	pthread_join(t->id, NULL);
}

void thread_kick(struct thread *t)
{
	pthread_kill(t->id, thread_kick_signal());
}

int thread_pin(struct thread *t, const uint32_t *cpus, unsigned int count, struct err *e)
{
	uint64_t set[BITMAP_WORDS(CPUS_MAX)] = { 0 };

	if (!count)
		return 0;
	for (unsigned int i = 0; i < count; i++) {
		if (cpus[i] >= CPUS_MAX)
			return err_set(e, ERR_BAD, "pin %s: host CPU %u does not exist", t->name,
				       cpus[i]);
		bit_set(set, cpus[i]);
	}
	errno = pthread_setaffinity_np(t->id, sizeof(set), (const cpu_set_t *)(const void *)set);
	if (errno)
		return err_os(e, errno == EINVAL ? ERR_BAD : ERR_IO, "pin %s to host CPU %u%s",
			      t->name, cpus[0], count > 1 ? " and others" : "");
	return 0;
}

int thread_may_pin(const uint32_t *cpus, unsigned int count, struct err *e)
{
	struct thread me = { .id = pthread_self(), .name = "a thread" };
	uint64_t was[BITMAP_WORDS(CPUS_MAX)];
	int r;

	if (!count || pthread_getaffinity_np(me.id, sizeof(was), (cpu_set_t *)(void *)was) != 0)
		return 0;
	r = thread_pin(&me, cpus, count, e);
	pthread_setaffinity_np(me.id, sizeof(was), (const cpu_set_t *)(const void *)was);
	return r;
}

const char *thread_name(void)
{
	if (!my_name[0])
		prctl(PR_GET_NAME, my_name);
	return my_name;
}
