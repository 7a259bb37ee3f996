/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: after landlock_apply the thread, and those it makes, open nothing but what the rules
 * name. The rules are read off the PATH rows of a described config, so that a new option needs no
 * second list. It speaks of paths only; system calls are guard/seccomp.h. See landlock(7).
 */
#pragma once

#include "base/err.h"

struct desc;

/* A file, or a directory with all below it; access is "r", "w" or "rw", with an "m" behind it for a
 * socket that we make at that path and remove. Both strings are borrowed. */
struct landlock_rule {
	const char *path, *access;
};

/* Zero-initialise to make one. */
struct landlock_rules {
	struct landlock_rule *items;
	unsigned int count;
};
void landlock_rules_add(struct landlock_rules *r, const char *path, const char *access);
/* Every PATH row of obj that has a value, nested objects and lists included. obj outlives r. */
void landlock_rules_from(struct landlock_rules *r, const struct desc *d, const void *obj);
/* Only reading for a rule that was read off obj with this very path. */
void landlock_rules_lower(struct landlock_rules *r, const char *path);
void landlock_rules_fini(struct landlock_rules *r);

/* The version of Landlock in this kernel; below 1: it has none. */
int landlock_version(void);
/* Is a kernel with that version good enough? */
MUST int landlock_judge(int version, struct err *e);
/*
 * Confines the calling thread for good, and those it makes. A path that does not exist yet but is
 * for writing opens its directory for the making of it; one for reading is passed over, and opening
 * it will say so. Where the kernel can watch it, TCP is refused as a whole, and ioctl on devices
 * that no rule names for writing. A kernel without Landlock, or with one older than version 3, is
 * an error. Gives up new privileges.
 */
MUST int landlock_apply(const struct landlock_rule *rules, unsigned int count, struct err *e);
