/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI: where the registers of the common half lie, and how doorbells and interrupts
 * travel. virtio 1.3 §4.1. No legacy interface, no INTx. Register accesses come on vCPU threads,
 * interrupts leave from any.
 *
 *	BAR 0	0x00000 common configuration	0x06000 doorbells, 4 bytes a queue
 *		0x02000 ISR			0x08000 MSI-X table
 *		0x04000 device configuration	0x48000 MSI-X pending bits
 *
 * Order of locks: the function's (PCI config accesses) before the device's (v->lock) before MSI-X.
 */
#include "virtio/vpci.h"

#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "hv/hv.h"
#include "pci/pci.h"
#include "virtio/vdev.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_DEVICE 0x1040
#define NO_VECTOR 0xffff
#define CAP_VENDOR 9

#define BAR_SIZE 0x80000
#define COMMON_AT 0
#define COMMON_LEN 0x38
#define ISR_AT 0x2000
#define ISR_LEN 4
#define CONFIG_AT 0x4000
#define CONFIG_LEN 0x1000
#define NOTIFY_AT 0x6000
#define NOTIFY_EACH 4
#define NOTIFY_LEN (VDEV_QUEUES_MAX * NOTIFY_EACH)
#define MSIX_AT 0x8000
#define MSIX_LEN 0x40000
#define PBA_AT 0x48000
#define PBA_LEN 0x800

/* §4.1.4.5: bit 0 a queue, bit 1 the configuration */
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

struct vpci_state {
	struct pci_fn_state fn;
	struct msix_state msix;
	struct vdev_state common;
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select, config_vector;
	uint32_t isr;
};

struct vpci {
	struct pci_fn fn;
	struct msix msix;
	struct vdev *v;
	struct iommu_ep ep; /* in use where the device's dma leads through it */
	bool made;	    /* capabilities, BAR and MSI-X are there */
	uint8_t window;	    /* offset of the configuration access capability */
	/* registers; under v->lock */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector; /* read by loops too, so atomically */
	_Atomic uint8_t isr;
	/* doorbells registered with the hypervisor: the first so many, at this address; under the
	 * function's lock */
	uint16_t doorbells;
	uint64_t doorbells_at;
	struct vpci_state *saved; /* while saving or loading */
};

static struct vpci *vpci_of(struct dev *d)
{
	return d->plug;
}

struct pci_fn *vpci_fn(struct dev *d)
{
	return &vpci_of(d)->fn;
}

/* --- interrupts --- */

static void raise_irq(struct vpci *p, uint8_t isr, uint16_t vector)
{
	if (!(atomic_load_explicit(&p->isr, memory_order_relaxed) & isr))
		atomic_fetch_or(&p->isr, isr);
	if (vector != NO_VECTOR)
		msix_fire(&p->msix, vector);
}

static void vpci_queue_irq(void *arg, struct vqueue *q)
{
	raise_irq(arg, ISR_QUEUE, __atomic_load_n(&q->conf.vector, __ATOMIC_RELAXED));
}

static void vpci_config_irq(void *arg)
{
	struct vpci *p = arg;

	raise_irq(p, ISR_CONFIG, __atomic_load_n(&p->config_vector, __ATOMIC_RELAXED));
}

static const struct vdev_transport transport = {
	.queue_irq = vpci_queue_irq,
	.config_irq = vpci_config_irq,
};

/* --- common configuration, §4.1.4.3; v->lock is held but for the status --- */

static struct vqueue *selected(struct vpci *p)
{
	return p->queue_select < p->v->nqueues ? &p->v->queues[p->queue_select] : NULL;
}

/* The selected queue while it may be set up: what comes later is not looked at. */
static struct vqueue *selected_open(struct vpci *p)
{
	struct vqueue *q = selected(p);

	return q && !q->conf.enabled && !(p->v->status & VSTAT_DRIVER_OK) ? q : NULL;
}

static uint16_t vector_or_none(const struct vpci *p, uint32_t vector)
{
	return vector < p->msix.count ? (uint16_t)vector : NO_VECTOR;
}

static uint32_t half(uint64_t v, unsigned int n)
{
	return n < 2 ? (uint32_t)(v >> (32 * n)) : 0;
}

static void half_put(uint64_t *to, unsigned int n, uint32_t v)
{
	*to = n ? (*to & UINT32_MAX) | (uint64_t)v << 32 : (*to & ~(uint64_t)UINT32_MAX) | v;
}

