/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error value of the control path: what kind of failure, which errno, and a chain of sentences
 * from the outermost circumstance to the root cause. It lives on the caller's stack, has a fixed
 * size and never allocates. It is not for the data path, where results are plain values.
 *
 *	return err_os(e, ERR_IO, "open %s", path);	the root: kind, errno, sentence
 *	return err_in(e, "disk %s", id);		on the way up: one frame outward
 *
 * Every function here may be called by any thread; an err belongs to one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MUST __attribute__((warn_unused_result))

enum err_kind {
	ERR_NONE,    /* no error was set */
	ERR_BAD,     /* what the user said is wrong: HTTP 400 */
	ERR_ABSENT,  /* the thing named does not exist: 404 */
	ERR_STATE,   /* not in this state of the VM: 405 */
	ERR_TAKEN,   /* an id or path is in use: 409 */
	ERR_BUSY,    /* try again later: 429 */
	ERR_DENIED,  /* the host refuses a right: 500 */
	ERR_IO,	     /* the host failed: 500 */
	ERR_UNBUILT, /* known, and not in this build: 501 */
};

#define ERR_FRAMES 12
#define ERR_TEXT 1600

/* frame i (0 = the root cause) starts at text + at[i]; later frames are further outward */
struct err {
	enum err_kind kind;
	int os;		    /* errno of the root, or 0 */
	unsigned int count; /* frames */
	unsigned int used;  /* bytes of text, including the ending zeros */
	unsigned int at[ERR_FRAMES];
	char text[ERR_TEXT];
};

/* Empties e. A zeroed struct err is empty too. */
void err_clear(struct err *e);

/* Sets the root sentence; drops what e held. Returns -1, so that a caller can return it. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and the text of errno (as it is at the call) at the end. EACCES and EPERM
 * turn ERR_IO into ERR_DENIED. Returns -1. */
int err_os(struct err *e, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds one frame outward. Frames that do not fit are dropped, the root never. Returns -1. */
int err_in(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Frame i counted from the outside: 0 is the outermost; NULL when there are fewer. */
const char *err_frame(const struct err *e, unsigned int i);

/* Writes "outermost: ...: root" to buf, cut to size; returns buf. */
const char *err_line(const struct err *e, char *buf, size_t size);
