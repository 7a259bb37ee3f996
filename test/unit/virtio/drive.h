/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's driver for tests: a board with RAM, buses and a PCI segment but no hypervisor; a device
 * on it; registers reached through the bus, rings written through guest memory. The board's loop
 * runs in the test's own thread, one turn at a time, so nothing here is a race. Interrupts are seen
 * in the MSI-X pending bits, because every vector stays masked.
 */
#pragma once

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/loop.h"
#include "core/dev.h"
#include "mem/backing.h"
#include "mem/gmem.h"
#include "pci/pci.h"
#include "virtio/vdev.h"
#include "virtio/vpci.h"

#define RAM_SIZE MIB(4)
#define BLOCKS_AT MIB(16) /* what may be plugged, in blocks of 2 MiB */
#define BLOCKS_SIZE MIB(16)
#define RIG_ECAM 0xe0000000ull
#define RIG_MEM32 0xc0000000ull
#define RIG_MEM64 GIB(8)

/* Areas of the BAR and registers of the common area. */
enum {
	AT_COMMON = 0,
	AT_ISR = 0x2000,
	AT_CONFIG = 0x4000,
	AT_NOTIFY = 0x6000,
	AT_MSIX = 0x8000,
	AT_PBA = 0x48000,
	R_DEV_SEL = 0x00,
	R_DEV_FEAT = 0x04,
	R_DRV_SEL = 0x08,
	R_DRV_FEAT = 0x0c,
	R_CFG_VEC = 0x10,
	R_NUM_Q = 0x12,
	R_STATUS = 0x14,
	R_GEN = 0x15,
	R_Q_SEL = 0x16,
	R_Q_SIZE = 0x18,
	R_Q_VEC = 0x1a,
	R_Q_ENABLE = 0x1c,
	R_Q_NOFF = 0x1e,
	R_Q_DESC = 0x20,
	R_Q_AVAIL = 0x28,
	R_Q_USED = 0x30,
};
enum { F_NEXT = 1, F_WRITE = 2, F_INDIRECT = 4 };

/* Where queue i has its rings and what follows them. */
#define Q_AT(i) (0x40000ull + (uint64_t)(i)*0x40000)
#define Q_AVAIL(i) (Q_AT(i) + 0x10000)
#define Q_USED(i) (Q_AT(i) + 0x18000)
#define BUF 0x300000ull /* buffers */
#define RIG_MSI 0xfee00000ull

struct rig {
	struct board b;
	struct gmem *mem;
	struct dev *d;
	uint16_t size;	   /* of the queues */
	uint16_t avail[8]; /* next avail idx, per queue */
	uint32_t events;   /* told upward */
};

static inline void rig_event(void *arg, const char *source, const char *name, const char *id)
{
	struct rig *r = arg;

	(void)source;
	(void)name;
	(void)id;
	r->events++;
}

static inline void rig_ok(int rc)
{
	if (rc)
		abort();
}

static inline void rig_init(struct rig *r)
{
	const struct backing_args how = { .later = BLOCKS_SIZE };
	struct gmem_plan plan = {
		.zones = 1,
		.parts = 2,
		.part = { { .size = RAM_SIZE },
			  { GPA(BLOCKS_AT), BLOCKS_SIZE, 0, RAM_SIZE, MIB(2) } },
	};
	struct pci_host_args pci = {
		.segments = 1,
		.ecam = RIG_ECAM,
		.mem32 = { RIG_MEM32, MIB(256) },
		.mem64 = { RIG_MEM64, GIB(8) },
	};
	const struct iommu_args iommu = { .last = UINT64_MAX,
					  .msi = { RIG_MSI, RIG_MSI + MIB(1) - 1 } };
	struct err e = { 0 };

	*r = (struct rig){ .size = 16 };
	board_init(&r->b);
	r->b.iommu = iommu_new(&iommu);
	rig_ok(gmem_new(&r->mem, &e));
	rig_ok(backing_open(&plan.zone[0], RAM_SIZE, &how, &e));
	rig_ok(gmem_lay(r->mem, &plan, &e));
	r->b.mem = r->mem;
	r->b.dma.mem = r->mem;
	r->b.up = (struct board_up){ .event = rig_event, .arg = r };
	rig_ok(bus_new(&r->b.pio, "pio", &e));
	rig_ok(bus_new(&r->b.mmio, "mmio", &e));
	rig_ok(irqs_new(&r->b.irqs, NULL, &e));
	pci.pio = r->b.pio;
	pci.mmio = r->b.mmio;
	pci.irqs = r->b.irqs;
	rig_ok(pci_host_new(&r->b.pci, &pci, &e));
	rig_ok(loop_new(&r->b.io, "io", &e));
	r->b.ctl = r->b.io;
}