static uint32_t device_feature_select_rd(struct vpci *p)
{
	return p->device_feature_select;
}
static void device_feature_select_wr(struct vpci *p, uint32_t v)
{
	p->device_feature_select = v;
}
static uint32_t device_feature_rd(struct vpci *p)
{
	return half(p->v->offered, p->device_feature_select);
}
static uint32_t driver_feature_select_rd(struct vpci *p)
{
	return p->driver_feature_select;
}
static void driver_feature_select_wr(struct vpci *p, uint32_t v)
{
	p->driver_feature_select = v;
}
static uint32_t driver_feature_rd(struct vpci *p)
{
	return half(p->v->driver_features, p->driver_feature_select);
}
static void driver_feature_wr(struct vpci *p, uint32_t v)
{
	if (p->driver_feature_select < 2 && !(p->v->status & VSTAT_FEATURES_OK))
		half_put(&p->v->driver_features, p->driver_feature_select, v);
}
static uint32_t config_vector_rd(struct vpci *p)
{
	return p->config_vector;
}
static void config_vector_wr(struct vpci *p, uint32_t v)
{
	__atomic_store_n(&p->config_vector, vector_or_none(p, v), __ATOMIC_RELAXED);
}
static uint32_t num_queues_rd(struct vpci *p)
{
	return p->v->nqueues;
}
static uint32_t status_rd(struct vpci *p)
{
	return vdev_status(p->v);
}
static uint32_t config_gen_rd(struct vpci *p)
{
	return __atomic_load_n(&p->v->config_gen, __ATOMIC_RELAXED) & 0xff;
}
static uint32_t queue_select_rd(struct vpci *p)
{
	return p->queue_select;
}
static void queue_select_wr(struct vpci *p, uint32_t v)
{
	p->queue_select = (uint16_t)v;
}
static uint32_t queue_size_rd(struct vpci *p)
{
	return selected(p) ? selected(p)->conf.size : 0;
}
/* A size that no queue can have is found when the rings are set up. */
static void queue_size_wr(struct vpci *p, uint32_t v)
{
	if (selected_open(p))
		selected_open(p)->conf.size = (uint16_t)v;
}
static uint32_t queue_vector_rd(struct vpci *p)
{
	return selected(p) ? selected(p)->conf.vector : 0;
}
static void queue_vector_wr(struct vpci *p, uint32_t v)
{
	if (selected(p))
		__atomic_store_n(&selected(p)->conf.vector, vector_or_none(p, v), __ATOMIC_RELAXED);
}
static uint32_t queue_enable_rd(struct vpci *p)
{
	return selected(p) ? selected(p)->conf.enabled : 0;
}
/* §4.1.4.3.2: only ever written with 1. */
static void queue_enable_wr(struct vpci *p, uint32_t v)
{
	if (v == 1 && selected_open(p))
		selected_open(p)->conf.enabled = 1;
}
static uint32_t queue_notify_off_rd(struct vpci *p)
{
	return selected(p) ? p->queue_select : 0;
}

/* The two halves of the three ring addresses. */
#define RING_RD(name, member, n)                                                                   \
	static uint32_t name##_rd(struct vpci *p)                                                  \
	{                                                                                          \
		return selected(p) ? half(selected(p)->conf.member, n) : 0;                        \
	}                                                                                          \
	static void name##_wr(struct vpci *p, uint32_t v)                                          \
	{                                                                                          \
		if (selected_open(p))                                                              \
			half_put(&selected_open(p)->conf.member, n, v);                            \
	}
RING_RD(desc_lo, desc, 0)
RING_RD(desc_hi, desc, 1)
RING_RD(avail_lo, avail, 0)
RING_RD(avail_hi, avail, 1)
RING_RD(used_lo, used, 0)
RING_RD(used_hi, used, 1)

/* Writing 0 resets: the registers here go back with the common half. */
static void status_wr(struct vpci *p, uint32_t v)
{
	vdev_set_status(p->v, (uint8_t)v);
	if (v)
		return;
	pthread_mutex_lock(&p->v->lock);
	p->device_feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	config_vector_wr(p, NO_VECTOR);
	atomic_store(&p->isr, 0);
	pthread_mutex_unlock(&p->v->lock);
}

