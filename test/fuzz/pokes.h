/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Register accesses out of a fuzzer's input, for the fuzzers of chips: each takes a byte of what,
 * two of where, and as many of data as the access is long. A board without a hypervisor goes with
 * it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define fail_msg(...) (fprintf(stderr, __VA_ARGS__), abort())
#include "../unit/fakeboard.h"

#include "base/log.h"

struct poke {
	bool write;
	uint32_t len; /* 1 to 8 */
	uint8_t kind; /* 0 to 15: an access, or another deed of the fuzzer's */
	uint16_t at;
	uint8_t data[8];
};

/* Takes one from the input; false at its end. */
static inline bool poke_take(struct poke *p, const uint8_t **data, size_t *size)
{
	if (*size < 3)
		return false;
	*p = (struct poke){ .write = **data & 1,
			    .len = (**data >> 1 & 7) + 1u,
			    .kind = **data >> 4,
			    .at = le16_get(*data + 1) };
	*data += 3;
	*size -= 3;
	if (!p->write)
		return true;
	if (*size < p->len)
		return false;
	memcpy(p->data, *data, p->len);
	*data += p->len;
	*size -= p->len;
	return true;
}

static inline void poke_do(struct bus *b, uint64_t base, uint64_t span, struct poke *p)
{
	uint64_t addr = base + p->at % span;

	if (p->write)
		bus_write(b, addr, p->data, p->len);
	else
		bus_read(b, addr, p->data, p->len);
}

/* At rest, the device is saved and reborn; it has to be the same then. */
static inline void poke_reborn(struct dev *d, const struct fixed_class *c, const void *conf)
{
	struct err e = { 0 };

	if (c->dev.quiesce && c->dev.quiesce(d, &e))
		abort();
	AUTO_JSON struct json *saved = dev_save(d);
	dev_remove(d);
	if (dev_add(&d, &fake.board, &c->dev,
		    &(struct dev_args){ .id = "it", .conf = conf, .saved = saved }, &e))
		abort();
	AUTO_JSON struct json *again = dev_save(d);
	if (!json_equal_to(saved, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_init(LOG_ERROR, 2);
	return 0;
}
