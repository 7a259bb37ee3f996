/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the address a device uses to guest memory: the one door for rings and payload. A device that
 * stands behind no IOMMU has guest-physical addresses, and nothing here costs it more than one look
 * at a pointer. Behind one, every address is translated (core/iommu), and what was translated is
 * pinned until dma_let_go: the driver that takes it away waits for that. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/iommu.h"
#include "mem/gmem.h"

/* A buffer in pieces of RAM that do not adjoin in the host has at most so many; behind an IOMMU, where
 * each page may lie elsewhere, there is no such limit. */
#define DMA_SPLITS_MAX 4
/* Pins of one queue: 32 MiB of them. */
#define DMA_PINS_MAX (4u << 20)

struct dma {
	const struct gmem *mem;
	struct iommu_ep *ep; /* NULL: no IOMMU */
};

/* What a user holds of the IOMMU's mappings; zeroed before first use. */
struct dma_pins {
	struct iommu_map **map;
	uint32_t count, room;
	uint32_t *rooms; /* sum of all rooms that count together */
};

/* Pieces being gathered. */
struct dma_list {
	struct kiov *out;
	unsigned int n, max;
	struct dma_pins *pins; /* unused without an IOMMU */
};

enum dma_result {
	DMA_OK,
	DMA_BAD,  /* the address leads nowhere */
	DMA_ROOM, /* more pieces than room; nothing was added */
};

/* core/dma.c, behind an IOMMU only */
enum dma_result dma_iov_mapped(const struct dma *d, struct dma_list *l, uint64_t iova, uint32_t len,
			       enum iommu_access access);
MUST int dma_win_mapped(const struct dma *d, struct gwin *w, struct dma_pins *p,
			struct iommu_range r, enum iommu_access access);
MUST int dma_copy_mapped(const struct dma *d, uint64_t iova, void *to, size_t len);
void dma_let_go_mapped(const struct dma *d, struct dma_pins *p);

/* Around dma_iov, dma_win and dma_copy, as many as belong together. */
static inline void dma_enter(const struct dma *d)
{
	if (d->ep)
		iommu_enter(d->ep);
}
static inline void dma_leave(const struct dma *d)
{
	if (d->ep)
		iommu_leave(d->ep);
}

/* Appends the pieces of [iova, iova+len), which the device reads or writes. */
MUST static inline enum dma_result dma_iov(const struct dma *d, struct dma_list *l, uint64_t iova,
					   uint32_t len, enum iommu_access access)
{
	unsigned int n = l->n;

	if (d->ep)
		return dma_iov_mapped(d, l, iova, len, access);
	if (gmem_iov(d->mem, l->out, &n, l->max, GPA(iova), len))
		return l->max - l->n > DMA_SPLITS_MAX ? DMA_BAD : DMA_ROOM;
	l->n = n;
	return DMA_OK;
}

/* A window for a ring; gwin_fini ends it. 0, or -1 when it is not all there or not aligned. */
MUST static inline int dma_win(const struct dma *d, struct gwin *w, struct dma_pins *p,
			       struct iommu_range r, enum iommu_access access)
{
	if (d->ep)
		return dma_win_mapped(d, w, p, r, access);
	return gmem_win(w, d->mem, GPA(r.first), r.last - r.first + 1, 1);
}

/* Copies out once. */
MUST static inline int dma_copy(const struct dma *d, uint64_t iova, void *to, size_t len)
{
	return d->ep ? dma_copy_mapped(d, iova, to, len) : gmem_read(d->mem, GPA(iova), to, len);
}

/* All that p holds. Whatever was to be written has been. */
static inline void dma_let_go(const struct dma *d, struct dma_pins *p)
{
	if (d->ep)
		dma_let_go_mapped(d, p);
}
/* Also the room for them. */
void dma_pins_fini(const struct dma *d, struct dma_pins *p);
/* Was something taken away that p holds? */
bool dma_is_revoked(const struct dma *d, const struct dma_pins *p);
