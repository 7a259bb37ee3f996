/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem, virtio 1.3 §5.15: a region of guest memory that the guest's driver plugs and unplugs
 * block by block, towards a size that it is asked for. The region is there from the start
 * (mem/gmem.h, a part with blocks), and of it only what is plugged is RAM. Served by the board's io
 * loop. Memory that comes at once by ACPI is dev/memhp's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/vdev.h"

/* What dev_add is given; borrowed. */
struct vmem_conf {
	uint64_t base;	    /* of the region */
	uint64_t requested; /* bytes that the guest is asked to plug at first */
	uint32_t node;	    /* of the guest, when has_node */
	bool has_node;
};

extern const struct virtio_class vmem_class;

/* Asks the guest to have plugged so many bytes in all, at its own pace; it may be before its driver
 * is there. Control thread; waits for nobody. Fails for what is not whole blocks, or more than the
 * region (ERR_BAD). */
MUST int vmem_resize(struct dev *d, uint64_t bytes, struct err *e);
/* Bytes that are plugged now. Any thread. */
uint64_t vmem_plugged(const struct dev *d);
