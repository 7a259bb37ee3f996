/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio 1.x driver core for modern PCI devices with split rings: small, and open enough that
 * attack.c can do everything wrong by hand. Queue n of a device has its memory at a fixed place
 * of its own. Specification: virtio 1.3 §2.7 and §4.1.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_NET 1
#define VIRTIO_BLK 2
#define VIRTIO_CONSOLE 3
#define VIRTIO_RNG 4
#define VIRTIO_IOMMU 23
#define VIRTIO_VSOCK 19
#define VIRTIO_RTC 17
#define VIRTIO_PMEM 27
#define VIRTIO_WATCHDOG 35
#define VIRTIO_BALLOON 5
#define VIRTIO_MEM 24

#define F_INDIRECT (1ul << 28)
#define F_EVENT_IDX (1ul << 29)
#define F_VERSION_1 (1ul << 32)

#define S_ACK 1
#define S_DRIVER 2
#define S_DRIVER_OK 4
#define S_FEATURES_OK 8
#define S_NEEDS_RESET 0x40

#define D_NEXT 1
#define D_WRITE 2
#define D_INDIRECT 4

#define QUEUES_MAX 8
#define QUEUE_SIZE 128
#define NO_VECTOR 0xffff

/* Offsets in the common configuration. */
enum {
	C_DEVICE_FEATURE_SELECT = 0,
	C_DEVICE_FEATURE = 4,
	C_DRIVER_FEATURE_SELECT = 8,
	C_DRIVER_FEATURE = 12,
	C_CONFIG_VECTOR = 16,
	C_NUM_QUEUES = 18,
	C_STATUS = 20,
	C_QUEUE_SELECT = 22,
	C_QUEUE_SIZE = 24,
	C_QUEUE_VECTOR = 26,
	C_QUEUE_ENABLE = 28,
	C_QUEUE_NOTIFY_OFF = 30,
	C_QUEUE_DESC = 32,
	C_QUEUE_AVAIL = 40,
	C_QUEUE_USED = 48,
};

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct vdev;

struct vq {
	struct vdev *dev;
	uint16_t index, size;
	volatile struct desc *desc;
	volatile uint16_t *avail; /* [0] flags, [1] index, [2..] ring, then used_event */
	volatile uint16_t *used;  /* [0] flags, [1] index, [2..] ring, then avail_event */
	uint64_t buf;		  /* 1 MiB of buffer memory of its own */
	uint64_t notify;
	uint16_t avail_idx, last_used;
};

struct vdev {
	uint32_t bdf, type;
	uint64_t bar, bar_size;
	uint64_t common, notify, isr, config, msix;
	uint32_t notify_multiplier, msix_cap, num_vectors;
	uint64_t offered, features;
	uint16_t num_queues;
	uint64_t shift; /* what the device is told of an address beyond it: behind an IOMMU */
	uint16_t home;	/* queues of other devices whose memory lies before that of its own */
	bool with_msix;
	struct vq q[QUEUES_MAX];
};

/* The nth device of this virtio type; false when there is none. Leaves it as it is. */
bool vdev_find(struct vdev *d, uint32_t type, uint32_t nth);

/* Status 0 and wait for it; false when it does not come within a second. */
bool vdev_reset(struct vdev *d);

/* Reset, acknowledge, and settle features (those of `want` that are offered); no queues yet. */
bool vdev_features(struct vdev *d, uint64_t want);

/* Clear queue i's memory and give it to the device, not enabled. */
void vdev_queue(struct vdev *d, uint16_t i);

/* All of it: features, every queue enabled, DRIVER_OK. */
bool vdev_start(struct vdev *d, uint64_t want);

uint8_t vdev_status(const struct vdev *d);
void vdev_set_status(const struct vdev *d, uint8_t s);

/* Read len (1, 2, 4) bytes at off of BAR 0 through the window in configuration space (§4.1.4.9). */
uint32_t vdev_window(const struct vdev *d, uint32_t off, uint32_t len);

/* Route MSI-X entry i to this vector of CPU 0, unmasked. */
void vdev_vector(const struct vdev *d, uint32_t i, uint8_t vector);

/* Put head on the available ring without telling; then publish what was put, and kick if wanted. */
void vq_put(struct vq *q, uint16_t head);
void vq_publish(struct vq *q);
void vq_kick(const struct vq *q);

/* Wait until the device has used something new; false after us microseconds or NEEDS_RESET. */
bool vq_wait(const struct vq *q, uint64_t us);

/* Take one used element: its head and length. Only after vq_wait said yes. */
uint32_t vq_take(struct vq *q, uint32_t *len);

/* One descriptor. */
void vq_desc(struct vq *q, uint16_t i, struct desc v);
