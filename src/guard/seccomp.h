/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System-call filters of threads. The rows lie beside the code that makes the calls (*.calls),
 * profiles.def tells which rows make which kind of thread, tools/mkfilter makes BPF of them at
 * build time; here one is loaded by one system call, and a call outside of it is answered. What it
 * is not: Landlock (guard/landlock.h), which speaks of paths.
 */
#pragma once

#include "base/err.h"

/* What happens at a call that the profile does not have; in the order of the words of --seccomp. */
enum seccomp_way {
	SECCOMP_WAY_TRAP, /* "true": thread and call are named on stderr and in the log, then the end by SIGSYS */
	SECCOMP_WAY_OFF,   /* "false": no filter is loaded */
	SECCOMP_WAY_LOG,   /* "log": allowed, and noted in the kernel's audit log */
	SECCOMP_WAY_ERRNO, /* "errno": fails with EPERM */
	SECCOMP_WAY_COUNT,
};

/*
 * Chooses the way, and makes every thread started from now on load the filter of its profile first
 * (thread_set_filter). The caller itself is confined by thread_confine("control"). Once, before the
 * first thread.
 */
MUST int seccomp_setup(unsigned int way, struct err *e);

/* NULL when this architecture has none of that number. Also for a signal handler. */
const char *seccomp_call_name(unsigned int nr);
