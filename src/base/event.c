/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for machines. Tellers append to the readers' rings of bytes under a lock that is never held
 * over a system call that waits. The thread event-monitor takes from its ring and writes, and it
 * alone waits for its reader; what was in the ring before that thread began is written like the
 * rest. A subscriber's loop takes from the subscriber's. See event.h.
 */
#include "base/event.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/thread.h"

#define SECOND_NS 1000000000ull
#define RING_BYTES KIB(64)
#define SUB_BYTES KIB(16)
#define FIRST_MS 50	 /* between two looks whether the FIFO has a reader */
#define LAST_MS 250	 /* for a reader that takes nothing more, at the end */
#define LAST_ALL_MS 2000 /* for one that takes a little now and then */
#define KICKS 400
#define KICK_MS 5

/* Texts of events that a reader has not taken yet, in a circle of bytes. */
struct event_ring {
	uint32_t size;
	uint32_t lost;	     /* events, since one found room */
	uint64_t put, taken; /* bytes since the start; the ring holds those between */
	char bytes[];
};

/* The last is for names that no row has. */
#define EVENT(...) +1
enum {
	KINDS = 0
#include "base/event.def"
};
#undef EVENT
#define KIND_OTHER KINDS

static struct {
	/* written before there are threads, only read after that */
	int fd;
	bool started;
	struct thread thread;
	/* the thread's */
	bool met; /* the FIFO has had a reader */
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	uint64_t start_ns;
	struct event_ring *ring; /* the monitor's */
	struct link subs;
	bool has_subs; /* the list was made */
	bool stopping, ended;
	bool writing; /* the thread has taken something up, and its reader may keep it waiting */
	uint64_t losses;
	uint64_t times[KINDS + 1];
} event_to = {
	.fd = -1,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.filled = PTHREAD_COND_INITIALIZER,
	.emptied = PTHREAD_COND_INITIALIZER,
};

/* --- rings, under the lock --- */

static struct event_ring *ring_new(uint32_t size)
{
	struct event_ring *r = mem_new(sizeof(*r) + size);

	r->size = size;
	return r;
}

static uint64_t ring_held(const struct event_ring *r)
{
	return r->put - r->taken;
}

static void ring_put(struct event_ring *r, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		r->bytes[(r->put + i) % r->size] = text[i];
	r->put += length;
}

/* All it holds, as text; the caller frees it. */
static char *ring_take_all(struct event_ring *r)
{
	uint64_t n = ring_held(r);
	char *text = mem_new(n + 1);

	for (uint64_t i = 0; i < n; i++)
		text[i] = r->bytes[(r->taken + i) % r->size];
	r->taken = r->put;
	return text;
}

/* --- where to --- */

int event_to_fd(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return err_os(e, ERR_BAD, "event monitor: descriptor %d", fd);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(e, ERR_BAD, "event monitor: descriptor %d is only for reading", fd);
	free(event_to.ring);
	event_to.ring = ring_new(RING_BYTES);
	event_to.stopping = event_to.ended = false;
	event_to.met = true;
	event_to.fd = fd;
	return 0;
}

int event_to_path(const char *path, struct err *e)
{
	bool fifo;
	int fd = fd_open_out(path, 0666, &fifo, e);

	if (fd < 0)
		return err_in(e, "event monitor");
	if (event_to_fd(fd, e) < 0)
		return -1;
	event_to.met = !fifo;
	return 0;
}

/* --- the thread that writes --- */

/* Bytes of one piece that can be written next; waits for some. 0: it is time to end. */
static size_t next_piece(const char **at)
{
	const struct event_ring *r = event_to.ring;
	uint64_t from, n;

	pthread_mutex_lock(&event_to.lock);
	while (!ring_held(r) && !event_to.stopping)
		pthread_cond_wait(&event_to.filled, &event_to.lock);
	from = r->taken % r->size;
	n = ring_held(r);
	event_to.writing = n;
	pthread_mutex_unlock(&event_to.lock);
	*at = r->bytes + from;
	return n < r->size - from ? n : r->size - from;
}

static void took(uint64_t n)
{
	pthread_mutex_lock(&event_to.lock);
	event_to.ring->taken += n;
	event_to.writing = false;
	pthread_cond_signal(&event_to.emptied);
	pthread_mutex_unlock(&event_to.lock);
}

/* Whoever was reading is gone, and the rest of what he began to read is nobody's. */
static void drop_all(void)
{
	pthread_mutex_lock(&event_to.lock);
	event_to.ring->taken = event_to.ring->put;
	pthread_cond_signal(&event_to.emptied);
	pthread_mutex_unlock(&event_to.lock);
}

static bool is_stopping(void)
{
	bool stopping;

	pthread_mutex_lock(&event_to.lock);
	stopping = event_to.stopping;
	pthread_mutex_unlock(&event_to.lock);
	return stopping;
}

/* For so many milliseconds, or until something happens. Under the lock. */
static void wait_on(pthread_cond_t *what, unsigned int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)ms * 1000000;
	until.tv_sec += until.tv_nsec / (long)SECOND_NS;
	until.tv_nsec %= (long)SECOND_NS;
	pthread_cond_timedwait(what, &event_to.lock, &until);
}

