/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a balloon as a hostile driver may lay them out on its five queues. Of the pages that
 * they name every other lies in RAM, the rings' own among them.
 */
#include "queues.h"

#include "conf/conf.h"
#include "dev/balloon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct balloon_conf conf = { .deflate_on_oom = true,
						  .free_page_hinting = true,
						  .free_page_reporting = true };
	const uint8_t *head = queues_head(&data, &size, 1 + 5 * QUEUE_BYTES);
	struct err e = { 0 };

	if (!rig.d)
		queues_device(&balloon_class, &conf);
	drv_start(&rig, head[0] & 1 ? ~0ull : head[0]);
	queues_fill(data, size);
	for (uint64_t at = BUF; at < BUF + ROOM && at < BUF + size; at += 4)
		mem_wr(&rig, at, 4, mem_rd(&rig, at, 4) % (2 * (RAM_SIZE >> 12)));
	if (head[0] & 8 && !balloon_reclaim(rig.d, &e))
		mem_wr(&rig, BUF, 4, rd(&rig, AT_CONFIG + 8, 4));
	for (uint16_t q = 0; q < 5; q++)
		queues_lay(q, head + 1 + q * QUEUE_BYTES);
	queues_turn(3);
	if (head[0] & 2)
		drv_kick(&rig, 0), queues_turn(1);
	if (head[0] & 4)
		must(!balloon_resize(rig.d, (uint64_t)head[1] << 12, &e));
	queues_reset();
	mem_wr(&rig, GOOD, 4, (GOOD >> 12) + 1);
	mem_wr(&rig, GOOD + 4096, 8, 0x5a);
	drv_desc(&rig, 0, 0, GOOD, 4, 0, 0);
	queues_must_answer(0);
	must(!mem_rd(&rig, GOOD + 4096, 8));
	return 0;
}
