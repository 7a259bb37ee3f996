/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM back end: its table for hv.c, and what its own files share. Linux
 * Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

#include "base/mem.h"
#include "hv/ops.h"

extern const struct hv_ops kvm_ops;

struct kvm {
	struct hv hv; /* first, here and below: what the rest of the house holds */
	int fd;
	struct kvm_cpuid2 *cpuid;  /* what KVM supports; fetched once */
	struct kvm_msr_list *msrs; /* fetched when first asked for, NULL before */
};

struct kvm_vm {
	struct hv_vm vm;
	struct kvm *kvm;
	int fd;
	bool long_ids;	 /* KVM takes APIC ids of 32 bits */
	size_t run_size; /* of the area shared with the kernel, per vCPU */
};

struct kvm_vcpu {
	struct hv_vcpu vcpu;
	struct kvm *kvm;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	int vm_fd;		      /* the VM's */
	struct kvm_guest_debug debug; /* as last set */
	bool no_block;		      /* KVM cannot hold interrupts back during a step */
	bool timer_told; /* since it stands: its timer ran out, and has no interrupt left */
};

static inline struct kvm_vcpu *kvm_vcpu_of(struct hv_vcpu *c)
{
	return container_of(c, struct kvm_vcpu, vcpu);
}

/* What processors can do: kvm/cpuid.c. The first is asked anew at each call. */
MUST int kvm_fetch_cpuid(struct kvm *k, struct err *e);
uint8_t kvm_phys_bits(const struct hv *h);
MUST int kvm_supported_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
MUST int kvm_hyperv_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
MUST int kvm_allow_amx(struct hv *h, struct err *e);
/* The MSRs that KVM saves and restores: kvm/kvm.c. Control thread or a job's, one at a time. */
const struct kvm_msr_list *kvm_msrs(struct kvm *k);

/* The vCPU's half of hv_vm_ops: kvm/x86.c. */
MUST int kvm_vcpu_new(struct hv_vcpu **out, struct hv_vm *vm, uint32_t apic_id, struct err *e);
struct kvm_segment kvm_segment_of(const struct hv_segment *s);

/* What a debugger wants of a vCPU: kvm/regs.c. The last fills in why the vCPU stopped. */
MUST int kvm_get_regs(struct hv_vcpu *c, struct hv_x86_regs *r, struct err *e);
MUST int kvm_set_regs(struct hv_vcpu *c, const struct hv_x86_regs *r, struct err *e);
/* The area of XSAVE as this host has it, *bytes long; the caller frees. NULL: e says why. */
void *kvm_read_xsave(struct hv_vcpu *c, uint32_t *bytes, struct err *e);
MUST int kvm_get_fpu(struct hv_vcpu *c, struct hv_x86_fpu *f, struct err *e);
MUST int kvm_set_fpu(struct hv_vcpu *c, const struct hv_x86_fpu *f, struct err *e);
MUST int kvm_debug(struct hv_vcpu *c, const struct hv_debug *d, struct err *e);
MUST int kvm_debug_pass(struct hv_vcpu *c, enum hv_debug_cause cause, struct err *e);
/* A vCPU as a whole: kvm/saved.c. */
MUST int kvm_vcpu_save(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e);
MUST int kvm_vcpu_load(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e);
/* Timers that count down once: kvm/timer.c. The latter makes registers that were read such that one
 * whose interrupt has come does not run out again. */
void kvm_vcpu_settle(struct hv_vcpu *c, struct hv_exit *x);
void kvm_timer_close(const struct kvm_vcpu *v, struct kvm_lapic_state *s);
void kvm_debug_exit(const struct kvm_vcpu *v, struct hv_exit *x);
