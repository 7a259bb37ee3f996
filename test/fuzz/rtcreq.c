/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the virtio clock as a hostile driver may lay them out: the input is a descriptor
 * table, the order in which heads are offered, and what the buffers hold.
 */
#include "queues.h"

#include "conf/conf.h"
#include "dev/rtc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head = queues_head(&data, &size, QUEUE_BYTES);
	static struct rtc_conf conf;

	if (!rig.d)
		queues_device(&rtc_class, &conf);
	drv_start(&rig, 0);
	queues_fill(data, size);
	queues_lay(0, head);
	queues_turn(3);
	queues_reset();
	mem_wr(&rig, GOOD, 8, 1);
	mem_wr(&rig, GOOD + 8, 8, 0);
	mem_wr(&rig, GOOD + 16, 8, 0x5a);
	drv_desc(&rig, 0, 0, GOOD, 16, F_NEXT, 1);
	drv_desc(&rig, 0, 1, GOOD + 16, 16, F_WRITE, 0);
	queues_must_answer(0);
	must(!mem_rd(&rig, GOOD + 16, 8) && mem_rd(&rig, GOOD + 24, 8));
	return 0;
}
