/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event monitor: what happens in a VM's life, told to a machine (--event-monitor). One JSON
 * object per event,
 *	{"timestamp":{"secs":0,"nanos":41},"source":"vm","event":"booted","properties":null}
 * followed by an empty line; time counts from the start. Words for people go through base/log.h;
 * each event is a log line of level info too. Never blocks: who does not read loses events, which
 * the log says.
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

/* Any thread. id is the device or object it is about, the property "id"; NULL where there is
 * none. */
void event(const char *source, const char *name, const char *id);
/* The same with one property of any name. */
void event_with(const char *source, const char *name, const char *key, const char *value);
