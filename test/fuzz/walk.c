/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables of a hostile guest: RAM of 64 KiB filled with the input, and a walk in the way of
 * paging that its first bytes say. Whatever is found there, the walk ends, and a page is what its
 * size says.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/debug.h"
#include "base/bits.h"

#define HEAD 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct backing_args b = { 0 };
	struct arch_cpu c = { 0 };
	struct err e = { 0 };
	static struct gmem *m;
	uint64_t va, run;
	size_t n;
	gpa_t a;

	if (size < HEAD)
		return -1;
	if (!m && (gmem_new(&m, &e) || gmem_add(m, GPA(0), KIB(64), &b, &e)))
		abort();
	c.r.cr0 = 1ull << 31;
	c.r.cr4 = le16_get(data);
	c.r.efer = le16_get(data + 2);
	c.r.cr3 = le64_get(data + 8) & 0x80000000000fffff;
	va = le64_get(data + 16);
	n = size - HEAD < KIB(64) ? size - HEAD : KIB(64);
	if (gmem_zero(m, GPA(0), KIB(64)) || gmem_write(m, GPA(0), data + HEAD, n))
		abort();
	if (arch_translate(&a, &run, &c, m, va) == 0 &&
	    (!run || run > GIB(1) || (va + run) % KIB(4) || a.v % KIB(4) != va % KIB(4)))
		abort();
	return 0;
}
