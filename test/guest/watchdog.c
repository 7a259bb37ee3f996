/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watchdog's driver by hand: pings it, and then, with the word `silent`, says nothing more and
 * waits for what comes.
 */
#include "drivers.h"
#include "guest.h"

void watchdog_chain(struct vq *q)
{
	wr8(q->buf, 0);
	vq_desc(q, 0, (struct desc){ q->buf, 1, D_WRITE, 0 });
}

bool watchdog_works(struct vdev *d, struct vq *q)
{
	(void)d;
	watchdog_chain(q);
	return vq_once(q, 5000000) == 1 && rd8(q->buf) == 1;
}

void watchdog_run(void)
{
	static struct vdev d;
	uint32_t good = 0;

	if (!check(vdev_find(&d, VIRTIO_WATCHDOG, 0) && vdev_start(&d, 0), "watchdog starts"))
		return;
	for (int i = 0; i < 20; i++)
		good += watchdog_works(&d, &d.q[0]);
	check(good == 20, "watchdog hears pings");
	if (!word("silent", NULL)) {
		vdev_reset(&d);
		return;
	}
	print("R3 SILENT\n");
	for (;;)
		kcall(k_hlt, 0, 0);
}
