/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of gdb's remote protocol: bytes of a debugger cut into packets, a packet read as a
 * command, and a reply wrapped. It knows no VM; vm/gdb carries the commands out. Everything read
 * here is foreign. No thread of its own, no allocation. Specification: "Debugging with GDB",
 * appendix "GDB Remote Serial Protocol".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The longest packet either side may send, without its frame; told to the debugger. */
#define GDBMSG_MAX 16384

/* --- from the debugger --- */

enum gdbmsg_kind {
	GDBMSG_NONE,	  /* all bytes are taken, nothing is whole yet */
	GDBMSG_PACKET,	  /* r->text[0..r->len), without frame and escapes, a zero byte behind */
	GDBMSG_INTERRUPT, /* Ctrl-C */
	GDBMSG_ACK,
	GDBMSG_NAK,
	GDBMSG_BAD, /* a packet whose sum is wrong, or which is too long: it is left out */
};
/* Zeroed before first use. */
struct gdbmsg_reader {
	enum { GDBMSG_OUTSIDE, GDBMSG_INSIDE, GDBMSG_ESCAPE, GDBMSG_SUM1, GDBMSG_SUM2 } state;
	uint8_t sum, told;
	bool too_long, bad_sum;
	size_t len;
	char text[GDBMSG_MAX + 1];
};
/* Reads bytes until something is whole; *used says how many were taken. */
enum gdbmsg_kind gdbmsg_read(struct gdbmsg_reader *r, const void *bytes, size_t len, size_t *used);

enum gdb_verb {
	GDB_UNKNOWN, /* answered by an empty reply */
	GDB_BAD,     /* known, and not in its form */
	GDB_WHY,     /* ? */
	GDB_GET_ALL, /* g */
	GDB_PUT_ALL, /* G data */
	GDB_GET_ONE, /* p number */
	GDB_PUT_ONE, /* P number=data */
	GDB_READ,    /* m addr,len */
	GDB_WRITE,   /* M, X addr,len:data */
	GDB_SELECT,  /* H letter thread */
	GDB_IS_ALIVE,
	GDB_POINT_ADD, /* Z kind,addr,len */
	GDB_POINT_DROP,
	GDB_RUN, /* vCont, c, s: actions */
	GDB_RUN_WORDS,
	GDB_DETACH,
	GDB_KILL,
	GDB_KILL_QUIET, /* k: no reply is waited for */
	GDB_SUPPORTED,
	GDB_NO_ACK,
	GDB_FEATURES, /* qXfer:features:read:name:addr,len */
	GDB_THREADS_FIRST,
	GDB_THREADS_NEXT,
	GDB_THREAD_WORDS, /* a sentence on a thread */
	GDB_THREAD_NOW,
	GDB_ATTACHED,
};
#define GDB_ALL_THREADS (-1)
#define GDB_ANY_THREAD 0
/* For these threads, that a vCPU is to go on or to do one instruction; the first that names a thread
 * counts for it. */
struct gdb_action {
	bool step;
	int32_t thread;
};
#define GDB_ACTIONS_MAX 64
/* Points as the protocol numbers them. */
enum gdb_point { GDB_SOFTWARE, GDB_HARDWARE, GDB_WATCH_WRITE, GDB_WATCH_READ, GDB_WATCH_ACCESS };

struct gdb_cmd {
	enum gdb_verb verb;
	uint64_t addr, len; /* number of a register in addr */
	int32_t thread;
	char letter;	      /* of H */
	enum gdb_point point; /* of Z */
	bool has_addr;	      /* of c and s: go on there */
	const char *name;     /* of features */
	uint8_t *data;	      /* decoded, in the reader's text */
	size_t data_len;
	unsigned int actions;
	struct gdb_action action[GDB_ACTIONS_MAX];
};
/* Reads the packet in r, which it takes apart in place: c is good until the next gdbmsg_read. */
void gdbmsg_parse(struct gdb_cmd *c, struct gdbmsg_reader *r);

/* --- to the debugger --- */

/* A reply under way; more than GDBMSG_MAX does not go in, and is left out. */
struct gdbmsg_reply {
	size_t len;
	char text[GDBMSG_MAX];
};
void gdbmsg_text(struct gdbmsg_reply *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void gdbmsg_hex(struct gdbmsg_reply *p, const void *data, size_t len);
/* Part [off, off+len) of a text, as qXfer wants it: m and the part, or l when it is the last. */
void gdbmsg_part(struct gdbmsg_reply *p, const char *text, uint64_t off, uint64_t len);
/* The whole with its frame, for sending. Returns its length: at most GDBMSG_FRAMED. */
#define GDBMSG_FRAMED (2 * GDBMSG_MAX + 4)
size_t gdbmsg_frame(char out[GDBMSG_FRAMED], const struct gdbmsg_reply *p);
