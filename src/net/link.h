/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a network device asks of a back end: move one frame with its virtio_net_hdr (12 bytes,
 * virtio 1.3 §5.1.6) in front, say what offloads it can do, and give a descriptor to wait on. One
 * link per queue pair. For the loop of the pair, but for open and close (control thread).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "mem/gmem.h"

struct link_ops;

struct nlink {
	const struct link_ops *ops;
	int fd; /* readable when a frame waits; its number may change at renew only */
	void *priv;
};

enum {			/* bytes moved, or */
       LINK_AGAIN = -1, /* would block */
       LINK_DROP = -2,	/* this frame is refused; go on with the next */
       LINK_DEAD = -3,	/* the back end is gone */
};

struct link_ops {
	const char *name;
	/* rx copies from memory that it has just read, and asks nothing of the kernel. */
	bool rx_copies;
	/* The guest's offloads that the back end must know (TUN_F_* bits of linux/if_tun.h). NULL:
	 * it carries bare frames, so none can be offered. */
	int (*offload)(struct nlink *l, uint32_t tun_bits);
	/* One frame out of / into the pieces, virtio_net_hdr first. A frame longer than the pieces
	 * is cut off at their end. */
	long (*tx)(struct nlink *l, const struct kiov *k, unsigned int n);
	long (*rx)(struct nlink *l, const struct kiov *k, unsigned int n);
	/* No more frames follow at once: sends what tx has kept back. 0, LINK_AGAIN or LINK_DEAD.
	 * NULL: nothing is kept back. */
	long (*flush)(struct nlink *l);
	/* Of several queues: this one takes part in the traffic, or rests; resting it must not be
	 * waited for. At first all take part. NULL: there is only one. */
	int (*enable)(struct nlink *l, bool on);
	/* After LINK_DEAD, for back ends that may come back (else NULL). knock: on the control
	 * thread, tries once, without waiting; a descriptor or -1. renew: takes it; in the pair's
	 * loop, while the link is not watched. */
	int (*knock)(const struct nlink *l);
	void (*renew)(struct nlink *l, int fd);
	void (*close)(struct nlink *l);
};

/* net/tap.c */
struct tap_args {
	const char *name;	 /* NULL: the kernel chooses */
	const char *ip, *mask;	 /* text, v4 or v6; both or none */
	const uint8_t *host_mac; /* 6 bytes or NULL */
	uint32_t mtu;		 /* 0 = leave */
	unsigned int pairs;
	const int *
		fds; /* passed descriptors instead of all the above; borrowed, the links have duplicates */
	unsigned int fd_count;
	bool beside; /* of tap_judge: another card is to have the same */
};
/* Opens `pairs` queues of one tap. Sentences: no right to make it, busy, no such option. A tap that
 * we make goes away with its last descriptor. */
MUST int tap_open(struct nlink *links, const struct tap_args *a, struct err *e);
/* Could they be opened, as far as can be told without doing it? One link of which nothing but what it
 * can do may be asked. No descriptors. */
MUST int tap_judge(struct nlink *l, const struct tap_args *a, struct err *e);
/* MTU of the interface behind a link, 0 = unknown. */
uint32_t tap_mtu(const struct nlink *l);
/* The address of the host's end; false: it has none. */
bool tap_host_mac(const struct nlink *l, uint8_t mac[6]);

/* net/stream.c: bare frames over a unix stream socket, one pair. */
MUST int stream_open(struct nlink *l, const char *path, struct err *e);
/* The same as tap_judge. */
MUST int stream_judge(struct nlink *l, const char *path, struct err *e);
/* Is the descriptor a unix stream socket? And such a one, connected, as a link; borrowed, the link
 * has a duplicate. */
bool stream_is(int fd);
MUST int stream_take(struct nlink *l, int fd, struct err *e);
