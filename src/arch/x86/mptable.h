/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of processors and interrupts that kernels read when they may not use ACPI. Intel
 * MultiProcessor Specification 1.4, chapter 4. Control thread.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "mem/gmem.h"

/* Writes it from `at` on, where it ends below 1 MiB; left out, with a line in the log, when
 * there is no room or an APIC id does not fit into 8 bits. */
MUST int x86_mptable(const struct gmem *m, uint64_t at, const struct vm_conf *c, struct err *e);
