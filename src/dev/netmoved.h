/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A card that has come up elsewhere is made known to the network, whose switches send its frames to
 * where they saw it last. A driver that can is asked to do that itself, which says more: it knows
 * its addresses. For others a RARP request is sent with the card's own address as its sender. Both some
 * times over, as a switch's new port may still be closed. In the loop of the card's first pair. virtio
 * 1.3 §5.1.6.5.4, RFC 903.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct net_pair;

struct netmoved {
	struct net_pair *pair;
	const uint8_t *mac; /* borrowed */
	/* asks the driver, who has agreed to be asked; unless it has answered, when it was before */
	void (*ask)(struct net_pair *p, bool again);
	uint64_t feature; /* by which it has */
	struct loop_timer timer;
	unsigned int times; /* that it was done */
	uint64_t due_ns;    /* the next time */
};

void netmoved_start(struct netmoved *m);
/* For a pause; what is due meanwhile is done when it goes on. */
void netmoved_stop(struct netmoved *m);
void netmoved_go_on(struct netmoved *m);
/* Is there more to do? In the loop, or while it is stopped. */
bool netmoved_is_under_way(const struct netmoved *m);
