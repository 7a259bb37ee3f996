/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server has answered, for people and scripts: bodies as they came on standard output, errors
 * as a numbered list on standard error, outermost first. The server is foreign: to a terminal its
 * control characters do not go. One thread.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "base/httpc.h"

/* Prints the answer to a command of that name; returns the program's exit status. */
int reply_print(FILE *out, FILE *errors, const char *command, const struct httpc_answer *a);
/* One piece of a stream, written at once; for httpc's sink. arg is a FILE. */
void reply_piece(void *arg, const char *piece, size_t len);
/* The error array of an answer as a numbered list; a text that is none, as it is. */
void reply_errors(FILE *f, const char *body, size_t len);
