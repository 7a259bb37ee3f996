/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See virtio.h. Runs on CPU 0; polls unless a test routed a vector. Specification: virtio 1.3
 * §2.7 (split rings), §3.1 (initialisation), §4.1 (PCI).
 */
#include "virtio.h"

#include "guest.h"
#include "pci.h"

#define QUEUE_MEMORY 0x400000ul /* of each queue: rings in the first page group, then buffers */

static void read_caps(struct vdev *d)
{
	for (uint32_t p = pci_cap(d->bdf, 9, 0); p; p = pci_cap(d->bdf, 9, p)) {
		uint8_t kind = pci_rd8(d->bdf, p + 3), bar = pci_rd8(d->bdf, p + 4);
		uint64_t size = 0;

		if (kind > 4 || bar > 5)
			continue;
		uint64_t base = pci_bar(d->bdf, bar, &size), a = base + pci_rd32(d->bdf, p + 8);

		if (kind == 1) {
			d->common = a;
			d->bar = base;
			d->bar_size = size;
		} else if (kind == 2) {
			d->notify = a;
			d->notify_multiplier = pci_rd32(d->bdf, p + 16);
		} else if (kind == 3) {
			d->isr = a;
		} else if (kind == 4) {
			d->config = a;
		}
	}
	d->msix_cap = pci_cap(d->bdf, 0x11, 0);
	if (d->msix_cap) {
		uint32_t table = pci_rd32(d->bdf, d->msix_cap + 4);
		uint64_t size;

		d->msix = pci_bar(d->bdf, table & 7, &size) + (table & ~7u);
		d->num_vectors = (pci_rd16(d->bdf, d->msix_cap + 2) & 0x7ffu) + 1;
	}
}

bool vdev_find(struct vdev *d, uint32_t type, uint32_t nth)
{
	static const uint16_t transitional[] = { 0, 0x1000, 0x1001, 0x1003, 0x1005 };

	for (uint32_t bdf = 0; bdf < 256; bdf += 8) {
		uint32_t id = pci_rd32(bdf, 0);

		if ((id & 0xffff) != 0x1af4 ||
		    (id >> 16 != 0x1040 + type &&
		     (type >= sizeof transitional / 2 || id >> 16 != transitional[type])) ||
		    nth--)
			continue;
		memset(d, 0, sizeof *d);
		d->bdf = bdf;
		d->type = type;
		pci_wr16(bdf, 4, 0x406); /* memory, bus master, no INTx */
		read_caps(d);
		return d->common && d->notify && d->isr;
	}
	return false;
}

uint8_t vdev_status(const struct vdev *d)
{
	return rd8(d->common + C_STATUS);
}

void vdev_set_status(const struct vdev *d, uint8_t s)
{
	wr8(d->common + C_STATUS, s);
}

bool vdev_reset(struct vdev *d)
{
	uint64_t t = rdtsc();

	vdev_set_status(d, 0);
	while (vdev_status(d))
		if (lapse(t, 1000000))
			return false;
	return true;
}

static uint64_t features_offered(const struct vdev *d)
{
	uint64_t f;

	wr32(d->common + C_DEVICE_FEATURE_SELECT, 0);
	f = rd32(d->common + C_DEVICE_FEATURE);
	wr32(d->common + C_DEVICE_FEATURE_SELECT, 1);
	return f | (uint64_t)rd32(d->common + C_DEVICE_FEATURE) << 32;
}

bool vdev_features(struct vdev *d, uint64_t want)
{
	if (!vdev_reset(d))
		return false;
	vdev_set_status(d, S_ACK);
	vdev_set_status(d, S_ACK | S_DRIVER);
	d->offered = features_offered(d);
	d->features = d->offered & (want | F_VERSION_1);
	for (uint32_t i = 0; i < 2; i++) {
		wr32(d->common + C_DRIVER_FEATURE_SELECT, i);
		wr32(d->common + C_DRIVER_FEATURE, (uint32_t)(d->features >> (32 * i)));
	}
	vdev_set_status(d, S_ACK | S_DRIVER | S_FEATURES_OK);
	d->num_queues = rd16(d->common + C_NUM_QUEUES);
	return vdev_status(d) & S_FEATURES_OK;
}

static void wr_addr(uint64_t reg, uint64_t a)
{
	wr32(reg, (uint32_t)a);
	wr32(reg + 4, (uint32_t)(a >> 32));
}

