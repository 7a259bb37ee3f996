/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring, and the marks between messages: the length by seven bits a byte, low ones first, the
 * top bit saying that more follow. So messages of up to 127 bytes cost one byte more. See vskept.h.
 */
#include "net/vskept.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"

#define MARK_MAX 5

void vskept_fini(struct vskept *r)
{
	free(r->buf);
	r->buf = NULL;
	r->at = r->len = 0;
}

/* The pieces of [at, at + len) of the ring. */
static unsigned int pieces(const struct vskept *r, struct kiov out[2], uint32_t at, uint32_t len)
{
	uint32_t from = at & (r->room - 1);
	uint32_t first = (uint32_t)min_u64(len, r->room - from);

	out[0] = kiov_of(r->buf + from, first);
	if (first == len)
		return len ? 1 : 0;
	out[1] = kiov_of(r->buf, len - first);
	return 2;
}

static bool make_room(struct vskept *r, uint32_t len)
{
	if (len > r->room - r->len)
		return false;
	if (!r->buf)
		r->buf = mem_new(r->room);
	return true;
}

bool vskept_put(struct vskept *r, const struct kiov *k, unsigned int n, size_t off, uint32_t len)
{
	struct kiov to[2];
	unsigned int count;

	if (!make_room(r, len))
		return false;
	count = pieces(r, to, r->at + r->len, len);
	for (unsigned int i = 0; i < count; i++) {
		kiov_get(k, n, off, to[i].v.iov_base, kiov_len(&to[i]));
		off += kiov_len(&to[i]);
	}
	r->len += len;
	return true;
}

unsigned int vskept_iov(const struct vskept *r, struct kiov out[2], uint32_t off, uint32_t len)
{
	return pieces(r, out, r->at + off, len);
}

void vskept_drop(struct vskept *r, uint32_t len)
{
	r->at += len;
	r->len -= len;
}

bool vskept_put_message(struct vskept *r, const struct kiov *k, unsigned int n, uint32_t len)
{
	uint8_t mark[MARK_MAX];
	struct kiov own;
	uint32_t bytes = 0;

	for (uint32_t left = len; bytes == 0 || left; left >>= 7)
		mark[bytes++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
	if (!make_room(r, bytes + len))
		return false;
	own = kiov_of(mark, bytes);
	return vskept_put(r, &own, 1, 0, bytes) && vskept_put(r, k, n, 0, len);
}

uint32_t vskept_message(const struct vskept *r, uint32_t *mark)
{
	uint32_t len = 0;

	*mark = 0;
	for (uint32_t i = 0; i < MARK_MAX && i < r->len; i++) {
		uint8_t b = r->buf[(r->at + i) & (r->room - 1)];

		len |= (uint32_t)(b & 0x7f) << (7 * i);
		if (b & 0x80)
			continue;
		*mark = i + 1;
		return len;
	}
	return 0;
}
