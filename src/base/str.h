/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: a builder that cannot overrun, and the small grammar in which options are said on the
 * command line (key=value, [lists], "quotes", sizes, toggles, ranges). The grammar cuts and reads
 * single values; what the keys mean is base/desc's. Nothing here keeps state; any thread may call,
 * a builder belongs to one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A growing text of at most max bytes (0 = 1 MiB). Zero-initialise to make one. What does not
 * fit is left out and `cut` says so. */
struct str {
	char *text;
	size_t len, cap, max;
	bool cut;
};
void str_fini(struct str *s);
#define AUTO_STR __attribute__((cleanup(str_fini)))

void str_add(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_puts(struct str *s, const char *text);
void str_putn(struct str *s, const char *text, size_t len);
void str_putc(struct str *s, char c);
/* n times c */
void str_fill(struct str *s, char c, size_t n);
/* Drops the end until len bytes are left. */
void str_cut(struct str *s, size_t len);
/* The text so far, ending with a zero, never NULL; lives until the next change. */
const char *str_text(const struct str *s);
/* The text as an owned string; s is empty afterwards. */
char *str_take(struct str *s) __attribute__((returns_nonnull));

/* Are the quotes closed and the brackets in pairs? */
MUST int str_balanced(const char *text, struct err *e);
/* Cuts the next piece of *at that ends at sep or at the end, where quotes and brackets protect
 * sep. False when nothing is left (*at is NULL then). The text is balanced. */
bool str_piece(const char **at, char sep, const char **piece, size_t *len);
/* First c in piece that neither quotes nor brackets protect, or NULL. */
const char *str_find(const char *piece, size_t len, char c);
/* The piece without its quotes, "" within quotes being one quote. Owned by the caller. */
char *str_unquote(const char *piece, size_t len) __attribute__((returns_nonnull));

/* Whole values. Each refuses what is left over behind, by a sentence that quotes the text. */
MUST int str_to_uint(uint64_t *out, const char *text, struct err *e); /* decimal */
MUST int str_to_int(int64_t *out, const char *text, struct err *e);   /* decimal, perhaps with - */
MUST int str_to_hex(uint64_t *out, const char *text, struct err *e);  /* with or without 0x */
MUST int str_to_size(uint64_t *out, const char *text,
		     struct err *e); /* decimal with K, M or G behind */
MUST int str_to_bool(bool *out, const char *text, struct err *e); /* on true / off false "" */

/* How many letters must be added, dropped, changed or swapped with their neighbour to turn a
 * into b. */
unsigned int str_distance(const char *a, const char *b);

/* What a hexadecimal digit is worth, -1 for any other character. */
int str_digit(char c);
/* len bytes as 2*len hex digits, and back; text must have exactly that length. */
void str_hex(struct str *s, const void *bytes, size_t len);
MUST int str_unhex(void *bytes, size_t len, const char *text, struct err *e);

/* A UUID in its own order of bytes: 8-4-4-4-12 hex digits or 32 in a row, perhaps within {} or with
 * "urn:uuid:" in front. */
MUST int str_to_uuid(uint8_t out[16], const char *text, struct err *e);

/* A size as people write it: 512M, 1G, 4097. */
void str_size(struct str *s, uint64_t bytes);
