/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command on a network card's control queue asks for. It judges a chain and changes nothing;
 * the card obeys (dev/net). Runs in the loop that has the queue. virtio 1.3 §5.1.6.5.
 */
#pragma once

#include <stdint.h>

#include "virtio/vq.h"

enum netctrl_what {
	NETCTRL_NOTHING,   /* acknowledged, and no more */
	NETCTRL_PAIRS,	   /* use so many pairs of queues, one at least */
	NETCTRL_OFFLOADS,  /* these of the guest's offloads are on, as feature bits; any bits */
	NETCTRL_ANNOUNCED, /* the guest has said where it is */
};

struct netctrl_order {
	enum netctrl_what what;
	uint64_t value;
};

/* 0, or -1: the answer is VIRTIO_NET_ERR. features: those agreed. */
MUST int netctrl_read(struct netctrl_order *out, const struct chain *c, uint64_t features);
