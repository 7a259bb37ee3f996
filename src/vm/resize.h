/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other amounts for a VM: vCPUs and memory. With a machine they change now, and the guest is told;
 * in any case the config has them from then on, so that they are there after a reboot and in vm.info.
 * What the config can not be, or the machine does not take now, is found before anything is changed.
 * Whoever has the VM.
 *
 *	desired_vcpus	comes at once, goes when the guest lets go
 *	desired_ram	by ACPI: comes at once, in multiples of 128 MiB; less is for the next boot
 *			by virtio-mem: the guest plugs and unplugs
 *	desired_balloon	the guest gives back
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"

struct machine;

/* m: NULL without one; it is not paused. What r does not say stays. ERR_BAD for an amount that can
 * not be, ERR_BUSY while the guest has not let go of vCPUs that it was asked for before. */
MUST int resize_vm(struct vm_conf *c, struct machine *m, const struct resize_conf *r,
		   struct err *e);
/* The same for one memory zone, which the guest plugs and unplugs by virtio-mem; ERR_ABSENT when
 * there is none of this id. */
MUST int resize_zone(struct vm_conf *c, struct machine *m, const struct resize_zone_conf *r,
		     struct err *e);
