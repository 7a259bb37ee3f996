/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks on the rings and requests of a virtio device: the rows that foul.c (rings),
 * transport.c (registers) and request.c (requests) offer, and what attack.c plays them on.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "virtio.h"

/* What may come of an attack. */
enum {
	O_BROKEN = 1, /* the device says NEEDS_RESET */
	O_QUIET = 2,  /* nothing happens */
	O_USED = 4,   /* the request comes back */
	O_ERROR = 8,  /* the request comes back, with an error in its status */
	O_WRONG = 16, /* never right: the attack itself saw something that must not be */
	O_ANY = O_BROKEN | O_QUIET | O_USED | O_ERROR,
};

/* How far the device is started before the attack runs. */
enum stage {
	LIVE,	   /* all of it */
	LIVE_IND,  /* the same with indirect descriptors and event indices, where offered */
	QUEUES_OFF /* features are settled, queues have addresses, none is enabled */
};

struct attack;

/* A queue of a device. */
struct target {
	const char *name;
	uint32_t type;
	int queue; /* negative: counted from the last */
	bool lazy; /* the device looks at its buffers only when something comes from outside */
	void (*chain)(struct vq *q);
	bool (*works)(struct vdev *d, struct vq *q);
	uint64_t status;	  /* offset of the request's status byte in the buffer, 0: none */
	uint64_t features;	  /* what its device needs for this queue to be */
	const struct attack *own; /* those of its kind alone, or NULL */
};

/* One attack under way. */
struct bout {
	struct vdev *d;
	struct vq *q;
	const struct target *t;
};

/*
 * One attack. run() does it and returns 0, leaving it to attack.c to see what comes of it; or it
 * looks itself and returns an O_ value.
 */
struct attack {
	const char *name;
	enum stage stage;
	uint32_t allowed;
	uint32_t (*run)(struct bout *b);
};

/* Tables of attacks; each ends with a row without a name. */
extern const struct attack ring_attacks[];
extern const struct attack transport_attacks[];
extern const struct attack blk_attacks[];
extern const struct attack net_tx_attacks[];
extern const struct attack net_rx_attacks[];
extern const struct attack net_ctrl_attacks[];
extern const struct attack vsock_rx_attacks[];
extern const struct attack vsock_tx_attacks[];
extern const struct attack balloon_attacks[];
extern const struct attack viommu_attacks[];
extern const struct attack vmem_attacks[];

/* Every queue of every device that there may be; ends with a row without a name. */
extern const struct target attack_targets[];

/* Where the RAM that holds our buffers ends. */
uint64_t ram_end(void);

/* An address where nothing is. */
#define HOLE 0xd8000000ul
