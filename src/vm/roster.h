/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of device classes, the only one: for tests that walk them all, and for restoring by
 * name.
 */
#pragma once

#include "core/dev.h"

/* NULL-ended */
extern const struct dev_class *const roster[];
