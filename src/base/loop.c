/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: epoll for descriptors, a sorted list for timers (there are few of them), a list under a
 * mutex for messages. Its eventfd is written only when the loop sleeps, and is edge-triggered, so
 * it is never read. Nothing is allocated after loop_new.
 *
 * Who may wait for whom: a thread that loop_start made answers calls and makes none, and a loop
 * that runs in its maker's thread (control) is never called from outside. So calls go control ->
 * job or vCPU -> device loop and cannot close a circle. Debug builds check it.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"
#include "base/mem.h"
#include "base/thread.h"

#define READY_MAX 32 /* descriptors per turn; the others come in the next */
#define FREE_ROUNDS 64
#define SECOND_NS 1000000000ull

struct loop {
	char name[THREAD_NAME_MAX + 1];
	int epoll, wake;
	struct thread thread;
	bool stopping; /* atomic */

	pthread_mutex_t lock; /* over the next six */
	bool has_thread;      /* loop_start made it, or is still to make it */
	struct link posted;
	struct link later; /* posted by the loop itself while it ends */
	bool ending;
	bool asleep;  /* in epoll_pwait2, on the way there or back */
	bool running; /* from loop_open, loop_start or loop_run until the last message is served */

	struct link timers; /* soonest first */
	struct link hooks;
	struct link *next_hook; /* the walk's next; moves on when that one is dropped */
	struct epoll_event ready[READY_MAX];
	int ready_next, ready_count; /* those of this turn not served yet */
};

/* The loop that the calling thread is in. */
static _Thread_local struct loop *my_loop;

static uint64_t ns_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

uint64_t loop_now_ns(void)
{
	return ns_of(CLOCK_MONOTONIC);
}

uint64_t loop_real_ns(void)
{
	return ns_of(CLOCK_REALTIME);
}

bool loop_here(const struct loop *l)
{
	return my_loop == l;
}

const char *loop_name(const struct loop *l)
{
	return l->name;
}

/* --- descriptors --- */

int loop_watch(struct loop *l, struct loop_fd *h, int fd, uint32_t events,
	       void (*fn)(void *arg, uint32_t events), void *arg, struct err *e)
{
	struct epoll_event ev = { .events = events, .data.ptr = h };

	assert(!h->loop);
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_os(e, ERR_IO, "loop %s: watch descriptor %d", l->name, fd);
	*h = (struct loop_fd){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	return 0;
}

/* What was found ready in this turn, and is not served yet, is cut down to what is still wanted. */
static void ready_mask(struct loop *l, const struct loop_fd *h, uint32_t events)
{
	for (int i = l->ready_next; i < l->ready_count; i++) {
		struct epoll_event *ev = &l->ready[i];

		if (ev->data.ptr != h)
			continue;
		ev->events &= events;
		if (!ev->events)
			ev->data.ptr = NULL;
	}
}

void loop_rewatch(struct loop_fd *h, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = h };
	int n = epoll_ctl(h->loop->epoll, EPOLL_CTL_MOD, h->fd, &ev);

	assert(n == 0);
	(void)n;
	ready_mask(h->loop, h, events | EPOLLERR | EPOLLHUP);
}

void loop_unwatch(struct loop_fd *h)
{
	if (!h->loop)
		return;
	/* fails when the owner has closed it already; then the kernel has forgotten it too */
	epoll_ctl(h->loop->epoll, EPOLL_CTL_DEL, h->fd, NULL);
	ready_mask(h->loop, h, 0);
	h->loop = NULL;
}

static void ready_serve(struct loop *l)
{
	while (l->ready_next < l->ready_count) {
		struct epoll_event *ev = &l->ready[l->ready_next++];
		struct loop_fd *h = ev->data.ptr;

		if (h)
			h->fn(h->arg, ev->events);
	}
}

/* --- timers --- */

void loop_timer_stop(struct loop_timer *t)
{
	if (!t->loop)
		return;
	list_drop(&t->link);
	t->loop = NULL;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t due_ns, void (*fn)(void *arg),
		    void *arg)
{
	struct link *at = &l->timers;

	loop_timer_stop(t);
	t->loop = l;
	t->due_ns = due_ns;
	t->fn = fn;
	t->arg = arg;
	/* from the end: a new timer is mostly the latest */
	while (at->prev != &l->timers &&
	       container_of(at->prev, struct loop_timer, link)->due_ns > due_ns)
		at = at->prev;
	list_add_tail(at, &t->link);
}

/* Only those due at the start: a timer that sets itself again for now waits for the next turn. */
static void timers_serve(struct loop *l)
{
	struct link due, *at;
	uint64_t now;

	if (list_empty(&l->timers))
		return;
	list_init(&due);
	now = loop_now_ns();
	list_each (it, &l->timers) {
		if (container_of(it, struct loop_timer, link)->due_ns > now)
			break;
		list_drop(it);
		list_add_tail(&due, it);
	}
	while ((at = list_take_first(&due))) {
		struct loop_timer *t = container_of(at, struct loop_timer, link);

		t->loop = NULL;
		t->fn(t->arg);
	}
}

