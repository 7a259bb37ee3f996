/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers behind ACPI on reduced hardware: the generic event device's flag byte with its
 * interrupt, sleep control and status with the reset value, and the power management timer. ACPI
 * 6.5 §4.8.3, §4.8.3.7, §5.6.9. Registers: vCPU threads. Raising an event: any thread.
 *
 * The flag byte reads as the events since the last read. The AML that reads it is written by
 * describe(): for each event that stands in the conf's table it calls a method of the controller
 * which has more to say.
 */
#pragma once

#include "core/fixed.h"

/* Bank 0: flag byte, MMIO. Bank 1: sleep control and status, 8 ports. Bank 2: PM timer, 4 ports. */
enum { GED_BANK_FLAGS, GED_BANK_SLEEP, GED_BANK_TIMER };
enum ged_event {
	GED_CPU = 1,
	GED_MEMORY = 2,
	GED_PCI = 4,
	GED_POWER_BUTTON = 8,
	GED_GENERATION = 16,
};
/* What the guest does on an event: calls a method without arguments. */
struct ged_method {
	enum ged_event event;
	const char *path; /* "\\_SB_.PHPR.PSCN"; borrowed for good */
};
#define GED_METHODS_MAX 4
struct ged_conf {
	struct fixed_conf at;
	uint32_t gsi; /* edge */
	/* a row for each controller that there is, ended by one without a path */
	struct ged_method method[GED_METHODS_MAX];
};

/* What FADT says of these: SLP_TYP of S5 (also in \_S5), and the byte that resets. */
#define GED_SLP_TYP_S5 5
#define GED_SLP_EN (1u << 5)
#define GED_RESET_VALUE 1

#define GED_ID "__ged" /* there is one */

extern const struct fixed_class ged_class;

void ged_raise(struct dev *ged, enum ged_event ev);
/* The same for the one of the board, if there is one. */
void ged_tell(struct board *b, enum ged_event ev);
uint32_t ged_gsi(const struct dev *ged);
