/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed places: claim copies the places out of the conf, in puts the banks on the buses, out takes
 * them off and waits for the vCPUs inside. Control thread.
 */
#include "core/fixed.h"

#include "base/mem.h"

struct fixed {
	struct fixed_place place[FIXED_BANKS_MAX];
	struct bus_range range[FIXED_BANKS_MAX];
};

static const struct fixed_class *fixed_class(const struct dev *d)
{
	return container_of(d->class, struct fixed_class, dev);
}

static int fixed_claim(struct dev *d, const struct dev_args *a, struct err *e)
{
	const struct fixed_conf *c = a->conf;
	struct fixed *f;

	if (!c)
		return err_set(e, ERR_BAD, "nobody said where %s is", d->class->name);
	f = NEW(struct fixed);
	for (unsigned int i = 0; i < FIXED_BANKS_MAX; i++)
		f->place[i] = c->place[i];
	d->plug = f;
	return 0;
}

static void fixed_out(struct dev *d)
{
	struct fixed *f = d->plug;

	for (unsigned int i = 0; i < FIXED_BANKS_MAX; i++)
		bus_drop(&f->range[i]);
}

static int fixed_in(struct dev *d, struct err *e)
{
	const struct fixed_class *c = fixed_class(d);
	struct fixed *f = d->plug;

	for (unsigned int i = 0; i < FIXED_BANKS_MAX && c->bank[i].len; i++) {
		struct fixed_place p = f->place[i];

		if (p.bus == FIXED_NONE)
			continue;
		f->range[i].ops = c->bank[i].ops;
		f->range[i].arg = d;
		if (bus_add(p.bus == FIXED_PIO ? d->board->pio : d->board->mmio, &f->range[i],
			    p.base, c->bank[i].len, e)) {
			fixed_out(d);
			return -1;
		}
	}
	return 0;
}

static void fixed_unclaim(struct dev *d)
{
	free(d->plug);
	d->plug = NULL;
}

struct fixed_place fixed_place(const struct dev *d, unsigned int n)
{
	const struct fixed *f = d->plug;

	return n < FIXED_BANKS_MAX ? f->place[n] : (struct fixed_place){ 0 };
}

const struct plug fixed_plug = {
	.name = "fixed",
	.claim = fixed_claim,
	.in = fixed_in,
	.out = fixed_out,
	.unclaim = fixed_unclaim,
};
