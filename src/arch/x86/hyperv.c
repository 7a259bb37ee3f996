/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPUID leaves by which Windows, and Linux, find Hyper-V. What is shown is what this machine
 * wants of it and the hypervisor offers: its counter and reference page of time, its interrupt
 * controller and timers, calls that flush other vCPUs or interrupt them. Control thread. Microsoft
 * Hypervisor Top Level Functional Specification, chapter 2.
 */
#include "arch/x86/leaves.h"
#include "base/mem.h"

#define HV_VENDOR 0x40000000u
#define HV_INTERFACE 0x40000001u
#define HV_VERSION 0x40000002u
#define HV_FEATURES 0x40000003u
#define HV_HINTS 0x40000004u
#define HV_LAST 0x4000000au

#define INTERFACE_HV1 0x31237648u /* "Hv#1" */

/* Registers that a guest may use, of leaf 0x40000003 eax. */
#define USES_RUN_TIME (1u << 0)
#define USES_COUNTER (1u << 1)
#define USES_SYNIC (1u << 2)
#define USES_TIMERS (1u << 3)
#define USES_APIC (1u << 4)
#define USES_HYPERCALLS (1u << 5)
#define USES_INDEX (1u << 6)
#define USES_REFERENCE_TSC (1u << 9)
#define USES_FREQUENCIES (1u << 11)
/* and edx */
#define HAS_PARTITIONING (1u << 3) /* processors come and go */
#define HAS_XMM_INPUT (1u << 4)
#define HAS_FREQUENCIES (1u << 8)
#define HAS_FLUSH_RANGES (1u << 14)
#define HAS_DIRECT_TIMERS (1u << 19)
/* What pays, of leaf 0x40000004 eax. */
#define PAYS_FLUSH_LOCAL (1u << 1)
#define PAYS_FLUSH_REMOTE (1u << 2)
#define PAYS_APIC (1u << 3)
#define PAYS_RELAXED (1u << 5) /* a host may be busy: no watchdogs */
#define PAYS_NO_AUTO_EOI (1u << 9)
#define PAYS_CLUSTER_IPI (1u << 10)
#define PAYS_SPARSE_SETS (1u << 11)
#define SPINS 0xfffu /* rounds in a lock before the hypervisor is told */

struct want {
	uint32_t leaf;
	uint32_t eax, edx;	     /* where the hypervisor offers them */
	uint32_t eax_sure, edx_sure; /* these need nothing of it */
	uint32_t ebx;
};

static const struct want wants[] = {
	{
		.leaf = HV_FEATURES,
		.eax = USES_RUN_TIME | USES_COUNTER | USES_SYNIC | USES_TIMERS | USES_APIC |
		       USES_HYPERCALLS | USES_INDEX | USES_REFERENCE_TSC | USES_FREQUENCIES,
		.edx = HAS_XMM_INPUT | HAS_FREQUENCIES | HAS_FLUSH_RANGES | HAS_DIRECT_TIMERS,
		.edx_sure = HAS_PARTITIONING,
	},
	{
		.leaf = HV_HINTS,
		.eax = PAYS_FLUSH_LOCAL | PAYS_FLUSH_REMOTE | PAYS_APIC | PAYS_NO_AUTO_EOI |
		       PAYS_CLUSTER_IPI | PAYS_SPARSE_SETS,
		.eax_sure = PAYS_RELAXED,
		.ebx = SPINS,
	},
};

static const struct hv_cpuid *offered(const struct hv_cpuid *offer, uint32_t count, uint32_t leaf)
{
	static const struct hv_cpuid nothing;

	for (uint32_t i = 0; i < count; i++)
		if (offer[i].leaf == leaf)
			return &offer[i];
	return &nothing;
}

void hyperv_leaves(struct leaves *l, const struct hv_cpuid *offer, uint32_t count)
{
	/* Linux takes Hyper-V's own name only, Windows does not look at it; the version is that of
	 * Windows Server 2008 R2, older than any feature that a guest would expect of a newer */
	const struct hv_cpuid fixed[] = {
		{ .leaf = HV_VENDOR,
		  .eax = HV_LAST,
		  .ebx = 0x7263694d, /* "Micr" "osof" "t Hv" */
		  .ecx = 0x666f736f,
		  .edx = 0x76482074 },
		{ .leaf = HV_INTERFACE, .eax = INTERFACE_HV1 },
		{ .leaf = HV_VERSION, .eax = 0x3839, .ebx = 0xa0000 },
	};

	for (uint32_t leaf = HV_VENDOR; leaf <= HV_LAST; leaf++)
		leaf_drop(l, leaf);
	for (uint32_t i = 0; i < ARRAY_LEN(fixed); i++)
		leaf_add(l, fixed[i]);
	for (uint32_t i = 0; i < ARRAY_LEN(wants); i++) {
		const struct want *w = &wants[i];
		const struct hv_cpuid *o = offered(offer, count, w->leaf);

		leaf_add(l, (struct hv_cpuid){
				    .leaf = w->leaf,
				    .eax = (o->eax & w->eax) | w->eax_sure,
				    .ebx = w->ebx,
				    .edx = (o->edx & w->edx) | w->edx_sure,
			    });
	}
	for (uint32_t leaf = HV_HINTS + 1; leaf <= HV_LAST; leaf++)
		leaf_add(l, (struct hv_cpuid){ .leaf = leaf });
}
