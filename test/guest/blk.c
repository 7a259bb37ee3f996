/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk by hand: one request at a time, on each queue, direct and indirect, polled and by
 * MSI-X. The disk the tests give holds in every 8-byte word that word's own byte offset; writes
 * are made to the last sectors and put back. Specification: virtio 1.3 §5.2.
 */
#include "drivers.h"
#include "guest.h"
#include "pci.h"

#define HEADER 0x000 /* offsets in a queue's buffer */
#define STATUS 0x100
#define DATA 0x1000
#define VECTOR 0x50
#define F_FLUSH (1ul << 9)
#define F_RO (1ul << 5)

uint64_t blk_sectors(const struct vdev *d)
{
	return rd32(d->config) | (uint64_t)rd32(d->config + 4) << 32;
}

static void header(const struct vq *q, uint32_t type, uint64_t sector)
{
	wr32(q->buf + HEADER, type);
	wr32(q->buf + HEADER + 4, 0);
	wr64(q->buf + HEADER + 8, sector);
	wr8(q->buf + STATUS, 0xff);
}

/* header, data, status; the data descriptor is left out when there is none */
static void request_chain(struct vq *q, uint32_t type, uint64_t sector, uint32_t len)
{
	uint16_t to_device = type == 1 ? 0 : D_WRITE, status = len ? 2 : 1;

	header(q, type, sector);
	vq_desc(q, 0, (struct desc){ q->buf + HEADER, 16, D_NEXT, 1 });
	if (len)
		vq_desc(q, 1, (struct desc){ q->buf + DATA, len, D_NEXT | to_device, 2 });
	vq_desc(q, status, (struct desc){ q->buf + STATUS, 1, D_WRITE, 0 });
}

void blk_chain(struct vq *q)
{
	request_chain(q, 0, 0, 512);
}

int64_t vq_once(struct vq *q, uint64_t us)
{
	uint32_t len;

	vq_put(q, 0);
	vq_publish(q);
	if (!vq_wait(q, us) || vq_take(q, &len) != 0)
		return -1;
	return len;
}

int blk_request(struct vq *q, uint32_t type, uint64_t sector, uint32_t len)
{
	request_chain(q, type, sector, len);
	return vq_once(q, 5000000) < 0 ? -1 : rd8(q->buf + STATUS);
}

/* The words of a sector say where they are; the first sector may hold the boot counter instead. */
static bool pattern_ok(const struct vq *q, uint64_t sector, uint32_t len)
{
	for (uint32_t i = 0; i < len; i += 8)
		if (rd64(q->buf + DATA + i) != sector * 512 + i)
			return false;
	return true;
}

bool blk_works(struct vdev *d, struct vq *q)
{
	(void)d;
	return blk_request(q, 0, 8, 4096) == 0 && pattern_ok(q, 8, 4096);
}

static void io(struct vdev *d, struct vq *q)
{
	uint64_t last = blk_sectors(d) - 8;
	uint32_t id_len = 20;

	memset((void *)(q->buf + DATA), 0, 4096);
	check(blk_works(d, q), "blk q%u reads", q->index);
	check(blk_request(q, 0, last + 7, 512) == 0 && pattern_ok(q, last + 7, 512),
	      "blk q%u reads the last sector", q->index);
	check(blk_request(q, 0, last + 8, 512) > 0, "blk q%u refuses a read past the end",
	      q->index);
	if (d->offered & F_RO) {
		check(blk_request(q, 1, last, 512) > 0, "blk q%u refuses a write", q->index);
	} else {
		memset((void *)(q->buf + DATA), 0x77, 4096);
		bool ok = blk_request(q, 1, last, 4096) == 0;

		memset((void *)(q->buf + DATA), 0, 4096);
		ok = ok && blk_request(q, 0, last, 4096) == 0 && rd8(q->buf + DATA + 4095) == 0x77;
		for (uint32_t i = 0; i < 4096; i += 8)
			wr64(q->buf + DATA + i, last * 512 + i);
		check(ok && blk_request(q, 1, last, 4096) == 0, "blk q%u writes", q->index);
		check(blk_request(q, 4, 0, 0) == 0, "blk q%u flushes", q->index);
	}
	check(blk_request(q, 8, 0, id_len) == 0, "blk q%u says its id", q->index);
	wr8(q->buf + DATA + id_len, 0);
	print("R3 BLKID %s\n", (const char *)(q->buf + DATA));
	check(blk_request(q, 0x7777, 0, 512) == 2, "blk q%u says unsupported", q->index);
}

