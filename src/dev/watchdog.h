/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watchdog: virtio device type 35, which no standard describes; its one driver is of guests made
 * for Cloud Hypervisor. One queue of buffers that the device may write to. Each is a ping: the
 * device puts a 1 into its first byte and gives it back. The first ping arms the watchdog; when none
 * has come for 20 s, which is looked at every 15 s, the machine is reset, once. Time that the
 * machine stands still does not count. The board's io loop serves it; there is nothing to
 * configure.
 */
#pragma once

#include "virtio/vdev.h"

extern const struct virtio_class watchdog_class;
