/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stream has written and not every reader has taken: a ring of bytes that grows up to a
 * megabyte and shrinks when it is empty. Bytes are known by their position, counted from the stream's
 * first, so that several readers can stand at different ones. No lock and no descriptor; whoever
 * holds it guards it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BACKLOG_MAX (1u << 20)

/* Zeroed before first use. */
struct backlog {
	uint8_t *ring;
	size_t room;	     /* a power of two */
	uint64_t tail, head; /* positions of the oldest byte and behind the newest */
};

static inline size_t backlog_len(const struct backlog *b)
{
	return (size_t)(b->head - b->tail);
}
/* Keeps what fits; the bytes kept. */
size_t backlog_put(struct backlog *b, const uint8_t *data, size_t len);
/* Keeps all, at the cost of the oldest; the bytes that are lost for it, of data itself where it is
 * longer than a backlog. */
size_t backlog_push(struct backlog *b, const uint8_t *data, size_t len);
/* The longest run of bytes at a position that is not before tail; *len is 0 at head. */
const uint8_t *backlog_peek(const struct backlog *b, uint64_t pos, size_t *len);
/* Forgets everything before a position that is not behind head. */
void backlog_forget(struct backlog *b, uint64_t pos);
/* Forgets everything and frees the ring. */
void backlog_clear(struct backlog *b);
