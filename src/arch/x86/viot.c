/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VIOT table. A segment for devices behind the IOMMU is there as a whole, so that what is plugged
 * into it later is known; on others each function is named. See viot.h.
 */
#include "arch/x86/viot.h"

#include "base/bits.h"
#include "conf/segments.h"
#include "dev/viommu.h"
#include "fw/acpi.h"
#include "pci/pci.h"
#include "virtio/vpci.h"

#define OEM "CLOUDH"
#define HEADER 48 /* with count and place of the nodes */
#define COUNT_AT 36
#define PCI_RANGE 1
#define PCI_RANGE_LEN 24
#define VIRTIO_IOMMU_PCI 3
#define VIRTIO_IOMMU_LEN 16
#define FIRST_SLOT 8u /* as BDF: the host bridge of segment 0 translates nothing */
#define LAST_BDF 0xffu

/* Endpoints have the numbers of their functions. */
static uint16_t put_range(struct aml *a, uint32_t segment, uint32_t first, uint32_t last)
{
	if (first > last)
		return 0;
	aml_u8(a, PCI_RANGE);
	aml_u8(a, 0);
	aml_u16(a, PCI_RANGE_LEN);
	aml_u32(a, segment << 16 | first);
	aml_u16(a, (uint16_t)segment);
	aml_u16(a, (uint16_t)segment);
	aml_u16(a, (uint16_t)first);
	aml_u16(a, (uint16_t)last);
	aml_u16(a, HEADER); /* the IOMMU's node comes first */
	aml_zeros(a, 6);
	return 1;
}

/* All of a segment but the IOMMU itself. */
static uint16_t put_segment(struct aml *a, uint32_t segment, uint32_t iommu)
{
	uint32_t first = segment ? 0 : FIRST_SLOT, self = iommu & UINT16_MAX;
	uint16_t n;

	if (iommu >> 16 != segment)
		return put_range(a, segment, first, LAST_BDF);
	n = put_range(a, segment, first, self - 1);
	return (uint16_t)(n + put_range(a, segment, self + FIRST_SLOT, LAST_BDF));
}

void x86_viot(struct aml *a, struct board *b, const struct vm_conf *c)
{
	uint32_t iommu = pci_requester(vpci_fn(dev_find(b, VIOMMU_ID)));
	size_t t = acpi_table(a, "VIOT", 0, OEM, "CHVIOT");
	uint16_t nodes = 1;

	aml_u16(a, 0);
	aml_u16(a, HEADER);
	aml_zeros(a, 8);
	aml_u8(a, VIRTIO_IOMMU_PCI);
	aml_u8(a, 0);
	aml_u16(a, VIRTIO_IOMMU_LEN);
	aml_u16(a, (uint16_t)(iommu >> 16));
	aml_u16(a, (uint16_t)iommu);
	aml_zeros(a, 8);
	for (uint16_t s = 0; s < segments_count(c); s++)
		if (segments_has_iommu(c, s))
			nodes = (uint16_t)(nodes + put_segment(a, s, iommu));
	list_each (l, &b->devs) {
		const struct iommu_ep *ep = container_of(l, struct dev, link)->dma.ep;

		if (ep && !segments_has_iommu(c, (uint16_t)(ep->id >> 16)))
			nodes = (uint16_t)(nodes + put_range(a, ep->id >> 16, ep->id & UINT16_MAX,
							     ep->id & UINT16_MAX));
	}
	le16_put(a->bytes + t + COUNT_AT, nodes);
	acpi_table_end(a, t);
}
