/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion for shells, printed from the rows: commands and options, the keys of each, and values
 * where they are words or paths. What is printed is a script in the shell's own language, which needs
 * nothing else. Called by main, and by tests.
 */
#pragma once

#include <stdio.h>

#include "base/err.h"

/* "bash", "zsh" or "fish": of virga-remote; with ":virga" behind it, of virga. */
MUST int complete_print(FILE *f, const char *what, struct err *e);
