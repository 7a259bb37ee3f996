/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See netoffer.h. Segmentation needs checksums, in each direction.
 */
#include "dev/netoffer.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include "base/bits.h"
#include "base/mem.h"
#include "virtio/feature.h"

/* What the driver lets us hand it, and the kernel's word for each. */
static const struct {
	uint64_t feature;
	uint32_t tun;
} guest_offloads[] = {
	{ BIT(VIRTIO_NET_F_GUEST_CSUM), TUN_F_CSUM },
	{ BIT(VIRTIO_NET_F_GUEST_TSO4), TUN_F_TSO4 },
	{ BIT(VIRTIO_NET_F_GUEST_TSO6), TUN_F_TSO6 },
	{ BIT(VIRTIO_NET_F_GUEST_ECN), TUN_F_TSO_ECN },
	{ BIT(VIRTIO_NET_F_GUEST_UFO), TUN_F_UFO },
};

uint64_t netoffer_features(const struct net_conf *c, bool has_offloads, uint32_t mtu)
{
	uint64_t f = VF_EVENT_IDX | VF_INDIRECT_DESC | BIT(VIRTIO_NET_F_CTRL_VQ) |
		     BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
		     BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_MRG_RXBUF);

	if (mtu)
		f |= BIT(VIRTIO_NET_F_MTU);
	if (!c->offload_csum || !has_offloads)
		return f;
	f |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
	     BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (c->offload_tso)
		f |= BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |
		     BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) |
		     BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6);
	if (c->offload_ufo)
		f |= BIT(VIRTIO_NET_F_HOST_UFO) | BIT(VIRTIO_NET_F_GUEST_UFO);
	return f;
}

uint64_t netoffer_switched(uint64_t features)
{
	uint64_t all = 0;

	for (size_t i = 0; i < ARRAY_LEN(guest_offloads); i++)
		all |= guest_offloads[i].feature;
	return features & all;
}

uint32_t netoffer_tun(uint64_t features)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < ARRAY_LEN(guest_offloads); i++)
		if (features & guest_offloads[i].feature)
			bits |= guest_offloads[i].tun;
	return bits;
}
