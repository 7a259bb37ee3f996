/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error value: sentences laid one behind the other in a fixed text, root first. Nothing is
 * allocated and nothing is logged here; who handles an error logs it. Called by any thread on an
 * err of its own.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void err_clear(struct err *e)
{
	e->kind = ERR_NONE;
	e->os = 0;
	e->count = e->used = 0;
	e->text[0] = '\0';
}

/* Puts one whole sentence behind the others; false when there is no room. */
static bool frame_add(struct err *e, const char *text, size_t len)
{
	if (e->count == ERR_FRAMES || len >= ERR_TEXT - e->used)
		return false;
	memcpy(e->text + e->used, text, len);
	e->text[e->used + len] = '\0';
	e->at[e->count++] = e->used;
	e->used += (unsigned int)len + 1;
	return true;
}

/* Formats into buf and returns the length of what fitted. */
static size_t sentence(char *buf, size_t size, const char *fmt, va_list args)
{
	int n = vsnprintf(buf, size, fmt, args);

	if (n < 0)
		buf[n = 0] = '\0';
	return (size_t)n < size ? (size_t)n : size - 1;
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	char text[ERR_TEXT]; /* apart from e, because an argument may point into e */
	va_list args;
	size_t len;

	va_start(args, fmt);
	len = sentence(text, sizeof(text), fmt, args);
	va_end(args);
	err_clear(e);
	e->kind = kind;
	frame_add(e, text, len);
	return -1;
}

int err_os(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	char text[ERR_TEXT], cause[128], *c;
	int os = errno, n;
	va_list args;
	size_t len;

	c = strerror_r(os, cause, sizeof(cause));
	va_start(args, fmt);
	/* the cause is worth more than the tail of a long name */
	len = sentence(text, sizeof(text) - sizeof(cause) - 2, fmt, args);
	va_end(args);
	n = snprintf(text + len, sizeof(text) - len, ": %s", c);
	len += (size_t)n < sizeof(text) - len ? (size_t)n : sizeof(text) - len - 1;
	err_clear(e);
	e->kind = kind == ERR_IO && (os == EACCES || os == EPERM) ? ERR_DENIED : kind;
	e->os = os;
	frame_add(e, text, len);
	return -1;
}

int err_in(struct err *e, const char *fmt, ...)
{
	char text[ERR_TEXT];
	va_list args;
	size_t len;

	va_start(args, fmt);
	len = sentence(text, sizeof(text), fmt, args);
	va_end(args);
	frame_add(e, text, len);
	return -1;
}

const char *err_frame(const struct err *e, unsigned int i)
{
	return i < e->count ? e->text + e->at[e->count - 1 - i] : NULL;
}

const char *err_line(const struct err *e, char *buf, size_t size)
{
	size_t used = 0;

	if (!size)
		return buf;
	buf[0] = '\0';
	for (unsigned int i = 0; i < e->count && used < size; i++) {
		int n = snprintf(buf + used, size - used, "%s%s", i ? ": " : "", err_frame(e, i));

		used += n > 0 ? (size_t)n : 0;
	}
	return buf;
}
