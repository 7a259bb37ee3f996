/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-iommu, virtio 1.3 §5.13: the driver's hand on board->iommu, on the board's io loop. Requests
 * are answered in order, and what takes memory away only once no device works with it any more: a
 * device that does is broken off. Accesses that lead nowhere are reported on the event queue.
 *
 * There is one at most, by this id. It is added before the devices that stand behind it and removed
 * after them.
 */
#pragma once

#include "virtio/vdev.h"

#define VIOMMU_ID "__iommu"

extern const struct virtio_class viommu_class;
