/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked lists. A list is a link that points to itself when empty; an element
 * embeds a link and is found again by container_of. No allocation, no lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next, *prev;
};

static inline void list_init(struct link *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct link *l)
{
	return l->next == l;
}
static inline void list_add_tail(struct link *list, struct link *e)
{
	e->prev = list->prev;
	e->next = list;
	list->prev->next = e;
	list->prev = e;
}
/* Takes e out of its list and leaves it empty, so that a second drop does nothing. */
static inline void list_drop(struct link *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	list_init(e);
}
/* The first element taken out, or NULL. */
static inline struct link *list_take_first(struct link *l)
{
	struct link *e = l->next;

	if (e == l)
		return NULL;
	list_drop(e);
	return e;
}
/* Walks; the element in hand may be dropped. */
#define list_each(e, list)                                                                         \
	for (struct link *e = (list)->next, *next_##e = e->next; e != (list);                      \
	     e = next_##e, next_##e = e->next)
