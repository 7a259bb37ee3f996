/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPUID table that a vCPU gets for given leaves of the hypervisor: an Intel and an AMD one, over
 * a hypervisor that only remembers what was set. Topology has more tests in topo.c.
 */
#include "arch/x86/cpuid.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/mem.h"
#include "hv/ops.h"
#include "test.h"

/* A hypervisor and a vCPU that record. */
struct fake {
	struct hv hv;
	struct hv_vcpu vcpu;
	const struct hv_cpuid *offer;
	uint32_t offered;
	struct hv_cpuid *got;
	uint32_t count;
	struct hv_msr msr[8];
	uint32_t msrs;
	struct hv_x86_start start;
	bool started, lint, synic, x2apic;
	const struct hv_cpuid *hyperv; /* NULL: it cannot look like Hyper-V */
	uint32_t hypervs;
	bool has_amx, amx_allowed;
};

static int fake_cpuid(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e)
{
	struct fake *f = container_of(h, struct fake, hv);

	(void)e;
	*out = mem_array(f->offered, sizeof **out);
	memcpy(*out, f->offer, f->offered * sizeof **out);
	*count = f->offered;
	return 0;
}

static int fake_hyperv(struct hv *h, struct hv_cpuid **out, uint32_t *count, struct err *e)
{
	struct fake *f = container_of(h, struct fake, hv);

	if (!f->hyperv)
		return err_set(e, ERR_ABSENT, "no Hyper-V here");
	*out = mem_array(f->hypervs, sizeof **out);
	memcpy(*out, f->hyperv, f->hypervs * sizeof **out);
	*count = f->hypervs;
	return 0;
}

static int fake_amx(struct hv *h, struct err *e)
{
	struct fake *f = container_of(h, struct fake, hv);

	if (!f->has_amx)
		return err_set(e, ERR_ABSENT, "no AMX here");
	f->amx_allowed = true;
	return 0;
}

static uint8_t fake_bits(const struct hv *h)
{
	(void)h;
	return 48;
}

static int fake_set_cpuid(struct hv_vcpu *c, const struct hv_cpuid *t, uint32_t count,
			  struct err *e)
{
	struct fake *f = container_of(c, struct fake, vcpu);

	(void)e;
	free(f->got);
	f->got = mem_array(count, sizeof *t);
	memcpy(f->got, t, count * sizeof *t);
	f->count = count;
	return 0;
}

static int fake_msrs(struct hv_vcpu *c, const struct hv_msr *m, uint32_t count, struct err *e)
{
	struct fake *f = container_of(c, struct fake, vcpu);

	(void)e;
	memcpy(f->msr, m, count * sizeof *m);
	f->msrs = count;
	return 0;
}

static int fake_start(struct hv_vcpu *c, const struct hv_x86_start *s, struct err *e)
{
	struct fake *f = container_of(c, struct fake, vcpu);

	(void)e;
	f->start = *s;
	f->started = true;
	return 0;
}

static int fake_lint(struct hv_vcpu *c, struct err *e)
{
	(void)e;
	container_of(c, struct fake, vcpu)->lint = true;
	return 0;
}

static int fake_x2apic(struct hv_vcpu *c, struct err *e)
{
	(void)e;
	container_of(c, struct fake, vcpu)->x2apic = true;
	return 0;
}

static int fake_synic(struct hv_vcpu *c, struct err *e)
{
	struct fake *f = container_of(c, struct fake, vcpu);

	(void)e;
	f->synic = f->got; /* KVM takes it only after the leaves */
	return 0;
}

static uint32_t fake_khz(struct hv_vcpu *c)
{
	(void)c;
	return 2500000;
}

static const struct hv_ops fake_hv_ops = {
	.supported_cpuid = fake_cpuid,
	.hyperv_cpuid = fake_hyperv,
	.allow_amx = fake_amx,
	.phys_bits = fake_bits,
};
static const struct hv_vcpu_ops fake_vcpu_ops = {
	.cpuid = fake_set_cpuid,
	.msrs = fake_msrs,
	.start = fake_start,
	.lint = fake_lint,
	.x2apic = fake_x2apic,
	.synic = fake_synic,
	.tsc_khz = fake_khz,
};

#define INTEL 0x756e6547, 0x6c65746e, 0x49656e69 /* "Genu" "ntel" "ineI" */
#define AMD 0x68747541, 0x444d4163, 0x69746e65	 /* "Auth" "cAMD" "enti" */

