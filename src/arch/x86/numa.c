/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SRAT and SLIT. Domains of ACPI are nodes of the guest by the same number. See numa.h.
 */
#include "arch/x86/numa.h"

#include <string.h>

#include "arch/x86/cpuid.h"
#include "base/bits.h"
#include "conf/nodes.h"
#include "fw/acpi.h"
#include "mem/gmem.h"
#include "pci/pcidev.h"
#include "virtio/vpci.h"

#define OEM "CLOUDH"

#define SRAT_MEMORY 1
#define SRAT_X2APIC 2
#define SRAT_INITIATOR 5
#define SRAT_ENABLED 1
#define SRAT_HOTPLUG 2
#define HANDLE_PCI 1

static void put_memory(struct aml *a, uint32_t node, const struct gmem_region *r)
{
	aml_u8(a, SRAT_MEMORY);
	aml_u8(a, 40);
	aml_u32(a, node);
	aml_zeros(a, 2);
	aml_u64(a, r->base.v);
	aml_u64(a, r->size);
	aml_zeros(a, 4);
	aml_u32(a, r->block ? SRAT_ENABLED | SRAT_HOTPLUG : SRAT_ENABLED);
	aml_zeros(a, 8);
}

/* The regions of a zone; zones have the same numbers in guest memory and in the configuration. */
static void put_zone(struct aml *a, uint32_t node, const struct gmem *m, uint32_t zone)
{
	for (unsigned int i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = gmem_region(m, i);

		if (r->zone == zone)
			put_memory(a, node, r);
	}
}

static void put_zones(struct aml *a, const struct numa_conf *n, const struct gmem *m,
		      const struct vm_conf *c)
{
	for (uint32_t i = 0; i < n->memory_zones.count; i++)
		for (uint32_t z = 0; z < nodes_zones(c); z++)
			if (!strcmp(nodes_zone(c, z), n->memory_zones.items[i]))
				put_zone(a, n->guest_numa_id, m, z);
}

static void put_cpu(struct aml *a, uint32_t node, uint32_t apic_id)
{
	aml_u8(a, SRAT_X2APIC);
	aml_u8(a, 24);
	aml_zeros(a, 2);
	aml_u32(a, node);
	aml_u32(a, apic_id);
	aml_u32(a, SRAT_ENABLED);
	aml_zeros(a, 8);
}

/* The PCI function of a device; NULL when it has none. */
static const struct pci_fn *function_of(struct dev *d)
{
	if (d && d->class->plug == &vpci_plug)
		return vpci_fn(d);
	if (d && d->class->plug == &pcidev_plug)
		return pcidev_fn(d);
	return NULL;
}

/* The handle is a segment, a bus, and device and function in one byte. */
static int put_initiator(struct aml *a, uint32_t node, struct board *b, const char *id,
			 struct err *e)
{
	const struct pci_fn *f = function_of(dev_find(b, id));

	if (!f)
		return err_set(e, ERR_BAD,
			       "--numa guest_numa_id=%u: there is no PCI device '%s': say the id "
			       "of one",
			       node, id);
	aml_u8(a, SRAT_INITIATOR);
	aml_u8(a, 32);
	aml_u8(a, 0);
	aml_u8(a, HANDLE_PCI);
	aml_u32(a, node);
	aml_u16(a, f->segment);
	aml_u8(a, 0);
	aml_u8(a, (uint8_t)(f->slot << 3));
	aml_zeros(a, 12);
	aml_u32(a, SRAT_ENABLED);
	aml_zeros(a, 4);
	return 0;
}

int x86_srat(struct aml *a, struct board *b, const struct vm_conf *c, struct err *e)
{
	size_t t = acpi_table(a, "SRAT", 3, OEM, "CHSRAT");
	struct x86_topo topo;

	x86_topo(&topo, c);
	aml_u32(a, 1); /* for those who knew revision 1 */
	aml_zeros(a, 8);
	for (uint32_t i = 0; i < c->numa.count; i++) {
		const struct numa_conf *n = &c->numa.items[i];

		put_zones(a, n, b->mem, c);
		for (uint32_t k = 0; k < n->cpus.count; k++)
			put_cpu(a, n->guest_numa_id, x86_apic_id(&topo, n->cpus.items[k]));
		if (n->device_id && put_initiator(a, n->guest_numa_id, b, n->device_id, e) < 0)
			return -1;
	}
	acpi_table_end(a, t);
	return 0;
}

/* Rows and columns are the numbers of nodes, so those that nobody said have theirs, too: as far as
 * nodes usually are. */
void x86_slit(struct aml *a, const struct vm_conf *c)
{
	size_t t = acpi_table(a, "SLIT", 1, OEM, "CHSLIT");
	uint32_t last = 0;

	for (uint32_t i = 0; i < c->numa.count; i++)
		last = (uint32_t)max_u64(last, c->numa.items[i].guest_numa_id);
	aml_u64(a, last + 1ull);
	for (uint32_t from = 0; from <= last; from++)
		for (uint32_t to = 0; to <= last; to++)
			aml_u8(a, nodes_distance(c, from, to));
	acpi_table_end(a, t);
}
