/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that the assembly and the C of the tiny guest share: selectors of its GDT, the ways it
 * was entered, the other CPUs' start page. Preprocessor constants only.
 */
#pragma once

#define SEL_KCODE32 0x08
#define SEL_KCODE 0x10
#define SEL_KDATA 0x18
#define SEL_UDATA 0x2b
#define SEL_UCODE 0x33
#define SEL_TSS 0x40

#define ENTRY_PVH 1
#define ENTRY_LINUX64 2
#define ENTRY_LINUX32 3

#define CPUS_MAX 320   /* guest.lds has the limit of the TSS, which follows from it */
#define STACK_SHIFT 14 /* 16 KiB for each cpu: ring 3 above, ring 0 in the lower quarter */

#define AP_PAGE 0x8000
#define AP_CPU 0x8ff0
