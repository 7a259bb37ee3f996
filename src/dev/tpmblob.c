/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See tpmblob.h. Numbers are big-endian.
 *
 *	get	12, flags, kind, from where	-> result, flags, bytes in all, bytes that follow
 *	put	13, flags, kind, bytes that follow	-> result
 */
#include "dev/tpmblob.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/str.h"

#define PATIENCE_NS 10000000000ull
#define MS_NS 1000000ull
#define WORD ((uint32_t)sizeof(uint32_t))

enum { CMD_GET_CAPABILITY = 1, CMD_GET_STATE = 12, CMD_SET_STATE = 13 };
#define CAN_GET_STATE (1u << 8)
#define CAN_SET_STATE (1u << 9)
#define STATE_PLAIN 1	  /* not under the process's own key */
#define RESULT_NONE 0x800 /* there is none of that kind */

static const struct field blob_f[] = {
	S(struct tpmblob, kind, .min = 1, .max = TPMBLOB_KINDS),
	S(struct tpmblob, flags),
	S(struct tpmblob, bytes),
};
const struct desc tpmblob_desc = DESC_OF(struct tpmblob, blob_f, "TpmBlob");

/* All of the bytes, in either direction; *done of them are, also after a failure. */
static int move(int fd, uint8_t *p, uint32_t n, uint32_t *done, short way, struct err *e)
{
	uint64_t until = loop_now_ns() + PATIENCE_NS;

	while (*done < n) {
		struct pollfd f = { .fd = fd, .events = way };
		uint64_t now = loop_now_ns();
		ssize_t k;

		if (now >= until || poll(&f, 1, (int)((until - now) / MS_NS) + 1) == 0)
			return err_set(e, ERR_IO, "it does not answer");
		k = way == POLLIN ? read(fd, p + *done, n - *done)
				  : write(fd, p + *done, n - *done);
		if (k < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (k <= 0)
			return err_set(e, ERR_IO, "it has hung up");
		*done += (uint32_t)k;
	}
	return 0;
}

/* A request is owed an answer once it has gone. */
static int say(int ctrl, const uint32_t *words, unsigned int n, struct err *e)
{
	uint32_t out[TPMBLOB_WORDS], done = 0;

	for (unsigned int i = 0; i < n; i++)
		out[i] = __builtin_bswap32(words[i]);
	return move(ctrl, (uint8_t *)out, n * WORD, &done, POLLOUT, e);
}

static void expect(struct tpmblob_answer *a, uint32_t count)
{
	*a = (struct tpmblob_answer){ .count = count };
}

/* The words of it are there. */
static void note_body(struct tpmblob_answer *a)
{
	if (a->count == TPMBLOB_WORDS)
		a->body = __builtin_bswap32(a->words[TPMBLOB_WORDS - 1]);
}

static int hear(struct tpmblob_answer *a, int ctrl, uint32_t *words, struct err *e)
{
	if (move(ctrl, (uint8_t *)a->words, a->count * WORD, &a->have, POLLIN, e) < 0)
		return -1;
	for (unsigned int i = 0; i < a->count; i++)
		words[i] = __builtin_bswap32(a->words[i]);
	note_body(a);
	return 0;
}

static int can(struct tpmblob_answer *a, int ctrl, uint32_t what, struct err *e)
{
	uint32_t got[2], ask = CMD_GET_CAPABILITY;

	if (say(ctrl, &ask, 1, e) < 0)
		return -1;
	expect(a, 2);
	if (hear(a, ctrl, got, e) < 0)
		return -1;
	if ((got[1] & what) != what)
		return err_set(e, ERR_UNBUILT, "it can not hand out the TPM's state, and take it");
	return 0;
}

/* What is read of it so far. */
struct part {
	uint8_t *bytes;
	uint32_t have, all;
};

/* The next part of it. */
static int get_part(struct part *p, struct tpmblob *b, struct tpmblob_answer *a, int ctrl,
		    struct err *e)
{
	const uint32_t ask[TPMBLOB_WORDS] = { CMD_GET_STATE, STATE_PLAIN, b->kind, p->have };
	uint32_t got[TPMBLOB_WORDS], done = 0;
	int r;

	if (say(ctrl, ask, TPMBLOB_WORDS, e) < 0)
		return -1;
	expect(a, TPMBLOB_WORDS);
	if (hear(a, ctrl, got, e) < 0)
		return -1;
	if (got[0] & RESULT_NONE && !got[3])
		got[2] = p->have;
	else if (got[0])
		return err_set(e, ERR_IO, "it refuses: 0x%" PRIx32, got[0]);
	if (got[2] > TPMBLOB_MAX || got[3] > got[2] - p->have || (p->all && got[2] != p->all) ||
	    (!got[3] && got[2] > p->have))
		return err_set(e, ERR_BAD, "%" PRIu32 " of %" PRIu32 " bytes can not be", got[3],
			       got[2]);
	if (!p->bytes)
		p->bytes = mem_new(got[2] + 1);
	p->all = got[2];
	b->flags = got[1];
	r = move(ctrl, p->bytes + p->have, got[3], &done, POLLIN, e);
	a->body -= done;
	p->have += done;
	return r;
}

static int get(struct tpmblob *b, struct tpmblob_answer *a, int ctrl, struct err *e)
{
	AUTO_STR struct str hex = { .max = 2 * TPMBLOB_MAX + 1 };
	struct part p = { 0 };
	int r;

	do {
		r = get_part(&p, b, a, ctrl, e);
	} while (r == 0 && p.have < p.all);
	if (r == 0) {
		str_hex(&hex, p.bytes, p.all);
		b->bytes = str_take(&hex);
	}
	free(p.bytes);
	return r;
}

int tpmblob_get(struct tpmblob out[TPMBLOB_KINDS], uint32_t *count, int ctrl,
		struct tpmblob_answer *a, struct err *e)
{
	*count = 0;
	if (can(a, ctrl, CAN_GET_STATE | CAN_SET_STATE, e) < 0)
		return -1;
	for (uint32_t kind = 1; kind <= TPMBLOB_KINDS; kind++) {
		struct tpmblob *b = &out[*count];

		*b = (struct tpmblob){ .kind = kind };
		if (get(b, a, ctrl, e) < 0)
			return -1;
		if (b->bytes[0])
			(*count)++;
		else
			free(take(&b->bytes));
	}
	return 0;
}

static int put(const struct tpmblob *b, struct tpmblob_answer *a, int ctrl, struct err *e)
{
	size_t digits = b->bytes ? strlen(b->bytes) : 0, n = digits / 2;
	AUTO_FREE uint8_t *bytes = mem_new(n + 1);
	const uint32_t ask[TPMBLOB_WORDS] = { CMD_SET_STATE, b->flags, b->kind, (uint32_t)n };
	uint32_t result, done = 0;

	if (!n || n > TPMBLOB_MAX || digits % 2 || str_unhex(bytes, n, b->bytes, e) < 0)
		return err_set(e, ERR_BAD, "the saved state of kind %" PRIu32 " is none", b->kind);
	if (say(ctrl, ask, TPMBLOB_WORDS, e) < 0 ||
	    move(ctrl, bytes, (uint32_t)n, &done, POLLOUT, e) < 0)
		return -1;
	expect(a, 1);
	if (hear(a, ctrl, &result, e) < 0)
		return -1;
	if (result)
		return err_set(e, ERR_IO,
			       "it refuses the saved state of kind %" PRIu32 ": 0x%" PRIx32,
			       b->kind, result);
	return 0;
}

int tpmblob_put(const struct tpmblob *b, uint32_t count, int ctrl, struct tpmblob_answer *a,
		struct err *e)
{
	if (can(a, ctrl, CAN_SET_STATE, e) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++)
		if (put(&b[i], a, ctrl, e) < 0)
			return -1;
	return 0;
}

bool tpmblob_is_late(const struct tpmblob_answer *a)
{
	return a->have < a->count * WORD || a->body;
}

bool tpmblob_skip(struct tpmblob_answer *a, int ctrl)
{
	uint8_t sink[4096], *to = sink;
	uint32_t head = a->count * WORD - a->have;
	ssize_t n;

	if (a->body > TPMBLOB_MAX)
		return false;
	if (head)
		to = (uint8_t *)a->words + a->have;
	n = read(ctrl, to, head ? head : min_u64(a->body, sizeof(sink)));
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (!head)
		a->body -= (uint32_t)n;
	else
		a->have += (uint32_t)n;
	if (head && n == head)
		note_body(a);
	return true;
}
