/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to persistent memory as a hostile driver may lay them out: the input is a descriptor
 * table, the order in which heads are offered, and what the buffers hold; buffers may lie in the
 * device's own memory.
 */
#include "queues.h"

#include "conf/conf.h"

#include "../../src/dev/pmem.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head = queues_head(&data, &size, 1 + QUEUE_BYTES);
	static struct pmem_conf conf;

	if (!rig.d) {
		conf.file = (char *)(uintptr_t) "/dev/shm";
		conf.size = MIB(2);
		conf.set = 1ull << ROW_pmem_size;
		queues_device(&pmem_class, &conf);
	}
	drv_start(&rig, 0);
	queues_fill(data, size);
	queues_lay(0, head + 1);
	if (head[0] & 1) { /* one buffer of the table in the device's own memory */
		drv_desc(&rig, 0, head[0] >> 4, le64_get(vdev_of(rig.d)->config) + head[1] * 8u,
			 head[2], head[3] & 3, head[4] % DESCS);
		drv_kick(&rig, 0);
	}
	queues_turn(3);
	queues_reset();
	mem_wr(&rig, GOOD, 8, 0);
	mem_wr(&rig, GOOD + 8, 8, 0x5a5a5a5a5a);
	drv_desc(&rig, 0, 0, GOOD, 4, F_NEXT, 1);
	drv_desc(&rig, 0, 1, GOOD + 8, 4, F_WRITE, 0);
	queues_must_answer(0);
	must(!mem_rd(&rig, GOOD + 8, 4));
	return 0;
}
