/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way through an IOMMU: piece by piece along the mappings, each pinned. See dma.h.
 */
#include "core/dma.h"

#include "base/bits.h"
#include "base/mem.h"

static bool pin(const struct dma *d, struct dma_pins *p, struct iommu_map *map)
{
	uint32_t room = p->room ? p->room * 2 : 4;

	if (p->count == p->room) {
		if (*p->rooms + room > DMA_PINS_MAX)
			return false;
		p->map = mem_resize(p->map, p->room, room, sizeof(p->map[0]));
		*p->rooms += room - p->room;
		p->room = room;
	}
	iommu_pin(d->ep, map);
	p->map[p->count++] = map;
	return true;
}

static void let_go(const struct dma *d, struct dma_pins *p, uint32_t down_to)
{
	while (p->count > down_to)
		iommu_unpin(d->ep, p->map[--p->count]);
}

void dma_let_go_mapped(const struct dma *d, struct dma_pins *p)
{
	let_go(d, p, 0);
}

void dma_pins_fini(const struct dma *d, struct dma_pins *p)
{
	dma_let_go(d, p);
	if (p->rooms)
		*p->rooms -= p->room;
	free(p->map);
	*p = (struct dma_pins){ .rooms = p->rooms };
}

bool dma_is_revoked(const struct dma *d, const struct dma_pins *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (iommu_is_revoked(d->ep, p->map[i]))
			return true;
	return false;
}

/* Pieces of one buffer that adjoin in the host become one: engines take few. */
static void join(struct dma_list *l, unsigned int first, unsigned int n)
{
	if (l->n > first && kiov_join(&l->out[l->n - 1], &l->out[l->n])) {
		for (unsigned int i = l->n; i + 1 < n; i++)
			l->out[i] = l->out[i + 1];
		n--;
	}
	l->n = n;
}

enum dma_result dma_iov_mapped(const struct dma *d, struct dma_list *l, uint64_t iova, uint32_t len,
			       enum iommu_access access)
{
	const struct dma_list before = *l;
	uint32_t pins = l->pins->count;
	enum dma_result r = DMA_OK;
	struct iommu_way w;
	uint64_t part;

	if (len && iova + (len - 1) < iova)
		return DMA_BAD;
	for (; len && r == DMA_OK; iova += part, len -= (uint32_t)part) {
		unsigned int n = l->n;

		part = 0;
		if (!iommu_walk(&w, d->ep, iova, access) || !pin(d, l->pins, w.map)) {
			r = DMA_BAD;
			break;
		}
		part = min_u64(len, w.room);
		if (gmem_iov(d->mem, l->out, &n, l->max, w.to, (uint32_t)part))
			r = l->max - l->n > DMA_SPLITS_MAX ? DMA_BAD : DMA_ROOM;
		else
			join(l, before.n, n);
	}
	if (r != DMA_OK) {
		let_go(d, l->pins, pins);
		*l = before;
	}
	return r;
}

int dma_win_mapped(const struct dma *d, struct gwin *w, struct dma_pins *p, struct iommu_range r,
		   enum iommu_access access)
{
	uint64_t from = align_down(r.first, IOMMU_PAGE);
	size_t pages = (size_t)((r.last - from) / IOMMU_PAGE + 1);
	struct iommu_way way;

	if (r.last < r.first)
		return -1;
	gwin_paged(w, GPA(r.first), (size_t)(r.last - r.first + 1));
	for (size_t i = 0; i < pages; i++) {
		if (iommu_walk(&way, d->ep, from + i * IOMMU_PAGE, access) && pin(d, p, way.map) &&
		    !gwin_page(w, d->mem, i, way.to))
			continue;
		gwin_fini(w);
		return -1;
	}
	return 0;
}

int dma_copy_mapped(const struct dma *d, uint64_t iova, void *to, size_t len)
{
	struct iommu_way w;
	uint8_t *at = to;

	for (uint64_t part; len; iova += part, at += part, len -= part) {
		if (!iommu_walk(&w, d->ep, iova, IOMMU_READ))
			return -1;
		part = min_u64(len, w.room);
		if (!part || gmem_read(d->mem, w.to, at, part))
			return -1;
	}
	return 0;
}
