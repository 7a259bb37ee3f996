/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns of a queue. See turn.h.
 */
#include "dev/turn.h"

static enum turn_end answer_each(struct turn *t)
{
	struct vq *q = &t->q->q;

	for (unsigned int i = 0; i < TURN_CHAINS; i++) {
		struct chain c;
		int64_t n;

		switch (vq_pop(q, &c)) {
		case VQ_BAD:
			return TURN_BAD;
		case VQ_EMPTY:
			return TURN_EMPTY;
		case VQ_CHAIN:
			break;
		}
		n = t->answer(t->q->vdev, &c);
		if (n < 0)
			return TURN_BAD;
		vq_push(q, c.head, (uint32_t)n);
	}
	return TURN_MORE;
}

static void turn_take(void *arg)
{
	struct turn *t = arg;
	struct vqueue *q = t->q;
	enum turn_end end;

	if (!q->running || vdev_is_broken(q->vdev))
		return;
	vq_mute(&q->q);
	end = t->serve ? t->serve(q->vdev, &q->q) : answer_each(t);
	vqueue_notify(q);
	if (end == TURN_BAD)
		vdev_broken(q->vdev, "a request that is none");
	else if (end == TURN_MORE || (end == TURN_EMPTY && vq_listen(&q->q)))
		loop_post(q->loop, &t->again, turn_take, t);
}

void turn_kick(struct turn *t)
{
	turn_take(t);
}

static void turn_forget(void *arg)
{
	struct turn *t = arg;

	loop_unpost(t->q->loop, &t->again);
}

void turn_fini(struct turn *t)
{
	loop_call(t->q->loop, turn_forget, t);
}
