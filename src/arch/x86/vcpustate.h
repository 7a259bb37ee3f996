/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a saved vCPU: its clock and memory types (cpustate), and all else (hv/saved.h). One
 * table, one version. The thread that holds the vCPU.
 */
#pragma once

#include "arch/x86/cpustate.h"
#include "hv/saved.h"

struct x86_vcpu_state {
	struct x86_cpu_state clock;
	struct hv_x86_saved cpu;
};

/* What the guest has seen of CPUID, but the few registers that are each vCPU's own. */
struct x86_cpuid_state {
	LIST(struct hv_cpuid) leaves;
};

extern const struct desc x86_vcpu_state_desc, x86_cpuid_state_desc;

/* *s is overwritten, and freed by the table. */
MUST int x86_vcpu_get(struct x86_vcpu_state *s, struct hv_vcpu *v, struct err *e);
/* Into a vCPU that has its CPUID and was not run. */
MUST int x86_vcpu_put(struct hv_vcpu *v, const struct x86_vcpu_state *s, struct err *e);
