/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of those who wait, each with a timer; the one without a function to call is the event's.
 * See removals.h.
 */
#include "vm/removals.h"

#include <string.h>

#include "base/event.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

struct removal {
	struct link link;
	struct loop_timer timer;
	char *id;
	removal_fn *fn; /* NULL: the event */
	void *arg;
};

void removals_init(struct removals *s, struct loop *ctl)
{
	s->ctl = ctl;
	list_init(&s->list);
}

/* It is in the list no more, so that fn may wait anew. */
static void finish(struct removal *r, const struct err *e)
{
	list_drop(&r->link);
	loop_timer_stop(&r->timer);
	if (r->fn)
		r->fn(r->arg, e);
	free(r->id);
	free(r);
}

static void on_time(void *arg)
{
	struct removal *r = arg;
	struct err e = { 0 };

	if (!r->fn) {
		log_warn("the guest has not let go of %s, and is asked still", r->id);
		event("vm", "device-removal-ignored", r->id);
	}
	err_set(&e, ERR_BUSY, "the guest has not let go of %s yet, and is asked still", r->id);
	finish(r, &e);
}

static void add(struct removals *s, const char *id, uint64_t ns, removal_fn *fn, void *arg)
{
	struct removal *r = NEW(struct removal);

	r->id = mem_str(id);
	r->fn = fn;
	r->arg = arg;
	list_add_tail(&s->list, &r->link);
	loop_timer_set(s->ctl, &r->timer, loop_now_ns() + ns, on_time, r);
}

void removals_asked(struct removals *s, const char *id, uint64_t ns)
{
	list_each (at, &s->list) {
		struct removal *r = container_of(at, struct removal, link);

		if (!r->fn && !strcmp(r->id, id)) {
			finish(r, NULL);
			break;
		}
	}
	add(s, id, ns ? ns : REMOVAL_PATIENCE_NS, NULL, NULL);
}

void removals_wait(struct removals *s, const char *id, uint64_t ns, removal_fn *fn, void *arg)
{
	add(s, id, ns, fn, arg);
}

/* The first of that name; NULL when there is none. */
static struct removal *first_of(struct removals *s, const char *id)
{
	list_each (at, &s->list) {
		struct removal *r = container_of(at, struct removal, link);

		if (!strcmp(r->id, id))
			return r;
	}
	return NULL;
}

void removals_gone(struct removals *s, const char *id)
{
	struct removal *r;

	while ((r = first_of(s, id)))
		finish(r, NULL);
}

void removals_end(struct removals *s)
{
	struct err e = { 0 };

	err_set(&e, ERR_STATE, "the virtual machine is gone");
	while (!list_empty(&s->list))
		finish(container_of(s->list.next, struct removal, link), &e);
}
