/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of a log line: a template with tokens in braces, "{boottime}s: {level} -- {msg}", taken
 * apart once and filled in for every line. Tokens and their forms are those of Cloud Hypervisor's
 * --log-format; docs/security.md lists them. It writes nowhere (base/log.c) and allocates nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "base/zone.h"

#define LOG_FORM_PIECES 80
#define LOG_FORM_BYTES 512

/* A template taken apart. */
struct log_form {
	struct {
		int16_t token;	     /* -1: text as it stands */
		uint16_t at, length; /* of the text */
	} pieces[LOG_FORM_PIECES];
	unsigned int count;
	struct zone zone;	   /* of the host, where a token asks for it */
	char text[LOG_FORM_BYTES]; /* braces said twice are there once */
};

/* What a line tells. */
struct log_record {
	unsigned int level; /* enum log_level */
	const char *file, *thread, *msg;
	int line;
	uint64_t since_ns; /* from the start of the program */
	struct timespec wall;
};

/*
 * Takes a template apart; out is whole only on success. A template with a local date reads the time
 * zone now, so that filling it in opens no file later. For one thread, before there are others.
 */
MUST int log_form_parse(struct log_form *out, const char *text, struct err *e);
/* ERROR, WARN, INFO, DEBUG, TRACE. */
const char *log_level_name(unsigned int level);
/* Fills size bytes at most, no end of line and no end of string; returns how many. Any thread. */
size_t log_form_fill(char *out, size_t size, const struct log_form *f, const struct log_record *r);
