/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of help and of manual pages: words wrapped to the width, text for roff, the keys of a table
 * with their sentences. What a document holds is decided by who prints it: conf/doc for virga,
 * remote/ for virga-remote. Any thread; no state.
 */
#pragma once

#include <stdio.h>

#include "base/desc.h"

/* How values are said on a command line, for every document. */
struct page_value {
	const char *what, *text;
};
#define PAGE_VALUES 5
extern const struct page_value page_values[PAGE_VALUES];

/* Writes words from column `at` on, which is reached already; lines break before column 100 and go
 * on at column `indent`. */
void page_wrap(FILE *f, const char *text, unsigned int indent, unsigned int at);
/* The same from a line's start. */
void page_sentence(FILE *f, const char *text, unsigned int indent);
/* Text for roff: what it would read as its own is escaped. */
void page_roff(FILE *f, const char *text);

/* "key=<value>"; for a row that is said bare, the value alone. */
void page_key_syntax(struct str *out, const struct field *f, const char *key);
/* The sentence of a row with what else is to be known of its value. */
void page_key_text(struct str *out, const struct field *f, uint32_t flags);
/* The keys of a table, a line each, for help and for a manual page. */
void page_help_keys(FILE *f, const struct desc *d);
void page_man_keys(FILE *f, const struct desc *d);
