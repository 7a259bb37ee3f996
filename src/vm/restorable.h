/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this host go on with a saved machine? The machine is rehearsed: its devices come, with what was
 * saved of them, on a board that takes, makes and changes nothing of the host, and each that cannot
 * says why. Only what one cannot know without doing it (a peer that hangs up, memory that runs out
 * later) is told when it is done. Control thread.
 */
#pragma once

#include "base/reasons.h"
#include "vm/snapshot.h"

/* Adds each reason against it. s is open, its configuration checked. */
void restorable_judge(struct reasons *r, struct snapshot *s);
