/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help and the manual page of virga-remote, printed from the rows of commands, bodies and options.
 * Called by main, and by tests.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "conf/routes.h"

/* "virga-remote", or "ch-remote" where it was started under that name. */
const char *usage_program(const char *argv0);
/* The line that --version answers; as ch-remote, of Cloud Hypervisor's version. */
void usage_version(FILE *f, const char *argv0);
void usage_help(FILE *f);
/* What one command takes. */
void usage_command(FILE *f, const struct route *r);
void usage_man(FILE *f);
/* What stands behind a command: "key=value,...", "" for nothing. */
void usage_argument(struct str *out, const struct route *r);
