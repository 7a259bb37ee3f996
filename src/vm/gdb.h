/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remote stub for gdb: one debugger at a time on a unix socket. A thread of gdb is a vCPU, its
 * number one more; all stop together. While a job has the VM the debugger waits; when it goes, in
 * whatever way, its breakpoints are taken back and the guest goes on. A guest that resets itself
 * while a debugger is there stops before its first instruction.
 *
 * Control loop. The words are vm/gdbmsg's, the hands vm/debugger's. docs/debug.md.
 */
#pragma once

#include "base/err.h"

struct gdb;
struct loop;
struct vmm;

/* Listens at the path. */
MUST int gdb_new(struct gdb **out, const char *path, struct loop *ctl, struct vmm *vmm,
		 struct err *e);
/* Before the VMM goes. NULL is fine. */
void gdb_free(struct gdb *g);
