/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that cannot fail, and arenas: a chain of blocks, newest first, each served from its
 * front. Not for guest memory and not for the data path. Any thread; an arena belongs to one.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARENA_BLOCK 4080 /* bytes of data: with malloc's own words just under a page */

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(max_align_t) char data[];
};

/* exit(), not _exit(): whoever changed the terminal has an atexit handler. */
static void __attribute__((noreturn)) mem_die(size_t count, size_t size)
{
	char line[96];
	int n = snprintf(line, sizeof(line), "virga: the host has no memory for %zu x %zu bytes\n",
			 count, size);

	/* with nobody to read it, the status must do */
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		exit(1);
	exit(1);
}

void *mem_array(size_t count, size_t size)
{
	/* an empty array is an address too */
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p)
		mem_die(count, size);
	return p;
}

void *mem_new(size_t size)
{
	return mem_array(1, size);
}

void *mem_resize(void *p, size_t old_count, size_t count, size_t size)
{
	char *q = reallocarray(p, count ? count : 1, size ? size : 1);

	if (!q)
		mem_die(count, size);
	if (count > old_count)
		memset(q + old_count * size, 0, (count - old_count) * size);
	return q;
}

char *mem_strn(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = mem_new(len + 1);

	memcpy(p, s, len);
	return p;
}

char *mem_str(const char *s)
{
	return mem_strn(s, strlen(s));
}

char *mem_fmt(const char *fmt, ...)
{
	va_list args;
	char *p;
	int n;

	va_start(args, fmt);
	n = vasprintf(&p, fmt, args);
	va_end(args);
	if (n < 0)
		mem_die(1, strlen(fmt));
	return p;
}

void *arena_new(struct arena *a, size_t size)
{
	struct arena_block *b = a->head;
	size_t need;
	void *p;

	if (__builtin_add_overflow(size, _Alignof(max_align_t) - 1, &need))
		mem_die(1, size);
	need &= ~(_Alignof(max_align_t) - 1);
	if (!b || need > b->size - b->used) {
		size_t room = need > ARENA_BLOCK ? need : ARENA_BLOCK;

		if (room > SIZE_MAX - sizeof(*b))
			mem_die(1, size);
		b = mem_new(sizeof(*b) + room);
		b->size = room;
		b->next = a->head;
		a->head = b;
	}
	p = b->data + b->used;
	b->used += need;
	return p;
}

char *arena_strn(struct arena *a, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = arena_new(a, len + 1);

	memcpy(p, s, len);
	return p;
}

void arena_fini(struct arena *a)
{
	while (a->head) {
		struct arena_block *b = a->head;

		a->head = b->next;
		free(b);
	}
}
