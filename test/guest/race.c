/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attack that needs two CPUs: while CPU 0 sends ordinary requests, CPU 1 writes noise over the
 * ring's descriptors and indices, so that what the device judged may have changed when it uses
 * it. The device may break off; the VMM may not, and after a reset the device works.
 */
#include "drivers.h"
#include "guest.h"
#include "smp.h"

#define ROUNDS 40

struct noise {
	struct vq *q;
	volatile bool stop;
};

/* Fields of descriptors flip between a lawful value and noise. */
static void scribble(void *arg)
{
	struct noise *n = arg;
	struct vq *q = n->q;
	uint64_t x = 0x9e3779b97f4a7c15ul;

	while (!n->stop) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		uint32_t i = (uint32_t)(x % 3);

		if (x & 8)
			q->desc[i].len = x & 16 ? (uint32_t)(x >> 32) : 512;
		if (x & 32)
			q->desc[i].addr = x & 64 ? x : q->buf + (x & 0xf00);
		if (x & 128)
			q->desc[i].next = (uint16_t)(x & 256 ? x >> 40 : i + 1);
		if ((x & 0xff00) == 0)
			q->avail[2 + (x >> 20) % q->size] = (uint16_t)(x >> 48);
	}
}

static void race_device(uint32_t type, uint32_t queue, void (*chain)(struct vq *),
			bool (*works)(struct vdev *, struct vq *))
{
	static struct vdev d;
	static struct noise n;
	uint32_t broken = 0, used = 0, len;

	if (!vdev_find(&d, type, 0))
		return;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct vq *q = &d.q[queue];

		if (!check(vdev_start(&d, 0), "race: device %u starts", type))
			return;
		n = (struct noise){ q, false };
		smp_call(1, scribble, &n);
		for (uint32_t k = 0; k < 200 && !(vdev_status(&d) & S_NEEDS_RESET); k++) {
			chain(q);
			vq_put(q, 0);
			vq_publish(q);
			if (!vq_wait(q, 2000))
				continue;
			vq_take(q, &len);
			used++;
		}
		broken += vdev_status(&d) & S_NEEDS_RESET ? 1 : 0;
		n.stop = true;
		while (!smp_idle(1))
			cpu_relax();
		vdev_reset(&d);
	}
	print("R3 RACE type=%u used=%u broken=%u\n", type, used, broken);
	check(vdev_start(&d, 0) && works(&d, &d.q[queue]), "race: device %u works after", type);
	vdev_reset(&d);
}

void race_run(void)
{
	if (!check(smp_start(1), "race: a second cpu"))
		return;
	race_device(VIRTIO_BLK, 0, blk_chain, blk_works);
	race_device(VIRTIO_NET, 1, net_tx_chain, net_tx_works);
	race_device(VIRTIO_RNG, 0, rng_chain, rng_works);
}