struct reg {
	uint8_t off, size;
	bool takes_lock; /* by itself */
	uint32_t (*read)(struct vpci *p);
	void (*write)(struct vpci *p, uint32_t v); /* NULL: read-only */
};
static const struct reg common_regs[] = {
	{ 0x00, 4, false, device_feature_select_rd, device_feature_select_wr },
	{ 0x04, 4, false, device_feature_rd, NULL },
	{ 0x08, 4, false, driver_feature_select_rd, driver_feature_select_wr },
	{ 0x0c, 4, false, driver_feature_rd, driver_feature_wr },
	{ 0x10, 2, false, config_vector_rd, config_vector_wr },
	{ 0x12, 2, false, num_queues_rd, NULL },
	{ 0x14, 1, true, status_rd, status_wr },
	{ 0x15, 1, false, config_gen_rd, NULL },
	{ 0x16, 2, false, queue_select_rd, queue_select_wr },
	{ 0x18, 2, false, queue_size_rd, queue_size_wr },
	{ 0x1a, 2, false, queue_vector_rd, queue_vector_wr },
	{ 0x1c, 2, false, queue_enable_rd, queue_enable_wr },
	{ 0x1e, 2, false, queue_notify_off_rd, NULL },
	{ 0x20, 4, false, desc_lo_rd, desc_lo_wr },
	{ 0x24, 4, false, desc_hi_rd, desc_hi_wr },
	{ 0x28, 4, false, avail_lo_rd, avail_lo_wr },
	{ 0x2c, 4, false, avail_hi_rd, avail_hi_wr },
	{ 0x30, 4, false, used_lo_rd, used_lo_wr },
	{ 0x34, 4, false, used_hi_rd, used_hi_wr },
};

static uint32_t reg_read(struct vpci *p, const struct reg *r)
{
	uint32_t v;

	if (r->takes_lock)
		return r->read(p);
	pthread_mutex_lock(&p->v->lock);
	v = r->read(p);
	pthread_mutex_unlock(&p->v->lock);
	return v;
}

static void reg_write(struct vpci *p, const struct reg *r, uint32_t v)
{
	if (!r->write)
		return;
	if (r->takes_lock) {
		r->write(p, v);
		return;
	}
	pthread_mutex_lock(&p->v->lock);
	r->write(p, v);
	pthread_mutex_unlock(&p->v->lock);
}

/* Reading has no side effects here, so any width will do. */
static void common_read(struct vpci *p, uint32_t off, uint8_t *data, uint32_t len)
{
	for (const struct reg *r = common_regs; r < common_regs + ARRAY_LEN(common_regs); r++) {
		uint8_t bytes[4];

		if (!ranges_meet(off, len, r->off, r->size))
			continue;
		le32_put(bytes, reg_read(p, r));
		for (uint32_t i = 0; i < r->size; i++)
			if (r->off + i >= off && r->off + i - off < len)
				data[r->off + i - off] = bytes[i];
	}
}

/* Writing takes whole registers: the natural width, or two neighbours at once for a ring address
 * (§4.1.3.1). */
static void common_write(struct vpci *p, uint32_t off, const uint8_t *data, uint32_t len)
{
	if (len == 8) {
		common_write(p, off, data, 4);
		common_write(p, off + 4, data + 4, 4);
		return;
	}
	for (const struct reg *r = common_regs; r < common_regs + ARRAY_LEN(common_regs); r++)
		if (r->off == off && r->size == len)
			reg_write(p, r, (uint32_t)le_get(data, len));
}

/* --- the other areas of the BAR --- */

static void isr_read(struct vpci *p, uint32_t off, uint8_t *data, uint32_t len)
{
	(void)len;
	if (!off)
		data[0] = atomic_exchange(&p->isr, 0);
}

static void config_read(struct vpci *p, uint32_t off, uint8_t *data, uint32_t len)
{
	vdev_config_read(p->v, off, data, len);
}

static void config_write(struct vpci *p, uint32_t off, const uint8_t *data, uint32_t len)
{
	vdev_config_write(p->v, off, data, len);
}

static void notify_write(struct vpci *p, uint32_t off, const uint8_t *data, uint32_t len)
{
	(void)data;
	(void)len;
	vdev_kick(p->v, (uint16_t)(off / NOTIFY_EACH));
}

static void table_read(struct vpci *p, uint32_t off, uint8_t *data, uint32_t len)
{
	msix_table_read(&p->msix, off, data, len);
}

static void table_write(struct vpci *p, uint32_t off, const uint8_t *data, uint32_t len)
{
	msix_table_write(&p->msix, off, data, len);
}

