/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory. See ivshmem.h. The file is mapped once; what moves is the hypervisor's slot, on
 * the vCPU that writes the BAR, under the function's lock. Where there is no slot, the BAR is
 * nobody's.
 */
#include "dev/ivshmem.h"

#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "hv/hv.h"
#include "mem/backing.h"

#define VENDOR 0x1af4
#define DEVICE 0x1110
#define CLASS_MEMORY 0x05
#define SUBCLASS_OTHER 0x80
#define REVISION 1
#define REGS_LEN 256
#define BAR_MEMORY 2

/* What has passed so far. */
struct ivshmem_counters {
	uint64_t moves;
};

struct ivshmem {
	struct dev dev; /* first member */
	struct backing_span span;
	uint32_t slot; /* the hypervisor's */
	bool has_slot;
	struct ivshmem_counters n;
};

static struct ivshmem *ivshmem_of(struct dev *d)
{
	return container_of(d, struct ivshmem, dev);
}

/* One machine of those that share has no number and rings no bell. */
static void regs_read(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	memset(data, 0, len);
}
static void nobody_reads(void *arg, uint64_t off, uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	memset(data, 0xff, len);
}
static void nothing_written(void *arg, uint64_t off, const uint8_t *data, uint32_t len)
{
	(void)arg;
	(void)off;
	(void)data;
	(void)len;
}
static const struct bus_ops regs_ops = { .read = regs_read, .write = nothing_written };
static const struct bus_ops memory_ops = { .read = nobody_reads, .write = nothing_written };

static void ivshmem_moved(struct pci_fn *f, unsigned int n)
{
	const struct pci_bar *b = &f->bar[n];
	struct ivshmem *v = b->range.arg;
	struct hv_vm *hv = v->dev.board->hv;
	struct err e = { 0 };
	char line[ERR_TEXT];

	if (n != BAR_MEMORY || !hv)
		return;
	if (v->has_slot && hv_slot_drop(hv, v->slot, &e)) {
		log_warn("%s: it stays where it was: %s", v->dev.id,
			 err_line(&e, line, sizeof(line)));
		return;
	}
	v->has_slot = false;
	if (!b->on)
		return;
	counter_add_shared(&v->n.moves, 1);
	if (hv_slot_add(hv, &v->slot, b->range.base, b->size, (uintptr_t)v->span.host, false, &e))
		log_warn("%s: the guest does not see it: %s", v->dev.id,
			 err_line(&e, line, sizeof(line)));
	else
		v->has_slot = true;
}

static const struct pci_fn_ops fn_ops = { .bar_moved = ivshmem_moved };

static int map_file(struct ivshmem *v, const struct ivshmem_conf *c, struct err *e)
{
	const struct backing_args how = {
		.zone = v->dev.id,
		.file = c->path,
		.shared = true,
		.reserve = BACKING_RESERVE_NOTHING,
	};
	struct backing b;
	int r;

	if (backing_open(&b, c->size, &how, e))
		return -1;
	r = backing_span(&v->span, c->size, MIB(2), 0, e);
	if (!r && backing_map(&b, v->span.host, 0, c->size, e)) {
		backing_span_drop(&v->span);
		r = -1;
	}
	backing_close(&b); /* what is mapped stays */
	return r;
}

static int ivshmem_init(struct dev *d, struct err *e)
{
	const struct ivshmem_conf *c = d->conf;
	struct pci_fn *f = pcidev_fn(d);

	if (map_file(ivshmem_of(d), c, e))
		return -1;
	pci_bar_set(f, BAR_MEMORY, PCI_BAR_MEM64, true, c->size, &memory_ops, d);
	f->ops = &fn_ops;
	return 0;
}

static void ivshmem_fini(struct dev *d)
{
	backing_span_drop(&ivshmem_of(d)->span);
}

static const struct field counter_fields[] = {
	S(struct ivshmem_counters, moves,
	  .doc = "times that the guest has put the shared memory somewhere"),
};
static const struct desc counter_rows =
	DESC_OF(struct ivshmem_counters, counter_fields, "ivshmem counters");

const struct pcidev_class ivshmem_class = {
	.dev = {
		.name = "ivshmem",
		.conf = &ivshmem_desc,
		.size = sizeof(struct ivshmem),
		.counters = &counter_rows,
		.counters_off = offsetof(struct ivshmem, n),
		.init = ivshmem_init,
		.fini = ivshmem_fini,
		.plug = &pcidev_plug,
	},
	.ids = {
		.vendor = VENDOR,
		.device = DEVICE,
		.subvendor = VENDOR,
		.subdevice = DEVICE,
		.class = CLASS_MEMORY,
		.subclass = SUBCLASS_OTHER,
		.revision = REVISION,
	},
	.bar = {{.kind = PCI_BAR_MEM32, .size = REGS_LEN, .ops = &regs_ops}},
};
