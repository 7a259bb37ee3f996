/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for random bytes as a hostile driver may lay them out: the input is a descriptor table
 * and the order in which heads are offered.
 */
#include "queues.h"

#include "base/mem.h"
#include "conf/conf.h"
#include "dev/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head = queues_head(&data, &size, 1 + QUEUE_BYTES);
	static struct rng_conf conf;

	if (!rig.d) {
		desc_default(&rng_desc, &conf);
		free(conf.src);
		conf.src = mem_str("/dev/zero");
		queues_device(&rng_class, &conf);
	}
	drv_start(&rig, head[0] & 1 ? ~0ull : 0);
	queues_fill(data, size);
	queues_lay(0, head + 1);
	queues_turn(3);
	if (head[0] & 2)
		drv_kick(&rig, 0), queues_turn(1);
	queues_reset();
	mem_wr(&rig, GOOD, 8, 0x5a);
	drv_desc(&rig, 0, 0, GOOD, 8, F_WRITE, 0);
	queues_must_answer(0);
	must(!mem_rd(&rig, GOOD, 8));
	return 0;
}
