/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a guest that has seen one table of CPUID can go on with another: each feature that it may
 * use has to be there. Pure functions.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "hv/hv.h"

/* has: what this host would show the guest. seen: what it was shown. Refused with all that is
 * missing in one sentence. */
MUST int cpuid_match(const struct hv_cpuid *seen, uint32_t seen_count, const struct hv_cpuid *has,
		     uint32_t has_count, struct err *e);
