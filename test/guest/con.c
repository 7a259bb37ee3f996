/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console by hand: port 0 only, receive queue 0, transmit queue 1.
 * Specification: virtio 1.3 §5.3.
 */
#include "drivers.h"
#include "guest.h"

void con_rx_chain(struct vq *q)
{
	vq_desc(q, 0, (struct desc){ q->buf, 64, D_WRITE, 0 });
}

void con_tx_chain(struct vq *q)
{
	memcpy((void *)q->buf, "R3 console says\n", 16);
	vq_desc(q, 0, (struct desc){ q->buf, 16, 0, 0 });
}

bool con_tx_works(struct vdev *d, struct vq *q)
{
	(void)d;
	con_tx_chain(q);
	return vq_once(q, 5000000) >= 0;
}

/* Input comes when somebody types; without the word `feed` a posted buffer has to be enough. */
bool con_rx_works(struct vdev *d, struct vq *q)
{
	con_rx_chain(q);
	if (word("feed", NULL))
		return vq_once(q, 5000000) > 0;
	vq_put(q, 0);
	vq_publish(q);
	return !(vdev_status(d) & S_NEEDS_RESET);
}

void con_run(void)
{
	static struct vdev d;

	if (!check(vdev_find(&d, VIRTIO_CONSOLE, 0) && vdev_start(&d, 0), "console starts"))
		return;
	print("R3 CON offered=%lx cols=%u rows=%u queues=%u\n", d.offered, rd16(d.config),
	      rd16(d.config + 2), d.num_queues);
	check(con_tx_works(&d, &d.q[1]), "console takes what is written");
	for (uint32_t i = 0; i < 300; i++) /* round the ring more than once */
		if (!con_tx_works(&d, &d.q[1])) {
			check(false, "console write %u", i);
			break;
		}
	vdev_reset(&d);
}

/* Everything typed goes back out, until a dot. */
void con_echo(void)
{
	static struct vdev d;
	uint64_t total = 0;
	bool end = false;

	if (!check(vdev_find(&d, VIRTIO_CONSOLE, 0) && vdev_start(&d, 0), "console starts"))
		return;
	print("R3 CONECHO\n");
	while (!end) {
		con_rx_chain(&d.q[0]);
		int64_t len = vq_once(&d.q[0], 20000000);

		if (!check(len > 0, "console read gives %u bytes", (uint32_t)len))
			break;
		total += (uint64_t)len;
		end = rd8(d.q[0].buf + (uint64_t)len - 1) == '.';
		memcpy((void *)d.q[1].buf, (const void *)d.q[0].buf, (uint64_t)len);
		vq_desc(&d.q[1], 0, (struct desc){ d.q[1].buf, (uint32_t)len, 0, 0 });
		vq_once(&d.q[1], 5000000);
	}
	print("R3 CONECHOED %lu\n", total);
	vdev_reset(&d);
}
