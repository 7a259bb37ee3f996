/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng by hand. Specification: virtio 1.3 §5.4.
 */
#include "drivers.h"
#include "guest.h"

void rng_chain(struct vq *q)
{
	memset((void *)q->buf, 0, 64);
	vq_desc(q, 0, (struct desc){ q->buf, 64, D_WRITE, 0 });
}

bool rng_works(struct vdev *d, struct vq *q)
{
	uint32_t differ = 0;

	(void)d;
	rng_chain(q);
	int64_t len = vq_once(q, 5000000);

	if (len < 1 || len > 64)
		return false;
	for (int64_t i = 1; i < len; i++)
		differ += rd8(q->buf + (uint64_t)i) != rd8(q->buf);
	return len == 1 || differ;
}

void rng_run(void)
{
	static struct vdev d;
	uint64_t first;

	if (!check(vdev_find(&d, VIRTIO_RNG, 0) && vdev_start(&d, 0), "rng starts"))
		return;
	check(rng_works(&d, &d.q[0]), "rng gives bytes that are not all equal");
	first = rd64(d.q[0].buf);
	check(rng_works(&d, &d.q[0]) && rd64(d.q[0].buf) != first, "rng gives other bytes then");
	vdev_reset(&d);
}
