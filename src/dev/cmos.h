/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock and the 128 bytes of memory behind ports 0x70 and 0x71. Motorola MC146818. The time is
 * the host's, in UTC, when it is read; setting it, alarms and its interrupt are not there. No ACPI
 * device tells of it: Linux would set its time by whole seconds, which it has from KVM to the
 * microsecond. Memory size is told where firmware looks for it. Index 0x8f, the shutdown code with
 * NMI held off, resets the machine when zero is written. vCPU threads.
 */
#pragma once

#include "core/fixed.h"

/* Bank 0: index and data. Copied by init. */
struct cmos_conf {
	struct fixed_conf at;
	uint64_t ram_low;  /* bytes of RAM below 4 GiB, from 0 */
	uint64_t ram_high; /* bytes from 4 GiB up */
};
extern const struct fixed_class cmos_class;
