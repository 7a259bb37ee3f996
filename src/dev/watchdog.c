/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watchdog. See watchdog.h.
 */
#include "dev/watchdog.h"

#include <inttypes.h>

#include "base/counter.h"
#include "base/log.h"
#include "dev/turn.h"
#include "virtio/vpci.h"

#define QUEUE_SIZE 8
#define CHECK_MS 15000u
#define TIMEOUT_MS 20000u
#define MS_NS 1000000ull

struct watchdog_state {
	uint32_t silent_ms; /* when the machine stood still last: since the last ping, */
	uint32_t check_ms;  /* and until the next look */
	uint8_t armed;
	uint8_t pad[3];
};

/* What has passed so far. */
struct watchdog_counters {
	uint64_t pings, resets;
};

struct watchdog {
	struct vdev v; /* first member */
	struct watchdog_state s;
	uint64_t pinged_ns;
	struct loop_timer check;
	struct turn turn;
	struct watchdog_counters n;
};

static struct watchdog *watchdog_of(struct vdev *v)
{
	return container_of(v, struct watchdog, v);
}

static void watchdog_check(void *arg);

static void check_after(struct watchdog *w, uint64_t ms)
{
	loop_timer_set(w->v.queues[0].loop, &w->check, loop_now_ns() + ms * MS_NS, watchdog_check,
		       w);
}

static uint64_t silent_ms(const struct watchdog *w)
{
	return (loop_now_ns() - w->pinged_ns) / MS_NS;
}

static void watchdog_check(void *arg)
{
	struct watchdog *w = arg;
	const struct board_up *up = &w->v.dev.board->up;
	uint64_t ms = silent_ms(w);

	if (ms <= TIMEOUT_MS) {
		check_after(w, CHECK_MS);
		return;
	}
	w->s.armed = 0;
	counter_add(&w->n.resets, 1);
	log_warn("%s: the guest has been silent for %" PRIu64 " s and is reset", w->v.dev.id,
		 ms / 1000);
	if (up->event)
		up->event(up->arg, "watchdog", "expired", w->v.dev.id);
	up->wish(up->arg, WISH_RESET);
}

static int64_t watchdog_ping(struct vdev *v, const struct chain *c)
{
	struct watchdog *w = watchdog_of(v);
	const uint8_t heard = 1;

	if (chain_put(c, 0, &heard, 1) != 1)
		return -1;
	w->pinged_ns = loop_now_ns();
	counter_add(&w->n.pings, 1);
	if (!w->s.armed)
		check_after(w, CHECK_MS);
	w->s.armed = 1;
	return 1;
}

static void watchdog_kick(struct vqueue *q)
{
	turn_kick(&watchdog_of(q->vdev)->turn);
}

/* In the loop. One whose ring is broken counts on: nothing can be heard from its guest. */
static void disarm(void *arg)
{
	struct watchdog *w = arg;

	loop_timer_stop(&w->check);
	w->s = (struct watchdog_state){ 0 };
}

static void freeze(void *arg)
{
	struct watchdog *w = arg;
	uint64_t now = loop_now_ns(), due = w->check.due_ns;

	if (!w->check.loop)
		return;
	w->s.silent_ms = (uint32_t)silent_ms(w);
	w->s.check_ms = due > now ? (uint32_t)((due - now) / MS_NS) : 0;
	loop_timer_stop(&w->check);
}

static void thaw(void *arg)
{
	struct watchdog *w = arg;

	if (!w->s.armed || w->check.loop)
		return;
	w->pinged_ns = loop_now_ns() - w->s.silent_ms * MS_NS;
	check_after(w, w->s.check_ms);
}

static void watchdog_reset(struct vdev *v)
{
	loop_call(v->queues[0].loop, disarm, watchdog_of(v));
}

static int watchdog_quiesce(struct dev *d, struct err *e)
{
	(void)e;
	vdev_stop(vdev_of(d));
	loop_call(d->board->io, freeze, watchdog_of(vdev_of(d)));
	return 0;
}

static void watchdog_resume(struct dev *d)
{
	loop_call(d->board->io, thaw, watchdog_of(vdev_of(d)));
	vdev_start(vdev_of(d));
}

static int watchdog_init(struct dev *d, struct err *e)
{
	struct watchdog *w = watchdog_of(vdev_of(d));

	if (vdev_queues(&w->v, 1, QUEUE_SIZE, e))
		return -1;
	w->v.queues[0].loop = d->board->io;
	w->turn.q = &w->v.queues[0];
	w->turn.answer = watchdog_ping;
	return 0;
}

static void watchdog_fini(struct dev *d)
{
	struct watchdog *w = watchdog_of(vdev_of(d));

	loop_call(d->board->io, disarm, w); /* and what was posted there passes */
	vdev_fini(&w->v);
}

static const struct field state_fields[] = {
	S(struct watchdog_state, silent_ms, .max = 1u << 31),
	S(struct watchdog_state, check_ms, .max = CHECK_MS),
	S(struct watchdog_state, armed, .max = 1),
	S_PAD(struct watchdog_state, pad),
};
static const struct desc state_rows = DESC_OF(struct watchdog_state, state_fields, "WatchdogState");

static const struct field counter_fields[] = {
	S(struct watchdog_counters, pings, .doc = "times that the guest has said that it lives"),
	S(struct watchdog_counters, resets,
	  .doc = "times that the guest was silent for too long and was reset"),
};
static const struct desc counter_rows =
	DESC_OF(struct watchdog_counters, counter_fields, "watchdog counters");

const struct virtio_class watchdog_class = {
	.dev = {
		.name = "watchdog",
		.state = &state_rows,
		.size = sizeof(struct watchdog),
		.state_off = offsetof(struct watchdog, s),
		.counters = &counter_rows,
		.counters_off = offsetof(struct watchdog, n),
		.init = watchdog_init,
		.quiesce = watchdog_quiesce,
		.resume = watchdog_resume,
		.fini = watchdog_fini,
		.plug = &vpci_plug,
		.profile = "io",
	},
	.type = 35,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.kick = watchdog_kick,
	.reset = watchdog_reset,
};
