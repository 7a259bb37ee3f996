/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads, cores, dies and packages: their bits in an APIC id, and the CPUID leaves that tell of
 * them. Intel and AMD have leaf 0xb in common, and each some of its own; the older ones are filled
 * in as far as their fields reach. Control thread. Intel SDM volume 2 (CPUID) and 3 §9.9; AMD APM
 * volume 3 appendix E.
 */
#include "arch/x86/cpuid.h"
#include "arch/x86/leaves.h"
#include "base/bits.h"

#define L1_EDX_HTT (1u << 28)
/* of leaf 0x80000001 */
#define AMD_ECX_CMP_LEGACY (1u << 1)
#define AMD_ECX_TOPOLOGY (1u << 22)

#define AMD_LAST 0x80000000u
#define AMD_SIZES 0x80000008u
#define AMD_CACHES 0x8000001du
#define AMD_PLACE 0x8000001eu
#define AMD_LEVELS 0x80000026u

/* Types of levels. */
enum { LEVEL_END, LEVEL_THREAD, LEVEL_CORE, LEVEL_DIE = 5 };
enum { AMD_CORE = 1, AMD_COMPLEX, AMD_DIE, AMD_SOCKET };

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

/* Where each level begins in an APIC id. */
static uint8_t die_shift(const struct x86_topo *t)
{
	return (uint8_t)(t->thread_bits + t->core_bits);
}

static uint8_t package_shift(const struct x86_topo *t)
{
	return (uint8_t)(die_shift(t) + t->die_bits);
}

uint32_t x86_apic_id(const struct x86_topo *t, uint32_t index)
{
	uint32_t thread = index % t->threads;
	uint32_t core = index / t->threads % t->cores;
	uint32_t die = index / t->threads / t->cores % t->dies;
	uint32_t package = index / t->threads / t->cores / t->dies;

	return thread | core << t->thread_bits | die << die_shift(t) | package << package_shift(t);
}

uint32_t x86_max_apic_id(const struct vm_conf *c)
{
	struct x86_topo t;

	x86_topo(&t, c);
	return x86_apic_id(&t, c->cpus.max_vcpus ? c->cpus.max_vcpus - 1 : 0);
}

static uint32_t per_die(const struct x86_topo *t)
{
	return t->threads * t->cores;
}

static uint32_t per_package(const struct x86_topo *t)
{
	return per_die(t) * t->dies;
}

/* A field of so many bits shows its largest number where the true one is larger. */
static uint32_t at_most(uint32_t v, uint32_t max)
{
	return v < max ? v : max;
}

/* One level: where the one above begins in an APIC id, and how many processors this one has. */
struct level {
	uint8_t type, shift;
	uint32_t processors;
};

static void put_levels(struct leaves *l, uint32_t leaf, const struct level *v, uint32_t count)
{
	leaf_drop(l, leaf);
	for (uint32_t sub = 0; sub <= count; sub++) {
		struct level end = { .type = LEVEL_END };
		const struct level *at = sub < count ? &v[sub] : &end;

		leaf_add(l, (struct hv_cpuid){
				    .leaf = leaf,
				    .sub = sub,
				    .sub_matters = true,
				    .eax = at->shift,
				    .ebx = at_most(at->processors, 0xffff),
				    .ecx = (uint32_t)at->type << 8 | sub,
			    });
	}
}

/* Raises the number of the last leaf of a range, so that a guest looks at this one. */
static void reach(struct leaves *l, uint32_t range, uint32_t leaf)
{
	struct hv_cpuid *first = leaf_find(l, range, 0);

	if (first)
		first->eax = (uint32_t)max_u64(first->eax, leaf);
}

static void common(struct leaves *l, const struct x86_topo *t)
{
	const struct level levels[] = {
		{ LEVEL_THREAD, t->thread_bits, t->threads },
		{ LEVEL_CORE, package_shift(t), per_package(t) },
	};
	struct hv_cpuid *one = leaf_find(l, 1, 0);

	if (one) {
		/* ids reserved in a package, a power of two */
		uint32_t ids = at_most(1u << at_most(package_shift(t), 8), 0xff);

		one->ebx = (one->ebx & 0xff00ffff) | ids << 16;
		one->edx = per_package(t) > 1 ? one->edx | L1_EDX_HTT : one->edx & ~L1_EDX_HTT;
	}
	reach(l, 0, 0xb);
	put_levels(l, 0xb, levels, 2);
}

