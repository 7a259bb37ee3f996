/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the virtual IOMMU and buffers for its reports as a hostile driver may lay them out: the
 * input is a descriptor table and the order of heads for each queue, and what lies in the buffers. An
 * endpoint is there, which looks at addresses of the input while requests go by.
 */
#include "queues.h"

#include "dev/viommu.h"

static struct iommu_ep ep = { .id = 8 };

static void look(const uint8_t *data)
{
	struct iommu_way w;

	iommu_enter(&ep);
	for (int i = 0; i < 4; i++)
		if (iommu_walk(&w, &ep, (uint64_t)data[i] << 12, IOMMU_WRITE))
			must(w.room);
	iommu_leave(&ep);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head = queues_head(&data, &size, 5 + 2 * QUEUE_BYTES);

	if (!rig.d) {
		queues_device(&viommu_class, NULL);
		iommu_ep_add(rig.b.iommu, &ep);
	}
	drv_start(&rig, head[0] & 1 ? ~0ull : 0);
	queues_fill(data, size);
	queues_lay(0, head + 5);
	queues_turn(2);
	look(head + 1);
	queues_lay(1, head + 5 + QUEUE_BYTES);
	queues_turn(2);
	queues_reset();
	mem_wr(&rig, GOOD, 8, 0x77);
	drv_desc(&rig, 0, 0, GOOD, 8, F_NEXT, 1);
	drv_desc(&rig, 0, 1, GOOD + 8, 4, F_WRITE, 0);
	queues_must_answer(0);
	must(mem_rd(&rig, GOOD + 8, 1) == 2);
	return 0;
}