static const struct hv_cpuid intel[] = {
	{ 0, 0, false, 0x1f, INTEL },
	{ 1, 0, false, 0x806f8, 0xaabb0800, 1u << 5, 0 },
	{ 4, 0, true, 0x121 | 0x3fu << 14, 1, 2, 3 },
	{ 4, 3, true, 0x163 | 0xfffu << 14, 1, 2, 3 },
	{ 7, 0, true, 2, 0, 0, (1u << 22) | (1u << 24) | (1u << 25) | 1u },
	{ 0xb, 0, true, 9, 9, 9, 9 },
	{ 0xd, 0, true, 0x602e7, 0, 0, 0 },
	{ 0xd, 17, true, 64, 64, 0, 0 },
	{ 0xd, 2, true, 256, 576, 0, 0 },
	{ 0x40000000, 0, false, 0x40000001, 0, 0, 0 },
	{ 0x40000001, 0, false, 1, 0, 0, 0 },
	{ 0x80000007, 0, false, 0, 0, 0, 1u << 8 },
	{ 0x80000008, 0, false, 0x00303934, 0, 0, 0 },
};
static const struct hv_cpuid amd[] = {
	{ 0, 0, false, 0x10, AMD },
	{ 1, 0, false, 0xa00f11, 0, 0, 0 },
	{ 0xb, 0, true, 0, 0, 0, 0 },
	{ 0x40000000, 0, false, 0x40000001, 0, 0, 0 },
	{ 0x80000001, 0, false, 0, 0, 1u << 2, 0 },
	{ 0x80000007, 0, false, 0, 0, 0, 0 },
	{ 0x80000008, 0, false, 0x3030, 0, 0xffffffff, 0 },
	{ 0x8000000a, 0, false, 1, 8, 0, 1 },
	{ 0x8000001d, 3, true, 0x163, 0, 0, 0 },
	{ 0x8000001e, 0, false, 7, 7, 7, 0 },
};

struct setup {
	struct fake f;
	struct vm_conf c;
	struct cpu_topology_conf topo;
	struct arch_cpus *cpus;
};

static void setup(struct setup *s, const struct hv_cpuid *offer, uint32_t offered, uint32_t vcpus)
{
	memset(s, 0, sizeof *s);
	s->f.hv.ops = &fake_hv_ops;
	s->f.vcpu.ops = &fake_vcpu_ops;
	s->f.offer = offer;
	s->f.offered = offered;
	s->c.cpus.boot_vcpus = s->c.cpus.max_vcpus = vcpus;
	s->c.cpus.max_phys_bits = 46;
	s->c.cpus.nested = true;
	s->c.memory.size = 128 << 20;
}

static void make(struct setup *s, uint32_t vcpu)
{
	static const struct arch_payload boot = { .kind = BOOT_PVH, .entry = 0x1000000 };
	struct err e = { 0 };

	if (!s->cpus)
		assert_int_equal(arch_cpus_new(&s->cpus, &s->f.hv, &s->c, &e), 0);
	assert_int_equal(arch_vcpu(s->cpus, &s->f.vcpu, vcpu, &boot, &e), 0);
}

static void done(struct setup *s)
{
	arch_cpus_free(s->cpus);
	free(s->f.got);
}

static const struct hv_cpuid *leaf(const struct setup *s, uint32_t l, uint32_t sub)
{
	for (uint32_t i = 0; i < s->f.count; i++)
		if (s->f.got[i].leaf == l && (!s->f.got[i].sub_matters || s->f.got[i].sub == sub))
			return &s->f.got[i];
	return NULL;
}

