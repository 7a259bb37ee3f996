/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI function as pci/ sees it: config space with write masks (pci/cfg), its place on a segment
 * (pci/seg), its MSI-X table (pci/msix). Registers are guarded by the function's own lock, taken in
 * cfg accesses and by the device. PCI Local Bus 3.0 §6, PCI Express base 3.0 §7, PCI firmware 3.2
 * (ECAM).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"
#include "base/err.h"
#include "base/list.h"
#include "core/bus.h"
#include "core/irq.h"

struct board;
struct pci_host;
struct pci_fn;

#define PCI_CFG_SIZE 4096
#define PCI_BARS 6

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_IO };

struct pci_bar {
	enum pci_bar_kind kind;
	bool prefetch;
	bool on;		/* decoded now */
	bool waits;		/* its place is taken by another */
	uint64_t size;		/* power of two */
	uint64_t addr;		/* as the guest last wrote it (full); 0 = not placed yet */
	struct bus_range range; /* ops and arg set by the owner before pci_fn_in */
};

/* Called under the function's lock, on a vCPU thread. */
struct pci_fn_ops {
	/* a config write of the guest has been taken over by the masks; off and len are of the
	 * write; may be NULL */
	void (*wrote)(struct pci_fn *f, uint32_t off, uint32_t len);
	/* before a read: a chance to fill in live bytes; may be NULL */
	void (*reading)(struct pci_fn *f, uint32_t off, uint32_t len);
	/* BAR n moved, appeared or vanished; may be NULL. The owner re-registers its doorbells. */
	void (*bar_moved)(struct pci_fn *f, unsigned int n);
};

struct pci_fn {
	struct pci_host *host;
	uint16_t segment;
	uint8_t slot;
	pthread_mutex_t lock;
	uint8_t cfg[PCI_CFG_SIZE];
	uint8_t mask[PCI_CFG_SIZE];    /* bits the guest may write */
	uint8_t w1c[PCI_CFG_SIZE / 4]; /* first KiB: bits that writing one clears */
	uint16_t cap_next;	       /* where the next capability goes */
	uint16_t cap_last;	       /* offset of the last one's link byte */
	struct pci_bar bar[PCI_BARS];
	bool loaded; /* config space comes from a saved state */
	const struct pci_fn_ops *ops;
};

struct pci_ids {
	uint16_t vendor, device, subvendor, subdevice;
	uint8_t class, subclass, prog_if, revision;
};

/* Segment, bus, slot and function in one number, as an IOMMU knows it. */
static inline uint32_t pci_requester(const struct pci_fn *f)
{
	return (uint32_t)f->segment << 16 | (uint32_t)f->slot << 3;
}

/* cfg.c: the function before it is plugged */
void pci_fn_init(struct pci_fn *f, const struct pci_ids *ids, const struct pci_fn_ops *ops);
void pci_fn_fini(struct pci_fn *f);
/* Adds a capability: id, body after the two header bytes, and the body's write mask (NULL =
 * read-only). Returns its offset. */
uint8_t pci_cap_add(struct pci_fn *f, uint8_t id, const void *body, const void *mask, uint8_t len);
void pci_bar_set(struct pci_fn *f, unsigned int n, enum pci_bar_kind kind, bool prefetch,
		 uint64_t size, const struct bus_ops *ops, void *arg);
/* Guest access, 1, 2 or 4 bytes, not crossing a dword; under the lock inside. */
uint32_t pci_cfg_read(struct pci_fn *f, uint32_t off, uint32_t len);
void pci_cfg_write(struct pci_fn *f, uint32_t off, uint32_t len, uint32_t v);
bool pci_bus_master(const struct pci_fn *f);

/* Saved: the config bytes and where BARs are. */
struct pci_fn_state {
	uint32_t segment, slot;
	uint8_t cfg[PCI_CFG_SIZE];
	uint64_t bar[PCI_BARS];
};
extern const struct desc pci_fn_state_desc;
void pci_fn_save(struct pci_fn *f, struct pci_fn_state *s);
/* Before pci_fn_in, for a function with the same capabilities and BARs: read-only bytes have to
 * agree. */
MUST int pci_fn_load(struct pci_fn *f, const struct pci_fn_state *s, struct err *e);

