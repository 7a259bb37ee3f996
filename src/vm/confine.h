/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM may reach of the host's file system, and nothing else (--landlock): the paths that its
 * configuration names, those of --landlock-rules, and a few of the host's own. Which system calls a
 * thread may make is guard/seccomp's.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"

/* Confines the control thread and the threads that it makes from now on, for good; without
 * --landlock it does nothing. sockets (ended by NULL, or NULL) are paths where the program itself
 * listens, and removes what it made at its end. When consoles and /dev/kvm are open and before the machine
 * is built; a reboot builds the next one under the same rules, and so is another VM. */
/* Could that be done? */
MUST int vm_confine_judge(const struct vm_conf *c, struct err *e);
MUST int vm_confine(const struct vm_conf *c, const char *const *sockets, struct err *e);
