/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MP table: processors, the ISA bus with its sixteen lines on the first pins of the IOAPIC,
 * the local pins. PCI functions are not in it: they use messages. See mptable.h.
 */
#include "arch/x86/mptable.h"

#include <string.h>

#include "arch/x86/cpuid.h"
#include "arch/x86/plat.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "fw/acpi.h"

#define POINTER_LEN 16
#define HEADER_LEN 44
#define APIC_VERSION 0x14
#define IOAPIC_VERSION 0x11
#define ISA_LINES 16
#define BROADCAST 0xff
#define APIC_ID_MAX 254

enum { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_LINE, ENTRY_LOCAL };
enum { INT_VECTORED = 0, INT_NMI = 1, INT_EXTERNAL = 3 };

static void cpu(struct aml *a, uint8_t id, bool boot)
{
	aml_u8(a, ENTRY_CPU);
	aml_u8(a, id);
	aml_u8(a, APIC_VERSION);
	aml_u8(a, boot ? 3 : 1);
	aml_u32(a, 0x600); /* signature: the guest asks CPUID anyway */
	aml_u32(a, 0x201); /* features: FPU, APIC */
	aml_zeros(a, 8);
}

/* A line of a bus, or (type ENTRY_LOCAL) of all local APICs; polarity and trigger as the bus has
 * them. */
static void line(struct aml *a, uint8_t type, uint8_t kind, uint8_t source, uint8_t apic,
		 uint8_t pin)
{
	aml_u8(a, type);
	aml_u8(a, kind);
	aml_u16(a, 0);
	aml_u8(a, 0); /* bus */
	aml_u8(a, source);
	aml_u8(a, apic);
	aml_u8(a, pin);
}

static uint16_t entries(struct aml *a, const struct vm_conf *c, uint8_t ioapic)
{
	struct x86_topo t;

	x86_topo(&t, c);
	for (uint32_t i = 0; i < c->cpus.boot_vcpus; i++)
		cpu(a, (uint8_t)x86_apic_id(&t, i), !i);
	aml_u8(a, ENTRY_BUS);
	aml_u8(a, 0);
	aml_raw(a, "ISA   ", 6);
	aml_u8(a, ENTRY_IOAPIC);
	aml_u8(a, ioapic);
	aml_u8(a, IOAPIC_VERSION);
	aml_u8(a, 1);
	aml_u32(a, X86_IOAPIC);
	for (uint8_t i = 0; i < ISA_LINES; i++)
		line(a, ENTRY_LINE, INT_VECTORED, i, ioapic, i);
	line(a, ENTRY_LOCAL, INT_EXTERNAL, 0, 0, 0);
	line(a, ENTRY_LOCAL, INT_NMI, 0, BROADCAST, 1);
	return (uint16_t)(c->cpus.boot_vcpus + 2 + ISA_LINES + 2);
}

static void build(struct aml *a, uint64_t at, const struct vm_conf *c, uint8_t ioapic)
{
	aml_raw(a, "_MP_", 4);
	aml_u32(a, (uint32_t)at + POINTER_LEN);
	aml_u8(a, 1); /* units of 16 bytes */
	aml_u8(a, 4); /* specification 1.4 */
	aml_zeros(a, 6);
	a->bytes[10] = acpi_checksum(a->bytes, POINTER_LEN);
	aml_raw(a, "PCMP", 4);
	aml_u16(a, 0); /* length */
	aml_u8(a, 4);
	aml_u8(a, 0); /* checksum */
	aml_raw(a, "CLOUDH  VIRTUAL MACH", 20);
	aml_zeros(a, 8); /* no table of the maker; count of entries */
	aml_u32(a, X86_LAPIC);
	aml_zeros(a, 4);
	uint16_t count = entries(a, c, ioapic);
	uint8_t *t = a->bytes + POINTER_LEN;
	size_t len = a->len - POINTER_LEN;

	le16_put(t + 4, (uint16_t)len);
	le16_put(t + 34, count);
	t[7] = acpi_checksum(t, len);
}

int x86_mptable(const struct gmem *m, uint64_t at, const struct vm_conf *c, struct err *e)
{
	uint32_t last = x86_max_apic_id(c);
	struct aml a = { 0 };

	at = align_up(at, 16);
	/* the IOAPIC takes the id behind the last processor's */
	if (last >= APIC_ID_MAX) {
		log_debug("no MP table: APIC ids up to %u do not fit", last);
		return 0;
	}
	build(&a, at, c, (uint8_t)(last + 1));
	bool fits = at + a.len <= X86_HIGH_RAM;
	int r = fits ? gmem_write(m, GPA(at), a.bytes, a.len) : 0;

	if (!fits)
		log_warn("no MP table: %zu bytes do not fit behind SMBIOS", a.len);
	aml_fini(&a);
	return r ? err_set(e, ERR_BAD, "no guest memory for the MP table") : 0;
}