/* Nobody has opened the FIFO yet, and nothing tells when he does. */
static void wait_for_first_reader(void)
{
	pthread_mutex_lock(&event_to.lock);
	if (!event_to.stopping)
		wait_on(&event_to.filled, FIRST_MS);
	pthread_mutex_unlock(&event_to.lock);
}

/* What write() has failed with; false when it is time to end. */
static bool bear(int error)
{
	struct pollfd p = { .fd = event_to.fd, .events = POLLOUT };

	if (error == EINTR || (error == EPIPE && !event_to.met)) {
		if (is_stopping())
			return false;
		if (error == EPIPE)
			wait_for_first_reader();
	} else if (error == EAGAIN) {
		/* it came to us without waiting, which is not ours to change */
		poll(&p, 1, LAST_MS);
	} else {
		drop_all();
	}
	return true;
}

static void write_events(void *arg __attribute__((unused)))
{
	bool goes_on = true;
	const char *at;
	size_t n;

	while (goes_on && (n = next_piece(&at)) != 0) {
		ssize_t done = write(event_to.fd, at, n);

		if (done >= 0) {
			event_to.met = true;
			took((uint64_t)done);
		} else {
			goes_on = bear(errno);
		}
	}
	pthread_mutex_lock(&event_to.lock);
	event_to.ended = true;
	pthread_cond_signal(&event_to.emptied);
	pthread_mutex_unlock(&event_to.lock);
}

int event_start(struct err *e)
{
	if (event_to.fd < 0)
		return 0;
	if (thread_start(&event_to.thread, "event-monitor", "event", write_events, NULL, e) < 0)
		return -1;
	event_to.started = true;
	return 0;
}

/* --- telling --- */

/* The text of one event, its empty line included; the caller frees it. */
static char *event_text(const char *source, const char *name, const struct event_property *p,
			unsigned int count, uint64_t ns)
{
	AUTO_JSON struct json *j = json_obj();
	struct json *time = json_obj(), *properties = count ? json_obj() : json_new_null();
	AUTO_FREE char *line = NULL;

	json_set_int(time, "secs", (int64_t)(ns / SECOND_NS));
	json_set_int(time, "nanos", (int64_t)(ns % SECOND_NS));
	for (unsigned int i = 0; i < count; i++)
		json_set_str(properties, p[i].name, p[i].value);
	json_set(j, "timestamp", time);
	json_set_str(j, "source", source);
	json_set_str(j, "event", name);
	json_set(j, "properties", properties);
	line = json_text(j, JSON_LINE);
	return mem_fmt("%s\n\n", line);
}

/* The event that says how many were lost before. */
static char *lost_text(uint32_t lost, uint64_t ns)
{
	char count[12];
	const struct event_property p = { "count", count };

	snprintf(count, sizeof(count), "%u", lost);
	return event_text("vmm", "events-lost", &p, 1, ns);
}

static unsigned int kind_of(const char *source, const char *name)
{
	unsigned int i = 0;

	while (i < KINDS && (strcmp(event_kinds[i].name, name) != 0 ||
			     strcmp(event_kinds[i].source, source) != 0))
		i++;
	return i;
}

/* Since the first event. Under the lock. */
static uint64_t time_now(void)
{
	uint64_t now = loop_now_ns();

	if (!event_to.start_ns)
		event_to.start_ns = now;
	return now - event_to.start_ns;
}

/* False when it is lost to that reader. Under the lock. */
static bool ring_add(struct event_ring *r, const char *text, uint64_t ns)
{
	size_t length = strlen(text);
	AUTO_FREE char *lost = r->lost ? lost_text(r->lost, ns) : NULL;
	size_t more = lost ? strlen(lost) : 0;

	if (length + more > r->size - ring_held(r)) {
		r->lost++;
		event_to.losses++;
		return false;
	}
	r->lost = 0;
	ring_put(r, lost ? lost : "", more);
	ring_put(r, text, length);
	return true;
}

static void sub_deliver(void *arg);

/* Under the lock. */
static bool add_to_all(const char *text, uint64_t ns)
{
	bool fits = true;

	if (event_to.fd >= 0) {
		fits = ring_add(event_to.ring, text, ns);
		pthread_cond_signal(&event_to.filled);
	}
	if (!event_to.has_subs)
		return fits;
	list_each (l, &event_to.subs) {
		struct event_sub *s = container_of(l, struct event_sub, link);

		ring_add(s->ring, text, ns);
		loop_post(s->loop, &s->msg, sub_deliver, s);
	}
	return fits;
}

void event_told(const char *source, const char *name, const struct event_property *p,
		unsigned int count)
{
	const char *what = count ? p[0].value : "";
	AUTO_FREE char *text = NULL;
	bool fits = true;
	uint64_t ns;

	/* a guest can reset itself and its devices as often as it likes */
	log_guest_info("event: %s %s%s%s", source, name, count ? " " : "", what);
	pthread_mutex_lock(&event_to.lock);
	ns = time_now();
	event_to.times[kind_of(source, name)]++;
	if (event_to.fd >= 0 || (event_to.has_subs && !list_empty(&event_to.subs))) {
		text = event_text(source, name, p, count, ns);
		fits = add_to_all(text, ns);
	}
	pthread_mutex_unlock(&event_to.lock);
	if (!fits)
		log_guest("event monitor: nobody takes \"%s %s\", it is lost", source, name);
}

