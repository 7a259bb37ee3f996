/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checked allocation of our own memory, clean-up of locals, and arenas. An allocation that the host
 * cannot serve ends the process with one sentence: sizes that a foreigner chooses are bounded
 * before they get here. Guest memory is elsewhere (mem/gmem.h). Any thread may call; an arena
 * belongs to one.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>

/* Zeroed memory, never NULL; free() it. */
void *mem_new(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Grows or shrinks an array; the tail that is new is zeroed. */
void *mem_resize(void *p, size_t old_count, size_t count, size_t size)
	__attribute__((returns_nonnull));
char *mem_str(const char *s) __attribute__((malloc, returns_nonnull));
char *mem_strn(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *mem_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2), malloc, returns_nonnull));

#define NEW(type) ((type *)mem_new(sizeof(type)))

/* Locals that clean themselves, and the way ownership leaves them. */
static inline void auto_free_(void *p)
{
	free(*(void **)p);
}
#define AUTO_FREE __attribute__((cleanup(auto_free_)))
#define take(p)                                                                                    \
	({                                                                                         \
		__typeof__(*(p)) took_ = *(p);                                                     \
		*(p) = NULL;                                                                       \
		took_;                                                                             \
	})

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Things that die together. Zero-initialise to make one. */
struct arena_block;
struct arena {
	struct arena_block *head;
};
void *arena_new(struct arena *a, size_t size) __attribute__((returns_nonnull));
char *arena_strn(struct arena *a, const char *s, size_t n) __attribute__((returns_nonnull));
void arena_fini(struct arena *a);
