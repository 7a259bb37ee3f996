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

/* What vm.counters tells of a disk; latencies in microseconds, 0 before the first request. */
struct blk_counters {
	uint64_t read_bytes, write_bytes, read_ops, write_ops;
	uint64_t read_latency_min, read_latency_max, read_latency_avg;
	uint64_t write_latency_min, write_latency_max, write_latency_avg;
};
extern const struct desc blk_counters_desc;
/* Other limits from now on; NULL: none. A disk of a group is limited by that, see core/rate.h, and
 * refuses. Control thread. */
MUST int blk_limit(struct dev *d, const struct rate_limiter_conf *c, struct err *e);
/* Sums up the queues. Control thread. */
void blk_counters_get(struct dev *d, struct blk_counters *out);