static void pba_read(struct vpci *p, uint32_t off, uint8_t *data, uint32_t len)
{
	msix_pba_read(&p->msix, off, data, len);
}

struct area {
	uint32_t at, len;
	void (*read)(struct vpci *p, uint32_t off, uint8_t *data, uint32_t len); /* NULL: zeros */
	void (*write)(struct vpci *p, uint32_t off, const uint8_t *data, uint32_t len);
};
static const struct area areas[] = {
	{ COMMON_AT, COMMON_LEN, common_read, common_write },
	{ ISR_AT, ISR_LEN, isr_read, NULL },
	{ CONFIG_AT, CONFIG_LEN, config_read, config_write },
	{ NOTIFY_AT, NOTIFY_LEN, NULL, notify_write },
	{ MSIX_AT, MSIX_LEN, table_read, table_write },
	{ PBA_AT, PBA_LEN, pba_read, NULL },
};

/* The area in which an access begins; *len is cut at its end. */
static const struct area *area_find(uint64_t off, uint32_t *len)
{
	for (const struct area *a = areas; a < areas + ARRAY_LEN(areas); a++) {
		if (off < a->at || off - a->at >= a->len)
			continue;
		*len = (uint32_t)min_u64(*len, a->len - (off - a->at));
		return a;
	}
	return NULL;
}

static void bar_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	uint32_t n = len;
	const struct area *a = area_find(off, &n);

	memset(data, 0, len);
	if (a && a->read)
		a->read(arg, (uint32_t)off - a->at, data, n);
}

