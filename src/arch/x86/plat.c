/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x86 machine's layout and its platform devices. Control thread. See plat.h for the picture.
 */
#include "arch/x86/plat.h"

#include <inttypes.h>
#include <unistd.h>

#include "arch/arch.h"
#include "arch/x86/cpuid.h"
#include "arch/x86/fwitems.h"
#include "arch/x86/ram.h"
#include "base/mem.h"
#include "chip/ioapic.h"
#include "conf/segments.h"
#include "core/snap.h"
#include "dev/cmos.h"
#include "dev/cpuhp.h"
#include "dev/debugport.h"
#include "dev/ged.h"
#include "dev/i8042.h"
#include "dev/memhp.h"
#include "dev/pcihp.h"
#include "dev/serial.h"
#include "dev/tpm.h"
#include "dev/vmgenid.h"
#include "pci/root.h"

uint8_t x86_phys_bits(const struct vm_conf *c, uint8_t host_bits)
{
	uint8_t max = c->cpus.max_phys_bits;

	return max && max < host_bits ? max : host_bits;
}

uint64_t x86_platform_area(uint8_t phys_bits)
{
	return (1ull << phys_bits) - X86_TOP_UNUSED - X86_PLATFORM_SIZE;
}

uint64_t x86_chip_addr(uint8_t phys_bits, enum x86_chip chip)
{
	return x86_platform_area(phys_bits) + X86_PLATFORM_SIZE - chip * KIB(4);
}

void arch_hv_args(struct hv_vm_args *out, const struct vm_conf *c)
{
	*out = (struct hv_vm_args){
		.max_apic_id = x86_max_apic_id(c),
		.tss_addr = X86_TSS,
		.identity_map_addr = X86_IDENTITY_MAP,
		.ioapic_pins = IRQ_PINS,
	};
}

int arch_pci_args(struct pci_host_args *out, const struct vm_conf *c, uint64_t ram_end,
		  uint8_t phys_bits, struct err *e)
{
	uint64_t base = align_up(max_u64(ram_end, GIB(4)), X86_WINDOW_ALIGN);
	uint64_t end = x86_platform_area(x86_phys_bits(c, phys_bits));
	uint16_t segments = segments_count(c);

	if (!segments || segments > X86_SEGMENTS_MAX)
		return err_set(e, ERR_BAD, "%u PCI segments; 1 to %u are possible", segments,
			       X86_SEGMENTS_MAX);
	if (base >= end)
		return err_set(e, ERR_BAD, "no physical addresses are left above RAM for PCI");
	*out = (struct pci_host_args){
		.segments = segments,
		.ecam = X86_ECAM,
		.mem32 = { X86_MMIO32, X86_MMIO32_SIZE },
		.mem64 = { base, align_down(end - base, MIB(1)) },
	};
	for (uint32_t i = 0; i < c->pci_segments.count; i++) {
		const struct pci_segment_conf *s = &c->pci_segments.items[i];

		out->weight[s->pci_segment] =
			(struct pci_weight){ s->mmio32_aperture_weight, s->mmio64_aperture_weight };
	}
	return 0;
}

void arch_iommu_args(struct iommu_args *out, const struct vm_conf *c)
{
	unsigned int bits = c->platform ? c->platform->iommu_address_width_bits : 64;

	*out = (struct iommu_args){
		.last = UINT64_MAX >> (64 - bits),
		.msi = { X86_LAPIC, X86_LAPIC + MIB(1) - 1 },
	};
}

static int add(struct board *b, const struct fixed_class *class, const char *id, const void *conf,
	       struct err *e)
{
	const struct dev_args a = { .id = id, .conf = conf, .slot = -1 };

	return dev_add(NULL, b, &class->dev, &a, e);
}

static int add_chips(struct board *b, struct err *e)
{
	const struct ioapic_conf ioapic = { .at.place[0] = { FIXED_MMIO, X86_IOAPIC } };
	const struct i8042_conf i8042 = { .at.place[0] = { FIXED_PIO, X86_PORT_I8042 } };
	const struct cmos_conf cmos = {
		.at.place[0] = { FIXED_PIO, X86_PORT_CMOS },
		.ram_low = x86_ram_low(b->mem),
		.ram_high = x86_ram_high(b->mem),
	};

	if (dev_add(NULL, b, &pci_root_class, &(struct dev_args){ .id = "__pci", .slot = -1 }, e))
		return -1;
	if (add(b, &ioapic_class, "__ioapic", &ioapic, e) ||
	    add(b, &i8042_class, "__i8042", &i8042, e))
		return -1;
	return add(b, &cmos_class, "__cmos", &cmos, e);
}

static bool has_cpuhp(const struct vm_conf *c)
{
	return c->cpus.max_vcpus <= CPUHP_CPUS_MAX;
}

/* Where there is something to plug. */
static bool has_memhp(const struct vm_conf *c)
{
	return c->memory.hotplug_method == HOTPLUG_ACPI && c->memory.hotplug_size;
}

