/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers of CPUID that hold features, one row each: a bit that the guest has seen must be there.
 * Intel SDM volume 2 CPUID; AMD APM volume 3 appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
 * See cpuidmatch.h.
 */
#include "arch/x86/cpuidmatch.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

enum reg { EAX, EBX, ECX, EDX, REGS };
static const char *const reg_names[REGS] = { "EAX", "EBX", "ECX", "EDX" };

/* A register of features. free: bits that say something of the machine and not of the processor, or
 * that the guest's own doing sets. */
static const struct row {
	uint32_t leaf, sub;
	enum reg reg;
	uint32_t free;
} rows[] = {
	{ 0x1, 0, ECX, 1u << 27 }, /* OSXSAVE follows CR4 */
	{ 0x1, 0, EDX, 1u << 28 }, /* HTT is topology */
	{ 0x6, 0, EAX, 0 },	   { 0x7, 0, EBX, 0 },
	{ 0x7, 0, ECX, 1u << 4 }, /* OSPKE follows CR4 */
	{ 0x7, 0, EDX, 0 },	   { 0x7, 1, EAX, 0 },
	{ 0x7, 1, EDX, 0 },	   { 0x7, 2, EDX, 0 },
	{ 0xd, 0, EAX, 0 }, /* XCR0 */
	{ 0xd, 0, EDX, 0 },	   { 0xd, 1, EAX, 0 },
	{ 0xd, 1, ECX, 0 }, /* IA32_XSS */
	{ 0x40000001, 0, EAX, 0 }, { 0x40000003, 0, EAX, 0 },
	{ 0x40000003, 0, EBX, 0 }, { 0x80000001, 0, ECX, 1u << 1 }, /* CmpLegacy is topology */
	{ 0x80000001, 0, EDX, 0 }, { 0x80000007, 0, EDX, 0 },
	{ 0x80000008, 0, EBX, 0 }, { 0x8000000a, 0, EDX, 0 },
	{ 0x80000021, 0, EAX, 0 },
};

static const struct hv_cpuid *find(const struct hv_cpuid *t, uint32_t count, uint32_t leaf,
				   uint32_t sub)
{
	for (uint32_t i = 0; i < count; i++)
		if (t[i].leaf == leaf && (!t[i].sub_matters || t[i].sub == sub))
			return &t[i];
	return NULL;
}

static uint32_t reg_of(const struct hv_cpuid *l, enum reg r)
{
	const uint32_t v[REGS] = { l ? l->eax : 0, l ? l->ebx : 0, l ? l->ecx : 0, l ? l->edx : 0 };

	return v[r];
}

/* "GenuineIntel": the order is EBX, EDX, ECX. */
static void vendor(char out[13], const struct hv_cpuid *t, uint32_t count)
{
	const struct hv_cpuid *l = find(t, count, 0, 0);

	memset(out, 0, 13);
	if (!l)
		return;
	memcpy(out, &l->ebx, 4);
	memcpy(out + 4, &l->edx, 4);
	memcpy(out + 8, &l->ecx, 4);
	for (char *p = out; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

int cpuid_match(const struct hv_cpuid *seen, uint32_t seen_count, const struct hv_cpuid *has,
		uint32_t has_count, struct err *e)
{
	AUTO_STR struct str out = { .max = ERR_TEXT / 2 };
	char a[13], b[13];

	vendor(a, seen, seen_count);
	vendor(b, has, has_count);
	if (strcmp(a, b) != 0)
		return err_set(e, ERR_BAD,
			       "the guest has seen a processor of %s, and this host's is of %s", a,
			       b);
	for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		uint32_t want = reg_of(find(seen, seen_count, r->leaf, r->sub), r->reg);
		uint32_t is = reg_of(find(has, has_count, r->leaf, r->sub), r->reg);
		uint32_t lacks = want & ~is & ~r->free;

		if (lacks)
			str_add(&out, "%s%s of leaf 0x%" PRIx32 ".%" PRIu32 " bits 0x%" PRIx32,
				out.len ? ", " : "", reg_names[r->reg], r->leaf, r->sub, lacks);
	}
	if (!out.len)
		return 0;
	return err_set(e, ERR_BAD, "the guest uses what this host's processor lacks, by CPUID: %s",
		       str_text(&out));
}
