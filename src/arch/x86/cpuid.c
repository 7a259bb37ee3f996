/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID and the first MSRs of each vCPU. The table is what the hypervisor supports, less what the
 * config takes away, with this VM's topology; it is made once, and only the few registers that
 * hold an APIC id change from one vCPU to the next. Topology is topo.c's, Hyper-V hyperv.c's.
 * Control thread. See arch/arch.h.
 */
#include "arch/x86/cpuid.h"

#include <cpuid.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86/boot.h"
#include "arch/x86/cpuidmatch.h"
#include "arch/x86/leaves.h"
#include "arch/x86/plat.h"
#include "arch/x86/vcpustate.h"
#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/snap.h"

/* leaf 1 */
#define L1_ECX_VMX (1u << 5)
#define L1_ECX_X2APIC (1u << 21)
#define L1_ECX_TSC_DEADLINE (1u << 24)
#define L1_ECX_HYPERVISOR (1u << 31)
#define L1_EDX_MTRR (1u << 12)
/* leaf 7 */
#define L7_EDX_AMX ((1u << 22) | (1u << 24) | (1u << 25)) /* BF16, TILE, INT8 */
#define L7_1_EAX_AMX (1u << 21)				  /* FP16 */
#define L7_1_EDX_AMX (1u << 8)				  /* COMPLEX */
#define XCR0_AMX ((1u << 17) | (1u << 18))
/* leaf 0x80000001 */
#define AMD_ECX_SVM (1u << 2)
#define AMD_EDX_INVARIANT_TSC (1u << 8) /* of leaf 0x80000007 */
/* the processor's name, and the sizes of its first caches */
#define EXT_FIRST 0x80000000u
#define EXT_NAME 0x80000002u
#define EXT_CACHES_END 0x80000006u
#define EXT_CACHES 0x8000001du
#define CACHES_MAX 8
/* the hypervisor's leaves */
#define HV_FIRST 0x40000000u
#define HV_FEATURES 0x40000001u
#define HV_TIMING 0x40000010u
#define HV_MSI_EXT_DEST_ID (1u << 15)
/* the same, for those who look for Hyper-V */
#define HV_STACK_INTERFACE 0x40000081u
#define HV_STACK_PROPERTIES 0x40000082u
#define INTERFACE_VS1 0x31235356u /* "VS#1" */
#define HV_IOAPIC_EXT_DEST_ID (1u << 2)
#define LAPIC_BUS_KHZ 1000000u /* KVM's timer counts nanoseconds */

#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ON_WRITE_BACK 0x806u

struct arch_cpus {
	struct leaves leaves;
	struct x86_topo topo;
	bool amd;
	bool hyperv;
	bool x2apic;	/* from the start: ids do not fit into 8 bits */
	bool wants_khz; /* the timing leaf waits for the first vCPU, which knows the frequency */
	/* of those that go on: the first, and what the guest has added to its counter */
	struct hv_vcpu *first;
	uint64_t first_added;
};

/* What the hypervisor may leave empty and a guest shows to people: it is the host's. */
static void names_and_sizes(struct arch_cpus *a)
{
	uint32_t last = (uint32_t)__get_cpuid_max(EXT_FIRST, NULL);

	for (uint32_t leaf = EXT_NAME; leaf <= EXT_CACHES_END && leaf <= last; leaf++) {
		const struct hv_cpuid *l = leaf_find(&a->leaves, leaf, 0);
		struct hv_cpuid host = { .leaf = leaf };

		if (l && (l->eax | l->ebx | l->ecx | l->edx))
			continue;
		leaf_drop(&a->leaves, leaf);
		__cpuid(leaf, host.eax, host.ebx, host.ecx, host.edx);
		leaf_add(&a->leaves, host);
	}
}

