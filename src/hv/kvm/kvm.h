/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM back end: its table for hv.c, and what its own files share. Linux
 * Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <stdint.h>

#include "hv/ops.h"

struct kvm_run;

extern const struct hv_ops kvm_ops;

struct kvm_vm {
	struct hv_vm vm; /* first: what the rest of the house holds */
	int fd;
	size_t run_size; /* of the area shared with the kernel, per vCPU */
};

struct kvm_vcpu {
	struct hv_vcpu vcpu;
	int fd;
	struct kvm_run *run;
	size_t run_size;
};

/* The vCPU's half of hv_vm_ops: kvm/x86.c. */
MUST int kvm_vcpu_new(struct hv_vcpu **out, struct hv_vm *vm, uint32_t apic_id, struct err *e);