/* The same read, its three descriptors in a table behind one. */
static void indirect(struct vdev *d, struct vq *q)
{
	uint64_t table = q->buf + 0x80000;

	request_chain(q, 0, 16, 512);
	memcpy((void *)table, (const void *)(uintptr_t)q->desc, 48);
	vq_desc(q, 0, (struct desc){ table, 48, D_INDIRECT, 0 });
	check(vq_once(q, 5000000) == 513 && pattern_ok(q, 16, 512), "blk q%u reads indirect (%lx)",
	      q->index, d->features);
}

/* One read by interrupt, then one while the vector is masked: pending, and delivered at unmask. */
static void msix(struct vdev *d)
{
	struct vq *q = &d->q[0];
	uint64_t pba = (d->msix & ~0xffful) + 0, t, size;
	uint32_t reg = pci_rd32(d->bdf, d->msix_cap + 8), before;

	pba = pci_bar(d->bdf, reg & 7, &size) + (reg & ~7u);
	vdev_vector(d, 0, VECTOR);
	pci_wr16(d->bdf, d->msix_cap + 2, 0x8000);
	d->with_msix = true;
	if (!check(vdev_start(d, F_EVENT_IDX), "blk starts with MSI-X"))
		return;
	wr16(d->common + C_QUEUE_SELECT, 0);
	check(rd16(d->common + C_QUEUE_VECTOR) == 0, "blk keeps the queue's vector");
	irq_on();
	before = irq_counts[VECTOR];
	t = rdtsc();
	check(blk_works(d, q), "blk reads with interrupts on");
	while (irq_counts[VECTOR] == before && !lapse(t, 1000000))
		cpu_relax();
	check(irq_counts[VECTOR] == before + 1, "one MSI-X interrupt for one request");
	wr32(d->msix + 12, 1);
	before = irq_counts[VECTOR];
	check(blk_works(d, q), "blk reads while its vector is masked");
	delay_us(20000);
	check(irq_counts[VECTOR] == before && (rd32(pba) & 1), "a masked vector is pending");
	wr32(d->msix + 12, 0);
	t = rdtsc();
	while (irq_counts[VECTOR] == before && !lapse(t, 1000000))
		cpu_relax();
	check(irq_counts[VECTOR] == before + 1, "it is delivered when unmasked");
	irq_off();
	pci_wr16(d->bdf, d->msix_cap + 2, 0);
	d->with_msix = false;
}

/*
 * again=N: the first sector counts boots. While fewer than N were made, the machine is reset by
 * the way that way= names; so the run ends only if N resets in a row each gave a new boot.
 */
static void count_boots(struct vdev *d)
{
	struct vq *q = &d->q[0];
	uint64_t n, boots;

	if (!word("again", &n))
		return;
	check(blk_request(q, 0, 0, 512) == 0, "boot counter reads");
	boots = rd64(q->buf + DATA) & 0xffff;
	print("R3 BOOTS %lu\n", boots);
	if (boots >= n)
		return;
	wr64(q->buf + DATA, boots + 1);
	check(blk_request(q, 1, 0, 512) == 0, "boot counter is written");
	reset_run();
}

/* The window in configuration space shows the same registers as the BAR. */
static void window(const struct vdev *d)
{
	uint32_t common = (uint32_t)(d->common - d->bar);

	check(vdev_window(d, common + C_STATUS, 1) == vdev_status(d) &&
		      vdev_window(d, common + C_NUM_QUEUES, 2) == d->num_queues &&
		      vdev_window(d, (uint32_t)(d->config - d->bar), 4) == rd32(d->config),
	      "blk registers through configuration space");
}

void blk_run(void)
{
	static struct vdev d;

	for (uint32_t nth = 0; vdev_find(&d, VIRTIO_BLK, nth); nth++) {
		if (!check(vdev_start(&d, 0), "blk %u starts", nth))
			return;
		print("R3 BLK %02x offered=%lx sectors=%lu seg_max=%u blk_size=%u queues=%u\n",
		      d.bdf >> 3, d.offered, blk_sectors(&d), rd32(d.config + 12),
		      rd32(d.config + 20), d.num_queues);
		count_boots(&d);
		window(&d);
		for (uint16_t i = 0; i < d.num_queues && i < QUEUES_MAX; i++)
			io(&d, &d.q[i]);
		if (check(vdev_start(&d, F_INDIRECT | F_EVENT_IDX | F_FLUSH), "blk %u again", nth))
			for (uint16_t i = 0; i < d.num_queues && i < QUEUES_MAX; i++) {
				io(&d, &d.q[i]);
				if (d.features & F_INDIRECT)
					indirect(&d, &d.q[i]);
			}
		msix(&d);
		vdev_reset(&d);
	}
}
