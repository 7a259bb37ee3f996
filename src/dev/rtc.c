/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio clock. See rtc.h.
 *
 *	request   le16 type, 6 bytes of zeros; then, of most: le16 clock, u8 counter, 5 zeros
 *	answer    u8 status, 7 bytes of zeros; then what was asked for, 8 bytes
 *
 * A request may be longer than its type needs, and so may the room for its answer. Where the room
 * holds at least a status, a bad request gets that; it has no state.
 */
#include "dev/rtc.h"

#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "dev/turn.h"
#include "virtio/vpci.h"

#define QUEUE_SIZE 256

enum { REQ_READ = 1, REQ_CFG = 0x1000, REQ_CLOCK_CAP = 0x1001, REQ_CROSS_CAP = 0x1002 };
enum { ST_OK = 0, ST_EOPNOTSUPP = 2, ST_ENODEV = 3, ST_EINVAL = 4 };

#define HEAD_LEN 8
#define WHICH_LEN 16 /* with the clock's number */
#define ANSWER_LEN 16

#define CLOCKS 1
#define CLOCK_UTC_MAYBE_SMEARED 4

/* What has passed so far. */
struct rtc_counters {
	uint64_t requests, errors;
};

struct rtc {
	struct vdev v; /* first member */
	struct turn turn;
	struct rtc_counters n;
};

static struct rtc *rtc_of(struct vdev *v)
{
	return container_of(v, struct rtc, v);
}

static void put_time(uint8_t *to)
{
	le64_put(to, loop_real_ns());
}

static void put_clocks(uint8_t *to)
{
	le16_put(to, CLOCKS);
}

static void put_clock(uint8_t *to)
{
	to[0] = CLOCK_UTC_MAYBE_SMEARED;
}

/* Of no counter can it be read at one instant with the clock. */
static void put_nothing(uint8_t *to)
{
	(void)to;
}

static const struct request {
	uint16_t type;
	uint8_t len; /* a driver's request has at least so many bytes */
	void (*put)(uint8_t *to);
} requests[] = {
	{ REQ_READ, WHICH_LEN, put_time },
	{ REQ_CFG, HEAD_LEN, put_clocks },
	{ REQ_CLOCK_CAP, WHICH_LEN, put_clock },
	{ REQ_CROSS_CAP, WHICH_LEN, put_nothing },
};

/* Fills the zeroed answer, whose first byte is the status. */
static void answer(uint8_t a[ANSWER_LEN], const uint8_t *r, size_t rlen, size_t room)
{
	uint16_t type = le16_get(r);

	a[0] = rlen < HEAD_LEN ? ST_EINVAL : ST_EOPNOTSUPP;
	for (size_t i = 0; rlen >= HEAD_LEN && i < ARRAY_LEN(requests); i++) {
		const struct request *q = &requests[i];

		if (type != q->type)
			continue;
		a[0] = ST_EINVAL;
		if (rlen < q->len || room < ANSWER_LEN)
			return;
		a[0] = ST_ENODEV;
		if (q->len == WHICH_LEN && le16_get(r + HEAD_LEN) >= CLOCKS)
			return;
		a[0] = ST_OK;
		q->put(a + HEAD_LEN);
	}
}

static int64_t rtc_answer(struct vdev *v, const struct chain *c)
{
	uint8_t r[WHICH_LEN] = { 0 }, a[ANSWER_LEN] = { 0 };
	struct rtc *t = rtc_of(v);

	if (!c->wlen)
		return -1;
	answer(a, r, chain_get(c, 0, r, sizeof(r)), c->wlen);
	counter_add(&t->n.requests, 1);
	if (a[0])
		counter_add(&t->n.errors, 1);
	return (int64_t)chain_put(c, 0, a, a[0] ? HEAD_LEN : ANSWER_LEN);
}

static void rtc_kick(struct vqueue *q)
{
	turn_kick(&rtc_of(q->vdev)->turn);
}

static int rtc_init(struct dev *d, struct err *e)
{
	struct rtc *t = rtc_of(vdev_of(d));

	if (vdev_queues(&t->v, 1, QUEUE_SIZE, e))
		return -1;
	t->v.queues[0].loop = d->board->io;
	t->turn.q = &t->v.queues[0];
	t->turn.answer = rtc_answer;
	return 0;
}

static void rtc_fini(struct dev *d)
{
	struct rtc *t = rtc_of(vdev_of(d));

	turn_fini(&t->turn);
	vdev_fini(&t->v);
}

static const struct field counter_fields[] = {
	S(struct rtc_counters, requests, .doc = "requests that were answered"),
	S(struct rtc_counters, errors, .doc = "those of them that got an error"),
};
static const struct desc counter_rows =
	DESC_OF(struct rtc_counters, counter_fields, "rtc counters");

const struct virtio_class rtc_class = {
	.dev = {
		.name = "rtc",
		.conf = &rtc_desc,
		.size = sizeof(struct rtc),
		.counters = &counter_rows,
		.counters_off = offsetof(struct rtc, n),
		.init = rtc_init,
		.quiesce = vdev_quiesce,
		.resume = vdev_resume,
		.fini = rtc_fini,
		.plug = &vpci_plug,
		.profile = "io",
	},
	.type = 17,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.kick = rtc_kick,
};
