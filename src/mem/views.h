/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses are a private view of a file, and of where in it. Parts of a view are taken out as
 * their pages are given back to the host, which leaves more views than before: each is a mapping of
 * its own, of which a process may have so many. Numbers only; nothing here maps. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct views;

struct views *views_new(void);
/* NULL is fine. */
void views_free(struct views *v);
/* [base, base+size), behind all others, is off of the file and on. */
void views_add(struct views *v, uint64_t base, uint64_t size, uint64_t off);
unsigned int views_count(struct views *v);
/* How many there would be without [a, a+len). */
unsigned int views_without(struct views *v, uint64_t a, uint64_t len);
void views_drop(struct views *v, uint64_t a, uint64_t len);
/* Is a in one? Then off is where in the file. n: for how many bytes of [a, a+len) the answer is the
 * same. */
bool views_at(struct views *v, uint64_t a, uint64_t len, uint64_t *n, uint64_t *off);