TEST(every_vcpu_finds_its_own_id)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 6);
	for (uint32_t i = 0; i < 6; i++) {
		make(&s, i);
		assert_int_equal(leaf(&s, 1, 0)->ebx >> 24, i);
		assert_int_equal(leaf(&s, 0xb, 0)->edx, i);
		assert_int_equal(leaf(&s, 0xb, 1)->edx, i);
		assert_int_equal(leaf(&s, 0x1f, 2)->edx, i);
	}
	/* six cores take three bits; room for eight ids */
	assert_int_equal(leaf(&s, 1, 0)->ebx >> 16 & 0xff, 8);
	assert_int_equal(leaf(&s, 1, 0)->ebx & 0xffff, 0x0800);
	assert_int_equal(leaf(&s, 0xb, 0)->eax, 0);
	assert_int_equal(leaf(&s, 0xb, 0)->ecx, 0x100);
	assert_int_equal(leaf(&s, 0xb, 1)->eax, 3);
	assert_int_equal(leaf(&s, 0xb, 1)->ebx, 6);
	assert_int_equal(leaf(&s, 0xb, 1)->ecx, 0x201);
	assert_int_equal(leaf(&s, 0x1f, 2)->ecx, 0x502);
	assert_int_equal(leaf(&s, 4, 0)->eax >> 14 & 0xfff, 0);
	assert_int_equal(leaf(&s, 4, 0)->eax >> 26, 7);
	assert_int_equal(leaf(&s, 4, 3)->eax >> 14 & 0xfff, 7);
	done(&s);
}

TEST(features_are_forced_and_hidden_as_configured)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 1);
	make(&s, 0);
	const struct hv_cpuid *one = leaf(&s, 1, 0);

	assert_int_equal(one->ecx, 1u << 5 | 1u << 21 | 1u << 24 | 1u << 31);
	assert_int_equal(one->edx, 1u << 12);
	assert_int_equal(leaf(&s, 7, 0)->edx, 1);
	assert_int_equal(leaf(&s, 0xd, 0)->eax, 0x2e7);
	assert_int_equal(leaf(&s, 0xd, 17)->eax, 0);
	assert_int_equal(leaf(&s, 0xd, 2)->eax, 256);
	assert_int_equal(leaf(&s, 0x80000008, 0)->eax, 0x002e392e);
	assert_int_equal(leaf(&s, 0x40000001, 0)->eax, 1);
	assert_int_equal(leaf(&s, 0x40000000, 0)->eax, 0x40000010);
	assert_int_equal(leaf(&s, 0x40000010, 0)->eax, 2500000);
	done(&s);
	setup(&s, intel, sizeof intel / sizeof intel[0], 1);
	s.c.cpus.nested = false;
	make(&s, 0);
	assert_int_equal(leaf(&s, 1, 0)->ecx & 1u << 5, 0);
	done(&s);
}

TEST(ids_beyond_8_bits_announce_extended_destinations_and_start_in_x2apic)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 256);
	make(&s, 255);
	assert_int_equal(leaf(&s, 0x40000001, 0)->eax, 1u << 15 | 1);
	assert_int_equal(leaf(&s, 1, 0)->ebx >> 16 & 0xff, 0xff);
	assert_true(s.f.x2apic);
	done(&s);
	setup(&s, intel, sizeof intel / sizeof intel[0], 255); /* ids 0 to 254 */
	make(&s, 254);
	assert_int_equal(leaf(&s, 0x40000001, 0)->eax, 1);
	assert_false(s.f.x2apic);
	done(&s);
}

static const struct hv_cpuid hyperv[] = {
	{ 0x40000000, 0, false, 0x40000082, 0x756e694c, 0x564b2078, 0x7648204d },
	{ 0x40000001, 0, false, 0x31237648, 0, 0, 0 },
	{ 0x40000003, 0, false, 0x3fff, 0xff, 0, 0x88510 },
	{ 0x40000004, 0, false, 0x24e6e, 0xffffffff, 0, 0 },
	{ 0x40000006, 0, false, 0xf, 0, 0, 0 },
	{ 0x40000080, 0, false, 0x40000082, 0, 0, 0 },
};

TEST(hyperv_takes_the_place_of_kvms_leaves)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 2);
	s.f.hyperv = hyperv;
	s.f.hypervs = sizeof hyperv / sizeof hyperv[0];
	s.c.cpus.kvm_hyperv = true;
	make(&s, 0);
	assert_int_equal(leaf(&s, 0x40000000, 0)->eax, 0x4000000a);
	assert_memory_equal(&leaf(&s, 0x40000000, 0)->ebx, "Microsoft Hv", 12);
	assert_memory_equal(&leaf(&s, 0x40000001, 0)->eax, "Hv#1", 4);
	/* time, SynIC, timers, calls, index, reference TSC, frequencies; no reset, no crash */
	assert_int_equal(leaf(&s, 0x40000003, 0)->eax, 0xa7f);
	assert_int_equal(leaf(&s, 0x40000003, 0)->edx, 1u << 3 | 1u << 4 | 1u << 8 | 1u << 19);
	assert_int_equal(leaf(&s, 0x40000004, 0)->eax, 0xe2e);
	assert_int_equal(leaf(&s, 0x40000004, 0)->ebx, 0xfff);
	for (uint32_t l = 0x40000002; l <= 0x4000000a; l++)
		assert_non_null(leaf(&s, l, 0));
	assert_null(leaf(&s, 0x40000010, 0));
	assert_null(leaf(&s, 0x40000080, 0));
	assert_true(s.f.synic);
	done(&s);
}

