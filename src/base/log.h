/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event, tagged by itself with time, thread and file. Each call site is limited: 100
 * lines at once, then one a second, with a count of what was left out. What a guest can provoke by
 * itself goes through log_guest, 10 at once, or log_guest_info for what is no trouble. Any thread may call; a
 * line is one write(2), and who does not read lines holds nobody up. Nothing here allocates.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Sets the level and the descriptor (borrowed, lives as long as the process). Once, before
 * threads. */
void log_init(enum log_level level, int fd);
/* Starts the clock of lines, and says what the program calls itself at their head; static, "virga"
 * when not said. The first thing of all. */
void log_call(const char *name);
const char *log_name(void);
/* Another form of lines, a template with {tokens} (base/logform.h). Once, before threads. */
MUST int log_format(const char *text, struct err *e);
enum log_level log_level(void);
/* Where lines go; for a signal handler's last words. */
int log_fd(void);

#define LOG_BURST 10 /* of what a guest can provoke by itself */

struct log_site {
	uint64_t window_ns; /* when the present second began */
	uint32_t said;	    /* lines that no later second has paid for yet */
	uint32_t dropped;   /* since the last line that was said */
	uint32_t busy;	    /* a thread is counting */
	uint32_t burst;	    /* lines at once; 0 is LOG_BURST */
};
/* May this site say a line now (CLOCK_MONOTONIC)? If so, *dropped is how many it had to leave out
 * before. */
bool log_site_admits(struct log_site *s, uint64_t now, uint32_t *dropped);

void log_limited(struct log_site *site, enum log_level level, const char *file, int line,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Every place is limited: a guest that resets itself comes by any of them as often as it likes. */
#define LOG_SITE_AT(level, burst_, ...)                                                            \
	do {                                                                                       \
		static struct log_site log_site_ = { .burst = (burst_) };                          \
		if ((level) <= log_level())                                                        \
			log_limited(&log_site_, (level), __FILE_NAME__, __LINE__, __VA_ARGS__);    \
	} while (0)
#define LOG_AT(level, ...) LOG_SITE_AT(level, 100, __VA_ARGS__)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)
#define log_guest(...) LOG_SITE_AT(LOG_WARN, LOG_BURST, __VA_ARGS__)
#define log_guest_info(...) LOG_SITE_AT(LOG_INFO, LOG_BURST, __VA_ARGS__)
