/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From --memory and --memory-zone to guest memory: opens the zones, has arch place them, maps them,
 * touches the pages that are to be there beforehand. Whoever builds the machine.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"
#include "mem/gmem.h"

/* Everything of it that the config asks for, ready for the guest; w is asked and told while
 * pages are touched. On failure nothing is left. */
MUST int ram_new(struct gmem **out, const struct vm_conf *c, uint8_t phys_bits, struct work *w,
		 struct err *e);