static inline void rig_fini(struct rig *r)
{
	dev_remove_all(&r->b);
	loop_free(r->b.io);
	pci_host_free(r->b.pci);
	irqs_free(r->b.irqs);
	bus_free(r->b.mmio);
	bus_free(r->b.pio);
	iommu_free(r->b.iommu);
	gmem_free(r->mem);
}

static inline int rig_add_saved(struct rig *r, const struct virtio_class *c, const void *conf,
				const struct json *saved, struct err *e)
{
	const struct dev_args a = { .id = "t0", .conf = conf, .slot = -1, .saved = saved };

	return dev_add(&r->d, &r->b, &c->dev, &a, e);
}

static inline void rig_add(struct rig *r, const struct virtio_class *c, const void *conf)
{
	struct err e = { 0 };

	rig_ok(rig_add_saved(r, c, conf, NULL, &e));
}

/* Turns of the loop, none of which sleeps. */
static inline void rig_turn(struct rig *r, int turns)
{
	while (turns--) {
		loop_stop(r->b.io);
		loop_run(r->b.io);
	}
}

/* --- registers --- */

static inline uint64_t rig_cfg_at(struct rig *r)
{
	return RIG_ECAM + ((uint64_t)vpci_fn(r->d)->slot << 15);
}
static inline uint32_t cfg_rd(struct rig *r, uint32_t off, uint32_t len)
{
	uint8_t b[4] = { 0 };

	bus_read(r->b.mmio, rig_cfg_at(r) + off, b, len);
	return le32_get(b);
}
static inline void cfg_wr(struct rig *r, uint32_t off, uint32_t len, uint32_t v)
{
	uint8_t b[4];

	le32_put(b, v);
	bus_write(r->b.mmio, rig_cfg_at(r) + off, b, len);
}
static inline uint64_t rig_bar(struct rig *r)
{
	return vpci_fn(r->d)->bar[0].addr;
}
static inline uint64_t rd(struct rig *r, uint32_t off, uint32_t len)
{
	uint8_t b[8] = { 0 };

	bus_read(r->b.mmio, rig_bar(r) + off, b, len);
	return le64_get(b);
}
static inline void wr(struct rig *r, uint32_t off, uint32_t len, uint64_t v)
{
	uint8_t b[8];

	le64_put(b, v);
	bus_write(r->b.mmio, rig_bar(r) + off, b, len);
}
static inline uint8_t drv_status(struct rig *r)
{
	return (uint8_t)rd(r, R_STATUS, 1);
}
static inline void drv_reset(struct rig *r)
{
	wr(r, R_STATUS, 1, 0);
	memset(r->avail, 0, sizeof(r->avail));
}
static inline bool drv_pending(struct rig *r, uint32_t vector)
{
	return rd(r, AT_PBA + vector / 8, 1) >> (vector % 8) & 1;
}

/* --- starting --- */