/* seg.c: segments of one bus each; CF8/CFC for segment 0 and ECAM for all */
#define PCI_SLOTS 32	     /* of a bus */
#define PCI_SEGMENTS_MAX 256 /* what fits into an ECAM of 256 MiB */
struct pci_aperture {
	uint64_t base, size;
};
/* Shares of a segment in both apertures; 0 counts as 1. */
struct pci_weight {
	uint32_t mem32, mem64;
};
struct pci_host_args {
	struct bus *pio, *mmio;
	struct irqs *irqs;
	uint16_t segments;
	uint64_t ecam;			  /* base; 1 MiB per segment */
	struct pci_aperture mem32, mem64; /* cut by weight, in the order of segments; the last
					   * also gets what does not come out even */
	struct pci_weight weight[PCI_SEGMENTS_MAX];
};
MUST int pci_host_new(struct pci_host **out, const struct pci_host_args *a, struct err *e);
void pci_host_free(struct pci_host *h);
uint16_t pci_segments(const struct pci_host *h);
/* Apertures of a segment, for its host bridge's _CRS. */
struct pci_aperture pci_mem32(const struct pci_host *h, uint16_t segment);
struct pci_aperture pci_mem64(const struct pci_host *h, uint16_t segment);
/* INTx GSI of a slot: one of a pool of eight pins. */
uint32_t pci_intx_gsi(const struct pci_host *h, uint8_t slot);
/* Takes a slot; slot -1 = lowest free. Fails by name for one in use, out of range or reserved (0 of
 * segment 0 is the host bridge). */
MUST int pci_slot_claim(struct pci_host *h, struct pci_fn *f, uint16_t segment, int slot,
			struct err *e);
void pci_slot_release(struct pci_fn *f);
/* Config accesses find nothing in the slot any more; its function is told by pci_fn_out, as ever. Any
 * thread. */
void pci_slot_hide(struct pci_host *h, uint16_t segment, uint8_t slot);
/* Places those BARs that have no address as firmware would, from the top of the apertures down,
 * turns memory decoding on (a function that was loaded keeps what it had), and puts the function on
 * the segment, where config accesses find it. The bar_moved hook is called for each BAR that
 * decodes. */
MUST int pci_fn_in(struct pci_fn *f, struct err *e);
/* Off the segment; waits until nobody is inside. */
void pci_fn_out(struct pci_fn *f);
/* A piece of a segment's 64-bit aperture that is no BAR: memory of a device. */
struct pci_area {
	struct link link;
	struct pci_host *host; /* NULL when not claimed */
	struct bus_range range;
	uint64_t base, size;
};
/* Gives it a free place that is a multiple of align (a power of two), or exactly `base` when that is
 * not 0; size is set by the caller. No BAR is placed there, and one that the guest writes there
 * waits. A low place, for kernels map memory of devices from the end of RAM on, and some not far
 * beyond it; but not among the first 4 GiB, which are for BARs that a guest places. Control thread.
 */
MUST int pci_area_claim(struct pci_host *h, struct pci_area *a, uint16_t segment, uint64_t align,
			struct err *e);
/* Twice is fine. */
void pci_area_release(struct pci_area *a);
/* Saved: the address latch of port 0xcf8 and the host bridge. */
struct pci_host_state {
	struct pci_fn_state bridge;
	uint32_t config_address;
	uint32_t pad;
};
void pci_host_save(struct pci_host *h, struct pci_host_state *s);
MUST int pci_host_load(struct pci_host *h, const struct pci_host_state *s, struct err *e);
/* "0000:00:06.0" */
void pci_bdf(const struct pci_fn *f, char out[13]);

/* msix.c */
struct msix_entry {
	uint64_t addr;
	uint32_t data, ctrl;
};
struct msix {
	struct pci_fn *fn;
	struct irqs *irqs;
	uint16_t count;
	uint8_t cap;		/* offset in config space */
	bool enabled, mask_all; /* message control, as msix_ctrl_changed last saw it */
	struct msix_entry *table;
	uint64_t *pending;
	struct irq_vec *vec;
	pthread_mutex_t lock; /* table and pending; innermost */
};
/* Adds the capability; table and PBA lie in BAR bar at the offsets given. */
MUST int msix_init(struct msix *m, struct pci_fn *f, struct irqs *q, uint16_t count, uint8_t bar,
		   uint32_t table_off, uint32_t pba_off, struct err *e);
void msix_fini(struct msix *m);
/* Accesses of the BAR's table and PBA, offsets within them. */
void msix_table_read(struct msix *m, uint64_t off, uint8_t *data, uint32_t len);
void msix_table_write(struct msix *m, uint64_t off, const uint8_t *data, uint32_t len);
void msix_pba_read(struct msix *m, uint64_t off, uint8_t *data, uint32_t len);
/* Call after the guest wrote into the capability (message control), under the function's lock. */
void msix_ctrl_changed(struct msix *m);
/* Raises vector n: fired, or pending when masked. Any thread. */
void msix_fire(struct msix *m, uint16_t n);
bool msix_enabled(const struct msix *m);
/* Back to power-on: off, all masked, nothing pending. Under the function's lock, or when no vCPU
 * runs. */
void msix_reset(struct msix *m);
struct msix_state {
	LIST(struct msix_entry) table;
	LIST(uint64_t) pending;
};
extern const struct desc msix_state_desc;
/* s is overwritten; its lists are freed by desc_free. */
void msix_save(struct msix *m, struct msix_state *s);
/* After pci_fn_load, which brings message control. */
MUST int msix_load(struct msix *m, const struct msix_state *s, struct err *e);
