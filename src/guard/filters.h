/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tools/mkfilter makes at build time: a BPF program per thread profile, and the names of
 * system calls. Read by guard/seccomp.c only; nothing here changes.
 */
#pragma once

#include <linux/filter.h>

struct seccomp_filter {
	const char *profile;
	const struct sock_filter *code;
	unsigned short len; /* instructions */
};
extern const struct seccomp_filter seccomp_filters[];
extern const unsigned int seccomp_filter_count;

/* Where a program compares with this, it means the number of the process that loads it. */
extern const unsigned int seccomp_own_process;

/* Names by number, one behind the other, each with its end; empty where there is none. */
extern const char seccomp_calls[];
extern const unsigned int seccomp_call_count;
