/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng, virtio 1.3 §5.4: one queue, served by the board's io loop from a file, configured by
 * struct rng_conf (conf/conf.h). A source that is dry for now keeps the guest waiting and nobody
 * else.
 */
#pragma once

#include "virtio/vdev.h"

extern const struct virtio_class rng_class;
