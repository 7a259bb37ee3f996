/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of the program, collected from the tables: every row with an .opt, wherever it lies.
 * For conf/cli and conf/doc. Any thread; no state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"

#define OPT_MAX 64

struct opt {
	const struct field *f;
	const struct desc *owner; /* the table that holds the row */
	bool vmm;		  /* in struct vmm_conf, else in struct vm_conf */
	uint32_t off;		  /* of the owner's struct in it */
};

/* Fills out[OPT_MAX]; returns how many there are. */
uint32_t opt_all(struct opt *out);
/* Number of the row in its table. */
static inline unsigned int opt_row(const struct opt *o)
{
	return (unsigned int)(o->f - o->owner->fields);
}
/* Said without a value. */
bool opt_is_flag(const struct opt *o);
/* A value may be left out. */
bool opt_is_lenient(const struct opt *o);
