/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for machines, one write(2) each, so that lines of two threads do not mix. Whether there is
 * room is asked before: the descriptor may be shared with others, whose way of waiting is not ours
 * to change.
 */
#include "base/event.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#define SECOND_NS 1000000000ull

/* Written before there are threads, only read after that; but the lock. */
static struct {
	pthread_mutex_t lock; /* asking for room and writing are one step */
	int fd;
	uint64_t start_ns;
} event_to = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

int event_to_fd(int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return err_os(e, ERR_BAD, "event monitor: descriptor %d", fd);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return err_set(e, ERR_BAD, "event monitor: descriptor %d is only for reading", fd);
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

/* The text of one event, its empty line included; the caller frees it. */
static char *event_text(const char *source, const char *name, const char *key, const char *value)
{
	AUTO_JSON struct json *j = json_obj();
	uint64_t ns = loop_now_ns() - event_to.start_ns;
	struct json *time = json_obj(), *properties = json_new_null();
	AUTO_FREE char *line = NULL;

	json_set_int(time, "secs", (int64_t)(ns / SECOND_NS));
	json_set_int(time, "nanos", (int64_t)(ns % SECOND_NS));
	if (value) {
		json_put(properties);
		properties = json_obj();
		json_set_str(properties, key, value);
	}
	json_set(j, "timestamp", time);
	json_set_str(j, "source", source);
	json_set_str(j, "event", name);
	json_set(j, "properties", properties);
	line = json_text(j, JSON_LINE);
	return mem_fmt("%s\n\n", line);
}

/* A pipe that polls as writable takes PIPE_BUF bytes at once, far more than an event has. */
static bool put(const char *text, size_t len)
{
	struct pollfd p = { .fd = event_to.fd, .events = POLLOUT };
	bool done;

	pthread_mutex_lock(&event_to.lock);
	done = poll(&p, 1, 0) == 1 && p.revents & POLLOUT &&
	       write(event_to.fd, text, len) == (ssize_t)len;
	pthread_mutex_unlock(&event_to.lock);
	return done;
}

void event_with(const char *source, const char *name, const char *key, const char *value)
{
	AUTO_FREE char *text = NULL;

	log_info("event: %s %s%s%s", source, name, value ? " " : "", value ? value : "");
	if (event_to.fd < 0)
		return;
	text = event_text(source, name, key, value);
	if (!put(text, strlen(text)))
		log_guest("event monitor: nobody takes \"%s %s\", it is lost", source, name);
}

void event(const char *source, const char *name, const char *id)
{
	event_with(source, name, "id", id);
}
