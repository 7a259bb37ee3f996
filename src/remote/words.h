/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of virga-remote: options of the program itself, then a command of conf/routes.def
 * with what it takes. It only sorts words; what those of a command mean is remote/ask's. Called once,
 * by main.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/routes.h"

#define WORDS_MAX 16 /* of a command */
#define WORDS_OWN 3  /* commands that are not the server's */

enum words_what {
	WORDS_ASK,  /* do the command */
	WORDS_HELP, /* of the program, or of the command that is named */
	WORDS_VERSION,
	WORDS_DOC,	  /* .name says which: help, man */
	WORDS_COMPLETION, /* .name says of which shell */
};

struct words {
	uint64_t set;
	char *api_socket;
	bool async;
	uint32_t wait, timeout;
	char *dbus_service_name, *dbus_object_path;
	bool dbus_system_bus;

	enum words_what what;
	const char *name;
	const struct route *route; /* NULL when no command was said */
	unsigned int count;
	char *args[WORDS_MAX]; /* of the command, as they stand in argv */
};

/* The rows of the options. */
extern const struct desc words_desc;
/* Other options that no row has, for documents and shells; they end with a NULL name. */
struct words_ask {
	const char *name, *brief; /* "--help", "-h" or "" */
	const char *value;	  /* what it takes: "bash|zsh|fish"; "" for nothing */
	const char *doc;
	enum words_what what;
};
extern const struct words_ask words_asks[];

/* All commands, of the rows and of our own; NULL behind the last. */
const struct route *words_nth(unsigned int i);
/* The command of that name, or NULL. */
const struct route *words_command(const char *name);

/* Overwrites *out; the caller calls words_free, also after a failure. What it fails of is wrong
 * usage. */
MUST int words_parse(struct words *out, int argc, char **argv, struct err *e);
void words_free(struct words *w);
