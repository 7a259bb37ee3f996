/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each command of a debugger does: from a struct gdb_cmd (vm/gdbmsg.h) to the machine
 * (vm/debugger.h) and to the text of a reply. It has no connection; that is vm/gdb's. Control
 * thread, while it has the VM. Specification: "Debugging with GDB", "GDB Remote Serial Protocol".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vm/debugger.h"
#include "vm/gdbmsg.h"

/* What a debugger has said, as far as it lasts. */
struct gdb_talk {
	struct debugger d;
	bool no_ack;
	bool running;	 /* it waits for a stop */
	uint32_t thread; /* vCPU that it has chosen to look at */
	uint32_t runner; /* vCPU for c and s */
	enum { GDB_STAYS, GDB_LEAVES, GDB_KILLS } end;
	char *features; /* its description of registers, once asked for */
	struct gdbmsg_reply reply;
	bool has_reply; /* it is to be sent */
};

/* Zero-initialise. A new debugger, an old machine. */
void gdbcmd_begin(struct gdb_talk *g);
void gdbcmd_fini(struct gdb_talk *g);
/* Carries out the packet in r, and makes the reply. */
void gdbcmd_run(struct gdb_talk *g, struct gdbmsg_reader *r);
/* Makes the reply for a stop: of which signal, or why. */
#define GDB_SIGNAL_INT 2
#define GDB_SIGNAL_TRAP 5
void gdbcmd_say_signal(struct gdb_talk *g, unsigned int number);
void gdbcmd_say_stop(struct gdb_talk *g, const struct debugger_stop *s);
/* The same for a machine that is no more. */
void gdbcmd_say_gone(struct gdb_talk *g);
