/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: what happens in a VM's life, told to machines. One JSON object per event,
 *	{"timestamp":{"secs":0,"nanos":41},"source":"vm","event":"booted","properties":null}
 * followed by an empty line; time counts from the first event. They go to a file or FIFO
 * (--event-monitor) and to subscribers on a loop (GET /api/v1/events). Words for people go through
 * base/log.h; each event is a log line of level info too. What events there are is said by
 * base/event.def.
 *
 * Who tells an event never waits: each reader has a buffer of its own. The thread event-monitor
 * writes for the file or FIFO, of 64 KiB; subscribers are called in their loop, of 16 KiB. When a
 * reader does not read, events are lost to it once its buffer is full; the next that finds room is
 * led by {"source":"vmm","event":"events-lost","properties":{"count":"17"}}.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/loop.h"

/* Opens the file or FIFO; a file is emptied, so that nobody takes the events of an earlier run for
 * ours. Of a FIFO the reader may come later: what was told before waits for him. Once, before
 * threads; SIGPIPE is ignored. */
MUST int event_to_path(const char *path, struct err *e);
/* The same with a descriptor of the caller's, which is borrowed and stays as long as the
 * process. */
MUST int event_to_fd(int fd, struct err *e);
/* Starts the thread that writes, under the filter "event"; without a monitor it does nothing. */
MUST int event_start(struct err *e);
/* Gives the reader a moment, at most two seconds, to take what is left, and ends the thread. */
void event_finish(void);

/* Any thread. id is the device or object it is about, the property "id"; NULL where there is
 * none. */
void event(const char *source, const char *name, const char *id);
/* The same with one property of any name. */
void event_with(const char *source, const char *name, const char *key, const char *value);

struct event_property {
	const char *name, *value;
};
/* The same with any properties. */
void event_told(const char *source, const char *name, const struct event_property *p,
		unsigned int count);

/* Somebody who wants all events from now on; embedded by its owner, zeroed before first use. */
struct event_ring;
struct event_sub {
	struct link link;
	struct event_ring *ring;
	struct loop *loop;
	struct loop_msg msg;
	uint32_t untaken; /* events that fn has not taken, since one was */
	bool (*fn)(void *arg, const char *text, size_t len);
	void *arg;
};
/* fn is called in the loop's thread with the text of one event, its empty line included; false says
 * that it was not taken and is lost. It may not subscribe or unsubscribe. Both are for the loop's
 * thread. */
void event_subscribe(struct event_sub *s, struct loop *l,
		     bool (*fn)(void *arg, const char *text, size_t len), void *arg);
/* Twice is fine. */
void event_unsubscribe(struct event_sub *s);

/* The rows of event.def, and how often each was told since the program began; any thread. */
struct event_kind {
	const char *source, *name;
	const char *properties; /* parted by blanks */
	const char *when;	/* a sentence without a full stop */
};
extern const struct event_kind event_kinds[];
extern const unsigned int event_kinds_count;
uint64_t event_times(unsigned int kind);
/* Readers that there are besides --event-monitor, and events that some reader has lost. */
unsigned int event_subscribers(void);
uint64_t event_losses(void);
