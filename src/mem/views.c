/* SPDX-License-Identifier: Apache-2.0 */
/* A sorted array under a lock: looked at rarely, cut as often as the guest gives memory back. See views.h. */
#include "mem/views.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

struct view {
	uint64_t base, size, off;
};

struct views {
	pthread_mutex_t lock;
	struct view *view; /* by address */
	unsigned int count;
};

struct views *views_new(void)
{
	struct views *v = NEW(struct views);

	pthread_mutex_init(&v->lock, NULL);
	v->view = NEW(struct view);
	return v;
}

void views_free(struct views *v)
{
	if (!v)
		return;
	pthread_mutex_destroy(&v->lock);
	free(v->view);
	free(v);
}

/* Room for as many as there are and one. */
static void make_room(struct views *v)
{
	unsigned int n = v->count;

	if (!(n & (n - 1)))
		v->view = mem_resize(v->view, n, n ? 2 * (size_t)n : 1, sizeof(v->view[0]));
}

void views_add(struct views *v, uint64_t base, uint64_t size, uint64_t off)
{
	pthread_mutex_lock(&v->lock);
	make_room(v);
	v->view[v->count++] = (struct view){ base, size, off };
	pthread_mutex_unlock(&v->lock);
}

unsigned int views_count(struct views *v)
{
	unsigned int n;

	pthread_mutex_lock(&v->lock);
	n = v->count;
	pthread_mutex_unlock(&v->lock);
	return n;
}

/* The first that ends behind a. */
static unsigned int first_behind(const struct views *v, uint64_t a)
{
	unsigned int from = 0, to = v->count;

	while (from < to) {
		unsigned int mid = from + (to - from) / 2;

		if (v->view[mid].base + v->view[mid].size > a)
			to = mid;
		else
			from = mid + 1;
	}
	return from;
}

/* What a cut leaves of the first and the last of the views that it meets. */
struct cut {
	unsigned int first, met;
	struct view left[2];
	unsigned int lefts;
};

static struct cut cut_of(const struct views *v, uint64_t a, uint64_t len)
{
	struct cut c = { .first = first_behind(v, a) };
	uint64_t end = a + len;
	const struct view *w = v->view + c.first, *last;

	while (c.first + c.met < v->count && w[c.met].base < end)
		c.met++;
	if (!c.met)
		return c;
	last = w + c.met - 1;
	if (w->base < a)
		c.left[c.lefts++] = (struct view){ w->base, a - w->base, w->off };
	if (last->base + last->size > end)
		c.left[c.lefts++] = (struct view){ end, last->base + last->size - end,
						   last->off + (end - last->base) };
	return c;
}

unsigned int views_without(struct views *v, uint64_t a, uint64_t len)
{
	unsigned int n;
	struct cut c;

	pthread_mutex_lock(&v->lock);
	c = cut_of(v, a, len);
	n = v->count - c.met + c.lefts;
	pthread_mutex_unlock(&v->lock);
	return n;
}

void views_drop(struct views *v, uint64_t a, uint64_t len)
{
	unsigned int behind;
	struct view *at;
	struct cut c;

	pthread_mutex_lock(&v->lock);
	c = cut_of(v, a, len);
	if (c.lefts > c.met)
		make_room(v);
	at = v->view + c.first;
	behind = v->count - c.first - c.met;
	if (c.met) {
		memmove(at + c.lefts, at + c.met, behind * sizeof(at[0]));
		memcpy(at, c.left, c.lefts * sizeof(at[0]));
	}
	v->count = c.first + c.lefts + behind;
	pthread_mutex_unlock(&v->lock);
}

bool views_at(struct views *v, uint64_t a, uint64_t len, uint64_t *n, uint64_t *off)
{
	const struct view *w;
	unsigned int i;
	bool is;

	pthread_mutex_lock(&v->lock);
	i = first_behind(v, a);
	w = v->view + i;
	is = i < v->count && w->base <= a;
	*n = len;
	if (is) {
		*off = w->off + (a - w->base);
		*n = min_u64(len, w->base + w->size - a);
	} else if (i < v->count) {
		*n = min_u64(len, w->base - a);
	}
	pthread_mutex_unlock(&v->lock);
	return is;
}
