/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that come and go after the start: in the config only while there is no machine, else on
 * its board too. How a guest is asked and answers is dev/pcihp's; who waits for that, vm/removals'.
 * Control thread, which has the VM and its config.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"

struct machine;

/* Whom it is about. */
struct hotplug {
	struct vm_conf *conf;
	uint32_t *next_id;			 /* for names that we choose */
	struct machine *machine;		 /* NULL: there is none */
	bool stands_still;			 /* the machine is paused */
	void (*gone)(void *arg, const char *id); /* a device has left */
	void *arg;
};

/* A device that is to come. */
struct hotplug_new {
	const struct desc *kind; /* its table */
	void *conf;		 /* of that kind; left empty when it was taken over */
	/* the answer */
	bool plugged; /* else it is in the config only */
	char *id;     /* the caller frees it */
	char bdf[13];
};
/* What was taken over of one that is refused is freed, its descriptors closed. */
MUST int hotplug_add(const struct hotplug *h, struct hotplug_new *n, struct err *e);

enum hotplug_how { HOTPLUG_ASK, HOTPLUG_FORCE };
/* Takes a device out: at once by force or where there is no machine, else the guest is asked, or asked
 * again. ERR_ABSENT without such a device, ERR_DENIED for one that stays as long as the machine. */
MUST int hotplug_remove(const struct hotplug *h, const char *id, enum hotplug_how how, bool *gone,
			struct err *e);
/* Carries out what the guest has let go of. */
void hotplug_carry_out(const struct hotplug *h);
/* The machine ends: what the guest was asked for goes now. */
void hotplug_settle(const struct hotplug *h);
