/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plug of devices that sit at fixed ports or addresses. A class says which banks of registers
 * it has; its conf struct says where each bank is, as its first member. A bank that is nowhere is
 * left out. The conf of such a class is read during dev_add only and may live on the caller's
 * stack. Control thread.
 */
#pragma once

#include "core/dev.h"

#define FIXED_BANKS_MAX 4

enum fixed_bus { FIXED_NONE, FIXED_PIO, FIXED_MMIO };

/* Where a bank is. */
struct fixed_place {
	enum fixed_bus bus;
	uint64_t base;
};
/* First member of the conf struct of every class with this plug; place i belongs to bank i. */
struct fixed_conf {
	struct fixed_place place[FIXED_BANKS_MAX];
};

/* Registers of one bank; the handlers get the struct dev as arg. len 0 ends the list. */
struct fixed_bank {
	uint32_t len;
	const struct bus_ops *ops;
};
struct fixed_class {
	struct dev_class dev; /* .plug = &fixed_plug */
	struct fixed_bank bank[FIXED_BANKS_MAX];
};

extern const struct plug fixed_plug;

/* Where bank n of d sits, for describe(); bus FIXED_NONE when nowhere. */
struct fixed_place fixed_place(const struct dev *d, unsigned int n);
