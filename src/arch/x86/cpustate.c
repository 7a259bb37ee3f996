/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and sets a vCPU's counter and memory types through the hypervisor's MSRs; the frequency has
 * calls of its own. See cpustate.h.
 */
#include "arch/x86/cpustate.h"

#include <inttypes.h>

#include "base/mem.h"
#include "hv/hv.h"

#define SECOND_NS 1000000000ull
#define MSR_TSC 0x10
#define MSR_TSC_ADJUST 0x3b
#define MSR_MTRR_BASE0 0x200 /* pairs of base and mask */
#define MSR_PAT 0x277
#define MSR_MTRR_DEFAULT 0x2ff

/* A frequency that differs by less comes of the host's measuring: 250 of a million, as NTP can
 * slew. */
#define KHZ_TOLERANCE(khz) ((khz) / 4000)

static const uint32_t fixed_msr[X86_MTRR_FIXED] = {
	0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
};

/* Each MSR and where it lies in the state; the counter is last, so that what it shows is as late as
 * can be. */
struct item {
	uint32_t msr, off;
};
#define ITEMS (X86_MTRR_FIXED + 2 * X86_MTRR_RANGES + 4)

static void items(struct item out[ITEMS])
{
	uint32_t n = 0;

	out[n++] = (struct item){ MSR_PAT, offsetof(struct x86_cpu_state, pat) };
	for (uint32_t i = 0; i < X86_MTRR_FIXED; i++)
		out[n++] = (struct item){ fixed_msr[i],
					  (uint32_t)offsetof(struct x86_cpu_state, mtrr_fixed[i]) };
	for (uint32_t i = 0; i < X86_MTRR_RANGES; i++) {
		out[n++] = (struct item){ MSR_MTRR_BASE0 + 2 * i,
					  (uint32_t)offsetof(struct x86_cpu_state, mtrr_base[i]) };
		out[n++] = (struct item){ MSR_MTRR_BASE0 + 2 * i + 1,
					  (uint32_t)offsetof(struct x86_cpu_state, mtrr_mask[i]) };
	}
	/* the default type switches the others on */
	out[n++] = (struct item){ MSR_MTRR_DEFAULT, offsetof(struct x86_cpu_state, mtrr_default) };
	out[n++] = (struct item){ MSR_TSC_ADJUST, offsetof(struct x86_cpu_state, tsc_adjust) };
	out[n++] = (struct item){ MSR_TSC, offsetof(struct x86_cpu_state, tsc) };
}

static uint64_t *member(const struct x86_cpu_state *s, const struct item *i)
{
	return (uint64_t *)((uintptr_t)s + i->off);
}

int x86_cpu_get(struct x86_cpu_state *s, struct hv_vcpu *v, struct err *e)
{
	struct hv_msr msrs[ITEMS];
	struct item item[ITEMS];

	items(item);
	for (uint32_t i = 0; i < ITEMS; i++)
		msrs[i] = (struct hv_msr){ .index = item[i].msr };
	*s = (struct x86_cpu_state){ .tsc_khz = hv_vcpu_tsc_khz(v) };
	if (hv_vcpu_get_msrs(v, msrs, ITEMS, e))
		return -1;
	for (uint32_t i = 0; i < ITEMS; i++)
		*member(s, &item[i]) = msrs[i].value;
	return 0;
}

/* Split at seconds, so that no product overflows. */
void x86_cpu_pass(struct x86_cpu_state *s, uint64_t ns)
{
	s->tsc += ns / SECOND_NS * s->tsc_khz * 1000 + ns % SECOND_NS * s->tsc_khz / 1000000;
}

static int put_khz(struct hv_vcpu *v, uint32_t khz, struct err *e)
{
	uint32_t has = hv_vcpu_tsc_khz(v), apart = has > khz ? has - khz : khz - has;

	return khz && has && apart > KHZ_TOLERANCE(khz) ? hv_vcpu_set_tsc_khz(v, khz, e) : 0;
}

/* The hypervisor steps over what it does not take. */
static int check(struct hv_vcpu *v, const struct x86_cpu_state *s, const struct item *item,
		 struct err *e)
{
	struct x86_cpu_state is;

	if (x86_cpu_get(&is, v, e))
		return -1;
	for (uint32_t i = 0; i < ITEMS; i++) {
		uint64_t want = *member(s, &item[i]), has = *member(&is, &item[i]);

		if (want != has && item[i].msr != MSR_TSC && item[i].msr != MSR_TSC_ADJUST)
			return err_set(e, ERR_BAD,
				       "MSR 0x%" PRIx32 " does not take 0x%" PRIx64 " on this host",
				       item[i].msr, want);
	}
	return 0;
}

int x86_cpu_put(struct hv_vcpu *v, const struct x86_cpu_state *s, struct err *e)
{
	struct hv_msr msrs[ITEMS];
	struct item item[ITEMS];

	items(item);
	for (uint32_t i = 0; i < ITEMS; i++)
		msrs[i] = (struct hv_msr){ .index = item[i].msr, .value = *member(s, &item[i]) };
	if (put_khz(v, s->tsc_khz, e) || hv_vcpu_msrs(v, msrs, ITEMS, e))
		return -1;
	return check(v, s, item, e);
}

static const struct field cpu_state_f[] = {
	S(struct x86_cpu_state, tsc),
	S(struct x86_cpu_state, tsc_adjust),
	S(struct x86_cpu_state, pat),
	S(struct x86_cpu_state, mtrr_default),
	S_ARRAY(struct x86_cpu_state, mtrr_fixed),
	S_ARRAY(struct x86_cpu_state, mtrr_base),
	S_ARRAY(struct x86_cpu_state, mtrr_mask),
	S(struct x86_cpu_state, tsc_khz),
	S_PAD(struct x86_cpu_state, pad),
};
const struct desc x86_cpu_state_desc = DESC_OF(struct x86_cpu_state, cpu_state_f, "X86CpuState");
