/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's clock and memory types, saved as JSON text and put into a fresh vCPU of the machine's own
 * KVM. Without /dev/kvm the tests of that cannot be made and say so.
 */
#include "arch/x86/cpustate.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "hv/hv.h"
#include "test.h"

#define CPUS 3

struct setup {
	struct hv *h;
	struct hv_vm *vm;
	struct hv_vcpu *cpu[CPUS];
};

static void ok(int r, struct err *e)
{
	char line[400];

	if (r)
		fail_msg("%s", err_line(e, line, sizeof line));
}

static void setup(struct setup *s)
{
	const struct hv_vm_args a = {
		.tss_addr = 0xf8000000,
		.identity_map_addr = 0xf8003000,
		.ioapic_pins = 24,
	};
	struct hv_cpuid *cpuid;
	struct err e = { 0 };
	uint32_t count;

	if (access("/dev/kvm", R_OK | W_OK)) {
		print_message("no right to /dev/kvm, or none there\n");
		skip();
	}
	ok(hv_open(&s->h, &e), &e);
	ok(hv_vm_new(&s->vm, s->h, &a, &e), &e);
	ok(hv_supported_cpuid(s->h, &cpuid, &count, &e), &e);
	for (uint32_t i = 0; i < count; i++)
		if (cpuid[i].leaf == 1)
			cpuid[i].edx |= 1u << 12; /* MTRRs */
	for (uint32_t i = 0; i < CPUS; i++) {
		ok(hv_vcpu_new(&s->cpu[i], s->vm, i, &e), &e);
		ok(hv_vcpu_cpuid(s->cpu[i], cpuid, count, &e), &e);
	}
	free(cpuid);
}

static void end(struct setup *s)
{
	for (uint32_t i = 0; i < CPUS; i++)
		hv_vcpu_free(s->cpu[i]);
	hv_vm_free(s->vm);
	hv_close(s->h);
}

/* What a guest's firmware and kernel leave behind. */
static void use(struct setup *s)
{
	static const struct hv_msr msrs[] = {
		{ 0x200, 0xc0000000 },	       { 0x201, 0x3ffc0000800 },
		{ 0x250, 0x0606060606060606 }, { 0x26f, 0x0505050505050505 },
		{ 0x277, 0x0407050600070106 }, { 0x2ff, 0xc06 },
		{ 0x10, 1ull << 50 },
	};
	struct err e = { 0 };

	for (uint32_t i = 0; i < CPUS; i++)
		ok(hv_vcpu_msrs(s->cpu[i], msrs, ARRAY_LEN(msrs), &e), &e);
}

/* Through the text of a file. */
static struct x86_cpu_state reread(const struct x86_cpu_state *s)
{
	AUTO_JSON struct json *j = desc_to_json(&x86_cpu_state_desc, s), *k = NULL;
	AUTO_FREE char *text = json_text(j, JSON_LINE);
	struct x86_cpu_state out = { 0 };
	struct err e = { 0 };

	ok(json_parse(&k, text, strlen(text), &e), &e);
	ok(desc_from_saved(&x86_cpu_state_desc, &out, k, 1, &e), &e);
	return out;
}

TEST(every_byte_of_the_state_has_a_row)
{
	assert_int_equal(desc_uncovered(&x86_cpu_state_desc), sizeof(struct x86_cpu_state));
}

TEST(memory_types_and_clock_come_back_in_a_fresh_vcpu)
{
	struct x86_cpu_state was[CPUS], is[CPUS];
	struct err e = { 0 };
	struct setup a, b;

	setup(&a);
	use(&a);
	for (uint32_t i = 0; i < CPUS; i++)
		ok(x86_cpu_get(&was[i], a.cpu[i], &e), &e);
	assert_int_equal(was[0].mtrr_default, 0xc06);
	assert_int_equal(was[0].mtrr_base[0], 0xc0000000);
	assert_int_equal(was[0].mtrr_fixed[10], 0x0505050505050505);
	if (was[0].tsc < 1ull << 50)
		print_message(
			"this host's KVM shows guests its own counter, whatever they write\n");
	end(&a);
	setup(&b);
	for (uint32_t i = 0; i < CPUS; i++) {
		was[i] = reread(&was[i]);
		ok(x86_cpu_put(b.cpu[i], &was[i], &e), &e);
	}
	for (uint32_t i = 0; i < CPUS; i++) {
		ok(x86_cpu_get(&is[i], b.cpu[i], &e), &e);
		/* it goes on from where it was, within ten seconds of this test */
		assert_true(is[i].tsc >= was[i].tsc);
		assert_true(is[i].tsc - was[i].tsc < 10000ull * was[i].tsc_khz);
		assert_int_equal(is[i].tsc_khz, was[i].tsc_khz);
		is[i].tsc = was[i].tsc;
		is[i].tsc_adjust = was[i].tsc_adjust;
		assert_memory_equal(&is[i], &was[i], sizeof is[i]);
	}
	end(&b);
}

TEST(a_memory_type_that_is_none_is_refused)
{
	struct x86_cpu_state s;
	struct err e = { 0 };
	struct setup a;
	char line[300];

	setup(&a);
	ok(x86_cpu_get(&s, a.cpu[0], &e), &e);
	s.mtrr_default = 0x807; /* types are 0, 1, 4, 5, 6 */
	assert_int_equal(x86_cpu_put(a.cpu[0], &s, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof line), "MSR 0x2ff does not take 0x807"));
	end(&a);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_byte_of_the_state_has_a_row),
		T(memory_types_and_clock_come_back_in_a_fresh_vcpu),
		T(a_memory_type_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
