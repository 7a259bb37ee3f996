/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of CPUID leaves: find, drop, add. See leaves.h.
 */
#include "arch/x86/leaves.h"

#include "base/mem.h"

struct hv_cpuid *leaf_find(struct leaves *l, uint32_t leaf, uint32_t sub)
{
	for (uint32_t i = 0; i < l->count; i++)
		if (l->row[i].leaf == leaf && (!l->row[i].sub_matters || l->row[i].sub == sub))
			return &l->row[i];
	return NULL;
}

void leaf_drop(struct leaves *l, uint32_t leaf)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->count; i++)
		if (l->row[i].leaf != leaf)
			l->row[n++] = l->row[i];
	l->count = n;
}

void leaf_add(struct leaves *l, struct hv_cpuid row)
{
	l->row = mem_resize(l->row, l->count, l->count + 1, sizeof *l->row);
	l->row[l->count++] = row;
}
