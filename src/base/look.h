/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether it pays to look for work for a moment before sleeping. A look that finds something saves a
 * sleep, a wake and mostly the other side's exit; one in vain costs LOOK_NS of a processor. Looks go
 * on while at least two of three find something. After some in vain they rest, and longer each time,
 * so that a queue for which they do not pay spends less than one part in a hundred on them. Time is
 * the caller's; no clock, no lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LOOK_NS 50000 /* about what an exit, a sleep and a wake cost; and a fast disk's answer */

/* Zeroed before first use: trusting. */
struct look {
	unsigned int spent; /* of the trust: +2 in vain, -1 found */
	uint64_t rest_until_ns, rest_ns;
};

/* Has this thread more than one processor? With one, a look only keeps the other side from working. */
bool look_can(void);
/* The same where so many others work at what is looked for. */
bool look_can_beside(int others);
/* May the caller look now, for LOOK_NS at most? Tell then how it went by one of the two below. */
bool look_pays(const struct look *l, uint64_t now_ns);
void look_found(struct look *l);
void look_missed(struct look *l, uint64_t now_ns);
