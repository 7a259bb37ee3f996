/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects the options from the tables. It neither parses nor prints. Any thread; no state.
 */
#include "conf/opt.h"

#include <assert.h>

#include "conf/conf.h"

static void collect(struct opt *out, uint32_t *n, const struct desc *d, bool vmm, uint32_t off)
{
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		if (f->opt) {
			assert(*n < OPT_MAX);
			out[(*n)++] = (struct opt){ f, d, vmm, off };
		}
		if (desc_field_type(f) == D_OBJ && !desc_is_list(f) && !desc_is_pointer(f))
			collect(out, n, f->sub, vmm, off + f->off);
	}
}

uint32_t opt_all(struct opt *out)
{
	uint32_t n = 0;

	collect(out, &n, &vm_desc, false, 0);
	collect(out, &n, &vmm_desc, true, 0);
	return n;
}

bool opt_is_flag(const struct opt *o)
{
	if (o->f->flags & F_COUNTED)
		return true;
	if (desc_field_type(o->f) == D_OBJ)
		return !desc_is_list(o->f) && !o->f->sub->count;
	return desc_field_type(o->f) == D_BOOL;
}

bool opt_is_lenient(const struct opt *o)
{
	return desc_is_pointer(o->f) && o->f->flags & F_BARE;
}
