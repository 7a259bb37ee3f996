/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables as other verbs need them. Specification: ACPI 6.5 chapter 5.
 */
#pragma once

#include <stdint.h>

/* Address of the table with this signature ("APIC", "MCFG", "DSDT" ...), 0 when there is none. */
uint64_t acpi_find(const char *signature);

/* Base of the DSDT's region of memory with this name ("GDST"), 0 when there is none. */
uint64_t acpi_region(const char *name);

/* Base of the ECAM of segment 0, 0 when no MCFG tells it. */
uint64_t acpi_ecam(void);
