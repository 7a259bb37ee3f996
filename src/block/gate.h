/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate that changes of an image pass when direct I/O moves units larger than a sector. Part of
 * a unit is changed by reading it, patching it and writing it back whole, and whatever another
 * queue changed in that unit meanwhile would be undone. So such a change goes in alone; changes of
 * whole units go in together. Reads pass beside it.
 *
 * It is the one thing that queues of an image share and wait for; nobody sleeps at it. Whoever
 * finds it shut gets a message in his loop when it is worth trying again.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/loop.h"

struct gate {
	pthread_mutex_t lock;
	unsigned int together;
	bool alone;
	struct link waiting; /* places */
};

/* A queue's place in the line. */
struct gate_place {
	struct link link;
	bool waits;
	struct loop *loop;
	struct loop_msg msg;
};

enum gate_way { GATE_OUT, GATE_TOGETHER, GATE_ALONE };

void gate_init(struct gate *g);
void gate_fini(struct gate *g);
void gate_place_init(struct gate_place *p, struct loop *l);
/* False when it is shut: p's loop is woken when that changes. */
bool gate_enter(struct gate *g, struct gate_place *p, enum gate_way way);
void gate_leave(struct gate *g, enum gate_way way);
/* p does not wait any more. For its loop's thread, or while that does not run. */
void gate_forget(struct gate *g, struct gate_place *p);
