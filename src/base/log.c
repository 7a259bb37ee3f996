/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines: composed on the stack of whoever speaks and handed to the kernel by one write(2). The
 * form is the usual one of Cloud Hypervisor, "virga: 0.012345s: <thread> LEVEL:file:line --
 * message". Not here: events for machines (base/event.h) and the answer to a user's command.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

#define LINE_MAX_BYTES 2048 /* holds a whole struct err */
#define BURST 10
#define SECOND_NS 1000000000ull

static const char *const level_names[] = { "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

/* Written by log_init before there are threads, only read after that. */
static struct {
	enum log_level level;
	int fd;
	bool terminal; /* raw mode is possible: lines end with CR LF */
	uint64_t start_ns;
} log_to = { .level = LOG_WARN, .fd = STDERR_FILENO };

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
	log_to.start_ns = now_ns();
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

static void __attribute__((format(printf, 5, 0)))
log_put(uint32_t dropped, enum log_level level, const char *file, int line, const char *fmt,
	va_list args)
{
	const size_t room = LINE_MAX_BYTES - 40; /* for the count and CR LF */
	uint64_t us = (now_ns() - log_to.start_ns) / 1000;
	char text[LINE_MAX_BYTES];
	int os = errno;
	size_t n = 0;

	n = advance(n, room,
		    snprintf(text, room, "virga: %llu.%06llus: <%s> %s:%s:%d -- ",
			     (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000),
			     thread_name(), level_names[level % ARRAY_LEN(level_names)], file,
			     line));
	errno = os; /* for %m */
	n = advance(n, room, vsnprintf(text + n, room - n, fmt, args));
	if (dropped)
		n = advance(
			n, sizeof(text) - 2,
			snprintf(text + n, sizeof(text) - 2 - n, " (%u more left out)", dropped));
	make_plain(text, n);
	if (log_to.terminal)
		text[n++] = '\r';
	text[n++] = '\n';
	/* a log that nobody can read is no reason to stop */
	if (write(log_to.fd, text, n) < 0)
		errno = os;
	errno = os;
}

void log_line(enum log_level level, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_put(0, level, file, line, fmt, args);
	va_end(args);
}

/*
 * A leaky bucket per site: ten lines at once, and one more for each second that went by. Who finds
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
	admitted = s->said < BURST;
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
