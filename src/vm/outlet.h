/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An outlet is what a console ends in: the half that all kinds have in common. A chardev for the
 * device, the lock, the loop that serves it while a machine is there, and input that waits until the
 * device has room. The kinds are vm/line (descriptors: terminal, file, pseudo-terminal) and vm/sock
 * (a listening socket); vm/tty holds them.
 */
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/loop.h"
#include "core/chardev.h"

/* How long a reader may stand still before the guest goes on without it, and how long what is kept
 * may take to go out at the end. */
#define OUTLET_PATIENCE_NS 10000000000ull
#define OUTLET_FAREWELL_NS 1000000000ull

struct outlet;
struct outlet_ops {
	struct chardev_ops chardev; /* want_input is outlet_want_input */
	/* Io loop: s->loop is there from now on; before it goes. */
	void (*attach)(struct outlet *s);
	void (*detach)(struct outlet *s);
	/* Io loop: the device wants input, or the rest of it can be given. */
	void (*input_turn)(void *outlet);
	/* Control thread, NULL without a window: ask for its size. */
	void (*winch)(struct outlet *s);
	/* Control thread, detached: what is kept goes out or is lost. */
	void (*free)(struct outlet *s);
};

struct outlet {
	struct chardev c; /* first member */
	const struct outlet_ops *ops;
	struct link link;
	pthread_mutex_t lock;
	struct loop *loop; /* while attached; under the lock */
	bool off;	   /* the device wants no input; under the lock */
	bool full;	   /* the device took less than it was given; under the lock */
	uint8_t *in;	   /* read and not yet taken; the io loop's */
	size_t in_at, in_len;
	struct loop_msg in_msg;
};

void outlet_init(struct outlet *s, const struct outlet_ops *ops);
void outlet_fini(struct outlet *s);
/* Control thread. Detaching twice is fine. */
void outlet_attach(struct outlet *s, struct loop *io);
void outlet_detach(struct outlet *s);

/* Io loop. Gives the device what was read; true when nothing is left and it wants more. */
bool outlet_deliver(struct outlet *s);
/* Io loop, when outlet_deliver said true: reads once. Returns what read(2) does. */
ssize_t outlet_read(struct outlet *s, int fd);
void outlet_want_input(struct chardev *c, bool on);
/* Tells a changed size of the window, once. */
void outlet_window(struct outlet *s, uint16_t cols, uint16_t rows);

/* Is this errno that of a descriptor with nothing to be had now? */
bool outlet_would_block(int error);
