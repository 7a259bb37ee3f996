/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the address a device uses to guest-physical memory. Without an IOMMU both are the same; this
 * is the one place where a virtual IOMMU will stand between. Any thread.
 */
#pragma once

#include <stdint.h>

#include "mem/gmem.h"

struct dma {
	const struct gmem *mem;
};

/* Appends the pieces of [iova, iova+len); 0 or -1 as gmem_iov. */
MUST static inline int dma_iov(const struct dma *d, struct kiov *out, unsigned int *n,
			       unsigned int max, uint64_t iova, uint32_t len)
{
	return gmem_iov(d->mem, out, n, max, GPA(iova), len);
}
/* A window for a ring. */
MUST static inline int dma_win(const struct dma *d, struct gwin *w, uint64_t iova, size_t len,
			       size_t align)
{
	return gmem_win(w, d->mem, GPA(iova), len, align);
}
