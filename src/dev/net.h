/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net, virtio 1.3 §5.1. The class is configured by struct net_conf (conf/conf.h). It knows
 * chains, headers and the control queue; how a frame reaches the host's network is net/'s.
 */
#pragma once

#include <stdint.h>

#include "base/desc.h"
#include "conf/conf.h"
#include "net/link.h"
#include "virtio/vdev.h"

extern const struct virtio_class net_class;

/* Asks the driver to tell the network where it is (VIRTIO_NET_F_GUEST_ANNOUNCE), as after a restore
 * elsewhere. Nothing happens when it has not agreed to do so. Any thread. */
void net_announce(struct dev *d);
/* Pulls the cable, or puts it in: the driver sees the link, and no frame passes without. Any thread. */
void net_plug(struct dev *d, bool in);
/* Other limits of each direction from now on; NULL: none. Control thread. */
void net_limit(struct dev *d, const struct rate_limiter_conf *c);
