/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the controllers of hot-plug have in common: the AML of their devices, and the protocol by
 * which a guest looks at things (processors, slots of memory) one by one: it selects one, reads its
 * status, tells of what it finds and acknowledges it. The registers themselves are the controllers'.
 * Any thread; no state. ACPI 6.5 §5.6.6 (codes of Notify), §6.3.7 (_STA).
 */
#pragma once

#include "fw/acpi.h"

/* The status of a thing. Writing 1 acknowledges the second and third, and asks for the last. */
#define HP_THERE (1u << 0)
#define HP_COMING (1u << 1)
#define HP_GOING (1u << 2)
#define HP_EJECT (1u << 3)

/* codes of Notify */
#define HP_NOTIFY_CHECK 1 /* look whether it is there */
#define HP_NOTIFY_EJECT 3

/* How a controller of things names what belongs to it. Paths as its methods see them; those of the
 * methods are names. */
struct hp_names {
	const char *lock, *select;	      /* mutex; the register that selects */
	const char *there, *coming, *going;   /* bits of the status */
	const char *sta, *notify, *scan;      /* methods: (thing), (thing, code), () */
	void (*path)(struct aml *, uint32_t); /* writes where the device of a thing is */
};

/* Opens the device of a controller: its name, and what tells people which it is. */
void hp_device(struct aml *a, const char *name, const char *uid);
/* Its registers, as a resource of its own and as a region of memory. */
void hp_registers(struct aml *a, const char *region, uint64_t base, uint64_t len);

/* In a method: takes the mutex and selects Arg0; the caller gives it back. */
void hp_select(struct aml *a, const struct hp_names *n);
/* The methods: what _STA says of a thing; notifies one of count; looks at all of them. */
void hp_sta(struct aml *a, const struct hp_names *n);
void hp_notify(struct aml *a, const struct hp_names *n, uint32_t count);
void hp_scan(struct aml *a, const struct hp_names *n, uint32_t count);
/* In the device of a thing: a method without arguments that returns what another says of it. */
void hp_forward(struct aml *a, const char *method, const char *to, uint32_t thing);
