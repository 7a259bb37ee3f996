/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common half of every virtio device: features, status, reset, queues, config bytes. virtio 1.3
 * §2, §3. The transport (virtio/vpci) is the plug of every class and calls in from vCPU threads;
 * the device works in its queues' loops.
 *
 *	              FEATURES_OK        DRIVER_OK                  reset / broken
 *	new -> acked ------------> ready ----------> running -----------------------> new / NEEDS_RESET
 *	                             vq_setup, then in each queue's loop: start          in each loop: stop
 *
 * A device's init fills offered, config and the queues (vdev_queues). Its start(q) may look at
 * v->features.
 *
 * The lock is held while a vCPU waits for a loop (start, stop). So a loop never takes it: it reads
 * the ring, says vqueue_notify or vdev_broken, and changes config bytes by vdev_config_flip and
 * vdev_config_put.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "core/dev.h"
#include "virtio/feature.h"
#include "virtio/vq.h"

#define VDEV_QUEUES_MAX 1024
#define VDEV_CONFIG_MAX 256

/* virtio 1.3 §2.1 */
enum {
	VSTAT_ACKNOWLEDGE = 1,
	VSTAT_DRIVER = 2,
	VSTAT_DRIVER_OK = 4,
	VSTAT_FEATURES_OK = 8,
	VSTAT_NEEDS_RESET = 64,
	VSTAT_FAILED = 128,
};
struct vdev;

/* One queue of a device, with the loop that serves it. */
struct vqueue {
	struct vdev *vdev;
	uint16_t index;
	uint16_t size_max;
	struct loop *loop;   /* borrowed; who made it frees it after vdev_stop */
	struct vq_conf conf; /* registers; under v->lock */
	struct vq q;	     /* the loop's, while running */
	bool running;	     /* between start and stop; written in the loop */
	int kick_fd;	     /* eventfd: the doorbell; edge-triggered, so nobody has to read it */
	bool at_once;	     /* set by init: the doorbell returns when kick has been called */
	struct loop_fd kick;
	struct loop_msg revoked; /* the IOMMU's driver took memory away */
	void *priv;		 /* the device's */
};

struct virtio_class {
	struct dev_class dev; /* .plug = &vpci_plug */
	uint16_t type;	      /* virtio 1.3 §5: 1 net, 2 blk, 3 console, 4 rng ... */
	uint8_t pci_class, pci_subclass;
	/* All in the queue's loop. start: the queue is set up, the features agreed. stop:
	 * afterwards nothing of this queue is in flight (waiting is allowed). kick: the driver
	 * rang; also once, unasked, soon after start. Queues of one device may run in several loops
	 * and start one after another. start and stop may be NULL. */
	void (*start)(struct vqueue *q);
	void (*stop)(struct vqueue *q);
	void (*kick)(struct vqueue *q);
	/* vCPU thread, v->lock held. wrote: the driver changed config bytes that the mask allows.
	 * reset: all queues have stopped and the driver starts anew; bytes that it had written go
	 * back to their defaults. May be NULL. */
	void (*wrote)(struct vdev *v, uint32_t off, uint32_t len);
	void (*reset)(struct vdev *v);
};

struct vdev {
	struct dev dev;		  /* first member */
	pthread_mutex_t lock;	  /* registers: status, features, queue conf, config */
	uint64_t offered;	  /* set by init; VERSION_1 is added */
	uint64_t features;	  /* agreed */
	uint64_t driver_features; /* as written so far */
	uint8_t status;
	_Atomic bool broken; /* NEEDS_RESET was raised; any loop */
	uint32_t config_gen;
	struct log_site told; /* limits events of the life cycle */
	uint8_t config[VDEV_CONFIG_MAX];
	uint8_t config_mask[VDEV_CONFIG_MAX]; /* bytes the driver may write */
	uint32_t config_len;
	uint16_t nqueues;
	struct vqueue *queues;			/* array of nqueues */
	const struct vdev_transport *transport; /* set by the plug's claim */
	void *transport_arg;
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

/* For the device's init and fini. vdev_queues makes n queues of size_max; loops are set one by one
 * before init returns. When init fails later, it calls vdev_fini itself. */
MUST int vdev_queues(struct vdev *v, uint16_t n, uint16_t size_max, struct err *e);
/* Frees the queues. They have been stopped (plug->out did); their loops may be gone. */
void vdev_fini(struct vdev *v);

/* For the device, in a queue's loop. */
/* Interrupt if the driver wants one. */
void vqueue_notify(struct vqueue *q);
/* The ring or a request broke the rules that cannot be answered: NEEDS_RESET, config interrupt; the
 * device goes quiet. Any loop. */
void vdev_broken(struct vdev *v, const char *why);
/* Any thread, on config bytes that the driver never writes. Clears and sets bits of one, or puts
 * several: the driver sees them when it looks. */
void vdev_config_flip(struct vdev *v, uint32_t off, uint8_t clear, uint8_t set);
void vdev_config_put(struct vdev *v, uint32_t off, const uint8_t *data, uint32_t len);
/* And tells it to look, by generation and interrupt. Any thread. */
void vdev_config_changed(struct vdev *v);
static inline bool vdev_is_broken(const struct vdev *v)
{
	return atomic_load_explicit(&v->broken, memory_order_relaxed);
}

/* For the transport, on vCPU threads; these take v->lock themselves. */
uint8_t vdev_status(struct vdev *v);
void vdev_set_status(struct vdev *v, uint8_t s); /* 0 resets; DRIVER_OK starts the queues */
void vdev_config_read(struct vdev *v, uint32_t off, uint8_t *data, uint32_t len);
void vdev_config_write(struct vdev *v, uint32_t off, const uint8_t *data, uint32_t len);
/* Doorbell by a slow road (no ioeventfd hit, or a queue that is at_once). */
void vdev_kick(struct vdev *v, uint16_t queue);
/* Memory was taken away behind an IOMMU: a queue that works with it marks the device NEEDS_RESET, stops
 * and lets go of it. Any thread; posts. */
void vdev_revoked(struct vdev *v);
/* Stops all queues and keeps where they stand (removal, pause); starts those again that the driver
 * had running. Control thread. */
void vdev_stop(struct vdev *v);
void vdev_start(struct vdev *v);
/* The same as members of a class whose stop() leaves nothing in flight. */
MUST int vdev_quiesce(struct dev *d, struct err *e);
void vdev_resume(struct dev *d);

/* Saved half of every virtio device, kept by the transport. Config bytes are not in it: init makes
 * them from conf, and a device with bytes that the driver may write has them in its own state. */
struct vqueue_state {
	struct vq_conf conf;
	uint32_t next_avail, next_used;
};
struct vdev_state {
	uint64_t features, driver_features;
	uint16_t status, broken;
	uint32_t config_gen;
	LIST(struct vqueue_state) queues;
};
extern const struct desc vdev_state_desc;
/* The device is stopped. s is overwritten; the caller frees it by the table. */
void vdev_save(struct vdev *v, struct vdev_state *s);
/* Into a device that init has made and nothing runs yet; vdev_start follows. Refuses what init's
 * device cannot be. */
MUST int vdev_load(struct vdev *v, const struct vdev_state *s, struct err *e);
