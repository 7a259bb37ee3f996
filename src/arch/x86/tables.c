/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI and SMBIOS of the x86 machine: hardware-reduced, with host bridges, processors, and what
 * each device says of itself. See tables.h.
 */
#include "arch/x86/tables.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86/cpuid.h"
#include "arch/x86/numa.h"
#include "arch/x86/plat.h"
#include "arch/x86/viot.h"
#include "base/bits.h"
#include "base/mem.h"
#include "conf/nodes.h"
#include "conf/segments.h"
#include "dev/cpuhp.h"
#include "dev/ged.h"
#include "dev/pcihp.h"
#include "dev/tpm.h"
#include "fw/acpi.h"
#include "fw/smbios.h"
#include "pci/pci.h"

#define OEM "CLOUDH"
#define RSDP_LEN 36
#define RSDP_V1_LEN 20
#define SLOTS 32
#define TABLES_MAX 7 /* that XSDT names */

/* FADT flags, ACPI 6.5 table 5.10 */
#define FADT_WBINVD (1u << 0)
#define FADT_NO_FIXED_POWER_BUTTON (1u << 4)
#define FADT_NO_FIXED_SLEEP_BUTTON (1u << 5)
#define FADT_TIMER_32 (1u << 8)
#define FADT_RESET_REG (1u << 10)
#define FADT_HW_REDUCED (1u << 20)
#define FADT_BOOT_NO_VGA (1u << 2)

#define TPM2_START_BY_CRB 7

#define MADT_IOAPIC 1
#define MADT_OVERRIDE 2
#define MADT_X2APIC 9
#define MADT_ENABLED (1u << 0)
#define MADT_ONLINE_CAPABLE (1u << 1)

/* Interrupt routing of a bridge: INTA of each slot goes to its line of the pool. */
static void put_prt(struct aml *a, const struct pci_host *h)
{
	aml_name(a, "_PRT");
	aml_package(a, SLOTS);
	for (uint8_t slot = 0; slot < SLOTS; slot++) {
		aml_package(a, 4);
		aml_int(a, (uint32_t)slot << 16 | 0xffff);
		aml_int(a, 0);
		aml_int(a, 0);
		aml_int(a, pci_intx_gsi(h, slot));
		aml_end(a);
	}
	aml_end(a);
}

/* Nodes are told only where --numa makes some: without SRAT a guest knows none. */
static void put_bridge(struct aml *a, struct board *b, const struct vm_conf *c, uint16_t segment)
{
	const struct pci_host *h = b->pci;
	struct pci_aperture m32 = pci_mem32(h, segment), m64 = pci_mem64(h, segment);
	char name[5];

	snprintf(name, sizeof name, "PC%02X", segment & 0xffu);
	aml_device(a, name);
	aml_name(a, "_HID");
	aml_eisa(a, "PNP0A08");
	aml_name(a, "_CID");
	aml_eisa(a, "PNP0A03");
	aml_name(a, "_SEG");
	aml_int(a, segment);
	aml_name(a, "_BBN");
	aml_int(a, 0);
	aml_name(a, "_UID");
	aml_int(a, segment);
	if (c->numa.count) {
		aml_name(a, "_PXM");
		aml_int(a, segments_node(c, segment));
	}
	aml_name(a, "_CCA");
	aml_int(a, 1);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_bus(a, 0, 0);
	if (!segment) {
		aml_res_io(a, 0xcf8, 8);
		aml_res_ports(a, 0, 0xcf7);
		aml_res_ports(a, 0xd00, 0xffff);
	}
	if (m32.size)
		aml_res_window32(a, (uint32_t)m32.base, (uint32_t)m32.size);
	if (m64.size)
		aml_res_window64(a, m64.base, m64.size);
	aml_end(a);
	put_prt(a, h);
	if (dev_find(b, PCIHP_ID))
		pcihp_describe_slots(a, segment);
	aml_end(a);
}

/* ECAM belongs to nobody else: kernels use it only when a board device claims it. */
static void put_board(struct aml *a)
{
	aml_device(a, "MBRD");
	aml_name(a, "_HID");
	aml_eisa(a, "PNP0C02");
	aml_name(a, "_UID");
	aml_int(a, 0);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_memory32(a, X86_ECAM, X86_ECAM_SIZE);
	aml_end(a);
	aml_end(a);
}

