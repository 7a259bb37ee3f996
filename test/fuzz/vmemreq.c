/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for blocks as a hostile driver may lay them out, near the region more often than not; what
 * is plugged is never more than was asked for.
 */
#include "queues.h"

#include "dev/vmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vmem_conf conf = { .base = BLOCKS_AT, .requested = BLOCKS_SIZE / 2 };
	const uint8_t *head = queues_head(&data, &size, 1 + QUEUE_BYTES);

	if (!rig.d)
		queues_device(&vmem_class, &conf);
	drv_start(&rig, head[0] & 1 ? ~0ull : 0);
	queues_fill(data, size);
	for (uint64_t at = BUF; at < BUF + ROOM && at < BUF + size && !(head[0] & 2); at += 32) {
		uint64_t addr = mem_rd(&rig, at + 8, 8);

		mem_wr(&rig, at, 2, mem_rd(&rig, at, 1) % 5);
		mem_wr(&rig, at + 8, 8, BLOCKS_AT + (addr % 17) * (addr & 0x100 ? MIB(2) : 4096));
		mem_wr(&rig, at + 16, 2, mem_rd(&rig, at + 16, 1) % 10);
	}
	queues_lay(0, head + 1);
	queues_turn(3);
	must(vmem_plugged(rig.d) <= BLOCKS_SIZE / 2);
	must(gmem_total(rig.mem) == RAM_SIZE + vmem_plugged(rig.d));
	queues_reset();
	mem_wr(&rig, GOOD, 8, 2);
	drv_desc(&rig, 0, 0, GOOD, 24, F_NEXT, 1);
	drv_desc(&rig, 0, 1, GOOD + 64, 10, F_WRITE, 0);
	queues_must_answer(0);
	must(!mem_rd(&rig, GOOD + 64, 2) && !vmem_plugged(rig.d));
	return 0;
}
