/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From --memory and --memory-zone to guest memory: opens the zones, has arch place them, maps them.
 * Whoever builds the machine.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"
#include "mem/gmem.h"

enum ram_use {
	RAM_FOR_GUEST,
	RAM_TO_LOOK, /* whether it could be had: nothing is written, and no room taken on a disk */
	RAM_LIKE_IT, /* the same sizes, of whatever the host has anyway */
};

/* Everything of it that the config asks for; touching pages beforehand is left to gmem_prefault. On
 * failure nothing is left. */
MUST int ram_new(struct gmem **out, const struct vm_conf *c, uint8_t phys_bits, enum ram_use use,
		 struct err *e);
