/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topology: APIC ids, and the leaves of Intel and AMD read as an operating system reads them. For
 * every vCPU of many shapes, what the leaves say must lead back to the place it was given.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpuid.h"
#include "arch/x86/leaves.h"
#include "base/mem.h"
#include "test.h"

struct shape {
	uint16_t threads, cores, dies, packages;
};

/* Where a vCPU is: numbers from the outside in, each within the next larger. */
struct at {
	uint32_t package, die, core, thread;
};

static void conf(struct vm_conf *c, struct cpu_topology_conf *t, struct shape s)
{
	memset(c, 0, sizeof *c);
	*t = (struct cpu_topology_conf){ .threads_per_core = s.threads,
					 .cores_per_die = s.cores,
					 .dies_per_package = s.dies,
					 .packages = s.packages };
	c->cpus.boot_vcpus = c->cpus.max_vcpus = 1u * s.threads * s.cores * s.dies * s.packages;
	c->cpus.topology = t;
}

static void topo(struct x86_topo *t, struct shape s)
{
	struct cpu_topology_conf u;
	struct vm_conf c;

	conf(&c, &u, s);
	x86_topo(t, &c);
}

/* What a hypervisor offers: enough for each range of leaves to be there, and caches of a host that
 * shares the last one among 16. */
static void offer(struct leaves *l, bool amd)
{
	static const struct hv_cpuid rows[] = {
		{ 0, 0, false, 0x1f, 0, 0, 0 },
		{ 1, 0, false, 0x806f8, 0xaa100800, 0, 0 },
		{ 4, 0, true, 0x121, 1, 2, 3 },
		{ 4, 2, true, 0x143, 1, 2, 3 },
		{ 4, 3, true, 0x163 | 0xfu << 14 | 7u << 26, 1, 2, 3 },
		{ 0x80000000, 0, false, 0x80000021, 0, 0, 0 },
		{ 0x80000001, 0, false, 0, 0, 0, 0 },
		{ 0x80000008, 0, false, 0x3030, 0, 0x7001, 0 },
		{ 0x8000001d, 0, true, 0x121, 0, 0, 0 },
		{ 0x8000001d, 3, true, 0x163 | 0xfu << 14, 0, 0, 0 },
	};

	*l = (struct leaves){ 0 };
	for (unsigned int i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].leaf >> 31 ? amd : !amd || rows[i].leaf != 4)
			leaf_add(l, rows[i]);
}

static uint32_t low(uint32_t v, uint32_t bits)
{
	return bits < 32 ? v & ((1u << bits) - 1) : v;
}

/* Reads a leaf of levels: where the level of this type ends, and what is in it. */
static bool level(struct leaves *l, uint32_t leaf, uint32_t type, uint32_t *shift, uint32_t *count)
{
	for (uint32_t sub = 0;; sub++) {
		const struct hv_cpuid *c = leaf_find(l, leaf, sub);

		if (!c || !(c->ebx & 0xffff) || !(c->ecx >> 8 & 0xff))
			return false;
		assert_int_equal(c->ecx & 0xff, sub);
		if ((c->ecx >> 8 & 0xff) != type)
			continue;
		*shift = c->eax & 0x1f;
		*count = c->ebx & 0xffff;
		return true;
	}
}

static void same(struct at a, struct at b)
{
	assert_int_equal(a.package, b.package);
	assert_int_equal(a.die, b.die);
	assert_int_equal(a.core, b.core);
	assert_int_equal(a.thread, b.thread);
}

/* From an id and the ends of threads, dies' cores and packages in it. */
static struct at take_apart(uint32_t id, uint32_t thread, uint32_t die, uint32_t package)
{
	return (struct at){ .package = id >> package,
			    .die = low(id, package) >> die,
			    .core = low(id, die) >> thread,
			    .thread = low(id, thread) };
}