/* AMD's caches: some hypervisors leave them to us. */
static void amd_caches(struct arch_cpus *a)
{
	uint32_t last = (uint32_t)__get_cpuid_max(EXT_FIRST, NULL);
	const struct hv_cpuid *l = leaf_find(&a->leaves, EXT_CACHES, 0);

	if (last < EXT_CACHES || (l && l->eax))
		return;
	leaf_drop(&a->leaves, EXT_CACHES);
	for (uint32_t sub = 0; sub < CACHES_MAX; sub++) {
		struct hv_cpuid host = { .leaf = EXT_CACHES, .sub = sub, .sub_matters = true };

		__cpuid_count(EXT_CACHES, sub, host.eax, host.ebx, host.ecx, host.edx);
		leaf_add(&a->leaves, host);
		if (!host.eax)
			return;
	}
}

static void hide_nested(struct arch_cpus *a)
{
	struct hv_cpuid *l = leaf_find(&a->leaves, 1, 0);

	if (l)
		l->ecx &= ~L1_ECX_VMX;
	l = leaf_find(&a->leaves, 0x80000001, 0);
	if (l)
		l->ecx &= ~AMD_ECX_SVM;
	leaf_drop(&a->leaves, 0x8000000a);
}

/* The matrix extension needs a permission that is asked for elsewhere; without it the state must
 * not be shown. */
static void hide_amx(struct arch_cpus *a)
{
	for (uint32_t i = 0; i < a->leaves.count; i++) {
		struct hv_cpuid *l = &a->leaves.row[i];

		if (l->leaf == 7 && l->sub == 0)
			l->edx &= ~L7_EDX_AMX;
		if (l->leaf == 7 && l->sub == 1) {
			l->eax &= ~L7_1_EAX_AMX;
			l->edx &= ~L7_1_EDX_AMX;
		}
		if (l->leaf == 0xd && l->sub == 0)
			l->eax &= ~XCR0_AMX;
		if ((l->leaf == 0xd && (l->sub == 17 || l->sub == 18)) || l->leaf == 0x1d ||
		    l->leaf == 0x1e)
			l->eax = l->ebx = l->ecx = l->edx = 0;
	}
}

/* Messages and pins of the IOAPIC may name more than 8 bits of an APIC id. */
static void long_destinations(struct arch_cpus *a)
{
	struct hv_cpuid *l = leaf_find(&a->leaves, HV_FEATURES, 0);

	if (!a->hyperv) {
		if (l)
			l->eax |= HV_MSI_EXT_DEST_ID;
		return;
	}
	leaf_add(&a->leaves, (struct hv_cpuid){ .leaf = HV_STACK_INTERFACE, .eax = INTERFACE_VS1 });
	leaf_add(&a->leaves,
		 (struct hv_cpuid){ .leaf = HV_STACK_PROPERTIES, .eax = HV_IOAPIC_EXT_DEST_ID });
}

static void features(struct arch_cpus *a, const struct vm_conf *c)
{
	struct hv_cpuid *l = leaf_find(&a->leaves, 1, 0);

	if (l) {
		l->ecx |= L1_ECX_HYPERVISOR | L1_ECX_X2APIC | L1_ECX_TSC_DEADLINE;
		l->edx |= L1_EDX_MTRR;
	}
	if (!c->cpus.nested)
		hide_nested(a);
	if (!c->cpus.features.amx)
		hide_amx(a);
}

static void phys_bits(struct arch_cpus *a, const struct vm_conf *c, uint8_t host_bits)
{
	struct hv_cpuid *l = leaf_find(&a->leaves, 0x80000008, 0);
	uint8_t bits = x86_phys_bits(c, host_bits);

	if (!l)
		return;
	l->eax = (l->eax & 0xffffff00) | bits;
	if ((l->eax >> 16 & 0xff) > bits)
		l->eax = (l->eax & 0xff00ffff) | (uint32_t)bits << 16;
}

/* Tells the guest the frequencies, so that it need not measure; only where the TSC keeps its
 * pace. */
