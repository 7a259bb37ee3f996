/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From --memory and --memory-zone to guest memory: opens the zones, has arch place them, maps them,
 * touches the pages that are to be there beforehand. Control thread.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"
#include "mem/gmem.h"

/* Everything of it that the config asks for, ready for the guest; stop is asked while pages are
 * touched. On failure nothing is left. */
MUST int ram_new(struct gmem **out, const struct vm_conf *c, uint8_t phys_bits,
		 const struct prefault_stop *stop, struct err *e);
