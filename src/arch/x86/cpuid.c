/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID and the first MSRs of each vCPU. The table is what the hypervisor supports, less what the
 * config takes away, with this VM's topology; it is made once, and only the few registers that
 * hold an APIC id change from one vCPU to the next. Control thread. See cpuid.h.
 */
#include "arch/x86/cpuid.h"

#include <cpuid.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/x86/boot.h"
#include "arch/x86/plat.h"
#include "base/bits.h"
#include "base/mem.h"

/* leaf 1 */
#define L1_ECX_VMX (1u << 5)
#define L1_ECX_X2APIC (1u << 21)
#define L1_ECX_TSC_DEADLINE (1u << 24)
#define L1_ECX_HYPERVISOR (1u << 31)
#define L1_EDX_MTRR (1u << 12)
#define L1_EDX_HTT (1u << 28)
/* leaf 7 */
#define L7_EDX_AMX ((1u << 22) | (1u << 24) | (1u << 25)) /* BF16, TILE, INT8 */
#define L7_1_EAX_AMX (1u << 21)				  /* FP16 */
#define L7_1_EDX_AMX (1u << 8)				  /* COMPLEX */
#define XCR0_AMX ((1u << 17) | (1u << 18))
/* leaf 0x80000001 */
#define AMD_ECX_CMP_LEGACY (1u << 1)
#define AMD_ECX_SVM (1u << 2)
#define AMD_EDX_INVARIANT_TSC (1u << 8) /* of leaf 0x80000007 */
/* the processor's name, and the sizes of its first caches */
#define EXT_FIRST 0x80000000u
#define EXT_NAME 0x80000002u
#define EXT_CACHES_END 0x80000006u
/* the hypervisor's leaves */
#define HV_FIRST 0x40000000u
#define HV_FEATURES 0x40000001u
#define HV_TIMING 0x40000010u
#define HV_MSI_EXT_DEST_ID (1u << 15)
#define LAPIC_BUS_KHZ 1000000u /* KVM's timer counts nanoseconds */

#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ON_WRITE_BACK 0x806u

#define LEVEL_THREAD 1
#define LEVEL_CORE 2
#define LEVEL_DIE 5

struct arch_cpus {
	struct hv_cpuid *table;
	uint32_t count;
	struct x86_topo topo;
	bool amd;
	bool wants_khz; /* the timing leaf waits for the first vCPU, which knows the frequency */
};

/* Bits for numbers 0 to n-1. */
static uint8_t bits_for(uint32_t n)
{
	uint8_t b = 0;

	while (n > 1ull << b)
		b++;
	return b;
}

void x86_topo(struct x86_topo *t, const struct vm_conf *c)
{
	*t = (struct x86_topo){
		.threads = 1, .cores = c->cpus.max_vcpus, .dies = 1, .packages = 1
	};
	if (c->cpus.topology) {
		t->threads = c->cpus.topology->threads_per_core;
		t->cores = c->cpus.topology->cores_per_die;
		t->dies = c->cpus.topology->dies_per_package;
		t->packages = c->cpus.topology->packages;
	}
	t->thread_bits = bits_for(t->threads);
	t->core_bits = bits_for(t->cores);
	t->die_bits = bits_for(t->dies);
}

uint32_t x86_apic_id(const struct x86_topo *t, uint32_t index)
{
	uint32_t thread = index % t->threads;
	uint32_t core = index / t->threads % t->cores;
	uint32_t die = index / t->threads / t->cores % t->dies;
	uint32_t package = index / t->threads / t->cores / t->dies;

	return thread | core << t->thread_bits | die << (t->thread_bits + t->core_bits) |
	       package << (t->thread_bits + t->core_bits + t->die_bits);
}

uint32_t x86_max_apic_id(const struct vm_conf *c)
{
	struct x86_topo t;

	x86_topo(&t, c);
	return x86_apic_id(&t, c->cpus.max_vcpus ? c->cpus.max_vcpus - 1 : 0);
}

static struct hv_cpuid *find(struct arch_cpus *a, uint32_t leaf, uint32_t sub)
{
	for (uint32_t i = 0; i < a->count; i++)
		if (a->table[i].leaf == leaf &&
		    (!a->table[i].sub_matters || a->table[i].sub == sub))
			return &a->table[i];
	return NULL;
}

static void drop(struct arch_cpus *a, uint32_t leaf)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->count; i++)
		if (a->table[i].leaf != leaf)
			a->table[n++] = a->table[i];
	a->count = n;
}

static void append(struct arch_cpus *a, struct hv_cpuid entry)
{
	a->table = mem_resize(a->table, a->count, a->count + 1, sizeof *a->table);
	a->table[a->count++] = entry;
}