static void timing(struct arch_cpus *a, uint32_t khz)
{
	struct hv_cpuid *first = leaf_find(&a->leaves, HV_FIRST, 0);

	if (!khz || !first)
		return;
	leaf_drop(&a->leaves, HV_TIMING);
	leaf_add(&a->leaves,
		 (struct hv_cpuid){ .leaf = HV_TIMING, .eax = khz, .ebx = LAPIC_BUS_KHZ });
	first = leaf_find(&a->leaves, HV_FIRST, 0);
	first->eax = (uint32_t)max_u64(first->eax, HV_TIMING);
}

static int show_hyperv(struct arch_cpus *a, struct hv *h, struct err *e)
{
	AUTO_FREE struct hv_cpuid *offer = NULL;
	uint32_t count;

	if (hv_hyperv_cpuid(h, &offer, &count, e))
		return err_in(e, "--cpus kvm_hyperv");
	hyperv_leaves(&a->leaves, offer, count);
	return 0;
}

/* A leaf that is not there answers zeros too, and each row costs time for every vCPU. */
static void drop_silent(struct leaves *l)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->count; i++) {
		const struct hv_cpuid *r = &l->row[i];

		if (r->eax | r->ebx | r->ecx | r->edx)
			l->row[n++] = *r;
	}
	l->count = n;
}

/* What the hypervisor supports, and whose kind it is. */
static int fetch(struct arch_cpus *a, struct hv *h, const struct vm_conf *c, struct err *e)
{
	if (c->cpus.features.amx && hv_allow_amx(h, e))
		return err_in(e, "--cpus features=amx");
	if (hv_supported_cpuid(h, &a->leaves.row, &a->leaves.count, e))
		return -1;
	drop_silent(&a->leaves);
	const struct hv_cpuid *zero = leaf_find(&a->leaves, 0, 0);

	/* "AuthenticAMD" and "HygonGenuine", by their first four bytes */
	a->amd = zero && (!memcmp(&zero->ebx, "Auth", 4) || !memcmp(&zero->ebx, "Hygo", 4));
	return 0;
}

int arch_cpus_new(struct arch_cpus **out, struct hv *h, const struct vm_conf *c, struct err *e)
{
	struct arch_cpus *a = NEW(struct arch_cpus);

	a->hyperv = c->cpus.kvm_hyperv;
	a->x2apic = x86_max_apic_id(c) > HV_XAPIC_MAX;
	x86_topo(&a->topo, c);
	if (fetch(a, h, c, e) || (a->hyperv && show_hyperv(a, h, e))) {
		arch_cpus_free(a);
		return -1;
	}
	const struct hv_cpuid *power = leaf_find(&a->leaves, 0x80000007, 0);

	/* who looks for Hyper-V reads frequencies its way */
	a->wants_khz = !a->hyperv && power && (power->edx & AMD_EDX_INVARIANT_TSC);
	names_and_sizes(a);
	if (a->amd)
		amd_caches(a);
	features(a, c);
	if (a->x2apic)
		long_destinations(a);
	phys_bits(a, c, hv_phys_bits(h));
	topo_leaves(&a->leaves, &a->topo, a->amd);
	*out = a;
	return 0;
}

void arch_cpus_free(struct arch_cpus *a)
{
	if (!a)
		return;
	free(a->leaves.row);
	free(a);
}

uint32_t arch_apic_id(const struct arch_cpus *a, uint32_t index)
{
	return x86_apic_id(&a->topo, index);
}

struct json *arch_cpus_save(const struct arch_cpus *a)
{
	const struct x86_cpuid_state s = {
		.leaves = { .count = a->leaves.count, .items = a->leaves.row },
	};

	return snap_save(&x86_cpuid_state_desc, &s);
}

int arch_cpus_load(struct arch_cpus *a, const struct json *saved, struct err *e)
{
	struct x86_cpuid_state s = { 0 };

	if (snap_load(&x86_cpuid_state_desc, &s, saved, e) < 0)
		return -1;
	if (cpuid_match(s.leaves.items, s.leaves.count, a->leaves.row, a->leaves.count, e) < 0) {
		desc_free(&x86_cpuid_state_desc, &s);
		return -1;
	}
	free(a->leaves.row);
	a->leaves = (struct leaves){ .row = s.leaves.items, .count = s.leaves.count };
	a->wants_khz = false;
	return 0;
}