static void read_intel(struct leaves *l, struct shape s, struct at want)
{
	uint32_t thread, die, package, n;
	uint32_t id = leaf_find(l, 0x1f, 0)->edx;

	assert_true(level(l, 0x1f, 1, &thread, &n));
	assert_int_equal(n, s.threads);
	assert_true(level(l, 0x1f, 2, &die, &n));
	assert_int_equal(n, 1u * s.threads * s.cores);
	assert_true(level(l, 0x1f, 5, &package, &n));
	assert_int_equal(n, 1u * s.threads * s.cores * s.dies);
	same(take_apart(id, thread, die, package), want);
	assert_true(leaf_find(l, 0, 0)->eax >= 0x1f);
	/* caches: the first ones a core's, the last one a die's; cores of a package */
	assert_int_equal(leaf_find(l, 4, 2)->eax >> 14 & 0xfff, (1u << thread) - 1);
	assert_int_equal(leaf_find(l, 4, 3)->eax >> 14 & 0xfff, (1u << die) - 1);
	uint32_t cores = 1u << (package - thread);

	assert_int_equal(leaf_find(l, 4, 3)->eax >> 26, cores > 64 ? 63 : cores - 1);
}

static void read_amd(struct leaves *l, struct shape s, struct at want)
{
	uint32_t thread, complex, die, package, n;
	uint32_t id = leaf_find(l, 0x8000001e, 0)->eax;

	assert_true(level(l, 0x80000026, 1, &thread, &n));
	assert_int_equal(n, s.threads);
	assert_true(level(l, 0x80000026, 2, &complex, &n));
	assert_true(level(l, 0x80000026, 3, &die, &n));
	assert_int_equal(complex, die);
	assert_int_equal(n, 1u * s.threads * s.cores);
	assert_true(level(l, 0x80000026, 4, &package, &n));
	assert_int_equal(n, 1u * s.threads * s.cores * s.dies);
	same(take_apart(id, thread, die, package), want);
	assert_true(leaf_find(l, 0x80000000, 0)->eax >= 0x80000026);
	/* the older ones, as far as their fields reach */
	assert_int_equal((leaf_find(l, 0x8000001e, 0)->ebx >> 8 & 0xff) + 1, s.threads);
	if (s.dies <= 8)
		assert_int_equal((leaf_find(l, 0x8000001e, 0)->ecx >> 8 & 7) + 1, s.dies);
	assert_int_equal(leaf_find(l, 0x80000008, 0)->ecx >> 12 & 15, package);
	if (1u * s.threads * s.cores * s.dies <= 256)
		assert_int_equal((leaf_find(l, 0x80000008, 0)->ecx & 0xff) + 1,
				 1u * s.threads * s.cores * s.dies);
	assert_int_equal(leaf_find(l, 0x80000001, 0)->ecx >> 22 & 1, 1);
	assert_int_equal(leaf_find(l, 0x8000001d, 0)->eax >> 14 & 0xfff, (1u << thread) - 1);
	assert_int_equal(leaf_find(l, 0x8000001d, 3)->eax >> 14 & 0xfff, (1u << die) - 1);
}

/* What both have in common: leaf 0xb, and leaf 1 for those who know no other. */
static void read_common(struct leaves *l, struct shape s, struct at want)
{
	uint32_t thread, package, n, id = leaf_find(l, 0xb, 0)->edx;
	uint32_t all = 1u * s.threads * s.cores * s.dies;

	assert_true(level(l, 0xb, 1, &thread, &n));
	assert_true(level(l, 0xb, 2, &package, &n));
	assert_int_equal(n, all);
	assert_int_equal(id >> package, want.package);
	assert_int_equal(low(id, thread), want.thread);
	assert_int_equal(leaf_find(l, 0xb, 1)->edx, id);
	assert_int_equal(leaf_find(l, 1, 0)->ebx >> 24, id & 0xff);
	assert_int_equal(leaf_find(l, 1, 0)->edx >> 28 & 1, all > 1);
	n = leaf_find(l, 1, 0)->ebx >> 16 & 0xff;
	assert_true(n >= all || n == 0xff);
}

static void walk(struct shape s, bool amd)
{
	struct x86_topo t;
	struct leaves l;
	uint32_t before = 0, i = 0;

	topo(&t, s);
	offer(&l, amd);
	topo_leaves(&l, &t, amd);
	for (uint32_t p = 0; p < s.packages; p++)
		for (uint32_t d = 0; d < s.dies; d++)
			for (uint32_t k = 0; k < 1u * s.cores * s.threads; k++, i++) {
				struct at want = { p, d, k / s.threads, k % s.threads };
				uint32_t id = x86_apic_id(&t, i);

				assert_true(!i || id > before);
				before = id;
				topo_personal(&l, &t, i);
				read_common(&l, s, want);
				(amd ? read_amd : read_intel)(&l, s, want);
			}
	free(l.row);
}

