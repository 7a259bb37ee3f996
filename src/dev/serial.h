/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A UART with its FIFOs, over a stream of bytes. National Semiconductor PC16550D. It has no
 * baud clock: bytes go out when written and come in when there is room, so break, parity, framing
 * and modem lines never change by themselves, and the receive timeout interrupt comes with the
 * data. Registers: vCPU threads. Input: the io loop.
 */
#pragma once

#include "core/chardev.h"
#include "core/fixed.h"

/* Bank 0: 8 registers, one byte each. Copied by init, but chr is borrowed until fini. */
struct serial_conf {
	struct fixed_conf at;
	uint32_t gsi;
	struct chardev *chr; /* NULL: nobody listens */
};
extern const struct fixed_class serial_class;
