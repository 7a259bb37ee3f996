/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: composed on the stack of whoever speaks and handed to the kernel by one write(2). The
 * form is the usual one of Cloud Hypervisor, "virga:   0.012345s: <thread> LEVEL:file:line --
 * message", or a template of the user's (base/logform.h). A reader that does not read holds nobody
 * up for long: lines are left out until it does. Not here: events for machines (base/event.h) and
 * the answer to a user's command.
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/logform.h"
#include "base/mem.h"
#include "base/thread.h"

#define LINE_MAX_BYTES 2048 /* holds a whole struct err */
#define SECOND_NS 1000000000ull

#define PATIENCE_MS 100 /* for a reader, once; then none until it reads */

/* Written before there are threads, only read after that; but for the last three. */
static struct {
	enum log_level level;
	int fd;
	bool terminal; /* raw mode is possible: lines end with CR LF */
	uint64_t start_ns;
	const char *name;
	bool has_form;
	struct log_form form;
	pthread_mutex_t lock; /* asking for room and writing are one step */
	bool stuck;	      /* nobody read the last line in time */
	uint32_t lost;	      /* lines, since it is stuck */
} log_to = {
	.level = LOG_WARN,
	.fd = STDERR_FILENO,
	.name = "virga",
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

void log_init(enum log_level level, int fd)
{
	log_to.level = level;
	log_to.fd = fd;
	log_to.terminal = isatty(fd);
	if (!log_to.start_ns)
		log_to.start_ns = now_ns();
}

void log_call(const char *name)
{
	log_to.name = name;
	log_to.start_ns = now_ns();
}

const char *log_name(void)
{
	return log_to.name;
}

int log_format(const char *text, struct err *e)
{
	if (log_form_parse(&log_to.form, text, e) < 0)
		return -1;
	log_to.has_form = true;
	return 0;
}

enum log_level log_level(void)
{
	return log_to.level;
}

int log_fd(void)
{
	return log_to.fd;
}

/* A name or message of foreign origin cannot forge a line or speak to the terminal. */
static void make_plain(char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			s[i] = s[i] == '\t' ? ' ' : '?';
}

/* n as snprintf returned it, bounded by what fits behind used */
static size_t advance(size_t used, size_t size, int n)
{
	if (n < 0)
		return used;
	return (size_t)n < size - used ? used + (size_t)n : size - 1;
}

/* The line without its end. The usual form is no template, so that nothing need be set up for it. */
static size_t compose(char *out, size_t size, const struct log_record *r)
{
	unsigned long long us = r->since_ns / 1000;

	if (log_to.has_form)
		return log_form_fill(out, size, &log_to.form, r);
	return advance(0, size,
		       snprintf(out, size, "%s: %3llu.%06llus: <%s> %s:%s:%d -- %s", log_to.name,
				us / 1000000, us % 1000000, r->thread, log_level_name(r->level),
				r->file, r->line, r->msg));
}

/* A pipe that polls as writable takes PIPE_BUF bytes at once, more than a line has. A line that is lost
 * takes along the count of those that it was to tell of. */
static void put(const char *text, size_t n, uint32_t lost)
{
	struct pollfd p = { .fd = log_to.fd, .events = POLLOUT };

	pthread_mutex_lock(&log_to.lock);
	log_to.stuck = poll(&p, 1, log_to.stuck ? 0 : PATIENCE_MS) == 0;
	/* a log that nobody can read is no reason to stop */
	if (log_to.stuck || write(log_to.fd, text, n) < 0)
		__atomic_fetch_add(&log_to.lost, lost + 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&log_to.lock);
}

static void __attribute__((format(printf, 5, 0)))
log_put(uint32_t dropped, enum log_level level, const char *file, int line, const char *fmt,
	va_list args)
{
	struct log_record r = {
		.level = level,
		.file = file,
		.line = line,
		.since_ns = now_ns() - log_to.start_ns,
	};
	char text[LINE_MAX_BYTES], msg[LINE_MAX_BYTES], thread[THREAD_NAME_MAX + 1];
	uint32_t lost = __atomic_exchange_n(&log_to.lost, 0, __ATOMIC_RELAXED) + dropped;
	int os = errno;
	size_t n;

	n = advance(0, sizeof(msg) - 40, vsnprintf(msg, sizeof(msg) - 40, fmt, args));
	if (lost)
		n = advance(n, sizeof(msg),
			    snprintf(msg + n, sizeof(msg) - n, " (%u more left out)", lost));
	make_plain(msg, n);
	n = advance(0, sizeof(thread), snprintf(thread, sizeof(thread), "%s", thread_name()));
	make_plain(thread, n);
	r.msg = msg;
	r.thread = thread;
	clock_gettime(CLOCK_REALTIME, &r.wall);
	n = compose(text, sizeof(text) - 2, &r);
	if (log_to.terminal)
		text[n++] = '\r';
	text[n++] = '\n';
	put(text, n, lost);
	errno = os;
}

/*
 * A leaky bucket per site: a burst of lines at once, and one more for each second that went by. Who finds
 * the site in another thread's hands is counted as left out, so nobody ever waits here.
 */
bool log_site_admits(struct log_site *s, uint64_t now, uint32_t *dropped)
{
	bool admitted;
	uint64_t past;

	if (__atomic_exchange_n(&s->busy, 1, __ATOMIC_ACQUIRE)) {
		__atomic_fetch_add(&s->dropped, 1, __ATOMIC_RELAXED);
		return false;
	}
	past = (now - s->window_ns) / SECOND_NS;
	s->window_ns += past * SECOND_NS;
	s->said -= past < s->said ? (uint32_t)past : s->said;
	admitted = s->said < (s->burst ? s->burst : LOG_BURST);
	if (admitted) {
		s->said++;
		*dropped = __atomic_exchange_n(&s->dropped, 0, __ATOMIC_RELAXED);
	} else {
		__atomic_fetch_add(&s->dropped, 1, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
	return admitted;
}

void log_limited(struct log_site *site, enum log_level level, const char *file, int line,
		 const char *fmt, ...)
{
	uint32_t dropped = 0;
	va_list args;

	if (!log_site_admits(site, now_ns(), &dropped))
		return;
	va_start(args, fmt);
	log_put(dropped, level, file, line, fmt, args);
	va_end(args);
}
