/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a payload is started on x86: registers at its entry. arch_load and arch_finish of
 * arch/arch.h are in boot.c too. Control thread, arch_load any thread. Xen docs/misc/pvh.pandoc;
 * Linux Documentation/arch/x86/boot.rst.
 */
#pragma once

#include "arch/arch.h"

/* Registers of the boot CPU: 32-bit protected mode without paging, as PVH and the bzImage's
 * 32-bit entry want it. */
void x86_start(struct hv_x86_start *s, const struct arch_payload *p);
