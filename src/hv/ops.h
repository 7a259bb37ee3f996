/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hypervisor back end gives to hv.c: three const tables, and the structs that its own ones
 * begin with. Only hv.c and the back ends include this; everyone else uses hv.h. The contracts and
 * the threads are those of the functions of the same names there.
 */
#pragma once

#include <pthread.h>

#include "base/bits.h"
#include "hv/hv.h"
#include "hv/saved.h"

struct hv_ops {
	const char *name;
	int (*open)(struct hv **out, struct err *e);
	void (*close)(struct hv *h);
	uint32_t (*max_vcpus)(const struct hv *h);
	uint32_t (*max_apic_ids)(const struct hv *h);
	uint8_t (*phys_bits)(const struct hv *h);
	int (*supported_cpuid)(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
	int (*hyperv_cpuid)(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e);
	int (*allow_amx)(struct hv *h, struct err *e);
	bool (*has_msr)(const struct hv *h, uint32_t index);
	int (*vm_new)(struct hv_vm **out, struct hv *h, const struct hv_vm_args *a, struct err *e);
};

struct hv_vm_ops {
	void (*free)(struct hv_vm *vm);
	/* size 0 drops the slot */
	int (*slot)(struct hv_vm *vm, uint32_t slot, uint64_t gpa, uint64_t size, uintptr_t host,
		    bool readonly, struct err *e);
	int (*ioevent)(struct hv_vm *vm, int fd, uint64_t addr, bool is_port, uint32_t size,
		       bool on, struct err *e);
	int (*irqfd)(struct hv_vm *vm, int fd, uint32_t gsi, bool on, struct err *e);
	int (*set_routes)(struct hv_vm *vm, const struct hv_irq_route *routes, uint32_t count,
			  struct err *e);
	int (*msi)(struct hv_vm *vm, uint64_t addr, uint32_t data);
	int (*nmi)(struct hv_vm *vm, uint32_t apic_id, struct err *e);
	int (*clock)(struct hv_vm *vm, uint64_t *ns, struct err *e);
	int (*set_clock)(struct hv_vm *vm, uint64_t ns, struct err *e);
	int (*vcpu_new)(struct hv_vcpu **out, struct hv_vm *vm, uint32_t apic_id, struct err *e);
};

struct hv_vcpu_ops {
	void (*free)(struct hv_vcpu *c);
	int (*cpuid)(struct hv_vcpu *c, const struct hv_cpuid *table, uint32_t count,
		     struct err *e);
	int (*start)(struct hv_vcpu *c, const struct hv_x86_start *s, struct err *e);
	int (*msrs)(struct hv_vcpu *c, const struct hv_msr *msrs, uint32_t count, struct err *e);
	int (*get_msrs)(struct hv_vcpu *c, struct hv_msr *msrs, uint32_t count, struct err *e);
	int (*get_regs)(struct hv_vcpu *c, struct hv_x86_regs *r, struct err *e);
	int (*set_regs)(struct hv_vcpu *c, const struct hv_x86_regs *r, struct err *e);
	int (*get_fpu)(struct hv_vcpu *c, struct hv_x86_fpu *f, struct err *e);
	int (*set_fpu)(struct hv_vcpu *c, const struct hv_x86_fpu *f, struct err *e);
	int (*save)(struct hv_vcpu *c, struct hv_x86_saved *s, struct err *e);
	int (*load)(struct hv_vcpu *c, const struct hv_x86_saved *s, struct err *e);
	int (*debug)(struct hv_vcpu *c, const struct hv_debug *d, struct err *e);
	int (*debug_pass)(struct hv_vcpu *c, enum hv_debug_cause cause, struct err *e);
	int (*lint)(struct hv_vcpu *c, struct err *e);
	int (*x2apic)(struct hv_vcpu *c, struct err *e);
	int (*synic)(struct hv_vcpu *c, struct err *e);
	int (*reset)(struct hv_vcpu *c, struct err *e);
	uint32_t (*tsc_khz)(struct hv_vcpu *c);
	int (*set_tsc_khz)(struct hv_vcpu *c, uint32_t khz, struct err *e);
	int (*counter)(struct hv_vcpu *c, uint64_t *ticks, struct err *e);
	int (*counter_back)(struct hv_vcpu *c, uint64_t ticks, struct err *e);
	int (*counter_like)(struct hv_vcpu *c, struct hv_vcpu *other, uint64_t ahead,
			    struct err *e);
	void (*run)(struct hv_vcpu *c, struct hv_exit *x);
	void (*settle)(struct hv_vcpu *c, struct hv_exit *x);
	void (*interrupt)(struct hv_vcpu *c, bool on);
	void (*paused)(struct hv_vcpu *c);
};

struct hv {
	const struct hv_ops *ops;
};
struct hv_vm {
	const struct hv_vm_ops *ops;
	pthread_mutex_t slotting;		    /* who adds or drops one; hv.c's, as is */
	uint64_t slots[BITMAP_WORDS(HV_SLOTS_MAX)]; /* numbers in use */
};
struct hv_vcpu {
	const struct hv_vcpu_ops *ops;
};
