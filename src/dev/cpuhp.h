/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller of CPU hot-plug, \_SB_.PRES: twelve bytes of registers by which the guest's ACPI
 * methods learn which processors have come and which are to go, and say which the guest has let go
 * of. The methods are written here too: the controller's by describe(), those of \_SB_.CPUS by
 * cpuhp_describe_*. It runs no vCPU: of one that leaves, the board is told (board->up.cpu_left),
 * and one that comes is there before the guest is told. ACPI 6.5 §8.4 (processors), §6.3 (_EJ0).
 *
 *	0  u32  the processor that the others are about		CSEL
 *	4  u8   bit 0 there, 1 has come, 2 is to go, 3 eject	CPEN CINS CRMV CEJ0
 *	8  u32  nothing						CDAT
 *
 * Writing 1 to bit 1 or 2 acknowledges; to bit 3 lets the processor go, if that was asked for.
 * Registers: vCPU threads. The functions: any thread, but one at a time asks and tells.
 */
#pragma once

#include "core/fixed.h"

#define CPUHP_LEN 12
#define CPUHP_ID "__cpuhp"	      /* there is one */
#define CPUHP_SCAN "\\_SB_.CPUS.CSCN" /* the method for the event device to call */
/* More processors have no controller: the tables of so many would not fit into low memory. */
#define CPUHP_CPUS_MAX 2048

struct cpuhp_conf {
	struct fixed_conf at;
	uint32_t cpus; /* that there may be */
	uint32_t boot; /* the first of these are there */
};

extern const struct fixed_class cpuhp_class;

/* Is it there? For one that the guest has let go of: its thread has been told to end. */
bool cpuhp_is_there(const struct dev *hp, uint32_t cpu);
/* Has the guest been asked for one that it has not let go of? */
bool cpuhp_is_pending(const struct dev *hp);
/* One has come, or is to go; the guest hears of it at cpuhp_tell. */
void cpuhp_come(struct dev *hp, uint32_t cpu);
void cpuhp_ask(struct dev *hp, uint32_t cpu);
/* Lets the guest look, through the event device if there is one. What is pending it is asked again. */
void cpuhp_tell(struct dev *hp);

/* Inside the device \_SB_.CPUS: the methods, and what belongs into the device of one processor. */
void cpuhp_describe_methods(struct aml *a, uint32_t cpus);
void cpuhp_describe_cpu(struct aml *a, uint32_t cpu);
