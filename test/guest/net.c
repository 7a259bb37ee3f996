/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net by hand: one pair of queues and the control queue. Frames of ethertype 0x88b5 (local
 * experimental) go out and come in; the test outside answers them on the tap.
 * Specification: virtio 1.3 §5.1.
 */
#include "drivers.h"
#include "guest.h"

#define F_MAC (1ul << 5)
#define F_STATUS (1ul << 16)
#define F_CTRL_VQ (1ul << 17)
#define F_CTRL_RX (1ul << 18)
#define F_MQ (1ul << 22)
#define HEADER 12 /* struct virtio_net_hdr with num_buffers */
#define FRAME 64

void net_rx_chain(struct vq *q)
{
	vq_desc(q, 0, (struct desc){ q->buf, 2048, D_WRITE, 0 });
}

void net_tx_chain(struct vq *q)
{
	static const uint8_t head[14] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52,
					  0x33, 0,    0,    0,	  1,	0x88, 0xb5 };

	memset((void *)q->buf, 0, HEADER + FRAME);
	memcpy((void *)(q->buf + HEADER), head, sizeof head);
	memcpy((void *)(q->buf + HEADER + 14), "R3 FRAME", 8);
	vq_desc(q, 0, (struct desc){ q->buf, HEADER + FRAME, 0, 0 });
}

/* class RX, command PROMISC, on: any device with a control queue acknowledges or refuses it */
void net_ctrl_chain(struct vq *q)
{
	wr8(q->buf, 0);
	wr8(q->buf + 1, 0);
	wr8(q->buf + 2, 1);
	wr8(q->buf + 0x100, 0xff);
	vq_desc(q, 0, (struct desc){ q->buf, 2, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + 2, 1, D_NEXT, 2 });
	vq_desc(q, 2, (struct desc){ q->buf + 0x100, 1, D_WRITE, 0 });
}

bool net_tx_works(struct vdev *d, struct vq *q)
{
	(void)d;
	net_tx_chain(q);
	return vq_once(q, 5000000) >= 0;
}

bool net_rx_works(struct vdev *d, struct vq *q)
{
	net_rx_chain(q);
	if (word("feed", NULL))
		return vq_once(q, 5000000) > HEADER;
	vq_put(q, 0);
	vq_publish(q);
	return !(vdev_status(d) & S_NEEDS_RESET);
}

bool net_ctrl_works(struct vdev *d, struct vq *q)
{
	(void)d;
	net_ctrl_chain(q);
	return vq_once(q, 5000000) >= 0 && rd8(q->buf + 0x100) <= 1;
}

/* Send, and wait for a frame of our ethertype that starts with "R3 ANSWER". */
static void exchange(struct vdev *d)
{
	struct vq *rx = &d->q[0], *tx = &d->q[1];
	uint64_t t = rdtsc();

	for (uint32_t sent = 0; !lapse(t, 10000000); sent++) {
		if (!net_tx_works(d, tx))
			break;
		net_rx_chain(rx);
		int64_t len = vq_once(rx, 1000000);

		if (len < 0) { /* none yet: take the buffer back by a new start, and ask again */
			vdev_start(d, d->features);
			continue;
		}
		if (len > HEADER + 14 + 9 && rd16(rx->buf + HEADER + 12) == 0xb588 &&
		    !memcmp((const void *)(rx->buf + HEADER + 14), "R3 ANSWER", 9)) {
			check(true, "net sends and receives");
			print("R3 NETGOT len=%lu buffers=%u sum=%x\n", (uint64_t)len - HEADER,
			      rd16(rx->buf + 10),
			      sum8(rx->buf + HEADER + 14 + 9, (uint64_t)len - HEADER - 23));
			return;
		}
	}
	check(false, "net sends and receives");
}

void net_run(void)
{
	static struct vdev d;

	if (!check(vdev_find(&d, VIRTIO_NET, 0) &&
			   vdev_start(&d, F_MAC | F_STATUS | F_MQ | F_CTRL_VQ),
		   "net starts"))
		return;
	print("R3 NET %02x offered=%lx queues=%u mac=", d.bdf >> 3, d.offered, d.num_queues);
	for (uint32_t i = 0; i < 6; i++)
		print("%02x", rd8(d.config + i));
	print(" status=%x pairs=%u mtu=%u\n", rd16(d.config + 6), rd16(d.config + 8),
	      rd16(d.config + 10));
	check(net_tx_works(&d, &d.q[1]), "net takes a frame");
	if (d.features & F_CTRL_VQ && d.num_queues <= QUEUES_MAX)
		check(net_ctrl_works(&d, &d.q[d.num_queues - 1]),
		      "net answers on its control queue");
	if (word("feed", NULL))
		exchange(&d);
	vdev_reset(&d);
}
