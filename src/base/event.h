/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event monitor: what happens in a VM's life, told to a machine (--event-monitor). One JSON
 * object per event,
 *	{"timestamp":{"secs":0,"nanos":41},"source":"vm","event":"booted","properties":null}
 * followed by an empty line; time counts from the start. Words for people go through base/log.h;
 * each event is a log line of level info too.
 *
 * Who tells an event never waits: it goes into a buffer of 64 KiB, and the thread event-monitor
 * writes. When a reader does not read, events are lost once the buffer is full; the next that finds
 * room is led by {"source":"vmm","event":"events-lost","properties":{"count":"17"}}.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* Starts the clock and opens the file or FIFO; a file is emptied, so that nobody takes the events of
 * an earlier run for ours, and opening a FIFO waits for its reader. Once, before threads. */
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