void vdev_queue(struct vdev *d, uint16_t i)
{
	struct vq *q = &d->q[i];
	uint64_t m = HEAP + (d->home + i) * QUEUE_MEMORY;

	memset((void *)m, 0, 0x10000);
	wr16(d->common + C_QUEUE_SELECT, i);
	uint16_t max = rd16(d->common + C_QUEUE_SIZE);

	*q = (struct vq){
		.dev = d,
		.index = i,
		.size = max < QUEUE_SIZE ? max : QUEUE_SIZE,
		.desc = (volatile struct desc *)m,
		.avail = (volatile uint16_t *)(m + 0x4000),
		.used = (volatile uint16_t *)(m + 0x8000),
		.buf = m + 0x100000,
		.notify = d->notify +
			  rd16(d->common + C_QUEUE_NOTIFY_OFF) * (uint64_t)d->notify_multiplier,
	};
	wr16(d->common + C_QUEUE_SIZE, q->size);
	wr_addr(d->common + C_QUEUE_DESC, d->shift + m);
	wr_addr(d->common + C_QUEUE_AVAIL, d->shift + m + 0x4000);
	wr_addr(d->common + C_QUEUE_USED, d->shift + m + 0x8000);
	if (d->with_msix)
		wr16(d->common + C_QUEUE_VECTOR, i);
	else
		q->avail[0] = 1; /* no interrupts, please */
}

bool vdev_start(struct vdev *d, uint64_t want)
{
	if (!vdev_features(d, want))
		return false;
	for (uint16_t i = 0; i < d->num_queues && i < QUEUES_MAX; i++) {
		vdev_queue(d, i);
		wr16(d->common + C_QUEUE_ENABLE, 1);
	}
	vdev_set_status(d, S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
	return vdev_status(d) == (S_ACK | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
}

uint32_t vdev_window(const struct vdev *d, uint32_t off, uint32_t len)
{
	for (uint32_t p = pci_cap(d->bdf, 9, 0); p; p = pci_cap(d->bdf, 9, p)) {
		if (pci_rd8(d->bdf, p + 3) != 5)
			continue;
		pci_wr8(d->bdf, p + 4, 0);
		pci_wr32(d->bdf, p + 8, off);
		pci_wr32(d->bdf, p + 12, len);
		return len == 1	  ? pci_rd8(d->bdf, p + 16)
		       : len == 2 ? pci_rd16(d->bdf, p + 16)
				  : pci_rd32(d->bdf, p + 16);
	}
	return 0xdead;
}

void vdev_vector(const struct vdev *d, uint32_t i, uint8_t vector)
{
	uint64_t e = d->msix + 16ul * i;

	wr32(e, 0xfee00000);
	wr32(e + 4, 0);
	wr32(e + 8, vector);
	wr32(e + 12, 0);
}

void vq_desc(struct vq *q, uint16_t i, struct desc v)
{
	q->desc[i].addr = q->dev->shift + v.addr;
	q->desc[i].len = v.len;
	q->desc[i].flags = v.flags;
	q->desc[i].next = v.next;
}

void vq_put(struct vq *q, uint16_t head)
{
	q->avail[2 + q->avail_idx % q->size] = head;
	q->avail_idx++;
}

void vq_publish(struct vq *q)
{
	uint16_t old = q->avail[1];
	bool event = q->dev->features & F_EVENT_IDX;

	barrier();
	q->avail[1] = q->avail_idx;
	if (event)
		q->avail[2 + q->size] = q->last_used; /* used_event: tell of the next one */
	fence();
	uint16_t avail_event = q->used[2 + 4 * q->size];

	if (event ? (uint16_t)(q->avail_idx - avail_event - 1) < (uint16_t)(q->avail_idx - old)
		  : !(q->used[0] & 1))
		vq_kick(q);
}

void vq_kick(const struct vq *q)
{
	wr16(q->notify, q->index);
}

bool vq_wait(const struct vq *q, uint64_t us)
{
	uint64_t t = rdtsc();

	for (uint32_t i = 1; q->used[1] == q->last_used; i++) {
		if (lapse(t, us))
			return false;
		if (!(i & 0xffff) && vdev_status(q->dev) & S_NEEDS_RESET)
			return false;
		cpu_relax();
	}
	barrier();
	return true;
}

uint32_t vq_take(struct vq *q, uint32_t *len)
{
	volatile uint32_t *e = (volatile uint32_t *)(q->used + 2 + 4 * (q->last_used % q->size));

	q->last_used++;
	*len = e[1];
	return e[0];
}
