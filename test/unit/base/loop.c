/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about loops (src/base/loop.c). Meant to be run under TSan as well. */
#include "test.h"

#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/thread.h"
#include "run_for.h"

/* Sanitizers need memory of their own whenever they like. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

#define MS 1000000ull

static struct loop *loop_made(const char *name)
{
	struct err e = { 0 };
	struct loop *l;

	assert_int_equal(loop_new(&l, name, &e), 0);
	return l;
}

static struct loop *loop_started(const char *name)
{
	struct loop *l = loop_made(name);
	struct err e = { 0 };

	assert_int_equal(loop_start(l, "io", &e), 0);
	return l;
}

/* A diary: which letters came in which order. */
struct diary {
	char text[64];
	size_t used;
};
struct entry {
	struct diary *d;
	char letter;
};

static void note(void *arg)
{
	struct entry *n = arg;

	if (n->d->used < sizeof(n->d->text) - 1)
		n->d->text[n->d->used++] = n->letter;
}

/* --- calls --- */

struct count {
	struct loop *l;
	unsigned int n;
	bool here;
	char name[32];
};

static void count_up(void *arg)
{
	struct count *c = arg;

	c->n++;
	c->here = loop_here(c->l);
	strcpy(c->name, thread_name());
}

TEST(loop_call_runs_in_the_loops_thread_and_waits)
{
	struct loop *l = loop_started("_disk0_q0");
	struct count c = { .l = l };

	for (unsigned int i = 1; i <= 1000; i++) {
		loop_call(l, count_up, &c);
		assert_int_equal(c.n, i);
	}
	assert_true(c.here);
	assert_false(loop_here(l));
	assert_string_equal(c.name, "_disk0_q0");
	assert_string_equal(loop_name(l), "_disk0_q0");
	loop_free(l);
}

TEST(loop_call_without_a_running_thread_is_direct)
{
	struct loop *l = loop_made("x");
	struct count c = { .l = l };

	loop_call(l, count_up, &c);
	assert_int_equal(c.n, 1);
	assert_false(c.here);
	loop_free(l);
}

static void call_once(void *arg)
{
	struct count *c = arg;

	loop_call(c->l, count_up, c);
}

TEST(loop_call_of_an_opened_loop_waits_for_its_thread)
{
	struct loop *l = loop_made("x");
	struct count c = { .l = l };
	struct thread t = { 0 };
	struct err e = { 0 };

	loop_open(l);
	assert_int_equal(thread_start(&t, "caller", "vcpu", call_once, &c, &e), 0);
	usleep(20000);
	assert_int_equal(c.n, 0);
	assert_int_equal(loop_start(l, "io", &e), 0);
	thread_join(&t);
	assert_int_equal(c.n, 1);
	assert_true(c.here);
	loop_free(l);
}

#ifndef SANITIZED
/* The first of all: a stack that is kept from another thread needs no memory. */
TEST(loop_call_of_an_opened_loop_does_not_wait_for_a_thread_that_cannot_be)
{
	struct rlimit none = { 0 }, was;
	struct loop *l = loop_made("x");
	struct count c = { .l = l };
	struct thread t = { 0 };
	struct err e = { 0 };

	loop_open(l);
	assert_int_equal(thread_start(&t, "caller", "vcpu", call_once, &c, &e), 0);
	usleep(20000);
	getrlimit(RLIMIT_AS, &was);
	none.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_AS, &none);
	assert_int_equal(loop_start(l, "io", &e), -1);
	setrlimit(RLIMIT_AS, &was);
	thread_join(&t);
	assert_int_equal(c.n, 1);
	loop_call(l, count_up, &c);
	assert_int_equal(c.n, 2);
	loop_free(l);
}
#endif

TEST(loop_call_on_its_own_thread_is_direct)
{
	struct loop *l = loop_started("x");
	struct count c = { .l = l };

	loop_call(l, call_once, &c);
	assert_int_equal(c.n, 1);
	assert_true(c.here);
	loop_free(l);
}

static void call_many(void *arg)
{
	struct count *c = arg;

	for (int i = 0; i < 2000; i++)
		loop_call(c->l, count_up, c);
}

