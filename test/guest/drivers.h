/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the attacks need of the drivers: start the device the usual way, lay out one usual
 * request at the first descriptors of a queue, and do one usual request to its end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio.h"

/* Lay out one ordinary request from descriptor 0 on; nothing is published. */
void blk_chain(struct vq *q);
void net_rx_chain(struct vq *q);
void net_tx_chain(struct vq *q);
void net_ctrl_chain(struct vq *q);
void con_rx_chain(struct vq *q);
void con_tx_chain(struct vq *q);
void rng_chain(struct vq *q);
void vsock_rx_chain(struct vq *q);
void vsock_tx_chain(struct vq *q);
void vsock_event_chain(struct vq *q);
void watchdog_chain(struct vq *q);
void vrtc_chain(struct vq *q);
void vmem_chain(struct vq *q);
void balloon_chain(struct vq *q);
void balloon_report_chain(struct vq *q);
void balloon_hint_chain(struct vq *q);
void balloon_stats_chain(struct vq *q);
void viommu_chain(struct vq *q);
void viommu_event_chain(struct vq *q);
void pmem_chain(struct vq *q);

/* One ordinary request on a started device; true when it was answered as it must be. */
bool blk_works(struct vdev *d, struct vq *q);
bool net_rx_works(struct vdev *d, struct vq *q);
bool net_tx_works(struct vdev *d, struct vq *q);
bool net_ctrl_works(struct vdev *d, struct vq *q);
bool con_rx_works(struct vdev *d, struct vq *q);
bool con_tx_works(struct vdev *d, struct vq *q);
bool rng_works(struct vdev *d, struct vq *q);
bool vsock_rx_works(struct vdev *d, struct vq *q);
bool vsock_tx_works(struct vdev *d, struct vq *q);
bool vsock_event_works(struct vdev *d, struct vq *q);
bool watchdog_works(struct vdev *d, struct vq *q);
bool vrtc_works(struct vdev *d, struct vq *q);
bool vmem_works(struct vdev *d, struct vq *q);
bool balloon_works(struct vdev *d, struct vq *q);
bool balloon_hint_works(struct vdev *d, struct vq *q);
bool balloon_stats_works(struct vdev *d, struct vq *q);
bool viommu_works(struct vdev *d, struct vq *q);
bool viommu_event_works(struct vdev *d, struct vq *q);
bool pmem_works(struct vdev *d, struct vq *q);
bool pmem_is_memory(const struct vdev *d);

/* Send descriptors 0.. of q as a chain and wait for the answer: its length, or -1. */
int64_t vq_once(struct vq *q, uint64_t us);

/*
 * One block request on q with a buffer of len bytes at q->buf + 0x1000: type IN 0, OUT 1, FLUSH 4,
 * GET_ID 8. Returns the status byte, or -1 when there was no answer.
 */
int blk_request(struct vq *q, uint32_t type, uint64_t sector, uint32_t len);

/* Capacity in sectors. */
uint64_t blk_sectors(const struct vdev *d);