TEST(hyperv_shows_no_more_than_the_hypervisor_can_do)
{
	static const struct hv_cpuid little[] = {
		{ 0x40000003, 0, false, 1u << 1 | 1u << 5, 0, 0, 0 },
	};
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 1);
	s.f.hyperv = little;
	s.f.hypervs = 1;
	s.c.cpus.kvm_hyperv = true;
	make(&s, 0);
	assert_int_equal(leaf(&s, 0x40000003, 0)->eax, 1u << 1 | 1u << 5);
	assert_int_equal(leaf(&s, 0x40000004, 0)->eax, 1u << 5);
	done(&s);
}

TEST(hyperv_guests_learn_of_extended_destinations_their_way)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 300);
	s.f.hyperv = hyperv;
	s.f.hypervs = sizeof hyperv / sizeof hyperv[0];
	s.c.cpus.kvm_hyperv = true;
	make(&s, 0);
	assert_memory_equal(&leaf(&s, 0x40000081, 0)->eax, "VS#1", 4);
	assert_int_equal(leaf(&s, 0x40000082, 0)->eax, 1u << 2);
	done(&s);
}

static void refused(struct setup *s, const char *sentence)
{
	struct err e = { 0 };
	char line[300];

	assert_int_equal(arch_cpus_new(&s->cpus, &s->f.hv, &s->c, &e), -1);
	assert_string_equal(err_line(&e, line, sizeof line), sentence);
}

TEST(what_the_host_lacks_is_refused)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 1);
	s.c.cpus.kvm_hyperv = true;
	refused(&s, "--cpus kvm_hyperv: no Hyper-V here");
	s.c.cpus.kvm_hyperv = false;
	s.c.cpus.features.amx = true;
	refused(&s, "--cpus features=amx: no AMX here");
}

TEST(amx_is_shown_only_when_named)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 1);
	s.f.has_amx = true;
	make(&s, 0);
	assert_false(s.f.amx_allowed);
	assert_int_equal(leaf(&s, 7, 0)->edx, 1);
	done(&s);
	setup(&s, intel, sizeof intel / sizeof intel[0], 1);
	s.f.has_amx = true;
	s.c.cpus.features.amx = true;
	make(&s, 0);
	assert_true(s.f.amx_allowed);
	assert_int_equal(leaf(&s, 7, 0)->edx, (1u << 22) | (1u << 24) | (1u << 25) | 1u);
	assert_int_equal(leaf(&s, 0xd, 0)->eax, 0x602e7);
	assert_int_equal(leaf(&s, 0xd, 17)->eax, 64);
	done(&s);
}

TEST(amd_leaves_tell_the_same_topology)
{
	struct setup s;

	setup(&s, amd, sizeof amd / sizeof amd[0], 8);
	s.c.cpus.topology = &s.topo;
	s.topo.threads_per_core = 2;
	s.topo.cores_per_die = 2;
	s.topo.dies_per_package = 1;
	s.topo.packages = 2;
	s.c.cpus.nested = false;
	make(&s, 7);
	assert_int_equal(leaf(&s, 1, 0)->ebx >> 24, 7);
	assert_int_equal(leaf(&s, 0x80000008, 0)->ecx, 0xffff2f03);
	assert_int_equal(leaf(&s, 0x80000001, 0)->ecx, 1u << 1 | 1u << 22);
	assert_null(leaf(&s, 0x8000000a, 0));
	assert_int_equal(leaf(&s, 0x8000001e, 0)->eax, 7);
	assert_int_equal(leaf(&s, 0x8000001e, 0)->ebx, 1u << 8 | 3);
	assert_int_equal(leaf(&s, 0x8000001e, 0)->ecx, 1);
	assert_int_equal(leaf(&s, 0x8000001d, 3)->eax >> 14, 3);
	assert_int_equal(leaf(&s, 0x80000026, 0)->eax, 1);
	assert_int_equal(leaf(&s, 0x80000026, 2)->ecx, 3 << 8 | 2);
	assert_int_equal(leaf(&s, 0x80000026, 3)->eax, 2);
	assert_int_equal(leaf(&s, 0x80000026, 4)->ecx, 4);
	assert_null(leaf(&s, 0x1f, 0));
	/* no invariant TSC: no frequency to rely on */
	assert_null(leaf(&s, 0x40000010, 0));
	done(&s);
}