/* A machine that was saved without one goes on without: its guest was told of none. */
static bool has_generation(const struct board *b)
{
	return b->generation && (!b->saved || board_saved_find(b->saved, VMGENID_ID));
}

static int add_ged(struct board *b, const struct vm_conf *c, uint8_t phys_bits, struct err *e)
{
	unsigned int n = 0;

	struct ged_conf ged = {
		.at.place = {
			[GED_BANK_FLAGS] = { FIXED_MMIO, x86_chip_addr(phys_bits, X86_CHIP_GED) },
			[GED_BANK_SLEEP] = { FIXED_PIO, X86_PORT_SLEEP },
			[GED_BANK_TIMER] = { FIXED_PIO, X86_PORT_PM_TIMER },
		},
	};

	ged.method[n++] = (struct ged_method){ GED_PCI, PCIHP_SCAN };
	if (has_cpuhp(c))
		ged.method[n++] = (struct ged_method){ GED_CPU, CPUHP_SCAN };
	if (has_memhp(c))
		ged.method[n++] = (struct ged_method){ GED_MEMORY, MEMHP_SCAN };
	if (has_generation(b))
		ged.method[n++] = (struct ged_method){ GED_GENERATION, VMGENID_TELL };
	if (irq_pin_alloc(b->irqs, &ged.gsi, e))
		return -1;
	return add(b, &ged_class, GED_ID, &ged, e);
}

static int add_pcihp(struct board *b, uint8_t phys_bits, struct err *e)
{
	const struct pcihp_conf pcihp = {
		.at.place[0] = { FIXED_MMIO, x86_chip_addr(phys_bits, X86_CHIP_PCIHP) },
		.segments = pci_segments(b->pci),
	};

	return add(b, &pcihp_class, PCIHP_ID, &pcihp, e);
}

static int add_cpuhp(struct board *b, const struct vm_conf *c, uint8_t phys_bits, struct err *e)
{
	const struct cpuhp_conf cpuhp = {
		.at.place[0] = { FIXED_MMIO, x86_chip_addr(phys_bits, X86_CHIP_CPUHP) },
		.cpus = c->cpus.max_vcpus,
		.boot = c->cpus.boot_vcpus,
	};

	return has_cpuhp(c) ? add(b, &cpuhp_class, CPUHP_ID, &cpuhp, e) : 0;
}

static int add_memhp(struct board *b, const struct vm_conf *c, uint8_t phys_bits, struct err *e)
{
	const struct memhp_conf memhp = {
		.at.place[0] = { FIXED_MMIO, x86_chip_addr(phys_bits, X86_CHIP_MEMHP) },
	};

	return has_memhp(c) ? add(b, &memhp_class, MEMHP_ID, &memhp, e) : 0;
}

static int add_generation(struct board *b, struct err *e)
{
	const struct vmgenid_conf vmgenid = { .page = X86_GENERATION, .id = b->generation };

	return has_generation(b) ? add(b, &vmgenid_class, VMGENID_ID, &vmgenid, e) : 0;
}

static int add_tpm(struct board *b, const struct vm_conf *c, struct err *e)
{
	const struct tpm_args tpm = {
		.at.place[0] = { FIXED_MMIO, X86_TPM },
		.socket = c->tpm ? c->tpm->socket : NULL,
	};

	return c->tpm ? add(b, &tpm_class, TPM_ID, &tpm, e) : 0;
}

static int add_ports(struct board *b, const struct vm_conf *c, const struct arch_chars *ch,
		     struct err *e)
{
	struct debugport_conf debug = {
		.at.place = { { FIXED_PIO, X86_PORT_CODES }, { FIXED_PIO, X86_PORT_FW_DEBUG } },
		.text_fd = STDOUT_FILENO,
		.chr = ch->debug_console,
	};
	const struct serial_conf serial = {
		.at.place[0] = { FIXED_PIO, X86_PORT_COM1 },
		.gsi = X86_GSI_COM1,
		.chr = ch->serial,
	};

	if (ch->debug_console)
		debug.at.place[2] = (struct fixed_place){ FIXED_PIO, c->debug_console.iobase };
	if (add(b, &debugport_class, "__debugport", &debug, e))
		return -1;
	return ch->serial ? add(b, &serial_class, "__serial", &serial, e) : 0;
}

int arch_devices(struct board *b, const struct vm_conf *c, const struct arch_chars *ch,
		 uint8_t phys_bits, struct err *e)
{
	uint8_t bits = x86_phys_bits(c, phys_bits);

	if (add_chips(b, e) || add_ged(b, c, bits, e) || add_pcihp(b, bits, e) ||
	    add_cpuhp(b, c, bits, e) || add_memhp(b, c, bits, e) || add_generation(b, e) ||
	    add_tpm(b, c, e))
		return -1;
	return add_ports(b, c, ch, e) || x86_fwitems(b, c, e) ? -1 : 0;
}