TEST(loop_call_by_many_threads_is_served_one_at_a_time)
{
	struct loop *l = loop_started("x");
	struct count c = { .l = l };
	struct thread t[4] = { 0 };
	struct err e = { 0 };

	for (int i = 0; i < 4; i++)
		assert_int_equal(thread_start(&t[i], "caller", "vcpu", call_many, &c, &e), 0);
	for (int i = 0; i < 4; i++)
		thread_join(&t[i]);
	loop_free(l);
	assert_int_equal(c.n, 8000); /* plain additions: nobody else was there */
}

TEST(loop_call_after_the_loop_ended_is_direct)
{
	struct loop *l = loop_started("x");
	struct count c = { .l = l };

	loop_call(l, stop, l);
	while (c.n == 0 || c.here)
		loop_call(l, count_up, &c);
	loop_free(l);
}

/* --- posts --- */

TEST(loop_post_of_a_message_on_its_way_is_delivered_once)
{
	struct loop *l = loop_made("x");
	struct count c = { .l = l };
	struct loop_msg m = { 0 };

	for (int i = 0; i < 5; i++)
		loop_post(l, &m, count_up, &c);
	run_loop_for(l, 5 * MS);
	assert_int_equal(c.n, 1);
	loop_post(l, &m, count_up, &c);
	run_loop_for(l, 5 * MS);
	assert_int_equal(c.n, 2);
	loop_free(l);
}

struct ping {
	struct loop *l; /* of the receiver */
	struct loop_msg msg;
	struct ping *other;
	struct loop *done;
	struct loop_msg end;
	unsigned int left;
};

static void pong(void *arg)
{
	struct ping *p = arg;

	if (p->left == 0) {
		loop_post(p->done, &p->end, stop, p->done);
		return;
	}
	p->left--;
	loop_post(p->other->l, &p->other->msg, pong, p->other);
}

TEST(loop_posts_between_threads_lose_no_wakeup)
{
	struct loop *ctl = loop_made("virga");
	struct ping a = { .l = loop_started("a"), .done = ctl, .left = 20000 };
	struct ping b = { .l = loop_started("b"), .done = ctl, .left = 20000, .other = &a };

	a.other = &b;
	loop_post(a.l, &a.msg, pong, &a);
	loop_run(ctl);
	loop_free(a.l);
	loop_free(b.l);
	loop_free(ctl);
}

TEST(loop_free_runs_what_is_still_posted)
{
	struct loop *l = loop_made("x");
	struct count c = { .l = l };
	struct loop_msg m = { 0 };

	loop_post(l, &m, count_up, &c);
	loop_free(l);
	assert_int_equal(c.n, 1);
	loop_free(NULL);
}

/* Takes back the message of another, which came in the same turn. */
struct taker {
	struct loop *l;
	struct loop_msg msg, *other;
};

static void take_back(void *arg)
{
	struct taker *t = arg;

	loop_unpost(t->l, t->other);
}

TEST(loop_message_taken_back_is_not_delivered)
{
	struct loop *l = loop_made("x");
	struct count c = { .l = l };
	struct loop_msg *m = mem_new(sizeof(*m)), last = { 0 };
	struct taker t = { .l = l, .other = m };

	loop_unpost(l, m);
	loop_post(l, &t.msg, take_back, &t);
	loop_post(l, m, count_up, &c);
	loop_post(l, &last, count_up, &c);
	run_loop_for(l, 5 * MS);
	assert_int_equal(c.n, 1);
	loop_post(l, m, count_up, &c);
	loop_unpost(l, m);
	free(m);
	loop_free(l);
	assert_int_equal(c.n, 1);
}

struct repost {
	struct loop *l;
	struct loop_msg msg;
	struct entry other;
	struct loop_timer timer;
	unsigned int turns;
};

static void post_again(void *arg)
{
	struct repost *r = arg;

	r->turns++;
	loop_post(r->l, &r->msg, post_again, r);
}