static uint32_t per_package(const struct x86_topo *t)
{
	return t->threads * t->cores * t->dies;
}

static uint8_t package_bits(const struct x86_topo *t)
{
	return (uint8_t)(t->thread_bits + t->core_bits + t->die_bits);
}

static uint32_t at_most(uint32_t v, uint32_t max)
{
	return v < max ? v : max;
}

/* Extended topology, leaves 0xb and 0x1f: for each level, the bits below the next one and the
 * processors in it. */
static void topo_level(struct arch_cpus *a, uint32_t leaf, uint32_t sub, uint8_t type, uint8_t bits,
		       uint32_t processors)
{
	append(a, (struct hv_cpuid){
			  .leaf = leaf,
			  .sub = sub,
			  .sub_matters = true,
			  .eax = bits,
			  .ebx = at_most(processors, 0xffff),
			  .ecx = (uint32_t)type << 8 | sub,
		  });
}

static void extended_topology(struct arch_cpus *a)
{
	const struct x86_topo *t = &a->topo;
	uint32_t max_leaf = find(a, 0, 0) ? find(a, 0, 0)->eax : 0;

	drop(a, 0xb);
	drop(a, 0x1f);
	if (max_leaf >= 0xb) {
		topo_level(a, 0xb, 0, LEVEL_THREAD, t->thread_bits, t->threads);
		topo_level(a, 0xb, 1, LEVEL_CORE, package_bits(t), per_package(t));
		topo_level(a, 0xb, 2, 0, 0, 0);
	}
	if (max_leaf >= 0x1f && !a->amd) {
		topo_level(a, 0x1f, 0, LEVEL_THREAD, t->thread_bits, t->threads);
		topo_level(a, 0x1f, 1, LEVEL_CORE, (uint8_t)(t->thread_bits + t->core_bits),
			   t->threads * t->cores);
		topo_level(a, 0x1f, 2, LEVEL_DIE, package_bits(t), per_package(t));
		topo_level(a, 0x1f, 3, 0, 0, 0);
	}
}

/* Leaves 4 (Intel) and 0x8000001d (AMD): levels 1 and 2 belong to a core, the last one to a die. */
static void caches(struct arch_cpus *a, uint32_t leaf)
{
	const struct x86_topo *t = &a->topo;
	uint32_t die_ids = 1u << (t->thread_bits + t->core_bits);
	uint32_t core_ids = 1u << (t->core_bits + t->die_bits);

	for (uint32_t i = 0; i < a->count; i++) {
		struct hv_cpuid *l = &a->table[i];

		if (l->leaf != leaf || !(l->eax & 0x1f))
			continue;
		uint32_t level = l->eax >> 5 & 7;
		uint32_t sharing = level < 3 ? 1u << t->thread_bits : die_ids;

		l->eax = (l->eax & 0x3fff) | at_most(sharing - 1, 0xfff) << 14;
		if (leaf == 4)
			l->eax |= at_most(core_ids - 1, 0x3f) << 26;
	}
}

static void amd_topology(struct arch_cpus *a)
{
	const struct x86_topo *t = &a->topo;
	struct hv_cpuid *l = find(a, 0x80000008, 0);

	if (l)
		l->ecx = (l->ecx & 0xffff0f00) | (uint32_t)package_bits(t) << 12 |
			 at_most(per_package(t) - 1, 0xff);
	l = find(a, 0x80000001, 0);
	if (l && per_package(t) > 1)
		l->ecx |= AMD_ECX_CMP_LEGACY;
}

static void topology(struct arch_cpus *a)
{
	struct hv_cpuid *one = find(a, 1, 0);

	if (one) {
		/* ids reserved in a package, a power of two; the field has 8 bits */
		uint32_t ids = at_most(1u << at_most(package_bits(&a->topo), 8), 0xff);

		one->ebx = (one->ebx & 0xff00ffff) | ids << 16;
		one->edx =
			per_package(&a->topo) > 1 ? one->edx | L1_EDX_HTT : one->edx & ~L1_EDX_HTT;
	}
	extended_topology(a);
	caches(a, a->amd ? 0x8000001d : 4);
	if (a->amd)
		amd_topology(a);
}

/* What the hypervisor may leave empty and a guest shows to people: it is the host's. */
static void names_and_sizes(struct arch_cpus *a)
{
	uint32_t last = (uint32_t)__get_cpuid_max(EXT_FIRST, NULL);

	for (uint32_t leaf = EXT_NAME; leaf <= EXT_CACHES_END && leaf <= last; leaf++) {
		const struct hv_cpuid *l = find(a, leaf, 0);
		struct hv_cpuid host = { .leaf = leaf };

		if (l && (l->eax | l->ebx | l->ecx | l->edx))
			continue;
		drop(a, leaf);
		__cpuid(leaf, host.eax, host.ebx, host.ecx, host.edx);
		append(a, host);
	}
}