static void bar_write(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	uint32_t n = len;
	const struct area *a = area_find(off, &n);

	if (a && a->write)
		a->write(arg, (uint32_t)off - a->at, data, n);
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

/* --- doorbells: an eventfd of the hypervisor's for each queue, wherever the BAR is --- */

static void doorbells_off(struct vpci *p)
{
	struct hv_vm *hv = p->v->dev.board->hv;
	struct err e = { 0 };

	for (; p->doorbells; p->doorbells--) {
		uint16_t i = (uint16_t)(p->doorbells - 1);

		if (!p->v->queues[i].at_once &&
		    hv_ioevent(hv, p->v->queues[i].kick_fd, p->doorbells_at + i * NOTIFY_EACH,
			       false, 0, false, &e))
			log_guest("%s: a doorbell stays: %s", p->v->dev.id, err_frame(&e, 0));
	}
}

/* Queues past a failure ring through bar_write. */
static void doorbells_on(struct vpci *p, uint64_t at)
{
	struct hv_vm *hv = p->v->dev.board->hv;
	struct err e = { 0 };

	p->doorbells_at = at;
	for (; hv && p->doorbells < p->v->nqueues; p->doorbells++) {
		uint16_t i = p->doorbells;

		if (!p->v->queues[i].at_once &&
		    hv_ioevent(hv, p->v->queues[i].kick_fd, at + i * NOTIFY_EACH, false, 0, true,
			       &e)) {
			log_guest("%s: slow doorbells: %s", p->v->dev.id, err_frame(&e, 0));
			return;
		}
	}
}

static void vpci_bar_moved(struct pci_fn *f, unsigned int n)
{
	struct vpci *p = container_of(f, struct vpci, fn);

	if (n)
		return;
	doorbells_off(p);
	if (f->bar[0].on)
		doorbells_on(p, f->bar[0].addr + NOTIFY_AT);
}

/* --- PCI config space: the access window of §4.1.4.9, for firmware that has not mapped the
 * BAR --- */

#define WINDOW_BAR 4
#define WINDOW_OFFSET 8
#define WINDOW_LENGTH 12
#define WINDOW_DATA 16

/* The access that the window describes; false when there is none like that. */
static bool window_access(const struct vpci *p, uint32_t *off, uint32_t *len)
{
	const uint8_t *w = &p->fn.cfg[p->window];

	*off = le32_get(w + WINDOW_OFFSET);
	*len = le32_get(w + WINDOW_LENGTH);
	return w[WINDOW_BAR] == 0 && (*len == 1 || *len == 2 || *len == 4) && *off % *len == 0 &&
	       *off < BAR_SIZE;
}

static void vpci_cfg_reading(struct pci_fn *f, uint32_t off, uint32_t len)
{
	struct vpci *p = container_of(f, struct vpci, fn);
	uint32_t at, n;

	if (p->made && ranges_meet(off, len, p->window + WINDOW_DATA, 4) &&
	    window_access(p, &at, &n))
		bar_read(p, at, &f->cfg[p->window + WINDOW_DATA], n);
}

static void vpci_cfg_wrote(struct pci_fn *f, uint32_t off, uint32_t len)
{
	struct vpci *p = container_of(f, struct vpci, fn);
	uint32_t at, n;

	if (!p->made)
		return;
	if (ranges_meet(off, len, p->msix.cap, 4))
		msix_ctrl_changed(&p->msix);
	if (ranges_meet(off, len, p->window + WINDOW_DATA, 4) && window_access(p, &at, &n))
		bar_write(p, at, &f->cfg[p->window + WINDOW_DATA], n);
}

static const struct pci_fn_ops fn_ops = {
	.wrote = vpci_cfg_wrote,
	.reading = vpci_cfg_reading,
	.bar_moved = vpci_bar_moved,
};

/* §4.1.4: the body behind id and link: length, kind, bar, id, two of padding, offset, length, four
 * more for some. */
struct cap_row {
	uint8_t kind;
	uint8_t len; /* with id and link */
	uint32_t at, size;
	uint32_t more;
};
static const struct cap_row cap_rows[] = {
	{ 1, 16, COMMON_AT, COMMON_LEN, 0 },
	{ 2, 20, NOTIFY_AT, NOTIFY_LEN, NOTIFY_EACH },
	{ 3, 16, ISR_AT, 1, 0 },
	{ 4, 16, CONFIG_AT, CONFIG_LEN, 0 },
	{ 5, 20, 0, 0, 0 },
};
/* What the guest may write of the last one: bar, offset, length, data. */
static const uint8_t window_mask[18] = {
	[WINDOW_BAR - 2] = 0xff,
	[WINDOW_OFFSET - 2] = 0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
	0xff,
};

/* Capabilities, BAR and vectors, once the number of queues is known. */
static int make(struct vpci *p, struct err *e)
{
	if (p->made)
		return 0;
	for (const struct cap_row *r = cap_rows; r < cap_rows + ARRAY_LEN(cap_rows); r++) {
		uint8_t body[18] = { r->len, r->kind }, at;

		le32_put(body + 6, r->at);
		le32_put(body + 10, r->size);
		le32_put(body + 14, r->more);
		at = pci_cap_add(&p->fn, CAP_VENDOR, body, r->kind == 5 ? window_mask : NULL,
				 (uint8_t)(r->len - 2));
		if (r->kind == 5)
			p->window = at;
	}
	if (msix_init(&p->msix, &p->fn, p->v->dev.board->irqs, (uint16_t)(p->v->nqueues + 1), 0,
		      MSIX_AT, PBA_AT, e))
		return -1;
	p->made = true;
	return 0;
}

/* --- plugging --- */

static void vpci_revoked(void *arg)
{
	vdev_revoked(arg);
}

/* Endpoints are numbered as PCI functions are, which arch's tables say too. */
static void stand_behind(struct vpci *p, struct dev *d)
{
	p->ep = (struct iommu_ep){
		.id = pci_requester(&p->fn),
		.revoked = vpci_revoked,
		.arg = p->v,
	};
	iommu_ep_add(d->board->iommu, &p->ep);
	d->dma.ep = &p->ep;
}

static int vpci_claim(struct dev *d, const struct dev_args *a, struct err *e)
{
	struct vdev *v = vdev_of(d);
	const struct virtio_class *c = vdev_class(v);
	const uint16_t id = (uint16_t)(VIRTIO_DEVICE + c->type);
	const struct pci_ids ids = {
		.vendor = VIRTIO_VENDOR,
		.device = id,
		.subvendor = VIRTIO_VENDOR,
		.subdevice = id,
		.class = c->pci_class,
		.subclass = c->pci_subclass,
		.revision = 1,
	};
	struct vpci *p = NEW(struct vpci);

	p->v = v;
	p->config_vector = NO_VECTOR;
	pci_fn_init(&p->fn, &ids, &fn_ops);
	if (pci_slot_claim(d->board->pci, &p->fn, a->segment, a->slot, e)) {
		pci_fn_fini(&p->fn);
		free(p);
		return -1;
	}
	pci_bar_set(&p->fn, 0, a->bar32 ? PCI_BAR_MEM32 : PCI_BAR_MEM64, false, BAR_SIZE, &bar_ops,
		    p);
	v->transport = &transport;
	v->transport_arg = p;
	d->plug = p;
	if (a->iommu)
		stand_behind(p, d);
	return 0;
}

static int vpci_in(struct dev *d, struct err *e)
{
	struct vpci *p = vpci_of(d);

	/* a device that goes on is born quiet: its rings are not there yet */
	return make(p, e) || pci_fn_in(&p->fn, e) ? -1 : 0;
}

/* First out of sight, then quiet. */
static void vpci_out(struct dev *d)
{
	struct vpci *p = vpci_of(d);

	if (d->dma.ep)
		iommu_ep_hush(d->dma.ep);
	pci_fn_out(&p->fn);
	pthread_mutex_lock(&p->fn.lock);
	doorbells_off(p);
	pthread_mutex_unlock(&p->fn.lock);
	vdev_stop(p->v);
}

static const struct desc state_desc;

static void saved_drop(struct vpci *p)
{
	if (p->saved)
		desc_free(&state_desc, p->saved);
	free(p->saved);
	p->saved = NULL;
}

static void vpci_unclaim(struct dev *d)
{
	struct vpci *p = vpci_of(d);

	saved_drop(p);
	if (d->dma.ep)
		iommu_ep_drop(d->dma.ep);
	if (p->made)
		msix_fini(&p->msix);
	pci_slot_release(&p->fn);
	pci_fn_fini(&p->fn);
	free(p);
	d->plug = NULL;
}

/* --- saved state --- */

static void *vpci_state_at(struct dev *d)
{
	struct vpci *p = vpci_of(d);

	if (!p->saved)
		p->saved = NEW(struct vpci_state);
	return p->saved;
}

static void vpci_before_save(struct dev *d)
{
	struct vpci *p = vpci_of(d);
	struct vpci_state *s;

	saved_drop(p);
	s = vpci_state_at(d);
	pci_fn_save(&p->fn, &s->fn);
	msix_save(&p->msix, &s->msix);
	vdev_save(p->v, &s->common);
	s->device_feature_select = p->device_feature_select;
	s->driver_feature_select = p->driver_feature_select;
	s->queue_select = p->queue_select;
	s->config_vector = p->config_vector;
	s->isr = atomic_load(&p->isr);
}

static int vectors_check(const struct vpci *p, const struct vpci_state *s, struct err *e)
{
	bool good = s->config_vector == vector_or_none(p, s->config_vector);

	for (uint32_t i = 0; i < s->common.queues.count; i++) {
		uint16_t v = s->common.queues.items[i].conf.vector;

		good &= v == vector_or_none(p, v);
	}
	return good ? 0
		    : err_set(e, ERR_BAD, "a saved vector is beyond the %u that there are",
			      p->msix.count);
}

static int vpci_after_load(struct dev *d, struct err *e)
{
	struct vpci *p = vpci_of(d);
	const struct vpci_state *s = vpci_state_at(d);

	if (make(p, e) || vectors_check(p, s, e) || vdev_load(p->v, &s->common, e) ||
	    pci_fn_load(&p->fn, &s->fn, e) || msix_load(&p->msix, &s->msix, e))
		return -1;
	p->device_feature_select = s->device_feature_select;
	p->driver_feature_select = s->driver_feature_select;
	p->queue_select = s->queue_select;
	p->config_vector = s->config_vector;
	atomic_store(&p->isr, (uint8_t)s->isr);
	return 0;
}

static const struct field state_fields[] = {
	S_OBJ(struct vpci_state, fn, &pci_fn_state_desc),
	S_OBJ(struct vpci_state, msix, &msix_state_desc),
	S_OBJ(struct vpci_state, common, &vdev_state_desc),
	S(struct vpci_state, device_feature_select),
	S(struct vpci_state, driver_feature_select),
	S(struct vpci_state, queue_select),
	S(struct vpci_state, config_vector),
	S(struct vpci_state, isr, .max = 3),
};
static const struct desc state_desc = DESC_OF(struct vpci_state, state_fields, "vpci_state");

const struct plug vpci_plug = {
	.name = "pci",
	.claim = vpci_claim,
	.in = vpci_in,
	.out = vpci_out,
	.unclaim = vpci_unclaim,
	.state = &state_desc,
	.state_at = vpci_state_at,
	.before_save = vpci_before_save,
	.after_load = vpci_after_load,
};