TEST(apic_ids_count_up_without_a_topology)
{
	struct vm_conf c = { .cpus = { .boot_vcpus = 300, .max_vcpus = 300 } };
	struct x86_topo t;

	x86_topo(&t, &c);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(x86_apic_id(&t, i), i);
	assert_int_equal(x86_max_apic_id(&c), 299);
}

TEST(apic_ids_have_bits_for_each_level)
{
	struct cpu_topology_conf u;
	struct vm_conf c;
	struct x86_topo t;

	conf(&c, &u, (struct shape){ 2, 3, 5, 2 });
	x86_topo(&t, &c);
	assert_int_equal(t.thread_bits, 1);
	assert_int_equal(t.core_bits, 2);
	assert_int_equal(t.die_bits, 3);
	assert_int_equal(x86_apic_id(&t, 1), 1);
	assert_int_equal(x86_apic_id(&t, 2), 2);
	assert_int_equal(x86_apic_id(&t, 6), 8);
	assert_int_equal(x86_apic_id(&t, 30), 64);
	assert_int_equal(x86_apic_id(&t, 59), 64 | 4 << 3 | 2 << 1 | 1);
	assert_int_equal(x86_max_apic_id(&c), 101);
}

/* One package of n cores, which is what a config without topology means. */
TEST(one_to_1024_vcpus_find_their_places)
{
	for (uint16_t n = 1; n <= 1024; n = (uint16_t)(n < 66 ? n + 1 : n + 61)) {
		walk((struct shape){ 1, n, 1, 1 }, false);
		walk((struct shape){ 1, n, 1, 1 }, true);
	}
	walk((struct shape){ 1, 1024, 1, 1 }, false);
	walk((struct shape){ 1, 1024, 1, 1 }, true);
}

TEST(every_shape_leads_back_to_its_places)
{
	static const struct shape shapes[] = {
		{ 2, 1, 1, 1 },	  { 2, 2, 1, 2 },  { 1, 4, 2, 1 },   { 2, 2, 2, 2 },
		{ 2, 3, 5, 2 },	  { 1, 3, 3, 3 },  { 1, 1, 1, 64 },  { 2, 16, 4, 2 },
		{ 2, 6, 8, 2 },	  { 1, 1, 8, 1 },  { 1, 1, 16, 1 },  { 2, 64, 1, 4 },
		{ 2, 128, 1, 4 }, { 2, 8, 16, 4 }, { 1, 33, 1, 31 }, { 1, 5, 5, 40 },
	};

	for (unsigned int i = 0; i < ARRAY_LEN(shapes); i++) {
		walk(shapes[i], false);
		walk(shapes[i], true);
	}
}

/* All shapes of at most 64 vCPUs: whatever is counted wrongly somewhere shows in one of them. */
TEST(all_small_shapes_lead_back_to_their_places)
{
	for (uint16_t t = 1; t <= 2; t++)
		for (uint16_t c = 1; c <= 64 / t; c++)
			for (uint16_t d = 1; d <= 64 / t / c; d++)
				for (uint16_t p = 1; p <= 64 / t / c / d; p++) {
					walk((struct shape){ t, c, d, p }, false);
					walk((struct shape){ t, c, d, p }, true);
				}
}

TEST(leaf_1f_is_made_for_dies_where_the_host_has_none)
{
	for (uint16_t dies = 1; dies <= 2; dies++) {
		struct x86_topo t;
		struct leaves l;

		topo(&t, (struct shape){ 1, 2, dies, 1 });
		offer(&l, false);
		leaf_find(&l, 0, 0)->eax = 0xd;
		topo_leaves(&l, &t, false);
		assert_int_equal(leaf_find(&l, 0, 0)->eax, dies > 1 ? 0x1f : 0xd);
		assert_true(!leaf_find(&l, 0x1f, 0) == (dies == 1));
		free(l.row);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(apic_ids_count_up_without_a_topology),
		T(apic_ids_have_bits_for_each_level),
		T(one_to_1024_vcpus_find_their_places),
		T(every_shape_leads_back_to_its_places),
		T(all_small_shapes_lead_back_to_their_places),
		T(leaf_1f_is_made_for_dies_where_the_host_has_none),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
