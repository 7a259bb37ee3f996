/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that makes an x86-64 vCPU what it is, but its clock and memory types, which arch/x86/cpustate
 * has: taken from a parked vCPU and put into a fresh one that has the same APIC id and CPUID. The
 * rows of these structs are in arch/x86/vcpustate. Who has the vCPU parked. Linux
 * Documentation/virt/kvm/api.rst §4.31 (KVM_GET_VCPU_EVENTS), §4.38 (KVM_GET_MP_STATE).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"
#include "base/err.h"
#include "hv/hv.h"

#define HV_LAPIC_BYTES 1024
#define HV_DEBUG_ADDRESSES 4

/* What a vCPU does when it is let go. */
enum hv_run_state {
	HV_RUN_ON,	/* executes */
	HV_RUN_NEVER,	/* was never started: waits for INIT */
	HV_RUN_INIT,	/* had INIT, waits for SIPI */
	HV_RUN_HALTED,	/* executed HLT */
	HV_RUN_STARTED, /* had SIPI */
	HV_RUN_STATES
};

/* Exceptions and interrupts that are on their way. */
struct hv_x86_events {
	uint64_t exception_payload;
	uint32_t exception_error;
	uint32_t sipi_vector;
	uint8_t exception, interrupt; /* vectors */
	bool exception_pending, exception_injected, exception_has_error, exception_has_payload;
	bool interrupt_injected, interrupt_soft;
	uint8_t interrupt_shadow; /* as the processor's interruptibility has it */
	bool nmi_injected, nmi_pending, nmi_masked;
	bool smm, smi_pending, smi_in_nmi, latched_init;
	bool triple_fault;
	uint8_t pad[7];
};

struct hv_x86_saved {
	struct hv_x86_regs regs;
	struct hv_x86_events events;
	uint64_t apic_base;
	uint64_t xcr0;
	uint64_t debug_address[HV_DEBUG_ADDRESSES], debug_status, debug_control;
	uint8_t lapic[HV_LAPIC_BYTES]; /* its page of registers */
	enum hv_run_state run;
	uint8_t pad[4];
	LIST(uint32_t) xsave; /* the area of XSAVE in the standard form */
	LIST(struct hv_msr) msrs;
};

/* *s is overwritten; the caller frees its lists by the table. Refused for a vCPU that runs a guest
 * of its own. */
MUST int hv_vcpu_save(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e);
/* Refused where a part does not exist here or does not take its value; the vCPU is of no use
 * then. */
MUST int hv_vcpu_load(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e);
