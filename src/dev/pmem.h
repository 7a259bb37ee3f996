/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem, virtio 1.3 §5.19: a file of the host that the guest sees as memory, in the 64-bit
 * window of its PCI segment, and one queue by which it asks that what it has written reaches the
 * file. Other devices may be told to read and write there, so that pages of a DAX file system are
 * payload like any other. A flush waits for the disk, so the queue has a loop of its own; those that
 * came meanwhile are answered by one fsync, in their order. Configured by struct pmem_conf
 * (conf/conf.h).
 */
#pragma once

#include "virtio/vdev.h"

extern const struct virtio_class pmem_class;
