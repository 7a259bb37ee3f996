/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules between options. One row each: what it is about, when it is broken, a sentence that says
 * what to do. There is no other validation: what a single value may be is in its row, what the host
 * can do is found out by doing it.
 */
#pragma once

#include "base/err.h"
#include "conf/conf.h"

/* May this VM be built and booted? Refuses what is not in this build (ERR_UNBUILT), then what
 * breaks a rule (ERR_BAD, ERR_TAKEN); warns in the log of what will be ignored. */
MUST int conf_check(const struct vm_conf *c, struct err *e);
/* The same of one that was checked, and of which a little has changed since: without the warnings. */
MUST int conf_check_again(const struct vm_conf *c, struct err *e);
/* Refuses what the program itself was told and is not in this build. */
MUST int conf_check_vmm(const struct vmm_conf *c, struct err *e);
/* Only the rules, for what is not in this build too. */
MUST int conf_check_rules(const struct vm_conf *c, struct err *e);
