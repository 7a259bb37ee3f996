/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM: its config, its life, and the machine while there is one.
 *
 *	          vm_boot                 guest: power-off, vm_shutdown
 *	CREATED -----------> RUNNING -------------------------------------> SHUTDOWN
 *	                     |     ^                                            | vm_boot
 *	                     +-----+ guest: reset (machine freed and built again) +--> RUNNING
 *
 * Everything here is for the control thread; what the guest asks for arrives there as a message.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "conf/conf.h"

struct loop;
struct vm;

/* Upward talk to main: the VM came to rest. */
struct vm_up {
	/* the guest powered off, or the machine failed (why is set) */
	void (*ended)(void *arg, bool failed);
	/* asked while the VM is built, if that takes long: is the program to end? Then building
	 * fails. */
	bool (*is_ending)(void *arg);
	void *arg;
};

/* Takes conf over (also on failure) and leaves *conf empty. */
MUST int vm_new(struct vm **out, struct vm_conf *conf, struct loop *ctl, const struct vm_up *up,
		struct err *e);
/* Builds the machine and lets it run. */
MUST int vm_boot(struct vm *v, struct err *e);
/* A non-maskable interrupt for every vCPU, as a person's button on a server; the VM runs. */
MUST int vm_nmi(struct vm *v, struct err *e);
/* Tears the machine down; config and terminals stay. */
void vm_shutdown(struct vm *v);
/* Shuts down, restores terminals, frees. NULL is fine. */
void vm_free(struct vm *v);
enum vm_state vm_state(const struct vm *v);
/* The terminal behind a console changed its size. */
void vm_winch(struct vm *v);
