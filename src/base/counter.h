/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that one thread counts and others look at: no lock, no wait, and never half a number. Each
 * has one writer at a time; several take turns by a lock of their own, or use counter_add_shared,
 * which costs more. What a number means is said by its row (base/desc.h, with .unit); rows that can
 * fall have F_GAUGE.
 */
#pragma once

#include <stdint.h>

/* The writer's. */
static inline void counter_set(uint64_t *c, uint64_t v)
{
	__atomic_store_n(c, v, __ATOMIC_RELAXED);
}
static inline void counter_add(uint64_t *c, uint64_t n)
{
	counter_set(c, *c + n);
}
/* Of several writers. */
static inline void counter_add_shared(uint64_t *c, uint64_t n)
{
	__atomic_fetch_add(c, n, __ATOMIC_RELAXED);
}
/* Anyone's. */
static inline uint64_t counter_get(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}
