/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent memory by hand: reads and writes it, flushes, and hands a piece of it to the disk, if
 * there is one, to be read into. Specification: virtio 1.3 §5.19.
 */
#include "drivers.h"
#include "guest.h"

#define ANSWER 0x100
#define MARK 0x766972676100ul /* plus the offset */

static void lay(struct vq *q, uint32_t type)
{
	wr32(q->buf, type);
	wr32(q->buf + ANSWER, ~0u);
	vq_desc(q, 0, (struct desc){ q->buf, 4, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + ANSWER, 4, D_WRITE, 0 });
}

void pmem_chain(struct vq *q)
{
	lay(q, 0);
}

static uint32_t request(struct vq *q, uint32_t type)
{
	lay(q, type);
	return vq_once(q, 20000000) == 4 ? rd32(q->buf + ANSWER) : ~0u;
}

bool pmem_works(struct vdev *d, struct vq *q)
{
	(void)d;
	return !request(q, 0);
}

static uint64_t config64(const struct vdev *d, uint64_t off)
{
	return rd32(d->config + off) | (uint64_t)rd32(d->config + off + 4) << 32;
}

/* A word at both ends and at every 64 KiB. */
static bool write_and_read(uint64_t start, uint64_t size)
{
	uint32_t wrong = 0;

	for (uint64_t o = 0; o < size; o += 0x10000)
		wr64(start + o, MARK + o);
	wr64(start + size - 8, MARK + size - 8);
	for (uint64_t o = 0; o < size; o += 0x10000)
		wrong += rd64(start + o) != MARK + o;
	return !wrong && rd64(start + size - 8) == MARK + size - 8;
}

bool pmem_is_memory(const struct vdev *d)
{
	uint64_t start = config64(d, 0), size = config64(d, 8);

	map(start, size);
	return write_and_read(start, size);
}

/* The disk reads its second sector straight into the memory: words that are their own offset. */
static void disk_into(uint64_t to)
{
	static struct vdev disk;

	if (!vdev_find(&disk, VIRTIO_BLK, 0) || !check(vdev_start(&disk, 0), "disk starts"))
		return;
	struct vq *q = &disk.q[0];

	blk_chain(q);
	wr64(q->buf + 8, 1);
	vq_desc(q, 1, (struct desc){ to, 512, D_NEXT | D_WRITE, 2 });
	check(vq_once(q, 5000000) == 513 && rd64(to) == 512 && rd64(to + 504) == 1016,
	      "disk reads into pmem");
	vdev_reset(&disk);
}

void pmem_run(void)
{
	static struct vdev d;

	for (uint32_t i = 0; vdev_find(&d, VIRTIO_PMEM, i); i++) {
		if (!check(vdev_start(&d, 0), "pmem starts"))
			return;
		uint64_t start = config64(&d, 0), size = config64(&d, 8);

		map(start, 8);
		print("R3 PMEM start=0x%lx size=%lu first=0x%lx\n", start, size, rd64(start));
		check(!(start & 0x1fffff) && start >= 0x100000000ul,
		      "pmem lies above 4 GiB, at 2 MiB");
		check(pmem_is_memory(&d), "pmem is memory");
		check(!request(&d.q[0], 0), "pmem flushes");
		check(request(&d.q[0], 5) == 1, "pmem does nothing else");
		vdev_reset(&d);
		disk_into(start + 0x8000);
	}
}