/* Nested virtualization as the config says. */
static void hide_nested(struct arch_cpus *a)
{
	struct hv_cpuid *l = find(a, 1, 0);

	if (l)
		l->ecx &= ~L1_ECX_VMX;
	l = find(a, 0x80000001, 0);
	if (l)
		l->ecx &= ~AMD_ECX_SVM;
	drop(a, 0x8000000a);
}

/* The matrix extension needs a permission that is asked for elsewhere; without it the state must
 * not be shown. */
static void hide_amx(struct arch_cpus *a)
{
	for (uint32_t i = 0; i < a->count; i++) {
		struct hv_cpuid *l = &a->table[i];

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

static void features(struct arch_cpus *a, const struct vm_conf *c, uint32_t max_apic_id)
{
	struct hv_cpuid *l = find(a, 1, 0);

	if (l) {
		l->ecx |= L1_ECX_HYPERVISOR | L1_ECX_X2APIC | L1_ECX_TSC_DEADLINE;
		l->edx |= L1_EDX_MTRR;
	}
	if (!c->cpus.nested)
		hide_nested(a);
	hide_amx(a);
	l = find(a, HV_FEATURES, 0);
	if (l && max_apic_id > 254)
		l->eax |= HV_MSI_EXT_DEST_ID;
}

static void phys_bits(struct arch_cpus *a, const struct vm_conf *c, uint8_t host_bits)
{
	struct hv_cpuid *l = find(a, 0x80000008, 0);
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
	struct hv_cpuid *first = find(a, HV_FIRST, 0);

	if (!khz || !first)
		return;
	drop(a, HV_TIMING);
	append(a, (struct hv_cpuid){ .leaf = HV_TIMING, .eax = khz, .ebx = LAPIC_BUS_KHZ });
	first = find(a, HV_FIRST, 0);
	first->eax = (uint32_t)max_u64(first->eax, HV_TIMING);
}

int arch_cpus_new(struct arch_cpus **out, struct hv *h, const struct vm_conf *c, struct err *e)
{
	struct arch_cpus *a = NEW(struct arch_cpus);

	if (hv_supported_cpuid(h, &a->table, &a->count, e)) {
		free(a);
		return -1;
	}
	const struct hv_cpuid *zero = find(a, 0, 0);
	const struct hv_cpuid *power = find(a, 0x80000007, 0);

	/* "AuthenticAMD" and "HygonGenuine", by their first four bytes */
	a->amd = zero && (!memcmp(&zero->ebx, "Auth", 4) || !memcmp(&zero->ebx, "Hygo", 4));
	a->wants_khz = power && (power->edx & AMD_EDX_INVARIANT_TSC);
	x86_topo(&a->topo, c);
	names_and_sizes(a);
	features(a, c, x86_max_apic_id(c));
	phys_bits(a, c, hv_phys_bits(h));
	topology(a);
	*out = a;
	return 0;
}

void arch_cpus_free(struct arch_cpus *a)
{
	if (!a)
		return;
	free(a->table);
	free(a);
}

uint32_t arch_apic_id(const struct arch_cpus *a, uint32_t index)
{
	return x86_apic_id(&a->topo, index);
}

/* What differs from vCPU to vCPU. */
static void personal(struct arch_cpus *a, uint32_t index)
{
	const struct x86_topo *t = &a->topo;
	uint32_t id = x86_apic_id(t, index);

	for (uint32_t i = 0; i < a->count; i++) {
		struct hv_cpuid *l = &a->table[i];

		switch (l->leaf) {
		case 1:
			l->ebx = (l->ebx & 0x00ffffff) | id << 24;
			break;
		case 0xb:
		case 0x1f:
			l->edx = id;
			break;
		case 0x8000001e:
			l->eax = id;
			l->ebx = ((id >> t->thread_bits) & 0xff) | at_most(t->threads - 1, 0xff)
									   << 8;
			l->ecx = (id >> (t->thread_bits + t->core_bits) & 0xff) |
				 at_most(t->dies - 1, 7) << 8;
			break;
		default:
			break;
		}
	}
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
	personal(a, index);
	if (hv_vcpu_cpuid(v, a->table, a->count, e) || first_msrs(v, e))
		return -1;
	if (index)
		return 0; /* the others wait for INIT, which would undo the rest */
	struct hv_x86_start s;

	x86_start(&s, boot);
	return hv_vcpu_lint(v, e) || hv_vcpu_start(v, &s, e) ? -1 : 0;
}
