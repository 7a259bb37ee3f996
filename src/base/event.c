/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for machines. Tellers append to a ring of bytes under a lock that is never held over a
 * system call that waits; the thread event-monitor takes from it and writes, and it alone waits for
 * the reader. What was in the ring before that thread began is written like the rest. See event.h.
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
#define LAST_MS 250	 /* for a reader that takes nothing more, at the end */
#define LAST_ALL_MS 2000 /* for one that takes a little now and then */
#define KICKS 40
#define KICK_MS 5

static struct {
	/* written before there are threads, only read after that */
	int fd;
	uint64_t start_ns;
	bool started;
	struct thread thread;
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	char *ring;
	uint64_t put, taken; /* bytes since the start; the ring holds those between */
	uint32_t lost;	     /* events, since one found room */
	bool stopping, ended;
} event_to = {
	.fd = -1,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.filled = PTHREAD_COND_INITIALIZER,
	.emptied = PTHREAD_COND_INITIALIZER,
};

int event_to_fd(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return err_os(e, ERR_BAD, "event monitor: descriptor %d", fd);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(e, ERR_BAD, "event monitor: descriptor %d is only for reading", fd);
	free(event_to.ring);
	event_to.ring = mem_array(RING_BYTES, 1);
	event_to.put = event_to.taken = event_to.lost = 0;
	event_to.stopping = event_to.ended = false;
	event_to.fd = fd;
	event_to.start_ns = loop_now_ns();
	return 0;
}

int event_to_path(const char *path, struct err *e)
{
	int fd = fd_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666, e);

	if (fd < 0)
		return err_in(e, "event monitor");
	return event_to_fd(fd, e);
}

/* --- the thread that writes --- */

/* Bytes of one piece that can be written next; waits for some. 0: it is time to end. */
static size_t next_piece(const char **at)
{
	uint64_t from, n;

	pthread_mutex_lock(&event_to.lock);
	while (event_to.put == event_to.taken && !event_to.stopping)
		pthread_cond_wait(&event_to.filled, &event_to.lock);
	from = event_to.taken % RING_BYTES;
	n = event_to.put - event_to.taken;
	pthread_mutex_unlock(&event_to.lock);
	*at = event_to.ring + from;
	return n < RING_BYTES - from ? n : RING_BYTES - from;
}

static void took(uint64_t n)
{
	pthread_mutex_lock(&event_to.lock);
	event_to.taken += n;
	pthread_cond_signal(&event_to.emptied);
	pthread_mutex_unlock(&event_to.lock);
}

/* Whoever was reading is gone, and the rest of what he began to read is nobody's. */
static void drop_all(void)
{
	pthread_mutex_lock(&event_to.lock);
	event_to.taken = event_to.put;
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

static void write_events(void *arg __attribute__((unused)))
{
	struct pollfd p = { .fd = event_to.fd, .events = POLLOUT };
	const char *at;
	size_t n;

	while ((n = next_piece(&at)) != 0) {
		ssize_t done = write(event_to.fd, at, n);

		if (done >= 0)
			took((uint64_t)done);
		else if (errno == EINTR && is_stopping())
			break;
		else if (errno == EAGAIN)
			poll(&p, 1,
			     LAST_MS); /* it came to us without waiting, which is not ours to change */
		else if (errno != EINTR)
			drop_all();
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
			unsigned int count)
{
	AUTO_JSON struct json *j = json_obj();
	uint64_t ns = loop_now_ns() - event_to.start_ns;
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

/* Under the lock. */
static void ring_put(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		event_to.ring[(event_to.put + i) % RING_BYTES] = text[i];
	event_to.put += length;
	pthread_cond_signal(&event_to.filled);
}

/* The event that says how many were lost before. Under the lock. */
static char *lost_text(void)
{
	char count[12];
	const struct event_property p = { "count", count };

	snprintf(count, sizeof(count), "%u", event_to.lost);
	return event_text("vmm", "events-lost", &p, 1);
}

static bool append(const char *text)
{
	size_t length = strlen(text), more = 0;
	AUTO_FREE char *lost = NULL;
	bool fits;

	pthread_mutex_lock(&event_to.lock);
	if (event_to.lost) {
		lost = lost_text();
		more = strlen(lost);
	}
	fits = length + more <= RING_BYTES - (event_to.put - event_to.taken);
	if (!fits) {
		event_to.lost++;
	} else {
		event_to.lost = 0;
		ring_put(lost ? lost : "", more);
		ring_put(text, length);
	}
	pthread_mutex_unlock(&event_to.lock);
	return fits;
}

void event_told(const char *source, const char *name, const struct event_property *p,
		unsigned int count)
{
	const char *what = count ? p[0].value : "";
	AUTO_FREE char *text = NULL;

	/* a guest can reset itself and its devices as often as it likes */
	log_guest_info("event: %s %s%s%s", source, name, count ? " " : "", what);
	if (event_to.fd < 0)
		return;
	text = event_text(source, name, p, count);
	if (!append(text))
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

/* --- the end --- */

/* Waits on `emptied` until *flag-like progress or so many milliseconds; under the lock. */
static void wait_emptied(unsigned int ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)ms * 1000000;
	until.tv_sec += until.tv_nsec / (long)SECOND_NS;
	until.tv_nsec %= (long)SECOND_NS;
	pthread_cond_timedwait(&event_to.emptied, &event_to.lock, &until);
}

/* While the reader takes some, he gets more time. Under the lock. */
static void wait_for_reader(void)
{
	uint64_t end = loop_now_ns() + LAST_ALL_MS * 1000000ull, before;

	while (event_to.put != event_to.taken && loop_now_ns() < end) {
		before = event_to.taken;
		wait_emptied(LAST_MS);
		if (event_to.taken == before)
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
		wait_emptied(KICK_MS);
	}
	ended = event_to.ended;
	if (event_to.put != event_to.taken || event_to.lost)
		log_warn("event monitor: nobody took the last events");
	pthread_mutex_unlock(&event_to.lock);
	/* one that a dead file system holds goes with the process */
	if (ended)
		thread_join(&event_to.thread);
	event_to.fd = -1;
}
