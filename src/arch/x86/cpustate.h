/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a vCPU's clock and memory types is saved: the frequency of its time-stamp counter and
 * what it shows, the MTRRs and the PAT. Rows as every saved state has them. The thread that holds
 * the vCPU. Intel SDM volume 3 §12.11 (MTRRs), §18.17 (the counter).
 */
#pragma once

#include <stdint.h>

#include "base/desc.h"
#include "base/err.h"

struct hv_vcpu;

#define X86_MTRR_FIXED 11
#define X86_MTRR_RANGES 8

struct x86_cpu_state {
	uint64_t tsc;	     /* as the guest reads it, with what it wrote there */
	uint64_t tsc_adjust; /* what it added */
	uint64_t pat;
	uint64_t mtrr_default;
	uint64_t mtrr_fixed[X86_MTRR_FIXED]; /* below 1 MiB, in the order of their MSRs */
	uint64_t mtrr_base[X86_MTRR_RANGES], mtrr_mask[X86_MTRR_RANGES];
	uint32_t tsc_khz; /* 0: the hypervisor does not know */
	uint8_t pad[4];
};

extern const struct desc x86_cpu_state_desc;

MUST int x86_cpu_get(struct x86_cpu_state *s, struct hv_vcpu *v, struct err *e);
/* Into a vCPU that has its CPUID. vCPUs that are put one soon after the other, from states taken so,
 * show one time again. Refused where the host's counter cannot run at that frequency, or where a
 * value is none that a guest could have written. */
/* As it would be so many nanoseconds later. */
void x86_cpu_pass(struct x86_cpu_state *s, uint64_t ns);
MUST int x86_cpu_put(struct hv_vcpu *v, const struct x86_cpu_state *s, struct err *e);
