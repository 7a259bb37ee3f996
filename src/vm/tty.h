/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of bytes behind a VM's serial port, console and debug console: nothing, the terminal
 * that the program was started in (or whatever stdin and stdout are), a file. They outlive the
 * machine: a reboot detaches them and attaches them to the next one. No device and no guest memory
 * is known here.
 *
 * Who waits for whom:
 *   output	A write never blocks. What the other side does not take is kept (up to 1 MiB a stream), then the
 *		device is told to wait. When the other side has taken nothing for 10 seconds, the guest goes on and
 *		new bytes are dropped, counted and reported: a pipe that nobody reads does not hang a guest for ever.
 *		At the end what is kept gets one more second.
 *   input	A few KiB are read ahead; while the device has no room nothing is read, so that the sender waits.
 *
 * The terminal is raw from tty_attach to tty_free. However else the program ends, SIGKILL included,
 * a child process that does nothing but wait for that puts the terminal back; it holds the terminal
 * and one end of a pipe. It leaves the terminal alone when somebody else has changed it meanwhile,
 * as shells do. A program in the background leaves the terminal as it is, and takes it over when it
 * comes to the foreground.
 *
 * With several streams on the terminal all write to it, and the first that was opened gets the
 * input.
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
 * tty_attach. */
void tty_set_patience(struct tty *t, uint64_t ns);

/* A stream, owned by t; *out is NULL for "off". Before guest memory is made (it may start the
 * child). file is for mode file. */
MUST int tty_open(struct tty *t, struct chardev **out, enum console_mode mode, const char *file,
		  struct err *e);

/* The devices are there and their loop runs: input is read from now on. */
void tty_attach(struct tty *t, struct loop *io);
/* Before the devices go. Twice is fine. */
void tty_detach(struct tty *t);

/* SIGWINCH: asks for the window's size and tells the devices. */
void tty_winch(struct tty *t);
