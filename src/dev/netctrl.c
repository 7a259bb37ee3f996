/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of the control queue as rows. Modes and filters of receiving are acknowledged, as Cloud
 * Hypervisor does, and not kept: they only ever ask for fewer frames, and the guest gets all that
 * come by the link. virtio 1.3 §5.1.6.5.
 */
#include "dev/netctrl.h"

#include <linux/virtio_net.h>

#include "base/bits.h"
#include "base/mem.h"

#define HEAD_BYTES 2 /* class and command */

static const struct command {
	uint8_t class, first, last;
	uint8_t bytes; /* that follow at least, at most 8 */
	uint64_t feature;
	enum netctrl_what what;
} commands[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_CTRL_RX_NOBCAST, 1, 0,
	  NETCTRL_NOTHING },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_CTRL_VLAN_DEL, 2, 0,
	  NETCTRL_NOTHING },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_CTRL_ANNOUNCE_ACK, 0,
	  BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), NETCTRL_ANNOUNCED },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2,
	  BIT(VIRTIO_NET_F_MQ), NETCTRL_PAIRS },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	  VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8, BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS),
	  NETCTRL_OFFLOADS },
};

static const struct command *find(const uint8_t head[HEAD_BYTES])
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].class == head[0] && commands[i].first <= head[1] &&
		    head[1] <= commands[i].last)
			return &commands[i];
	return NULL;
}

int netctrl_read(struct netctrl_order *out, const struct chain *c, uint64_t features)
{
	uint8_t b[HEAD_BYTES + 8] = { 0 };
	size_t len = chain_get(c, 0, b, sizeof(b));
	const struct command *is = len < HEAD_BYTES ? NULL : find(b);

	if (!is || len < HEAD_BYTES + (size_t)is->bytes || is->feature & ~features)
		return -1;
	*out = (struct netctrl_order){ .what = is->what,
				       .value = le_get(b + HEAD_BYTES, is->bytes) };
	return is->what == NETCTRL_PAIRS && !out->value ? -1 : 0;
}
