/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing ring of bytes. See backlog.h. The byte of a position lies at the position modulo the
 * room.
 */
#include "vm/backlog.h"

#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

#define FIRST_ROOM 4096
#define IDLE_ROOM 65536 /* at most, of an empty one */

static void copy_in(struct backlog *b, uint64_t pos, const uint8_t *data, size_t len)
{
	size_t at = pos & (b->room - 1), run = min_u64(len, b->room - at);

	memcpy(b->ring + at, data, run);
	memcpy(b->ring, data + run, len - run);
}

static void grow(struct backlog *b, size_t need)
{
	struct backlog larger = { .room = b->room ? b->room : FIRST_ROOM };
	const uint8_t *run;
	size_t len;

	while (larger.room < need)
		larger.room *= 2;
	if (larger.room == b->room)
		return;
	larger.ring = mem_new(larger.room);
	for (uint64_t pos = b->tail; pos < b->head; pos += len) {
		run = backlog_peek(b, pos, &len);
		copy_in(&larger, pos, run, len);
	}
	free(b->ring);
	b->ring = larger.ring;
	b->room = larger.room;
}

size_t backlog_put(struct backlog *b, const uint8_t *data, size_t len)
{
	size_t n = min_u64(len, BACKLOG_MAX - backlog_len(b));

	if (!n)
		return 0;
	grow(b, backlog_len(b) + n);
	copy_in(b, b->head, data, n);
	b->head += n;
	return n;
}

size_t backlog_push(struct backlog *b, const uint8_t *data, size_t len)
{
	size_t skip = len > BACKLOG_MAX ? len - BACKLOG_MAX : 0, keep = len - skip;
	size_t room = BACKLOG_MAX - backlog_len(b), old = keep > room ? keep - room : 0;

	b->tail += old;
	if (skip) {
		/* nothing older is left: the positions of what is skipped pass as well */
		b->head += skip;
		b->tail = b->head;
		old = BACKLOG_MAX - room;
	}
	backlog_put(b, data + skip, keep);
	return old + skip;
}

const uint8_t *backlog_peek(const struct backlog *b, uint64_t pos, size_t *len)
{
	size_t at;

	*len = 0;
	if (pos >= b->head)
		return NULL;
	at = pos & (b->room - 1);
	*len = min_u64(b->head - pos, b->room - at);
	return b->ring + at;
}

void backlog_forget(struct backlog *b, uint64_t pos)
{
	if (pos > b->tail)
		b->tail = pos;
	if (b->tail != b->head || b->room <= IDLE_ROOM)
		return;
	free(b->ring);
	b->ring = NULL;
	b->room = 0;
}

void backlog_clear(struct backlog *b)
{
	b->tail = b->head;
	free(b->ring);
	b->ring = NULL;
	b->room = 0;
}