/* The entry of a processor in MADT, which _MAT gives too: there it is about one that is there. */
static void x2apic_entry(uint8_t out[16], uint32_t index, uint32_t apic_id, uint32_t flags)
{
	memset(out, 0, 16);
	out[0] = MADT_X2APIC;
	out[1] = 16;
	le32_put(out + 4, apic_id);
	le32_put(out + 8, flags);
	le32_put(out + 12, index);
}

/* Of those that may come and go it says when they are there. */
static void put_cpu(struct aml *a, const struct vm_conf *c, const struct x86_topo *topo, uint32_t i,
		    bool comes_and_goes)
{
	uint8_t mat[16];

	aml_processor_device(a, i);
	aml_name(a, "_HID");
	aml_str(a, "ACPI0007");
	aml_name(a, "_UID");
	aml_int(a, i);
	if (c->numa.count) {
		aml_name(a, "_PXM");
		aml_int(a, nodes_of_cpu(c, i));
	}
	if (comes_and_goes) {
		x2apic_entry(mat, i, x86_apic_id(topo, i), MADT_ENABLED);
		aml_name(a, "_MAT");
		aml_buffer(a, mat, sizeof(mat));
		cpuhp_describe_cpu(a, i);
	}
	aml_end(a);
}

static void put_cpus(struct aml *a, struct board *b, const struct vm_conf *c)
{
	bool come_and_go = dev_find(b, CPUHP_ID);
	uint32_t count = come_and_go ? c->cpus.max_vcpus : c->cpus.boot_vcpus;
	struct x86_topo topo;

	x86_topo(&topo, c);
	if (come_and_go) {
		aml_device(a, "CPUS");
		aml_name(a, "_HID");
		aml_str(a, "ACPI0010");
		aml_name(a, "_CID");
		aml_eisa(a, "PNP0A05");
		cpuhp_describe_methods(a, count);
	}
	for (uint32_t i = 0; i < count; i++)
		put_cpu(a, c, &topo, i, come_and_go);
	if (come_and_go)
		aml_end(a);
}

static void put_power_button(struct aml *a)
{
	aml_device(a, "PWRB");
	aml_name(a, "_HID");
	aml_eisa(a, "PNP0C0C");
	aml_name(a, "_UID");
	aml_int(a, 0);
	aml_end(a);
}

static int put_devices(struct aml *a, struct board *b, struct err *e)
{
	list_each (l, &b->devs) {
		struct dev *d = container_of(l, struct dev, link);

		if (d->class->describe && d->class->describe(d, a))
			return err_set(e, ERR_BAD, "device %s has no description", d->id);
	}
	return 0;
}

static int put_dsdt(struct aml *a, struct board *b, const struct vm_conf *c, struct err *e)
{
	size_t t = acpi_table(a, "DSDT", 6, OEM, "CHDSDT");

	aml_scope(a, "\\_SB_");
	put_power_button(a);
	for (uint16_t s = 0; s < pci_segments(b->pci); s++)
		put_bridge(a, b, c, s);
	put_board(a);
	put_cpus(a, b, c);
	if (put_devices(a, b, e))
		return -1;
	aml_end(a);
	aml_name(a, "_S5_");
	aml_package(a, 1);
	aml_int(a, GED_SLP_TYP_S5);
	aml_end(a);
	acpi_table_end(a, t);
	return 0;
}

static void put_word_port(uint8_t *gas, uint8_t bits, uint16_t port)
{
	gas[0] = ACPI_SPACE_PORT;
	gas[1] = bits;
	gas[3] = 2; /* access by words */
	le64_put(gas + 4, port);
}

/* Hyper-V's loader inside a guest does not take a table without PM1a blocks, which others do not
 * look at on reduced hardware. Nothing is at these ports. */
