/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API over D-Bus: the same rows, the same gate (api/api.h), other clothes. An object with the
 * interface org.cloudhypervisor.DBusApi1 at a name and path of the user's choice. A row's method is
 * called as its path in capitals, VmAddDisk for vm.add-disk; arguments and answers are JSON strings, a
 * refusal is an error with its sentences in one line. A row that takes descriptors has a second method
 * with Fds behind its name, which takes an array of them too. Each event is a signal Event with its
 * JSON.
 *
 * A bus that goes away takes its calls with it; it is knocked at until it is there again.
 *
 * Built with -Ddbus=true only; the library is sd-bus. Control thread, on its loop; nothing waits for
 * the bus but the start. Who may call is for the bus's own rules to say.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "conf/conf.h"

struct api;
struct dbus;

#ifdef VIRGA_DBUS
/* Connects to the bus, takes the name and answers. The API is borrowed. Without a name in the
 * configuration *out is NULL. */
MUST int dbus_new(struct dbus **out, struct api *api, struct loop *ctl, const struct vmm_conf *c,
		  struct err *e);
/* Leaves the bus; what was asked and is not answered gets no answer. NULL is fine. */
void dbus_free(struct dbus *d);
#else
static inline MUST int dbus_new(struct dbus **out, struct api *api, struct loop *ctl,
				const struct vmm_conf *c, struct err *e)
{
	(void)api;
	(void)ctl;
	(void)c;
	(void)e;
	*out = NULL;
	return 0;
}
static inline void dbus_free(struct dbus *d)
{
	(void)d;
}
#endif