/* Leaves 4 (Intel) and 0x8000001d (AMD): levels 1 and 2 belong to a core, the last one to a die. */
static void caches(struct leaves *l, uint32_t leaf, const struct x86_topo *t)
{
	uint32_t core_ids = 1u << (t->core_bits + t->die_bits);

	for (uint32_t i = 0; i < l->count; i++) {
		struct hv_cpuid *c = &l->row[i];

		if (c->leaf != leaf || !(c->eax & 0x1f))
			continue;
		uint32_t level = c->eax >> 5 & 7;
		uint32_t sharing = 1u << (level < 3 ? t->thread_bits : die_shift(t));

		c->eax = (c->eax & 0x3fff) | at_most(sharing - 1, 0xfff) << 14;
		if (leaf == 4)
			c->eax |= at_most(core_ids - 1, 0x3f) << 26;
	}
}

static void intel(struct leaves *l, const struct x86_topo *t)
{
	const struct level levels[] = {
		{ LEVEL_THREAD, t->thread_bits, t->threads },
		{ LEVEL_CORE, die_shift(t), per_die(t) },
		{ LEVEL_DIE, package_shift(t), per_package(t) },
	};
	const struct hv_cpuid *zero = leaf_find(l, 0, 0);

	caches(l, 4, t);
	leaf_drop(l, 0x1f);
	/* dies are told there only; a processor without that leaf gets it where there are some */
	if (t->dies > 1)
		reach(l, 0, 0x1f);
	if (t->dies > 1 || (zero && zero->eax >= 0x1f))
		put_levels(l, 0x1f, levels, 3);
}

/* A die here is what AMD calls one: a group of cores with a last cache of its own. */
static void amd(struct leaves *l, const struct x86_topo *t)
{
	const struct level levels[] = {
		{ AMD_CORE, t->thread_bits, t->threads },
		{ AMD_COMPLEX, die_shift(t), per_die(t) },
		{ AMD_DIE, die_shift(t), per_die(t) },
		{ AMD_SOCKET, package_shift(t), per_package(t) },
	};
	struct hv_cpuid *features = leaf_find(l, 0x80000001, 0);
	struct hv_cpuid *sizes = leaf_find(l, AMD_SIZES, 0);

	caches(l, AMD_CACHES, t);
	if (sizes)
		sizes->ecx = (sizes->ecx & 0xffff0f00) | at_most(package_shift(t), 15) << 12 |
			     at_most(per_package(t) - 1, 0xff);
	if (features) {
		features->ecx |= AMD_ECX_TOPOLOGY;
		features->ecx = per_package(t) > 1 ? features->ecx | AMD_ECX_CMP_LEGACY
						   : features->ecx & ~AMD_ECX_CMP_LEGACY;
	}
	leaf_drop(l, AMD_PLACE);
	leaf_add(l, (struct hv_cpuid){ .leaf = AMD_PLACE });
	reach(l, AMD_LAST, AMD_LEVELS);
	put_levels(l, AMD_LEVELS, levels, 4);
}

void topo_leaves(struct leaves *l, const struct x86_topo *t, bool is_amd)
{
	common(l, t);
	if (is_amd)
		amd(l, t);
	else
		intel(l, t);
}

void topo_personal(struct leaves *l, const struct x86_topo *t, uint32_t vcpu)
{
	uint32_t id = x86_apic_id(t, vcpu);

	for (uint32_t i = 0; i < l->count; i++) {
		struct hv_cpuid *c = &l->row[i];

		switch (c->leaf) {
		case 1:
			/* eight bits of it; a guest with more reads leaf 0xb */
			c->ebx = (c->ebx & 0x00ffffff) | id << 24;
			break;
		case 0xb:
		case 0x1f:
		case AMD_LEVELS:
			c->edx = id;
			break;
		case AMD_PLACE:
			c->eax = id;
			c->ebx = (id >> t->thread_bits & 0xff) | at_most(t->threads - 1, 0xff) << 8;
			c->ecx = (id >> die_shift(t) & 0xff) | at_most(t->dies - 1, 7) << 8;
			break;
		default:
			break;
		}
	}
}
