/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio clock by hand: what there is, what time it is, and what it says to bad requests.
 * Specification: virtio 1.4, RTC device.
 */
#include "drivers.h"
#include "guest.h"

#define ANSWER 0x100
#define READ 1
#define CFG 0x1000
#define CLOCK_CAP 0x1001
#define CROSS_CAP 0x1002

static void lay(struct vq *q, uint16_t type, uint16_t clock)
{
	memset((void *)q->buf, 0, 0x200);
	wr16(q->buf, type);
	wr16(q->buf + 8, clock);
	wr8(q->buf + 10, 1); /* a counter: that of the processor */
	vq_desc(q, 0, (struct desc){ q->buf, type == CFG ? 8 : 16, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + ANSWER, 16, D_WRITE, 0 });
}

void vrtc_chain(struct vq *q)
{
	lay(q, READ, 0);
}

/* The status, or -1 without an answer of the right length. */
static int ask(struct vq *q)
{
	int64_t len = vq_once(q, 5000000);
	uint8_t status = rd8(q->buf + ANSWER);

	return len == (status ? 8 : 16) ? status : -1;
}

static int request(struct vq *q, uint16_t type, uint16_t clock)
{
	lay(q, type, clock);
	return ask(q);
}

static uint64_t value(const struct vq *q)
{
	return rd64(q->buf + ANSWER + 8);
}

bool vrtc_works(struct vdev *d, struct vq *q)
{
	(void)d;
	return !request(q, READ, 0) && value(q);
}

void vrtc_run(void)
{
	static struct vdev d;
	struct vq *q = &d.q[0];
	uint64_t first;

	if (!check(vdev_find(&d, VIRTIO_RTC, 0) && vdev_start(&d, 0), "rtc starts"))
		return;
	check(!request(q, CFG, 0) && value(q) == 1, "rtc has one clock");
	check(!request(q, CLOCK_CAP, 0) && value(q) == 4, "it is UTC, perhaps smeared");
	check(!request(q, CROSS_CAP, 0) && !value(q), "it is read without a counter");
	check(!request(q, READ, 0), "rtc tells the time");
	first = value(q);
	print("R3 VRTC ns=%lu\n", first);
	delay_us(20000);
	check(!request(q, READ, 0) && value(q) - first > 15000000 && value(q) - first < 10000000000,
	      "it goes on as time does");
	check(request(q, READ, 1) == 3, "another clock is none");
	check(request(q, READ + 1, 0) == 2 && request(q, 0xffff, 0) == 2, "no other requests");
	lay(q, READ, 0);
	q->desc[0].len = 9;
	check(ask(q) == 4, "half a request is refused");
	lay(q, CFG, 0);
	q->desc[1].len = 8;
	check(ask(q) == 4, "so is room for half an answer");
	lay(q, READ, 0);
	q->desc[0].len = 64;
	q->desc[1].len = 64;
	check(!ask(q) && value(q) > first, "more room than needed does no harm");
	vdev_reset(&d);
}
