/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam to the architecture: where memory and platform devices are, how a CPU is set up, how a
 * payload is started, which tables firmware would have made. One implementation is chosen at build
 * (arch/x86). Control thread unless said.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "core/dev.h"
#include "hv/hv.h"
#include "mem/gmem.h"
#include "pci/pci.h"

/* The register set, as saved state names it. */
#define ARCH_NAME "x86_64"

/* Gives the zones of the plan, which are open, their places. Fails when they do not fit into the
 * physical address width. */
MUST int arch_ram(struct gmem_plan *p, const struct vm_conf *c, uint8_t phys_bits, struct err *e);
/* Arguments for hv_vm_new and pci_host_new. */
void arch_hv_args(struct hv_vm_args *out, const struct vm_conf *c);
MUST int arch_pci_args(struct pci_host_args *out, const struct vm_conf *c, uint64_t ram_end,
		       uint8_t phys_bits, struct err *e);

/* What its IOMMU translates. */
void arch_iommu_args(struct iommu_args *out, const struct vm_conf *c);

/* Adds the platform's devices by dev_add: IOAPIC, CMOS, i8042, ACPI registers, debug ports,
 * serial. */
struct chardev;
struct arch_chars {
	struct chardev *serial, *debug_console; /* NULL = off */
};
MUST int arch_devices(struct board *b, const struct vm_conf *c, const struct arch_chars *ch,
		      uint8_t phys_bits, struct err *e);

/* The payload, loaded into RAM: may run on a thread of its own while devices are made (it touches
 * RAM only). */
enum boot_kind { BOOT_NONE, BOOT_PVH, BOOT_BZIMAGE };
struct arch_payload {
	enum boot_kind kind;
	uint64_t entry;
	uint64_t initrd, initrd_size;
	uint64_t kernel_end;	   /* first byte behind the kernel */
	uint8_t setup_header[512]; /* of a bzImage */
	uint32_t setup_len;
};
MUST int arch_load(struct arch_payload *out, const struct gmem *m, const struct payload_conf *p,
		   struct err *e);
/* After devices: ACPI, SMBIOS, MP table, start info or zero page, page tables and GDT into RAM. */
MUST int arch_finish(const struct arch_payload *p, struct board *b, const struct vm_conf *c,
		     uint8_t phys_bits, struct err *e);
/* The same for a machine that goes on, whose memory comes from where it was saved: only what devices
 * hand out of it. */
MUST int arch_finish_restored(struct board *b, const struct vm_conf *c, struct err *e);

/* vCPU set-up: CPUID, MSRs, LINT; the boot CPU also gets its registers. The table is computed once
 * and shared. */
struct arch_cpus;
MUST int arch_cpus_new(struct arch_cpus **out, struct hv *h, const struct vm_conf *c,
		       struct err *e);
void arch_cpus_free(struct arch_cpus *a);
/* What CPUID has told the guest, for the caller to put. */
struct json *arch_cpus_save(const struct arch_cpus *a);
/* Makes the guest see that again, and not what this host would show by itself; refused, with all
 * that is missing, where this host's processors lack any of it. Before arch_vcpu_load. */
MUST int arch_cpus_load(struct arch_cpus *a, const struct json *saved, struct err *e);
uint32_t arch_apic_id(const struct arch_cpus *a, uint32_t index);
/* A parked vCPU, for the caller to put; and into a fresh one, in place of arch_vcpu: its time-stamp
 * counter has gone on by so many nanoseconds then. */
MUST int arch_vcpu_save(struct json **out, struct hv_vcpu *v, struct err *e);
/* Is that one? */
MUST int arch_vcpu_judge(const struct json *saved, struct err *e);
MUST int arch_vcpu_load(struct arch_cpus *a, struct hv_vcpu *v, uint32_t index,
			const struct json *saved, uint64_t passed_ns, struct err *e);
/* boot: what the first begins with; NULL for one that comes while others run. */
MUST int arch_vcpu(struct arch_cpus *a, struct hv_vcpu *v, uint32_t index,
		   const struct arch_payload *boot, struct err *e);
