/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pair of a receive and a transmit queue of a network card, with a loop and a link of its own:
 * the way of the frames. Nothing is shared between pairs but the link's host side. What the card
 * offers, its control queue and its life are dev/net's.
 *
 *	link readable -> netrx: buffers, link rx, used         one or several buffers a frame
 *	kick          -> vq_pop(tx) -> link tx -> vq_push
 *
 * Without receive buffers the link is not watched until the driver brings some; when the link takes
 * no more, the chain is put back and the link is watched for room. So nothing ever spins and
 * nothing piles up here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/look.h"
#include "base/loop.h"
#include "base/retry.h"
#include "core/rate.h"
#include "dev/netrx.h"
#include "net/link.h"
#include "virtio/vdev.h"

struct net_way {
	struct vqueue *vq; /* NULL while it does not run */
	bool awake;	   /* tx: there may be chains; rx: there may be buffers */
	bool pushed;	   /* the driver has not heard yet */
	bool limited;	   /* the limit is reached */
	struct rate_user rate;
	/* counters of the pair's loop, base/counter.h; waits: for the limit */
	uint64_t bytes, frames, dropped, waits;
};

struct net_pair {
	struct vdev *v;
	unsigned int index;
	/* The link is gone, or is there again, as `gone` says; in the pair's loop. */
	void (*changed)(struct net_pair *p);
	struct loop *loop;
	struct nlink link;
	struct loop_fd watch;
	uint32_t events; /* now waited for */
	struct loop_hook hook;
	struct loop_msg refresh;  /* whether it is in use has changed */
	struct loop_msg plugging; /* whether it has a cable */
	struct net_way rx, tx;
	struct look look;
	bool may_look; /* the host has a processor to spare for it */
	bool worked;   /* something was moved since the last look in vain */
	struct netrx in;
	bool rx_more;		/* a batch has ended, and the link may have more */
	bool tx_blocked;	/* the link takes no more */
	bool resting;		/* its queue of the tap is detached */
	_Atomic bool used;	/* the driver has said so */
	_Atomic bool gone;	/* the link is; written in the loop */
	_Atomic bool unplugged; /* there is no cable: what either side sends is lost */

	struct retry *knock; /* of a link that may come back */
	struct loop_msg renewal;
	int fresh; /* the descriptor that a renewal brings */
};

/* A link is in p->link, or none. The first pair is used from the start. */
void netpair_init(struct net_pair *p, struct vdev *v, unsigned int index,
		  void (*changed)(struct net_pair *p));
/* Makes the loop and gives it to both queues, which are there; name is the thread's. */
MUST int netpair_run(struct net_pair *p, struct rate *rx, struct rate *tx, const char *name,
		     struct err *e);
/* Also the way back from any point; the queues have stopped. Any thread but the pair's. */
void netpair_fini(struct net_pair *p);

/* The pair takes part in the traffic, or rests. Any thread, once it has its loop. */
void netpair_use(struct net_pair *p, bool used);

/* Its cable is pulled, or put in again. Any thread, once it has its loop. */
void netpair_plug(struct net_pair *p, bool in);

/* A queue comes or goes, or its driver rang. In the pair's loop. mtu 0: none was agreed. */
void netpair_start(struct net_pair *p, struct vqueue *vq, uint32_t mtu);
void netpair_stop(struct net_pair *p, struct vqueue *vq);
void netpair_kick(struct net_pair *p, struct vqueue *vq);
