/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other verbs ask of the boot information: the RSDP, the memory map. Read where the loader
 * left it, so nothing may overwrite low memory before.
 */
#pragma once

#include <stdint.h>

/* Address of the RSDP as told at entry, 0 when none was. */
uint64_t told_rsdp(void);

/* Memory map entry i: returns its type (1 RAM, 2 reserved), 0 past the end. */
uint32_t told_ram(uint32_t i, uint64_t *a, uint64_t *n);

/* Print a module (initramfs) at a, n bytes long, with the sum of its bytes. */
void told_module(uint64_t a, uint64_t n);
