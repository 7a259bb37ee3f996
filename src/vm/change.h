/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be different of a device while it is there: the size of a disk, limits, a card's cable. What
 * was changed is the configuration's too, so a reboot keeps it. Devices come and go elsewhere, vm/plug.
 *
 * change_disk and change_net are for the control thread, which alone writes the configuration; without
 * a machine (NULL) they change that only.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"

struct machine;

/* Asks the guest's balloon for all memory that nothing uses. There is a machine. */
MUST int change_reclaim(struct machine *m, struct err *e);
/* For who has the machine: a smaller size waits for requests under way. */
MUST int change_disk_size(struct machine *m, const struct resize_disk_conf *w, struct err *e);
/* Take what they keep out of w, which stays its owner's. */
MUST int change_disk(struct vm_conf *c, struct machine *m, struct change_disk_conf *w,
		     struct err *e);
MUST int change_net(struct vm_conf *c, struct machine *m, struct change_net_conf *w, struct err *e);
