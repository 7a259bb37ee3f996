/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM back end: its table for hv.c, and what its own files share. Linux
 * Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <stdint.h>

#include "hv/ops.h"

struct kvm_run;
struct kvm_cpuid2;
struct kvm_msr_list;

extern const struct hv_ops kvm_ops;

struct kvm {
	struct hv hv; /* first, here and below: what the rest of the house holds */
	int fd;
	struct kvm_cpuid2 *cpuid;  /* what KVM supports; fetched once */
	struct kvm_msr_list *msrs; /* fetched when first asked for, NULL before */
};

struct kvm_vm {
	struct hv_vm vm;
	int fd;
	bool long_ids;	 /* KVM takes APIC ids of 32 bits */
	size_t run_size; /* of the area shared with the kernel, per vCPU */
};

struct kvm_vcpu {
	struct hv_vcpu vcpu;
	int fd;
	struct kvm_run *run;
	size_t run_size;
};

/* What processors can do: kvm/cpuid.c. The first is asked anew at each call. */
MUST int kvm_fetch_cpuid(struct kvm *k, struct err *e);
uint8_t kvm_phys_bits(const struct hv *h);
MUST int kvm_supported_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
MUST int kvm_hyperv_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
MUST int kvm_allow_amx(struct hv *h, struct err *e);

/* The vCPU's half of hv_vm_ops: kvm/x86.c. */
MUST int kvm_vcpu_new(struct hv_vcpu **out, struct hv_vm *vm, uint32_t apic_id, struct err *e);