TEST(loop_message_that_posts_itself_does_not_starve_timers)
{
	struct loop *l = loop_made("x");
	struct repost r = { .l = l };

	loop_post(l, &r.msg, post_again, &r);
	loop_timer_set(l, &r.timer, loop_now_ns() + MS, stop, l);
	loop_run(l); /* and it ends, with the message still on its way */
	assert_true(r.turns > 0);
	assert_true(r.msg.queued);
	loop_free(l);
}

/* --- timers --- */

TEST(loop_timers_run_in_the_order_of_their_time)
{
	struct loop *l = loop_made("x");
	struct diary d = { 0 };
	struct entry n[4] = { { &d, 'c' }, { &d, 'a' }, { &d, 'b' }, { &d, 'x' } };
	struct loop_timer t[4] = { 0 };
	uint64_t now = loop_now_ns();

	loop_timer_set(l, &t[0], now + 3 * MS, note, &n[0]);
	loop_timer_set(l, &t[1], now + 1 * MS, note, &n[1]);
	loop_timer_set(l, &t[2], now + 2 * MS, note, &n[2]);
	loop_timer_set(l, &t[3], now + 2 * MS, note, &n[3]);
	loop_timer_stop(&t[3]);
	loop_timer_stop(&t[3]);
	run_loop_for(l, 10 * MS);
	assert_string_equal(d.text, "abc");
	assert_null(t[0].loop);
	loop_free(l);
}

TEST(loop_timer_is_neither_early_nor_rounded_to_milliseconds)
{
	struct loop *l = loop_made("x");
	uint64_t best = UINT64_MAX, ask = 300000;

	for (int i = 0; i < 50; i++) {
		uint64_t before = loop_now_ns(), took;

		run_loop_for(l, ask);
		took = loop_now_ns() - before;
		assert_true(took >= ask);
		best = took < best ? took : best;
	}
	assert_true(best < MS);
	loop_free(l);
}

struct ticker {
	struct loop *l;
	struct loop_timer t;
	unsigned int n;
};

static void tick_at_once(void *arg)
{
	struct ticker *t = arg;

	t->n++;
	loop_timer_set(t->l, &t->t, 0, tick_at_once, t);
}

TEST(loop_timer_always_due_does_not_hold_the_loop)
{
	struct loop *l = loop_made("x");
	struct ticker t = { .l = l };

	tick_at_once(&t);
	run_loop_for(l, 5 * MS);
	assert_true(t.n > 1);
	loop_timer_stop(&t.t);
	loop_free(l);
}

struct pair {
	struct loop_timer a, b;
	unsigned int n;
};

static void stop_both(void *arg)
{
	struct pair *p = arg;

	p->n++;
	loop_timer_stop(&p->a);
	loop_timer_stop(&p->b);
}

TEST(loop_timer_stopped_by_another_of_the_same_turn_does_not_run)
{
	struct loop *l = loop_made("x");
	struct pair p = { 0 };

	loop_timer_set(l, &p.a, 1, stop_both, &p);
	loop_timer_set(l, &p.b, 1, stop_both, &p);
	run_loop_for(l, 2 * MS);
	assert_int_equal(p.n, 1);
	loop_free(l);
}

/* --- descriptors --- */

struct eye {
	struct loop_fd h;
	int fd;
	unsigned int n;
	uint32_t events;
	struct eye *victim;
};

static void seen(void *arg, uint32_t events)
{
	struct eye *y = arg;

	y->n++;
	y->events = events;
	fd_drain(y->fd);
	if (y->victim)
		loop_unwatch(&y->victim->h);
}

static void eye_open(struct eye *y, struct loop *l)
{
	struct err e = { 0 };

	y->fd = fd_event(&e);
	assert_true(y->fd >= 0);
	assert_int_equal(loop_watch(l, &y->h, y->fd, EPOLLIN, seen, y, &e), 0);
}

static void eye_close(struct eye *y)
{
	loop_unwatch(&y->h);
	loop_unwatch(&y->h);
	fd_close(&y->fd);
}