int arch_vcpu_save(struct json **out, struct hv_vcpu *v, struct err *e)
{
	struct x86_vcpu_state s;

	if (x86_vcpu_get(&s, v, e) < 0)
		return -1;
	*out = snap_save(&x86_vcpu_state_desc, &s);
	desc_free(&x86_vcpu_state_desc, &s);
	return 0;
}

int arch_vcpu_judge(const struct json *saved, struct err *e)
{
	struct x86_vcpu_state s = { 0 };

	if (snap_load(&x86_vcpu_state_desc, &s, saved, e) < 0)
		return -1;
	desc_free(&x86_vcpu_state_desc, &s);
	return 0;
}

static int show_cpuid(struct arch_cpus *a, struct hv_vcpu *v, uint32_t index, struct err *e)
{
	topo_personal(&a->leaves, &a->topo, index);
	return hv_vcpu_cpuid(v, a->leaves.row, a->leaves.count, e);
}

/* Counters were saved, and are set, one after the other: what they differ by is only what the guest
 * itself has added to them. Hosts that cannot do that find by themselves that they were meant to be
 * equal. */
static void keep_step(struct arch_cpus *a, struct hv_vcpu *v, const struct x86_cpu_state *s)
{
	struct err e = { 0 };

	if (!a->first) {
		a->first = v;
		a->first_added = s->tsc_adjust;
	} else if (hv_vcpu_counter_like(v, a->first, s->tsc_adjust - a->first_added, &e) < 0) {
		log_debug("%s", err_frame(&e, 0));
	}
}

int arch_vcpu_load(struct arch_cpus *a, struct hv_vcpu *v, uint32_t index, const struct json *saved,
		   uint64_t passed_ns, struct err *e)
{
	struct x86_vcpu_state s = { 0 };
	int r;

	if (snap_load(&x86_vcpu_state_desc, &s, saved, e) < 0)
		return -1;
	x86_cpu_pass(&s.clock, passed_ns);
	r = show_cpuid(a, v, index, e);
	if (r == 0 && a->hyperv)
		r = hv_vcpu_synic(v, e);
	if (r == 0)
		r = x86_vcpu_put(v, &s, e);
	if (r == 0)
		keep_step(a, v, &s.clock);
	desc_free(&x86_vcpu_state_desc, &s);
	return r;
}

static int first_msrs(struct hv_vcpu *v, struct err *e)
{
	static const struct hv_msr msrs[] = {
		{ MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING },
		/* memory is cached, for firmware too: on this machine it leaves the MTRRs alone,
		 * and a kernel that finds them off goes without write combining */
		{ MSR_MTRR_DEF_TYPE, MTRR_ON_WRITE_BACK },
	};

	return hv_vcpu_msrs(v, msrs, ARRAY_LEN(msrs), e);
}

int arch_vcpu(struct arch_cpus *a, struct hv_vcpu *v, uint32_t index,
	      const struct arch_payload *boot, struct err *e)
{
	if (a->wants_khz)
		timing(a, hv_vcpu_tsc_khz(v));
	a->wants_khz = false;
	if (show_cpuid(a, v, index, e))
		return -1;
	if ((a->hyperv && hv_vcpu_synic(v, e)) || (a->x2apic && hv_vcpu_x2apic(v, e)))
		return -1;
	if (first_msrs(v, e))
		return -1;
	if (!boot) /* KVM looks anew for who has which APIC id: till then INIT would not find it */
		return hv_vcpu_lint(v, e);
	if (index)
		return 0; /* the others wait for INIT, which would undo the rest */
	struct hv_x86_start s;

	x86_start(&s, boot);
	return hv_vcpu_lint(v, e) || hv_vcpu_start(v, &s, e) ? -1 : 0;
}
