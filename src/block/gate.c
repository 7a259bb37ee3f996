/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See gate.h. Every function is called by the queues' loops; the lock is held for a few
 * instructions and never while anything is waited for.
 */
#include "block/gate.h"

#include "base/mem.h"

void gate_init(struct gate *g)
{
	*g = (struct gate){ 0 };
	pthread_mutex_init(&g->lock, NULL);
	list_init(&g->waiting);
}

void gate_fini(struct gate *g)
{
	pthread_mutex_destroy(&g->lock);
}

void gate_place_init(struct gate_place *p, struct loop *l)
{
	*p = (struct gate_place){ .loop = l };
	list_init(&p->link);
}

/* The message itself is empty: the turn that it causes tries again. */
static void woken(void *arg)
{
	(void)arg;
}

/* All in line, so that those who may go in together do. */
static void wake(struct gate *g)
{
	for (struct link *l; (l = list_take_first(&g->waiting));) {
		struct gate_place *p = container_of(l, struct gate_place, link);

		p->waits = false;
		loop_post(p->loop, &p->msg, woken, NULL);
	}
}

bool gate_enter(struct gate *g, struct gate_place *p, enum gate_way way)
{
	bool open;

	pthread_mutex_lock(&g->lock);
	/* Who comes while somebody waits, waits too: or one who must be alone would do so for ever.
	 * A line only stands before a gate that is taken. */
	open = list_empty(&g->waiting) && !g->alone && (way == GATE_TOGETHER || !g->together);
	if (open && way == GATE_TOGETHER)
		g->together++;
	if (open && way == GATE_ALONE)
		g->alone = true;
	if (!open && !p->waits) {
		p->waits = true;
		list_add_tail(&g->waiting, &p->link);
	}
	pthread_mutex_unlock(&g->lock);
	return open;
}

void gate_leave(struct gate *g, enum gate_way way)
{
	pthread_mutex_lock(&g->lock);
	if (way == GATE_ALONE)
		g->alone = false;
	else
		g->together--;
	if (!g->alone && !g->together)
		wake(g);
	pthread_mutex_unlock(&g->lock);
}

void gate_forget(struct gate *g, struct gate_place *p)
{
	pthread_mutex_lock(&g->lock);
	if (p->waits)
		list_drop(&p->link);
	p->waits = false;
	/* who stood behind may go in now */
	if (!g->alone && !g->together)
		wake(g);
	pthread_mutex_unlock(&g->lock);
	loop_unpost(p->loop, &p->msg);
}
