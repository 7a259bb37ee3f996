/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of the x86 machine: where memory, tables, chips and interrupts are. Everyone in arch/x86
 * takes an address from here and nowhere else. Functions for the control thread.
 *
 *	0x00000000	low RAM: what the VMM leaves for the payload (below)
 *	0x000a0000	ACPI tables, RSDP first; a page of VM Generation ID
 *	0x000f0000	SMBIOS, then the MP table
 *	0x00100000	RAM, to 3 GiB at most
 *	0xc0000000	32-bit PCI window, 640 MiB
 *	0xe8000000	ECAM, 256 MiB
 *	0xf8000000	the hypervisor's TSS and identity map
 *	0xfec00000	IOAPIC; 0xfed40000 TPM; 0xfee00000 local APICs and messages
 *	4 GiB		the rest of RAM, what may be plugged, then the 64-bit PCI window
 *	top		1 MiB for chips, below the last 64 KiB of the physical space
 */
#pragma once

#include <stdint.h>

#include "base/bits.h"
#include "conf/conf.h"

/* low RAM */
#define X86_EBDA_POINTER 0x40e
#define X86_GDT 0x500
#define X86_IDT 0x520
#define X86_START_INFO 0x6000
#define X86_MODLIST 0x6040
#define X86_MEMMAP 0x7000 /* of PVH; or the zero page of a bzImage */
#define X86_ZERO_PAGE 0x7000
#define X86_STACK_TOP 0x8ff0
#define X86_CMDLINE 0x20000
#define X86_CMDLINE_MAX 0x10000 /* with the ending zero */
#define X86_LOW_RAM_END 0xa0000
#define X86_RSDP 0xa0000 /* in the extended BIOS data area, to which the pointer at 0x40e leads */
#define X86_TABLES_END 0xef000
#define X86_GENERATION 0xef000 /* a page with the VM Generation ID */
#define X86_SMBIOS 0xf0000
#define X86_HIGH_RAM 0x100000

#define X86_RAM_GAP GIB(3)	/* RAM below 4 GiB ends here at the latest */
#define X86_PLUG_ALIGN MIB(128) /* of memory that is plugged: a guest's memory block */
#define X86_WINDOW_ALIGN                                                                           \
	GIB(4) /* the 64-bit PCI window of a segment begins at a multiple of this */
#define X86_MMIO32 0xc0000000u
#define X86_MMIO32_SIZE 0x28000000u
#define X86_ECAM 0xe8000000u
#define X86_ECAM_SIZE 0x10000000u
#define X86_ECAM_PER_SEGMENT 0x100000u
#define X86_SEGMENTS_MAX 256 /* what ECAM has room for; the config allows fewer */
#define X86_TSS 0xf8000000u
#define X86_IDENTITY_MAP 0xf8003000u
#define X86_IOAPIC 0xfec00000u
#define X86_TPM 0xfed40000u
#define X86_LAPIC 0xfee00000u
#define X86_PLATFORM_SIZE MIB(1)
#define X86_TOP_UNUSED KIB(64) /* guests have bugs about the last bytes of the space */

/* ports and pins */
#define X86_PORT_I8042 0x61
#define X86_PORT_CMOS 0x70
#define X86_PORT_CODES 0x80
#define X86_PORT_DEBUG_CONSOLE 0xe9
#define X86_PORT_COM1 0x3f8
#define X86_PORT_FW_DEBUG 0x402
#define X86_PORT_FW_CFG 0x510
#define X86_PORT_SLEEP 0x600
#define X86_PORT_PM_TIMER 0x608
#define X86_PORT_PM1A_EVENT 0x60c
#define X86_PORT_PM1A_CONTROL 0x610
#define X86_GSI_COM1 4

/* Physical address bits of the guest: the host's, cut by the option. */
uint8_t x86_phys_bits(const struct vm_conf *c, uint8_t host_bits);
/* Base of the megabyte for chips. */
uint64_t x86_platform_area(uint8_t phys_bits);
/* A chip's page of it, from the top down. Controllers of hot-plug get one each. */
enum x86_chip { X86_CHIP_GED = 1, X86_CHIP_PCIHP, X86_CHIP_CPUHP, X86_CHIP_MEMHP };
uint64_t x86_chip_addr(uint8_t phys_bits, enum x86_chip chip);