TEST(loop_watch_reports_readiness)
{
	struct loop *l = loop_made("x");
	struct eye y = { 0 };

	eye_open(&y, l);
	run_loop_for(l, MS);
	assert_int_equal(y.n, 0);
	fd_signal(y.fd);
	run_loop_for(l, MS);
	assert_int_equal(y.n, 1);
	assert_int_equal(y.events, EPOLLIN);
	loop_rewatch(&y.h, 0);
	fd_signal(y.fd);
	run_loop_for(l, MS);
	assert_int_equal(y.n, 1);
	loop_rewatch(&y.h, EPOLLIN);
	run_loop_for(l, MS);
	assert_int_equal(y.n, 2);
	eye_close(&y);
	loop_free(l);
}

TEST(loop_unwatch_silences_what_is_ready_in_this_turn)
{
	struct loop *l = loop_made("x");
	struct eye a = { 0 }, b = { 0 };

	eye_open(&a, l);
	eye_open(&b, l);
	a.victim = &b;
	b.victim = &a;
	fd_signal(a.fd);
	fd_signal(b.fd);
	run_loop_for(l, 2 * MS);
	assert_int_equal(a.n + b.n, 1);
	eye_close(&a);
	eye_close(&b);
	loop_free(l);
}

TEST(loop_watch_of_a_regular_file_is_refused)
{
	struct loop *l = loop_made("x");
	struct loop_fd h = { 0 };
	struct err e = { 0 };
	AUTO_FD int fd = fd_open("/proc/self/exe", 0, 0, &e);

	assert_int_equal(loop_watch(l, &h, fd, EPOLLIN, seen, NULL, &e), -1);
	assert_null(h.loop);
	loop_free(l);
}

TEST(loop_serves_more_descriptors_than_one_turn_holds)
{
	struct loop *l = loop_made("x");
	static struct eye eyes[100];

	memset(eyes, 0, sizeof(eyes));
	for (size_t i = 0; i < ARRAY_LEN(eyes); i++) {
		eye_open(&eyes[i], l);
		fd_signal(eyes[i].fd);
	}
	run_loop_for(l, 20 * MS);
	for (size_t i = 0; i < ARRAY_LEN(eyes); i++) {
		assert_int_equal(eyes[i].n, 1);
		eye_close(&eyes[i]);
	}
	loop_free(l);
}

/* --- hooks --- */

struct hooked {
	struct loop_hook h;
	struct loop *l;
	unsigned int n, again;
	struct hooked *drop;
};

static bool hook_runs(void *arg)
{
	struct hooked *h = arg;

	h->n++;
	if (h->drop)
		loop_hook_drop(&h->drop->h);
	return h->n < h->again;
}

TEST(loop_hook_that_wants_more_keeps_the_loop_awake)
{
	struct loop *l = loop_made("x");
	struct hooked h = { .again = 100 };

	loop_hook_add(l, &h.h, hook_runs, &h);
	run_loop_for(l, 50 * MS);
	/* a hundred turns of its own, one more for the end */
	assert_in_range(h.n, 100, 103);
	loop_hook_drop(&h.h);
	loop_hook_drop(&h.h);
	loop_free(l);
}

TEST(loop_hook_may_drop_the_next_and_itself)
{
	struct loop *l = loop_made("x");
	struct hooked a = { 0 }, b = { 0 }, c = { 0 };

	a.drop = &b;
	c.drop = &c;
	loop_hook_add(l, &a.h, hook_runs, &a);
	loop_hook_add(l, &b.h, hook_runs, &b);
	loop_hook_add(l, &c.h, hook_runs, &c);
	run_loop_for(l, MS);
	assert_true(a.n > 0);
	assert_int_equal(b.n, 0);
	assert_int_equal(c.n, 1);
	loop_free(l);
	assert_null(a.h.loop);
}

/* --- the turn --- */

struct turn {
	struct diary d;
	struct entry msg, timer;
	struct loop_msg m;
	struct loop_timer t;
	struct loop_fd fd;
	struct loop_hook hook;
	int event;
};

static void turn_fd(void *arg, uint32_t events)
{
	struct turn *t = arg;

	(void)events;
	fd_drain(t->event);
	note(&(struct entry){ &t->d, 'f' });
}