/* --- hooks --- */

void loop_hook_add(struct loop *l, struct loop_hook *h, bool (*fn)(void *arg), void *arg)
{
	assert(!h->loop);
	h->loop = l;
	h->fn = fn;
	h->arg = arg;
	list_add_tail(&l->hooks, &h->link);
}

void loop_hook_drop(struct loop_hook *h)
{
	if (!h->loop)
		return;
	if (h->loop->next_hook == &h->link)
		h->loop->next_hook = h->link.next;
	list_drop(&h->link);
	h->loop = NULL;
}

/* Every hook once; tells whether one of them wants another turn at once. */
static bool hooks_serve(struct loop *l)
{
	bool more = false;

	for (struct link *at = l->hooks.next; at != &l->hooks; at = l->next_hook) {
		struct loop_hook *h = container_of(at, struct loop_hook, link);

		l->next_hook = at->next;
		more |= h->fn(h->arg);
	}
	l->next_hook = NULL;
	return more;
}

/* --- messages --- */

/* The lock is held. Writing under it keeps the loop from being freed between the two. */
static void wake_if_asleep(struct loop *l)
{
	if (l->asleep)
		fd_signal(l->wake);
	l->asleep = false;
}

static void post_locked(struct loop *l, struct loop_msg *m, void (*fn)(void *arg), void *arg)
{
	if (m->queued)
		return;
	m->queued = true;
	m->fn = fn;
	m->arg = arg;
	list_add_tail(l->ending && my_loop == l ? &l->later : &l->posted, &m->link);
	wake_if_asleep(l);
}

void loop_post(struct loop *l, struct loop_msg *m, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&l->lock);
	post_locked(l, m, fn, arg);
	pthread_mutex_unlock(&l->lock);
}

void loop_unpost(struct loop *l, struct loop_msg *m)
{
	pthread_mutex_lock(&l->lock);
	if (m->queued)
		list_drop(&m->link);
	m->queued = false;
	pthread_mutex_unlock(&l->lock);
}

/* The first message of a list taken out; false when there is none. Copied, because m may be posted
 * again, or be gone, as soon as its function runs. The lock is held. */
static bool take_message(struct link *from, struct loop_msg *copy)
{
	struct link *first = list_take_first(from);
	struct loop_msg *m;

	if (!first)
		return false;
	m = container_of(first, struct loop_msg, link);
	m->queued = false;
	*copy = *m;
	return true;
}

/* The loop is awake. Those posted until now; what they post in turn is for the next turn. */
static void posted_serve(struct loop *l)
{
	struct link now, *at;
	struct loop_msg m;

	list_init(&now);
	pthread_mutex_lock(&l->lock);
	l->asleep = false;
	while ((at = list_take_first(&l->posted)))
		list_add_tail(&now, at);
	while (take_message(&now, &m)) {
		pthread_mutex_unlock(&l->lock);
		m.fn(m.arg);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
}

struct call {
	struct loop_msg msg;
	void (*fn)(void *arg);
	void *arg;
	int done;
};

static void call_serve(void *arg)
{
	struct call *c = arg;
	int *done = &c->done;

	c->fn(c->arg);
	__atomic_store_n(done, 1, __ATOMIC_RELEASE);
	/* the caller may have left meanwhile: then this wakes nobody at an address that was his */
	futex_wake(done);
}

/* The rule at the top of this file. The lock is held. */
static void check_rank(const struct loop *l)
{
#ifndef NDEBUG_LOOPS
	assert(!my_loop || !my_loop->has_thread);
	assert(l->has_thread);
#endif
	(void)l;
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };
	bool direct;

	if (loop_here(l)) {
		fn(arg);
		return;
	}
	pthread_mutex_lock(&l->lock);
	direct = !l->running;
	if (!direct) {
		check_rank(l);
		post_locked(l, &c.msg, call_serve, &c);
	}
	pthread_mutex_unlock(&l->lock);
	if (direct) {
		fn(arg);
		return;
	}
	while (!__atomic_load_n(&c.done, __ATOMIC_ACQUIRE))
		futex_wait(&c.done, 0, 0);
}

/* --- the turn --- */

