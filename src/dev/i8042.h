/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left of the keyboard controller: no keyboard, an output buffer that is always empty, the
 * speaker's port 0x61 as memory, and the reset line: command 0xfe at port 0x64. vCPU threads.
 */
#pragma once

#include "core/fixed.h"

/* Bank 0: ports 0x61 to 0x64. */
struct i8042_conf {
	struct fixed_conf at;
};
extern const struct fixed_class i8042_class;
