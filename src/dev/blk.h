/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk, virtio 1.3 §5.2. The class is configured by struct disk_conf (conf/conf.h). It knows
 * requests and status bytes; how bytes reach a file is block/'s.
 */
#pragma once

#include <stdint.h>

#include "base/desc.h"
#include "base/err.h"
#include "conf/conf.h"
#include "virtio/vdev.h"

extern const struct virtio_class blk_class;

/* Other limits from now on; NULL: none. A disk of a group is limited by that, see core/rate.h, and
 * refuses. Control thread. */
MUST int blk_limit(struct dev *d, const struct rate_limiter_conf *c, struct err *e);
/* Another size of the image, in bytes; the driver is told. A smaller one waits for the requests that are
 * under way. Who has the machine. */
MUST int blk_resize(struct dev *d, uint64_t bytes, struct err *e);