static void put_pm1a(uint8_t *fadt)
{
	le32_put(fadt + 56, X86_PORT_PM1A_EVENT);
	le32_put(fadt + 64, X86_PORT_PM1A_CONTROL);
	fadt[88] = 4;
	fadt[89] = 2;
	put_word_port(fadt + 148, 32, X86_PORT_PM1A_EVENT);
	put_word_port(fadt + 172, 16, X86_PORT_PM1A_CONTROL);
}

/* Fields by their offsets, ACPI 6.5 table 5.9. */
static void put_fadt(struct aml *a, uint64_t dsdt, const struct vm_conf *c)
{
	size_t t = acpi_table(a, "FACP", 6, OEM, "CHFACP");

	aml_zeros(a, 4);
	aml_u32(a, (uint32_t)dsdt);
	aml_zeros(a, 32);
	aml_u32(a, X86_PORT_PM_TIMER); /* 76 */
	aml_zeros(a, 11);
	aml_u8(a, 4); /* 91: bytes of the PM timer */
	aml_zeros(a, 17);
	aml_u16(a, FADT_BOOT_NO_VGA); /* 109 */
	aml_u8(a, 0);
	aml_u32(a, FADT_WBINVD | FADT_NO_FIXED_POWER_BUTTON | FADT_NO_FIXED_SLEEP_BUTTON |
			   FADT_TIMER_32 | FADT_RESET_REG | FADT_HW_REDUCED);
	aml_gas(a, ACPI_SPACE_PORT, 8, X86_PORT_SLEEP); /* 116: reset */
	aml_u8(a, GED_RESET_VALUE);
	aml_zeros(a, 11);
	aml_u64(a, dsdt); /* 140 */
	aml_zeros(a, 60);
	aml_gas(a, ACPI_SPACE_PORT, 32, X86_PORT_PM_TIMER); /* 208 */
	aml_zeros(a, 24);
	aml_gas(a, ACPI_SPACE_PORT, 8, X86_PORT_SLEEP); /* 244: sleep control and status */
	aml_gas(a, ACPI_SPACE_PORT, 8, X86_PORT_SLEEP);
	aml_raw(a, "CLOUDHYP", 8); /* 268 */
	if (c->cpus.kvm_hyperv && c->cpus.nested)
		put_pm1a(a->bytes + t);
	acpi_table_end(a, t);
}

static void put_madt(struct aml *a, const struct vm_conf *c)
{
	size_t t = acpi_table(a, "APIC", 5, OEM, "CHMADT");
	struct x86_topo topo;

	x86_topo(&topo, c);
	aml_u32(a, X86_LAPIC);
	aml_u32(a, 0); /* no 8259s */
	for (uint32_t i = 0; i < c->cpus.max_vcpus; i++) {
		uint8_t entry[16];

		x2apic_entry(entry, i, x86_apic_id(&topo, i),
			     i < c->cpus.boot_vcpus ? MADT_ENABLED : MADT_ONLINE_CAPABLE);
		aml_raw(a, entry, sizeof(entry));
	}
	aml_u8(a, MADT_IOAPIC);
	aml_u8(a, 12);
	aml_u16(a, 0);
	aml_u32(a, X86_IOAPIC);
	aml_u32(a, 0);
	aml_u8(a, MADT_OVERRIDE);
	aml_u8(a, 10);
	aml_u8(a, 0);
	aml_u8(a, X86_GSI_COM1);
	aml_u32(a, X86_GSI_COM1);
	aml_u16(a, 0);
	acpi_table_end(a, t);
}

static void put_mcfg(struct aml *a, uint16_t segments)
{
	size_t t = acpi_table(a, "MCFG", 1, OEM, "CHMCFG");

	aml_zeros(a, 8);
	for (uint16_t s = 0; s < segments; s++) {
		aml_u64(a, X86_ECAM + (uint64_t)s * X86_ECAM_PER_SEGMENT);
		aml_u16(a, s);
		aml_u16(a, 0); /* bus 0 to bus 0 */
		aml_u32(a, 0);
	}
	acpi_table_end(a, t);
}

/* A TPM with a command-response buffer, and no log of what firmware measured. TCG ACPI Specification
 * 1.3 table 7. */
