/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of bytes behind a VM's serial port, console and debug console: nothing, the terminal
 * that the program was started in (or whatever stdin and stdout are), a file, a pseudo-terminal, a
 * listening socket. They outlive the machine: a reboot detaches them and attaches them to the next
 * one. No device and no guest memory is known here.
 *
 * Who waits for whom:
 *   output	A write never blocks. What the other side does not take is kept (up to 1 MiB a stream), then the
 *		device is told to wait, and after a time the guest goes on without a reader that stands still:
 *		10 seconds, and then the oldest bytes are lost for new ones, counted and reported; on a socket one
 *		second, and then the reader is disconnected. Where nobody is (a pseudo-terminal that nobody has
 *		open, a socket without clients) the newest megabyte is kept for who comes, and nobody waits. At
 *		the end what is kept gets one more second.
 *   input	Some KiB are read ahead; while the device has no room nothing is read, so that the sender waits.
 *
 * The terminal is raw from tty_attach to tty_free, see vm/terminal.h. With several streams on it all
 * write to it, and the first that was opened gets the input.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "core/chardev.h"

struct tty;

/* Control thread, all of these. */
MUST int tty_new(struct tty **out, struct err *e);
/* Restores the terminal, closes everything. The chardevs are gone. NULL is fine. */
void tty_free(struct tty *t);

/* How long a reader may stand still before bytes are dropped: 10 seconds unless said here, before
 * tty_open. */
void tty_set_patience(struct tty *t, uint64_t ns);

struct tty_args {
	enum console_mode mode;
	const char *file, *socket; /* for the modes of these names */
};

/* A stream, owned by t; *out is NULL for "off". Before guest memory is made (it may start the
 * child). *path becomes where a pseudo-terminal's clients find it, the caller's, or NULL. */
MUST int tty_open(struct tty *t, struct chardev **out, char **path, const struct tty_args *a,
		  struct err *e);

/* Could it be opened? Makes nothing. */
MUST int tty_judge(const struct tty_args *a, struct err *e);

/* The devices are there and their loop runs: input is read from now on. */
void tty_attach(struct tty *t, struct loop *io);
/* Before the devices go. Twice is fine. */
void tty_detach(struct tty *t);

/* SIGWINCH: asks for the window's size and tells the devices. */
void tty_winch(struct tty *t);
