/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console, virtio 1.3 §5.3: one port, two queues (to the guest, from the guest), the
 * window's size. What it is connected to is a chardev, in both directions with back-pressure:
 * neither a slow reader outside nor a guest without buffers makes it store anything.
 */
#pragma once

#include "core/chardev.h"
#include "virtio/vdev.h"

/* What dev_args.conf points to. chr is borrowed until the device is gone. */
struct vcon_conf {
	struct chardev *chr;
};

extern const struct virtio_class vcon_class;
