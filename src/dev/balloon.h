/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon, virtio 1.3 §5.5: memory that the guest gives back, as much as it is asked for, or
 * as it does not use. Configured by struct balloon_conf (conf/conf.h), served by the board's io
 * loop. Memory that is added and taken away in blocks is dev/vmem's.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "virtio/vdev.h"

extern const struct virtio_class balloon_class;

/* Whether balloon_resize would take so many bytes, were the guest's memory so large. */
MUST int balloon_judge(const struct dev *d, uint64_t bytes, uint64_t memory, struct err *e);
/* Asks the guest to have given back so many bytes in all, at its own pace. Control thread; waits for
 * nobody. Fails for what is not whole pages, or is all of the memory (ERR_BAD). */
MUST int balloon_resize(struct dev *d, uint64_t bytes, struct err *e);
/* Asks the guest for all the memory that nothing uses, which goes to the host as it is told. Control
 * thread. ERR_ABSENT without free_page_hinting, ERR_STATE without a driver for it. */
MUST int balloon_reclaim(struct dev *d, struct err *e);
/* Bytes that the guest says it has given back; 0 while it has no driver. Any thread. */
uint64_t balloon_actual(const struct dev *d);