static inline uint64_t drv_offered(struct rig *r)
{
	uint64_t f;

	wr(r, R_DEV_SEL, 4, 1);
	f = rd(r, R_DEV_FEAT, 4) << 32;
	wr(r, R_DEV_SEL, 4, 0);
	return f | rd(r, R_DEV_FEAT, 4);
}
static inline void drv_features(struct rig *r, uint64_t f)
{
	wr(r, R_STATUS, 1, 1);
	wr(r, R_STATUS, 1, 3);
	for (uint32_t i = 0; i < 2; i++) {
		wr(r, R_DRV_SEL, 4, i);
		wr(r, R_DRV_FEAT, 4, (uint32_t)(f >> (32 * i)));
	}
	wr(r, R_STATUS, 1, 11);
}
static inline void drv_queue(struct rig *r, uint16_t i)
{
	uint8_t zero[4096] = { 0 };

	for (uint64_t a = Q_AT(i); a < Q_AT(i) + 0x20000; a += sizeof(zero))
		rig_ok(gmem_write(r->mem, GPA(a), zero, sizeof(zero)));
	wr(r, R_Q_SEL, 2, i);
	wr(r, R_Q_SIZE, 2, r->size);
	wr(r, R_Q_DESC, 8, Q_AT(i));
	wr(r, R_Q_AVAIL, 8, Q_AVAIL(i));
	wr(r, R_Q_USED, 8, Q_USED(i));
	wr(r, R_Q_VEC, 2, i);
	wr(r, R_Q_ENABLE, 2, 1);
}
static inline void drv_ok(struct rig *r)
{
	wr(r, R_STATUS, 1, 15);
}
/* The whole way, with the features wanted of those offered and VERSION_1. */
static inline void drv_start(struct rig *r, uint64_t want)
{
	drv_reset(r);
	drv_features(r, drv_offered(r) & (want | VF_VERSION_1));
	for (uint16_t i = 0; i < (uint16_t)rd(r, R_NUM_Q, 2); i++)
		drv_queue(r, i);
	wr(r, R_CFG_VEC, 2, rd(r, R_NUM_Q, 2));
	drv_ok(r);
}

/* --- rings --- */

static inline void mem_wr(struct rig *r, uint64_t at, unsigned int len, uint64_t v)
{
	uint8_t b[8];

	le64_put(b, v);
	rig_ok(gmem_write(r->mem, GPA(at), b, len));
}
static inline uint64_t mem_rd(struct rig *r, uint64_t at, unsigned int len)
{
	uint8_t b[8] = { 0 };

	rig_ok(gmem_read(r->mem, GPA(at), b, len));
	return le64_get(b);
}
static inline void drv_desc_at(struct rig *r, uint64_t table, uint32_t i, uint64_t addr,
			       uint32_t len, uint16_t flags, uint16_t next)
{
	uint64_t at = table + 16ull * i;

	mem_wr(r, at, 8, addr);
	mem_wr(r, at + 8, 4, len);
	mem_wr(r, at + 12, 2, flags);
	mem_wr(r, at + 14, 2, next);
}
static inline void drv_desc(struct rig *r, uint16_t q, uint32_t i, uint64_t addr, uint32_t len,
			    uint16_t flags, uint16_t next)
{
	drv_desc_at(r, Q_AT(q), i, addr, len, flags, next);
}
static inline void drv_offer(struct rig *r, uint16_t q, uint16_t head)
{
	struct gwin idx;

	mem_wr(r, Q_AVAIL(q) + 4 + 2ull * (r->avail[q] % r->size), 2, head);
	rig_ok(gmem_win(&idx, r->mem, GPA(Q_AVAIL(q) + 2), 2, 2));
	gwin_st16_release(&idx, 0, ++r->avail[q]);
}
static inline void drv_kick(struct rig *r, uint16_t q)
{
	wr(r, AT_NOTIFY + 4u * q, 2, q);
}
static inline uint16_t drv_used(struct rig *r, uint16_t q)
{
	struct gwin idx;

	rig_ok(gmem_win(&idx, r->mem, GPA(Q_USED(q) + 2), 2, 2));
	return gwin_ld16_acquire(&idx, 0);
}
static inline uint32_t drv_used_head(struct rig *r, uint16_t q, uint16_t n)
{
	return (uint32_t)mem_rd(r, Q_USED(q) + 4 + 8ull * (n % r->size), 4);
}
static inline uint32_t drv_used_len(struct rig *r, uint16_t q, uint16_t n)
{
	return (uint32_t)mem_rd(r, Q_USED(q) + 8 + 8ull * (n % r->size), 4);
}
