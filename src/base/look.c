/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See look.h.
 */
#include "base/look.h"

#include <sched.h>

#include "base/bits.h"

#define TRUST 8		    /* spent by four looks in vain */
#define REST_MIN_NS 1000000 /* short: others may have had the driver's processor */
#define REST_MAX_NS 64000000

bool look_can_beside(int others)
{
	cpu_set_t set;

	/* fails where there are more of them than the set holds */
	return sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) > others;
}

bool look_can(void)
{
	return look_can_beside(1);
}

bool look_pays(const struct look *l, uint64_t now_ns)
{
	return now_ns >= l->rest_until_ns;
}

void look_found(struct look *l)
{
	if (l->spent)
		l->spent--;
	else
		l->rest_ns = 0; /* all is forgiven */
}

void look_missed(struct look *l, uint64_t now_ns)
{
	l->spent += 2;
	if (l->spent < TRUST)
		return;
	l->spent = 0;
	l->rest_ns = min_u64(max_u64(l->rest_ns * 2, REST_MIN_NS), REST_MAX_NS);
	l->rest_until_ns = now_ns + l->rest_ns;
}
