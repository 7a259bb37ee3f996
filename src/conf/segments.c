/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI segments in the configuration. See segments.h.
 */
#include "conf/segments.h"

#include "base/mem.h"

uint16_t segments_count(const struct vm_conf *c)
{
	return c->platform ? c->platform->num_pci_segments : 1;
}

bool segments_has_iommu(const struct vm_conf *c, uint16_t segment)
{
	const struct platform_conf *p = c->platform;

	for (uint32_t i = 0; p && i < p->iommu_segments.count; i++)
		if (p->iommu_segments.items[i] == segment)
			return true;
	return false;
}

static bool node_has(const struct numa_conf *n, uint16_t segment)
{
	for (uint32_t i = 0; i < n->pci_segments.count; i++)
		if (n->pci_segments.items[i] == segment)
			return true;
	return false;
}

uint32_t segments_node(const struct vm_conf *c, uint16_t segment)
{
	for (uint32_t i = 0; i < c->numa.count; i++)
		if (node_has(&c->numa.items[i], segment))
			return c->numa.items[i].guest_numa_id;
	return 0;
}

static int is_there(const struct vm_conf *c, const char *option, uint16_t segment, struct err *e)
{
	uint16_t count = segments_count(c);

	if (segment < count)
		return 0;
	return err_set(e, ERR_BAD,
		       "--%s: PCI segment %u is out of range: there %s %u; say --platform "
		       "num_pci_segments=%u or more",
		       option, segment, count == 1 ? "is" : "are", count, segment + 1u);
}

static int check_devices(const struct vm_conf *c, struct err *e)
{
	AUTO_FREE struct conf_dev *devs = NULL;
	uint32_t n = conf_devs(&devs, c);

	for (uint32_t i = 0; i < n; i++) {
		const struct conf_dev *d = &devs[i];

		if (is_there(c, d->kind, d->segment, e))
			return -1;
		if (segments_has_iommu(c, d->segment) && !d->iommu)
			return err_set(e, ERR_BAD,
				       "--%s: PCI segment %u is behind the virtual IOMMU: say "
				       "iommu=on, or another pci_segment",
				       d->kind, d->segment);
	}
	return 0;
}

/* The node at place at in the list has a segment: does an earlier one, too? */
static int check_one_node(const struct vm_conf *c, uint32_t at, uint16_t segment, struct err *e)
{
	const struct numa_conf *n = &c->numa.items[at];

	if (!segment && n->guest_numa_id)
		return err_set(e, ERR_BAD,
			       "--numa: PCI segment 0 is on node 0, not on node %u: leave it out",
			       n->guest_numa_id);
	for (uint32_t i = 0; i < at; i++)
		if (node_has(&c->numa.items[i], segment))
			return err_set(e, ERR_BAD,
				       "--numa: PCI segment %u is on node %u and on node %u: say "
				       "one",
				       segment, c->numa.items[i].guest_numa_id, n->guest_numa_id);
	return 0;
}

static int check_nodes(const struct vm_conf *c, struct err *e)
{
	for (uint32_t i = 0; i < c->numa.count; i++) {
		const struct numa_conf *n = &c->numa.items[i];

		for (uint32_t k = 0; k < n->pci_segments.count; k++) {
			uint16_t segment = n->pci_segments.items[k];

			if (is_there(c, "numa", segment, e) || check_one_node(c, i, segment, e))
				return -1;
		}
	}
	return 0;
}

int segments_check(const struct vm_conf *c, struct err *e)
{
	const struct platform_conf *p = c->platform;

	for (uint32_t i = 0; i < c->pci_segments.count; i++)
		if (is_there(c, "pci-segment", c->pci_segments.items[i].pci_segment, e))
			return -1;
	for (uint32_t i = 0; p && i < p->iommu_segments.count; i++)
		if (is_there(c, "platform", p->iommu_segments.items[i], e))
			return -1;
	return check_devices(c, e) || check_nodes(c, e) ? -1 : 0;
}