static void put_tpm2(struct aml *a)
{
	size_t t = acpi_table(a, "TPM2", 4, OEM, "CHTPM2");

	aml_u32(a, 0); /* of a client */
	aml_u64(a, X86_TPM + TPM_CONTROL_AREA);
	aml_u32(a, TPM2_START_BY_CRB);
	aml_zeros(a, 12 + 4 + 8);
	acpi_table_end(a, t);
}

static void put_rsdp(uint8_t *p, uint64_t xsdt)
{
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, OEM, 6);
	p[15] = 2;
	le32_put(p + 20, RSDP_LEN);
	le64_put(p + 24, xsdt);
	p[8] = acpi_checksum(p, RSDP_V1_LEN);
	p[32] = acpi_checksum(p, RSDP_LEN);
}

/* Where the next table lies, which begins at a multiple of 16. */
static uint64_t place(struct aml *a, uint64_t base)
{
	aml_zeros(a, align_up(a->len, 16) - a->len);
	return base + a->len;
}

int x86_acpi_build(struct aml *a, uint64_t base, struct board *b, const struct vm_conf *c,
		   struct err *e)
{
	uint64_t at[TABLES_MAX];
	unsigned int n = 0;

	aml_zeros(a, RSDP_LEN);
	uint64_t dsdt = place(a, base);

	if (put_dsdt(a, b, c, e))
		return -1;
	at[n++] = place(a, base);
	put_fadt(a, dsdt, c);
	at[n++] = place(a, base);
	put_madt(a, c);
	at[n++] = place(a, base);
	put_mcfg(a, pci_segments(b->pci));
	if (c->numa.count) {
		at[n++] = place(a, base);
		if (x86_srat(a, b, c, e))
			return -1;
		at[n++] = place(a, base);
		x86_slit(a, c);
	}
	if (c->tpm) {
		at[n++] = place(a, base);
		put_tpm2(a);
	}
	if (b->iommu) {
		at[n++] = place(a, base);
		x86_viot(a, b, c);
	}
	uint64_t xsdt = place(a, base);
	size_t t = acpi_table(a, "XSDT", 1, OEM, "CHXSDT");

	for (unsigned int i = 0; i < n; i++)
		aml_u64(a, at[i]);
	acpi_table_end(a, t);
	put_rsdp(a->bytes, xsdt);
	return 0;
}

static int write_tables(const struct gmem *m, uint64_t at, const struct aml *a, uint64_t end,
			const char *what, struct err *e)
{
	if (at + a->len > end)
		return err_set(e, ERR_BAD, "%s take %zu bytes; there is room for %" PRIu64, what,
			       a->len, end - at);
	if (gmem_write(m, GPA(at), a->bytes, a->len))
		return err_set(e, ERR_BAD, "no guest memory for %s", what);
	return 0;
}

int x86_acpi(struct board *b, const struct vm_conf *c, struct err *e)
{
	struct aml a = { 0 };
	int r = x86_acpi_build(&a, X86_RSDP, b, c, e);

	if (!r)
		r = write_tables(b->mem, X86_RSDP, &a, X86_TABLES_END, "ACPI tables", e);
	aml_fini(&a);
	return r;
}

int x86_smbios(uint64_t *end, const struct gmem *m, const struct vm_conf *c, struct err *e)
{
	const struct platform_conf *p = c->platform;
	struct smbios s = { 0 };
	struct aml a = { 0 };

	if (p)
		s = (struct smbios){
			.manufacturer = p->system_manufacturer,
			.product = p->system_product_name,
			.version = p->system_version,
			.serial = p->system_serial_number,
			.uuid = p->system_uuid,
			.sku = p->system_sku_number,
			.family = p->system_family,
			.asset_tag = p->chassis_asset_tag,
			.oem = p->oem_strings.items,
			.oem_count = p->oem_strings.count,
		};
	int r = smbios_build(&a, X86_SMBIOS, &s, e);

	if (!r)
		r = write_tables(m, X86_SMBIOS, &a, X86_HIGH_RAM, "SMBIOS structures", e);
	*end = X86_SMBIOS + a.len;
	aml_fini(&a);
	return r ? err_in(e, "platform") : 0;
}
