/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of frames from a hostile peer, cut into reads of any length: the input is the way of
 * cutting, then the stream. What comes out must be what one long read would give.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "net/link.h"

#define HEADER_BYTES 12
#define FRAME_MAX (65535 + 18)

static uint8_t got[HEADER_BYTES + FRAME_MAX + 10];

/* The next frame of the stream as a reader would have it that sees all of it: LINK_AGAIN when it is
 * not whole. */
static long model(const uint8_t *data, size_t size, size_t *at)
{
	uint32_t len;

	if (size - *at < 4)
		return LINK_AGAIN;
	len = (uint32_t)data[*at] << 24 | (uint32_t)data[*at + 1] << 16 |
	      (uint32_t)data[*at + 2] << 8 | data[*at + 3];
	if (!len || len > FRAME_MAX)
		return LINK_DEAD;
	if (size - *at - 4 < len)
		return LINK_AGAIN;
	*at += 4 + len;
	return (long)len + HEADER_BYTES;
}

/* Everything that can be read by now. Returns what the link said last. */
static long read_all(struct nlink *l, const uint8_t *data, size_t size, size_t *at)
{
	long n, want;

	do {
		struct kiov k[2] = { kiov_of(got, 7), kiov_of(got + 7, sizeof(got) - 7) };
		size_t from = *at;

		n = l->ops->rx(l, k, 2);
		want = model(data, size, at);
		if (n != want || (n > 0 && memcmp(got + HEADER_BYTES, data + from + 4,
						  (size_t)n - HEADER_BYTES)))
			abort();
	} while (n > 0);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	size_t at = 0, said = 0, step;
	struct nlink l;
	int p[2];

	if (size < 4)
		return -1;
	log_init(LOG_ERROR, 2);
	step = 1u + le16_get(data) % 4099;
	data += 4;
	size -= 4;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, p) || stream_take(&l, p[0], &e))
		abort();
	while (said < size) {
		ssize_t n = send(p[1], data + said, min_u64(step, size - said), MSG_DONTWAIT);

		if (n <= 0)
			abort();
		said += (size_t)n;
		if (read_all(&l, data, said, &at) == LINK_DEAD)
			break;
		step = step * 31 % 4099 + 1;
	}
	close(p[1]);
	l.ops->close(&l);
	close(p[0]);
	return 0;
}
