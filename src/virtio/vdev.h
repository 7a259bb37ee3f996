/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common half of every virtio device: features, status, reset, queues, config bytes. virtio 1.3 §2, §3.
 * The transport (virtio/vpci) is the plug of every class and calls in from vCPU threads under v->lock; the
 * device works in its queues' loops.
 *
 *	              FEATURES_OK        DRIVER_OK                  reset / broken
 *	new -> acked ------------> ready ----------> running -----------------------> new / NEEDS_RESET
 *	                             vq_setup, then in each queue's loop: start          in each loop: stop
 *
 * A device's init fills offered, config and the queues (vdev_queue_add). Its start(q) may look at v->features.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/mem.h"
#include "core/dev.h"
#include "virtio/vq.h"

#define VDEV_QUEUES_MAX 1024
#define VDEV_CONFIG_MAX 256

/* virtio 1.3 §2.1 */
enum {
	VSTAT_ACKNOWLEDGE = 1, VSTAT_DRIVER = 2, VSTAT_DRIVER_OK = 4, VSTAT_FEATURES_OK = 8,
	VSTAT_NEEDS_RESET = 64, VSTAT_FAILED = 128,
};
#define VF_INDIRECT_DESC (1ull << 28)
#define VF_EVENT_IDX (1ull << 29)
#define VF_VERSION_1 (1ull << 32)
#define VF_ACCESS_PLATFORM (1ull << 33)

struct vdev;

/* One queue of a device, with the loop that serves it. */
struct vqueue {
	struct vdev *vdev;
	uint16_t index;
	uint16_t size_max;
	struct loop *loop;		/* borrowed; who made it frees it after vdev_stop */
	struct vq_conf conf;		/* registers; under v->lock */
	struct vq q;			/* the loop's, while running */
	bool running;			/* start was called; the loop's */
	int kick_fd;			/* eventfd: the doorbell */
	struct loop_fd kick;
	void *priv;			/* the device's */
};

struct virtio_class {
	struct dev_class dev;		/* .plug = &vpci_plug */
	uint16_t type;			/* virtio 1.3 §5: 1 net, 2 blk, 3 console, 4 rng ... */
	uint8_t pci_class, pci_subclass;
	/* All in the queue's loop. start: the queue is set up, the features agreed. stop: afterwards nothing of this
	 * queue is in flight (waiting is allowed). kick: the driver rang, or start just ran. */
	void (*start)(struct vqueue *q);
	void (*stop)(struct vqueue *q);
	void (*kick)(struct vqueue *q);
	/* vCPU thread, v->lock held. wrote: the driver changed config bytes that the mask allows. reset: all queues have stopped. */
	void (*wrote)(struct vdev *v, uint32_t off, uint32_t len);
	void (*reset)(struct vdev *v);
};

struct vdev {
	struct dev dev;			/* first member */
	pthread_mutex_t lock;		/* registers: status, features, queue conf, config */
	uint64_t offered;		/* set by init; VERSION_1 is added */
	uint64_t features;		/* agreed */
	uint64_t driver_features;	/* as written so far */
	uint8_t status;
	_Atomic bool broken;		/* NEEDS_RESET was raised */
	uint32_t config_gen;
	uint8_t config[VDEV_CONFIG_MAX];
	uint8_t config_mask[VDEV_CONFIG_MAX];	/* bytes the driver may write */
	uint32_t config_len;
	uint16_t nqueues;
	struct vqueue *queues;		/* array of nqueues */
	const struct vdev_transport *transport;
	void *transport_arg;
	struct loop_msg broken_msg;
};

/* What the transport does for the common half. Any thread. */
struct vdev_transport {
	void (*queue_irq)(void *arg, struct vqueue *q);
	void (*config_irq)(void *arg);
};

static inline struct vdev *vdev_of(struct dev *d)
{
	return (struct vdev *)(void *)d;
}
static inline const struct virtio_class *vdev_class(const struct vdev *v)
{
	return container_of(v->dev.class, struct virtio_class, dev);
}

/* For the device's init and fini. vdev_queues makes n queues of size_max; loops are set one by one before init returns. */
MUST int vdev_queues(struct vdev *v, uint16_t n, uint16_t size_max, struct err *e);
/* In place of the device's own teardown of queues; for fini. */
void vdev_fini(struct vdev *v);

/* For the device, in a queue's loop. */
/* Interrupt if the driver wants one. */
void vqueue_notify(struct vqueue *q);
/* The ring or a request broke the rules that cannot be answered: NEEDS_RESET, config interrupt; the device goes quiet. Any loop. */
void vdev_broken(struct vdev *v, const char *why);
/* The device changed its config bytes (under v->lock): generation and interrupt. */
void vdev_config_changed(struct vdev *v);

/* For the transport, on vCPU threads, v->lock held by these functions themselves. */
uint8_t vdev_status(struct vdev *v);
void vdev_set_status(struct vdev *v, uint8_t s);	/* 0 resets; DRIVER_OK starts the queues */
void vdev_config_read(struct vdev *v, uint32_t off, uint8_t *data, uint32_t len);
void vdev_config_write(struct vdev *v, uint32_t off, const uint8_t *data, uint32_t len);
/* Doorbell by a slow road (no ioeventfd hit). */
void vdev_kick(struct vdev *v, uint16_t queue);
/* Stops all queues (reset, removal, pause). */
void vdev_stop(struct vdev *v);

/* Saved half of every virtio device. */
struct vqueue_state {
	struct vq_conf conf;
	uint16_t next_avail, next_used;
	uint32_t pad;
};
struct vdev_state {
	uint64_t features, driver_features;
	uint8_t status, broken;
	uint8_t pad[2];
	uint32_t config_gen;
	LIST(struct vqueue_state) queues;
};
extern const struct desc vdev_state_desc;
