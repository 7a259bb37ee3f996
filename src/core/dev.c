/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one road in and out of a board. Every step of the way in has its step back, and a failure
 * takes the steps back that were gone, in turn. Control thread.
 *
 *	in:   id -> claim -> saved state -> init -> saved state of the plug -> plug in -> list
 *	out:  list -> plug out -> fini -> unclaim -> id
 */
#include "core/dev.h"

#include <string.h>

#include "base/counter.h"
#include "base/loop.h"
#include "base/mem.h"
#include "core/snap.h"

void board_init(struct board *b)
{
	*b = (struct board){ .born_ns = loop_now_ns() };
	list_init(&b->devs);
	list_init(&b->rates);
}

int board_refuse(struct board *b, struct err *e)
{
	if (!b->refused)
		return -1;
	b->refused(b->refused_arg, e);
	return 0;
}

struct dev *dev_find(struct board *b, const char *id)
{
	list_each (l, &b->devs) {
		struct dev *d = container_of(l, struct dev, link);

		if (!strcmp(d->id, id))
			return d;
	}
	return NULL;
}

uint32_t dev_counters(const struct dev_class *c)
{
	return c->counters ? c->counters->count : 0;
}

void dev_count(struct dev *d, uint64_t *out)
{
	const struct dev_class *c = d->class;
	const uint64_t *from = (const uint64_t *)(const void *)((const char *)d + c->counters_off);

	if (c->count) {
		c->count(d, out);
		return;
	}
	for (uint32_t i = 0; i < dev_counters(c); i++)
		out[i] = counter_get(&from[i]);
}

static void dev_undo(struct dev *d)
{
	const struct dev_class *c = d->class;

	if (d->step >= DEV_IN && c->plug)
		c->plug->out(d);
	if (d->step >= DEV_READY && c->fini)
		c->fini(d);
	if (d->step >= DEV_CLAIMED && c->plug)
		c->plug->unclaim(d);
	if (c->state)
		desc_free(c->state, (char *)d + c->state_off);
	if (c->conf && d->conf) {
		void *own = (void *)(uintptr_t)d->conf;

		desc_free(c->conf, own);
		free(own);
	}
	free(d->id);
	free(d);
}

/* What is known of a device that goes on. */
static int find_saved(const struct json **out, const struct dev *d, const struct dev_args *a,
		      struct err *e)
{
	const struct board *b = d->board;

	*out = a->saved || !b->saved ? a->saved : board_saved_find(b->saved, d->id);
	if (b->saved && !*out)
		return err_set(e, ERR_BAD, "nothing of it was saved");
	return 0;
}

static int refuse(struct dev *d, struct err *e)
{
	err_in(e, "device %s", d->id);
	return board_refuse(d->board, e);
}

/* Each step that was gone is noted in d. */
static int dev_go(struct dev *d, const struct dev_args *a, struct err *e)
{
	const struct dev_class *c = d->class;
	const struct json *saved;

	if (find_saved(&saved, d, a, e) || (c->plug && c->plug->claim(d, a, e)))
		return -1;
	d->step = DEV_CLAIMED;
	/* what cannot be read does not keep a rehearsal from looking at the rest */
	if (dev_load(d, saved, e) && (!d->board->refused || refuse(d, e)))
		return -1;
	if (c->init && c->init(d, e))
		return -1;
	d->step = DEV_READY;
	if (dev_load_plug(d, saved, e))
		return -1;
	if (c->plug && c->plug->in(d, e))
		return -1;
	d->step = DEV_IN;
	return 0;
}

/* A device's configuration stays as it was, whatever becomes of the list that it came from. */
static const void *conf_copy_of(const struct dev_class *c, const void *conf)
{
	void *own;

	if (!c->conf || !conf)
		return conf;
	own = mem_new(c->conf->size);
	desc_copy(c->conf, own, conf);
	return own;
}

int dev_add(struct dev **out, struct board *b, const struct dev_class *c, const struct dev_args *a,
	    struct err *e)
{
	struct dev *d;

	if (!a->id || !a->id[0])
		return err_set(e, ERR_BAD, "a device of class %s needs an id", c->name);
	if (dev_find(b, a->id))
		return err_set(e, ERR_TAKEN, "the id %s is in use: choose another", a->id);
	d = mem_new(c->size);
	d->class = c;
	d->id = mem_str(a->id);
	d->board = b;
	d->dma = b->dma;
	d->conf = conf_copy_of(c, a->conf);
	list_init(&d->link);
	if (dev_go(d, a, e) && refuse(d, e)) {
		dev_undo(d);
		return -1;
	}
	list_add_tail(&b->devs, &d->link);
	if (out)
		*out = d->step == DEV_IN ? d : NULL;
	return 0;
}

void dev_remove(struct dev *d)
{
	list_drop(&d->link);
	dev_undo(d);
}

void dev_remove_all(struct board *b)
{
	b->ends = true;
	while (!list_empty(&b->devs))
		dev_remove(container_of(b->devs.prev, struct dev, link));
}
