/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pings of the watchdog as a hostile driver may lay them out: the input is a descriptor table and
 * the order in which heads are offered, and whether the machine stands still in between.
 */
#include "queues.h"

#include "dev/watchdog.h"

static void no_wish(void *arg, enum board_wish w)
{
	(void)arg;
	(void)w;
	abort(); /* nobody is silent for so long here */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head = queues_head(&data, &size, 1 + QUEUE_BYTES);
	struct err e = { 0 };

	if (!rig.d) {
		queues_device(&watchdog_class, NULL);
		rig.b.up.wish = no_wish;
		rig.size = 8;
	}
	drv_start(&rig, 0);
	queues_fill(data, size);
	queues_lay(0, head + 1);
	queues_turn(3);
	if (head[0] & 1) {
		rig_ok(rig.d->class->quiesce(rig.d, &e));
		rig.d->class->resume(rig.d);
		queues_turn(1);
	}
	queues_reset();
	mem_wr(&rig, GOOD, 8, 0x5a);
	drv_desc(&rig, 0, 0, GOOD, 1, F_WRITE, 0);
	queues_must_answer(0);
	must(mem_rd(&rig, GOOD, 8) == 1);
	return 0;
}
