/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables that a PC's firmware would have made for this machine: ACPI and SMBIOS, written into
 * guest memory at their places of plat.h. Control thread, when all devices are there. ACPI 6.5;
 * DMTF DSP0134 (SMBIOS 3).
 */
#pragma once

#include "conf/conf.h"
#include "core/dev.h"

struct aml;

/* RSDP, XSDT, FACP, DSDT, APIC, MCFG; SRAT and SLIT with --numa. */
MUST int x86_acpi(struct board *b, const struct vm_conf *c, struct err *e);
/* The same, into a builder, as they lie from `base` on: for x86_acpi and tests. */
MUST int x86_acpi_build(struct aml *a, uint64_t base, struct board *b, const struct vm_conf *c,
			struct err *e);
/* *end is the first byte behind. */
MUST int x86_smbios(uint64_t *end, const struct gmem *m, const struct vm_conf *c, struct err *e);