void event_with(const char *source, const char *name, const char *key, const char *value)
{
	const struct event_property p = { key, value };

	event_told(source, name, &p, value ? 1 : 0);
}

void event(const char *source, const char *name, const char *id)
{
	event_with(source, name, "id", id);
}

/* --- subscribers, in their loop --- */

static bool sub_give(struct event_sub *s, const char *text, size_t length)
{
	if (s->fn(s->arg, text, length))
		return true;
	s->untaken++;
	pthread_mutex_lock(&event_to.lock);
	event_to.losses++;
	pthread_mutex_unlock(&event_to.lock);
	return false;
}

/* Says what was not taken, in front of what may be taken now. */
static void sub_say_lost(struct event_sub *s)
{
	AUTO_FREE char *text = NULL;

	pthread_mutex_lock(&event_to.lock);
	text = lost_text(s->untaken, time_now());
	pthread_mutex_unlock(&event_to.lock);
	if (s->fn(s->arg, text, strlen(text)))
		s->untaken = 0;
}

static void sub_deliver(void *arg)
{
	struct event_sub *s = arg;
	AUTO_FREE char *all = NULL;
	const char *end;

	pthread_mutex_lock(&event_to.lock);
	all = ring_take_all(s->ring);
	pthread_mutex_unlock(&event_to.lock);
	for (const char *at = all; (end = strstr(at, "\n\n")); at = end + 2) {
		if (s->untaken)
			sub_say_lost(s);
		sub_give(s, at, (size_t)(end + 2 - at));
	}
}

void event_subscribe(struct event_sub *s, struct loop *l,
		     bool (*fn)(void *arg, const char *text, size_t len), void *arg)
{
	*s = (struct event_sub){ .loop = l, .fn = fn, .arg = arg, .ring = ring_new(SUB_BYTES) };
	pthread_mutex_lock(&event_to.lock);
	if (!event_to.has_subs)
		list_init(&event_to.subs);
	event_to.has_subs = true;
	list_add_tail(&event_to.subs, &s->link);
	pthread_mutex_unlock(&event_to.lock);
}

void event_unsubscribe(struct event_sub *s)
{
	if (!s->ring)
		return;
	pthread_mutex_lock(&event_to.lock);
	list_drop(&s->link);
	pthread_mutex_unlock(&event_to.lock);
	loop_unpost(s->loop, &s->msg);
	free(take(&s->ring));
}

unsigned int event_subscribers(void)
{
	unsigned int n = 0;

	pthread_mutex_lock(&event_to.lock);
	if (event_to.has_subs)
		list_each (l, &event_to.subs)
			n++;
	pthread_mutex_unlock(&event_to.lock);
	return n;
}

uint64_t event_losses(void)
{
	uint64_t n;

	pthread_mutex_lock(&event_to.lock);
	n = event_to.losses;
	pthread_mutex_unlock(&event_to.lock);
	return n;
}

uint64_t event_times(unsigned int kind)
{
	uint64_t n;

	pthread_mutex_lock(&event_to.lock);
	n = event_to.times[kind < KINDS ? kind : KIND_OTHER];
	pthread_mutex_unlock(&event_to.lock);
	return n;
}

/* --- the end --- */

/* While the reader takes some, he gets more time; so does the thread that has not come to give him any, on a
 * host that is busy. Under the lock. */
static void wait_for_reader(void)
{
	uint64_t end = loop_now_ns() + LAST_ALL_MS * 1000000ull, before;

	while (ring_held(event_to.ring) && loop_now_ns() < end) {
		before = event_to.ring->taken;
		wait_on(&event_to.emptied, LAST_MS);
		if (event_to.writing && event_to.ring->taken == before)
			return;
	}
}

void event_finish(void)
{
	bool ended;

	if (!event_to.started)
		return;
	event_to.started = false;
	pthread_mutex_lock(&event_to.lock);
	wait_for_reader();
	event_to.stopping = true;
	pthread_cond_signal(&event_to.filled);
	for (unsigned int i = 0; i < KICKS && !event_to.ended; i++) {
		/* out of a write that waits */
		thread_kick(&event_to.thread);
		wait_on(&event_to.emptied, KICK_MS);
	}
	ended = event_to.ended;
	if (ring_held(event_to.ring) || event_to.ring->lost)
		log_warn("event monitor: nobody took the last events");
	pthread_mutex_unlock(&event_to.lock);
	/* one that a dead file system holds goes with the process */
	if (ended)
		thread_join(&event_to.thread);
	event_to.fd = -1;
}

#define EVENT(...) { __VA_ARGS__ },
const struct event_kind event_kinds[] = {
#include "base/event.def"
};
#undef EVENT
const unsigned int event_kinds_count = KINDS;
