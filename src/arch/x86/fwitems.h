/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a PC's firmware finds in fw_cfg, with --fw-cfg-config: the kernel in the two parts that
 * firmware loads, initramfs, command line, memory map, ACPI tables with the script that places
 * them, and files of the user's. Without that option there is no such device. Control thread. QEMU
 * docs/specs/fw_cfg, hw/acpi/bios-linker-loader.
 */
#pragma once

#include "conf/conf.h"
#include "core/dev.h"

/* Adds the device with all but the tables; files are opened, and read when the guest does. */
MUST int x86_fwitems(struct board *b, const struct vm_conf *c, struct err *e);
/* The tables, when all devices are there. */
MUST int x86_fwitems_acpi(struct board *b, const struct vm_conf *c, struct err *e);
