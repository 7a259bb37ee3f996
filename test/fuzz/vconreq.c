/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both queues of a console under a hostile driver: the input is a descriptor table and the order of
 * heads for each, bytes of output, and how much the stream outside takes and brings meanwhile. What
 * the stream is given has to be what the guest's chains hold, no more.
 */
#include "queues.h"

#include "dev/vcon.h"

#define QUEUES 2

static struct chardev chr;
static size_t room; /* bytes that the stream still takes */

static size_t sink(struct chardev *c, const uint8_t *data, size_t len)
{
	size_t n = len < room ? len : room;
	uint8_t sum = 0;

	(void)c;
	for (size_t i = 0; i < n; i++) /* a sanitizer looks at each */
		sum ^= data[i];
	room -= n;
	return n + (sum & 0);
}
static void want(struct chardev *c, bool on)
{
	(void)c;
	(void)on;
}
static const struct chardev_ops ops = { .write = sink, .want_input = want };

static void bring(const uint8_t *data, size_t len)
{
	must(chr.input(chr.arg, data, len) <= len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vcon_conf conf = { .chr = &chr };
	const uint8_t *head = queues_head(&data, &size, 3 + QUEUES * QUEUE_BYTES);

	if (!rig.d) {
		chr.ops = &ops;
		queues_device(&vcon_class, &conf);
	}
	drv_start(&rig, head[0] & 1 ? ~0ull : 0);
	room = head[1] * 64u;
	queues_fill(data, size);
	for (uint16_t q = 0; q < QUEUES; q++)
		queues_lay(q, head + 3 + q * QUEUE_BYTES);
	queues_turn(2);
	bring(data, size < 300 ? size : 300);
	room = head[2] * 64u;
	chr.writable(chr.arg);
	queues_turn(2);
	bring(head, head[0]);
	queues_turn(1);
	queues_reset();
	room = 8;
	mem_wr(&rig, GOOD, 8, 0x5a);
	drv_desc(&rig, 1, 0, GOOD, 8, 0, 0);
	queues_must_answer(1);
	must(!room);
	return 0;
}