/* Goes to sleep unless something is waiting; wakes with ready[] filled. posted_serve follows. */
static void sleep_until_ready(struct loop *l, bool again)
{
	struct timespec left = { 0 }, *timeout = &left;
	uint64_t now, due;
	int n;

	pthread_mutex_lock(&l->lock);
	again |= !list_empty(&l->posted) || __atomic_load_n(&l->stopping, __ATOMIC_RELAXED);
	l->asleep = !again;
	pthread_mutex_unlock(&l->lock);

	if (!again && list_empty(&l->timers)) {
		timeout = NULL;
	} else if (!again) {
		now = loop_now_ns();
		due = container_of(l->timers.next, struct loop_timer, link)->due_ns;
		if (due > now) {
			left.tv_sec = (time_t)((due - now) / SECOND_NS);
			left.tv_nsec = (long)((due - now) % SECOND_NS);
		}
	}
	n = epoll_pwait2(l->epoll, l->ready, READY_MAX, timeout, NULL);
	assert(n >= 0 || errno == EINTR);
	l->ready_next = 0;
	l->ready_count = n > 0 ? n : 0;
}

/* Serves what was posted up to the moment from which loop_call no longer waits. What the messages
 * themselves post, one that always posts itself among them, is left for the next run. */
static void run_down(struct loop *l)
{
	struct link *own;
	struct loop_msg m;

	pthread_mutex_lock(&l->lock);
	l->ending = true;
	while (take_message(&l->posted, &m)) {
		pthread_mutex_unlock(&l->lock);
		m.fn(m.arg);
		pthread_mutex_lock(&l->lock);
	}
	while ((own = list_take_first(&l->later)))
		list_add_tail(&l->posted, own);
	l->ending = l->running = false;
	pthread_mutex_unlock(&l->lock);
}

void loop_run(struct loop *l)
{
	struct loop *outer = my_loop;
	bool again = true;

	my_loop = l;
	pthread_mutex_lock(&l->lock);
	l->running = true;
	pthread_mutex_unlock(&l->lock);
	do {
		sleep_until_ready(l, again);
		posted_serve(l);
		ready_serve(l);
		timers_serve(l);
		again = hooks_serve(l);
	} while (!__atomic_load_n(&l->stopping, __ATOMIC_ACQUIRE));
	run_down(l);
	__atomic_store_n(&l->stopping, false, __ATOMIC_RELAXED);
	my_loop = outer;
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	__atomic_store_n(&l->stopping, true, __ATOMIC_RELEASE);
	wake_if_asleep(l);
	pthread_mutex_unlock(&l->lock);
}

/* --- life --- */

void loop_free(struct loop *l)
{
	struct loop *outer = my_loop;

	if (!l)
		return;
	if (l->has_thread && l->thread.fn) {
		loop_stop(l);
		thread_join(&l->thread);
	}
	/* messages may post the next step of their work, but not for ever */
	my_loop = l;
	for (int i = 0; i < FREE_ROUNDS && !list_empty(&l->posted); i++)
		run_down(l);
	my_loop = outer == l ? NULL : outer;
	/* who stops a timer or drops a hook after this finds it stopped */
	list_each (at, &l->timers)
		loop_timer_stop(container_of(at, struct loop_timer, link));
	list_each (at, &l->hooks)
		loop_hook_drop(container_of(at, struct loop_hook, link));
	fd_close(&l->wake);
	fd_close(&l->epoll);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int loop_new(struct loop **out, const char *name, struct err *e)
{
	/* nobody's handler: coming back from sleep is all that the eventfd is for */
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
	struct loop *l = NEW(struct loop);

	snprintf(l->name, sizeof(l->name), "%.*s", THREAD_NAME_MAX, name);
	pthread_mutex_init(&l->lock, NULL);
	list_init(&l->posted);
	list_init(&l->later);
	list_init(&l->timers);
	list_init(&l->hooks);
	l->wake = -1;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0) {
		err_os(e, ERR_IO, "make loop %s", name);
		goto out;
	}
	l->wake = fd_event(e);
	if (l->wake < 0)
		goto out;
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) < 0) {
		err_os(e, ERR_IO, "make loop %s", name);
		goto out;
	}
	*out = l;
	return 0;
out:
	loop_free(l);
	return -1;
}

static void thread_runs_loop(void *arg)
{
	loop_run(arg);
}

void loop_open(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->has_thread = l->running = true;
	pthread_mutex_unlock(&l->lock);
}

/* Nobody is to come who would serve what was posted, and somebody may wait for it. */
static void shut(struct loop *l)
{
	struct loop *outer = my_loop;

	my_loop = l;
	run_down(l);
	my_loop = outer;
	pthread_mutex_lock(&l->lock);
	l->has_thread = false;
	pthread_mutex_unlock(&l->lock);
}

int loop_start(struct loop *l, const char *profile, struct err *e)
{
	assert(!l->thread.fn);
	loop_open(l);
	if (thread_start(&l->thread, l->name, profile, thread_runs_loop, l, e) == 0)
		return 0;
	shut(l);
	return -1;
}

int loop_pin(struct loop *l, const uint32_t *cpus, unsigned int count, struct err *e)
{
	if (!l->has_thread)
		return err_set(e, ERR_STATE, "loop %s has no thread to pin", l->name);
	return thread_pin(&l->thread, cpus, count, e);
}