TEST(an_empty_name_is_filled_with_that_of_the_host)
{
	static const struct hv_cpuid offer[] = {
		{ 0, 0, false, 0x10, AMD },
		{ 0x80000002, 0, false, 0, 0, 0, 0 },
		{ 0x80000005, 0, false, 1, 2, 3, 4 },
	};
	struct hv_cpuid host = { 0 };
	struct setup s;

	setup(&s, offer, sizeof offer / sizeof offer[0], 1);
	make(&s, 0);
	for (uint32_t l = 0x80000002; l <= 0x80000004; l++) {
		if (!__get_cpuid(l, &host.eax, &host.ebx, &host.ecx, &host.edx))
			break;
		assert_non_null(leaf(&s, l, 0));
		assert_int_equal(leaf(&s, l, 0)->eax, host.eax);
		assert_int_equal(leaf(&s, l, 0)->edx, host.edx);
	}
	/* what the hypervisor said stays */
	assert_int_equal(leaf(&s, 0x80000005, 0)->eax, 1);
	assert_int_equal(leaf(&s, 0x80000005, 0)->edx, 4);
	done(&s);
}

TEST(only_the_boot_cpu_gets_registers)
{
	struct setup s;

	setup(&s, intel, sizeof intel / sizeof intel[0], 2);
	make(&s, 1);
	assert_false(s.f.started);
	make(&s, 0);
	assert_true(s.f.started && s.f.lint);
	assert_int_equal(s.f.start.rip, 0x1000000);
	assert_int_equal(s.f.start.rbx, 0x6000);
	assert_int_equal(s.f.start.cr0 & ~0x10ull, 1);
	assert_int_equal(s.f.start.cr4, 0);
	assert_int_equal(s.f.start.rflags, 2);
	assert_int_equal(s.f.start.tss.limit, 0x67);
	done(&s);
}

/* Else KVM does not know its id: creating one is not enough, and INIT goes nowhere. */
TEST(one_that_comes_while_others_run_has_its_local_apic_set)
{
	struct setup s;
	struct err e = { 0 };

	setup(&s, intel, sizeof intel / sizeof intel[0], 2);
	make(&s, 0);
	s.f.lint = s.f.started = false;
	assert_int_equal(arch_vcpu(s.cpus, &s.f.vcpu, 1, NULL, &e), 0);
	assert_true(s.f.lint);
	assert_false(s.f.started);
	done(&s);
}

TEST(kernels_and_firmware_find_memory_cached)
{
	static char path[] = "CLOUDHV.fd";
	char *const firmware[] = { NULL, path };

	for (unsigned int i = 0; i < 2; i++) {
		struct setup s;

		setup(&s, intel, sizeof intel / sizeof intel[0], 1);
		s.c.payload.firmware = firmware[i];
		make(&s, 0);
		assert_int_equal(s.f.msrs, 2);
		assert_int_equal(s.f.msr[1].index, 0x2ff);
		assert_int_equal(s.f.msr[1].value, 0x806);
		done(&s);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_vcpu_finds_its_own_id),
		T(features_are_forced_and_hidden_as_configured),
		T(ids_beyond_8_bits_announce_extended_destinations_and_start_in_x2apic),
		T(hyperv_takes_the_place_of_kvms_leaves),
		T(hyperv_shows_no_more_than_the_hypervisor_can_do),
		T(hyperv_guests_learn_of_extended_destinations_their_way),
		T(what_the_host_lacks_is_refused),
		T(amx_is_shown_only_when_named),
		T(amd_leaves_tell_the_same_topology),
		T(an_empty_name_is_filled_with_that_of_the_host),
		T(only_the_boot_cpu_gets_registers),
		T(one_that_comes_while_others_run_has_its_local_apic_set),
		T(kernels_and_firmware_find_memory_cached),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
