/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI as the drivers need it: configuration space by CF8/CFC, base addresses, capabilities. A
 * device is named by bdf, its number on bus 0 shifted left by 3. Specification: PCI Local Bus 3.0.
 */
#pragma once

#include <stdint.h>

uint8_t pci_rd8(uint32_t bdf, uint32_t reg);
uint16_t pci_rd16(uint32_t bdf, uint32_t reg);
uint32_t pci_rd32(uint32_t bdf, uint32_t reg);
void pci_wr8(uint32_t bdf, uint32_t reg, uint8_t v);
void pci_wr16(uint32_t bdf, uint32_t reg, uint16_t v);
void pci_wr32(uint32_t bdf, uint32_t reg, uint32_t v);

/* Memory BAR n: its address (placed by us where it has none) and size; mapped. 0: no such BAR. */
uint64_t pci_bar(uint32_t bdf, uint32_t n, uint64_t *size);

/* Register of the first capability with this id behind `after` (0: from the start); 0: none. */
uint32_t pci_cap(uint32_t bdf, uint8_t id, uint32_t after);
