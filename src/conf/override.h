/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another configuration out of one that was saved: what is said at restore takes the place of what
 * stands under the same key of the same device. It works on the saved text, before that is read, so
 * that the rows and rules of a configuration judge the outcome as they judge any. Any thread; no
 * state.
 */
#pragma once

#include "base/reasons.h"
#include "conf/conf.h"

struct json;

/* Changes config, which is foreign. Each device that it does not name is a reason, ERR_ABSENT, and the
 * others are changed. Of the places where a card or a console can be, the one that is said is the only
 * one left. */
void conf_override(struct json *config, const struct overrides_conf *o, struct reasons *r);
/* The same for the host nodes that memory zones come from. */
void conf_override_zones(struct json *config, const struct restore_conf *c, struct reasons *r);