static bool turn_hook(void *arg)
{
	struct turn *t = arg;

	note(&(struct entry){ &t->d, 'h' });
	loop_hook_drop(&t->hook);
	return false;
}

TEST(loop_turn_is_posts_descriptors_timers_hooks)
{
	struct loop *l = loop_made("x");
	struct turn t = { 0 };
	struct err e = { 0 };

	t.msg = (struct entry){ &t.d, 'p' };
	t.timer = (struct entry){ &t.d, 't' };
	t.event = fd_event(&e);
	assert_int_equal(loop_watch(l, &t.fd, t.event, EPOLLIN, turn_fd, &t, &e), 0);
	fd_signal(t.event);
	loop_timer_set(l, &t.t, 0, note, &t.timer);
	loop_hook_add(l, &t.hook, turn_hook, &t);
	loop_post(l, &t.m, note, &t.msg);
	run_loop_for(l, 2 * MS);
	assert_string_equal(t.d.text, "pfth");
	loop_unwatch(&t.fd);
	fd_close(&t.event);
	loop_free(l);
}

TEST(loop_can_be_stopped_before_it_runs_and_run_again)
{
	struct loop *l = loop_made("x");

	loop_stop(l);
	loop_run(l);
	run_loop_for(l, MS);
	loop_free(l);
}

TEST(loop_pin_needs_a_thread)
{
	struct loop *l = loop_made("x");
	struct loop *s = loop_started("y");
	uint32_t cpu = (uint32_t)sched_getcpu();
	struct err e = { 0 };

	assert_int_equal(loop_pin(l, &cpu, 1, &e), -1);
	assert_int_equal(loop_pin(s, &cpu, 1, &e), 0);
	loop_free(l);
	loop_free(s);
}

#ifndef NDEBUG_LOOPS
struct two {
	struct loop *a, *b;
};

static void nothing(void *arg)
{
	(void)arg;
}

static void call_sideways(void *arg)
{
	struct two *t = arg;

	loop_call(t->b, nothing, NULL);
}

TEST(loop_call_by_a_device_loop_is_an_error_of_ours)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct two t = { loop_started("a"), loop_started("b") };

		close(STDERR_FILENO);
		loop_call(t.a, call_sideways, &t);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}
#endif

int main(void)
{
	const struct CMUnitTest t[] = {
#ifndef NDEBUG_LOOPS
		T(loop_call_by_a_device_loop_is_an_error_of_ours),
#endif
#ifndef SANITIZED
		T(loop_call_of_an_opened_loop_does_not_wait_for_a_thread_that_cannot_be),
#endif
		T(loop_call_runs_in_the_loops_thread_and_waits),
		T(loop_call_of_an_opened_loop_waits_for_its_thread),
		T(loop_call_without_a_running_thread_is_direct),
		T(loop_call_on_its_own_thread_is_direct),
		T(loop_call_by_many_threads_is_served_one_at_a_time),
		T(loop_call_after_the_loop_ended_is_direct),
		T(loop_post_of_a_message_on_its_way_is_delivered_once),
		T(loop_posts_between_threads_lose_no_wakeup),
		T(loop_free_runs_what_is_still_posted),
		T(loop_message_taken_back_is_not_delivered),
		T(loop_message_that_posts_itself_does_not_starve_timers),
		T(loop_timers_run_in_the_order_of_their_time),
		T(loop_timer_is_neither_early_nor_rounded_to_milliseconds),
		T(loop_timer_always_due_does_not_hold_the_loop),
		T(loop_timer_stopped_by_another_of_the_same_turn_does_not_run),
		T(loop_watch_reports_readiness),
		T(loop_unwatch_silences_what_is_ready_in_this_turn),
		T(loop_watch_of_a_regular_file_is_refused),
		T(loop_serves_more_descriptors_than_one_turn_holds),
		T(loop_hook_that_wants_more_keeps_the_loop_awake),
		T(loop_hook_may_drop_the_next_and_itself),
		T(loop_turn_is_posts_descriptors_timers_hooks),
		T(loop_can_be_stopped_before_it_runs_and_run_again),
		T(loop_pin_needs_a_thread),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
