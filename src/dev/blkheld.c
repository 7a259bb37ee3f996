/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holding and trying again. See blkheld.h. A trouble begins with the first request that is held and
 * is over when none is held or on its way any more; it is told at both ends, not at each request.
 */
#include "dev/blkheld.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/event.h"
#include "base/mem.h"

#define WAIT_FIRST_NS 100000000ull
#define WAIT_MAX_NS 5000000000ull
#define ROOM_FIRST 8

void blkheld_init(struct blkheld *h, struct dev *d, struct loop *l, enum on_error way)
{
	*h = (struct blkheld){ .dev = d, .loop = l, .way = way, .wait_ns = WAIT_FIRST_NS };
}

void blkheld_fini(struct blkheld *h)
{
	free(h->heads);
	h->heads = NULL;
}

/* ENOSPC and the like, as all programs call them. */
static void tell(const struct blkheld *h, const char *operation, int os)
{
	static const char *const way[] = {
		[ON_ERROR_REPORT] = "report",
		[ON_ERROR_STOP] = "stop",
		[ON_ERROR_RETRY] = "retry",
	};
	const char *name = strerrorname_np(os);
	const struct event_property p[] = {
		{ "id", h->dev->id },
		{ "operation", operation },
		{ "error", name ? name : "EIO" },
		{ "on_error", way[h->way] },
	};

	event_told("disk", "error", p, ARRAY_LEN(p));
}

static void on_time(void *arg)
{
	struct blkheld *h = arg;

	h->wait_ns = min_u64(2 * h->wait_ns, WAIT_MAX_NS);
	blkheld_try(h);
}

static void begin(struct blkheld *h, const char *operation, int os)
{
	const struct board_up *up = &h->dev->board->up;

	h->told = true;
	tell(h, operation, os);
	if (h->way == ON_ERROR_STOP && up->pause)
		up->pause(up->arg);
}

void blkheld_put(struct blkheld *h, uint16_t head)
{
	if (h->count == h->room) {
		uint32_t room = h->room ? 2 * h->room : ROOM_FIRST;

		h->heads = mem_resize(h->heads, h->room, room, sizeof(h->heads[0]));
		h->room = room;
	}
	h->heads[h->count++] = head;
}

bool blkheld_take(struct blkheld *h, uint16_t head, bool was, bool may_hold, const char *operation,
		  int os)
{
	uint32_t dropped;

	if (h->way == ON_ERROR_REPORT || !may_hold) {
		if (log_site_admits(&h->site, loop_now_ns(), &dropped))
			tell(h, operation, os);
		return false;
	}
	if (!h->told)
		begin(h, operation, os);
	h->trying -= was;
	/* the first of them: none of those behind it has a timer of its own */
	if (h->way == ON_ERROR_RETRY && !h->count)
		loop_timer_set(h->loop, &h->timer, loop_now_ns() + h->wait_ns, on_time, h);
	blkheld_put(h, head);
	return true;
}

void blkheld_ended(struct blkheld *h)
{
	h->trying--;
	if (h->trying || h->count)
		return;
	h->told = false;
	h->wait_ns = WAIT_FIRST_NS;
	event("disk", "recovered", h->dev->id);
}

void blkheld_try(struct blkheld *h)
{
	uint32_t n = h->count;

	/* one that fails again is held again later, from the loop */
	h->count = 0;
	h->trying += n;
	for (uint32_t i = 0; i < n; i++)
		h->again(h->arg, h->heads[i]);
}

void blkheld_start(struct blkheld *h, void (*again)(void *arg, uint16_t head), void *arg)
{
	h->again = again;
	h->arg = arg;
	h->count = h->trying = 0;
	h->told = false;
}

void blkheld_stop(struct blkheld *h)
{
	loop_timer_stop(&h->timer);
}
