/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of bytes to and from the outside, as serial port and console see it. vm/tty makes them
 * from the config (null, tty, file, pty, socket); a device borrows one through its
 * conf struct.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev;
struct chardev_ops {
	/* Any thread; takes what it can without blocking and returns the bytes taken. */
	size_t (*write)(struct chardev *c, const uint8_t *data, size_t len);
	/* The device has room again / has none: input is paused by the back end. Any thread. */
	void (*want_input)(struct chardev *c, bool on);
};
struct chardev {
	const struct chardev_ops *ops;
	/* Set by the device in init, cleared in fini; called on the board's io loop. Returns the
	 * bytes taken; the rest is offered again after want_input(true). */
	size_t (*input)(void *arg, const uint8_t *data, size_t len);
	/* A write was cut short and there is room again; on the board's io loop; may be NULL. */
	void (*writable)(void *arg);
	/* Window size changed; on the control thread or the board's io loop; may be NULL. */
	void (*resized)(void *arg, uint16_t cols, uint16_t rows);
	void *arg;
	uint16_t cols, rows; /* 0 = not a terminal */
};
