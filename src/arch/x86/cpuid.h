/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processors as the guest sees them: topology and APIC ids, by topo.c. The arch_cpus of arch/arch.h
 * live in cpuid.c. Control thread. Intel SDM volume 2 (CPUID) and 3 §9.9 (topology); AMD APM volume 3
 * appendix E.
 */
#pragma once

#include <stdint.h>

#include "conf/conf.h"

/* How many of each are in the next larger, and the bits each takes in an APIC id. */
struct x86_topo {
	uint32_t threads, cores, dies, packages;
	uint8_t thread_bits, core_bits, die_bits; /* packages take the rest */
};

/* As configured, or one package with a core for each vCPU. */
void x86_topo(struct x86_topo *t, const struct vm_conf *c);
uint32_t x86_apic_id(const struct x86_topo *t, uint32_t index);
uint32_t x86_max_apic_id(const struct vm_conf *c);
