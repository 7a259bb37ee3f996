/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of CPUID leaves in the making, and those who fill in their part of it: topo.c the
 * topology, hyperv.c what Windows looks for. cpuid.c calls them; it alone knows the whole. Control
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/x86/cpuid.h"
#include "hv/hv.h"

struct leaves {
	struct hv_cpuid *row; /* owned; sub decides only where sub_matters */
	uint32_t count;
};

/* NULL without such a leaf. Until the next add. */
struct hv_cpuid *leaf_find(struct leaves *l, uint32_t leaf, uint32_t sub);
/* All subleaves of it. */
void leaf_drop(struct leaves *l, uint32_t leaf);
void leaf_add(struct leaves *l, struct hv_cpuid row);

/* Threads, cores, dies and caches, as Intel and AMD tell them. */
void topo_leaves(struct leaves *l, const struct x86_topo *t, bool amd);
/* The registers in which a vCPU finds its own place. */
void topo_personal(struct leaves *l, const struct x86_topo *t, uint32_t vcpu);

/* Takes KVM's own leaves out and puts Hyper-V's in: of what the hypervisor offers, the part that
 * is good for a guest. */
void hyperv_leaves(struct leaves *l, const struct hv_cpuid *offer, uint32_t count);
