/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock, virtio 1.3 §5.10: three queues, for packets to the guest, packets of the guest and
 * events, in a loop of the device's own. What packets mean is net/vsmux's; here are rings, headers
 * and addresses. Configured by struct vsock_conf (conf/conf.h).
 *
 *	kick    -> vq_pop(tx) -> vsmux_take -> socket
 *	sockets -> vsmux_give -> buffers of rx
 *
 * Nothing is in flight between two turns of the loop. The listeners go from one machine to the next
 * with a reboot (board->kept); a restored guest is told that its connections are gone.
 */
#pragma once

#include "virtio/vdev.h"

extern const struct virtio_class vsock_class;
