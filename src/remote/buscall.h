/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands over D-Bus (api/dbus.h), in builds with it. One thread; it blocks.
 */
#pragma once

#include "base/err.h"
#include "remote/ask.h"
#include "remote/words.h"

#ifdef VIRGA_DBUS
/* Calls the method of the command's row, and prints its answer; *status is the program's. */
MUST int buscall(const struct words *w, const struct ask *a, int *status, struct err *e);
#else
static inline MUST int buscall(const struct words *w, const struct ask *a, int *status,
			       struct err *e)
{
	(void)w;
	(void)a;
	(void)status;
	return err_set(e, ERR_UNBUILT, "D-Bus is not in this build");
}
#endif
