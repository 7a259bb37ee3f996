/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text builder and the value grammar of the command line. It is not a parser of whole options:
 * it cuts at separators and reads single values. Any thread; no state.
 */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bits.h"
#include "base/mem.h"

#define STR_MAX_DEFAULT MIB(1)
#define WORD_MAX 48 /* longest word that str_distance compares */

void str_fini(struct str *s)
{
	free(s->text);
	*s = (struct str){ .max = s->max };
}

/* Makes room for n more bytes and the ending zero; returns how many of them fit. */
static size_t room(struct str *s, size_t n)
{
	size_t max = s->max ? s->max : STR_MAX_DEFAULT;
	size_t left = max - (s->len < max ? s->len : max);
	size_t cap;

	if (n > left) {
		n = left;
		s->cut = true;
	}
	if (s->len + n + 1 > s->cap) {
		cap = s->cap ? s->cap * 2 : 64;
		while (cap < s->len + n + 1)
			cap *= 2;
		s->text = mem_resize(s->text, s->cap, cap, 1);
		s->cap = cap;
	}
	return n;
}

void str_putn(struct str *s, const char *text, size_t len)
{
	size_t n = room(s, len);

	memcpy(s->text + s->len, text, n);
	s->len += n;
	s->text[s->len] = 0;
}

void str_puts(struct str *s, const char *text)
{
	str_putn(s, text, strlen(text));
}

void str_putc(struct str *s, char c)
{
	str_putn(s, &c, 1);
}

void str_fill(struct str *s, char c, size_t n)
{
	while (n--)
		str_putc(s, c);
}

void str_add(struct str *s, const char *fmt, ...)
{
	va_list ap;
	char *line;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&line, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	str_putn(s, line, (size_t)n);
	free(line);
}

void str_cut(struct str *s, size_t len)
{
	if (len >= s->len)
		return;
	s->len = len;
	s->text[len] = 0;
}

const char *str_text(const struct str *s)
{
	return s->text ? s->text : "";
}

char *str_take(struct str *s)
{
	char *text = s->text ? s->text : mem_str("");

	*s = (struct str){ .max = s->max };
	return text;
}

int str_balanced(const char *text, struct err *e)
{
	bool quoted = false;
	unsigned int depth = 0;

	for (const char *p = text; *p; p++) {
		if (*p == '"')
			quoted = !quoted;
		if (quoted)
			continue;
		if (*p == '[')
			depth++;
		if (*p == ']' && !depth--)
			return err_set(e, ERR_BAD, "a ']' without its '[' in '%s'", text);
	}
	if (quoted)
		return err_set(e, ERR_BAD, "a quote is not closed in '%s'", text);
	if (depth)
		return err_set(e, ERR_BAD, "a '[' without its ']' in '%s'", text);
	return 0;
}

const char *str_find(const char *piece, size_t len, char c)
{
	bool quoted = false;
	unsigned int depth = 0;

	for (size_t i = 0; i < len; i++) {
		char x = piece[i];

		if (!quoted && !depth && x == c)
			return piece + i;
		if (x == '"')
			quoted = !quoted;
		else if (!quoted && x == '[')
			depth++;
		else if (!quoted && x == ']' && depth)
			depth--;
	}
	return NULL;
}

bool str_piece(const char **at, char sep, const char **piece, size_t *len)
{
	const char *from = *at, *end;
	size_t left;

	if (!from)
		return false;
	left = strlen(from);
	end = str_find(from, left, sep);
	*piece = from;
	*len = end ? (size_t)(end - from) : left;
	*at = end ? end + 1 : NULL;
	return true;
}

char *str_unquote(const char *piece, size_t len)
{
	char *out = mem_new(len + 1), *o = out;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		if (piece[i] != '"') {
			*o++ = piece[i];
		} else if (quoted && i + 1 < len && piece[i + 1] == '"') {
			*o++ = '"';
			i++;
		} else {
			quoted = !quoted;
		}
	}
	return out;
}

int str_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Digits of a base from *at on; false without any digit or when the number has more than 64
 * bits. */
static bool digits(uint64_t *out, const char **at, int base)
{
	const char *p = *at;
	uint64_t v = 0;

	for (int d; (d = str_digit(*p)) >= 0 && d < base; p++)
		if (mul_overflows(&v, v, (uint64_t)base) || add_overflows(&v, v, (uint64_t)d))
			return false;
	if (p == *at)
		return false;
	*at = p;
	*out = v;
	return true;
}

int str_to_uint(uint64_t *out, const char *text, struct err *e)
{
	const char *p = text;

	if (!digits(out, &p, 10) || *p)
		return err_set(e, ERR_BAD, "'%s' is not a whole number", text);
	return 0;
}

int str_to_int(int64_t *out, const char *text, struct err *e)
{
	const char *p = text;
	bool minus = *p == '-';
	uint64_t v;

	p += minus;
	if (!digits(&v, &p, 10) || *p || v > (uint64_t)INT64_MAX + minus)
		return err_set(e, ERR_BAD, "'%s' is not a whole number", text);
	*out = minus ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

int str_to_hex(uint64_t *out, const char *text, struct err *e)
{
	const char *p = text;

	if (p[0] == '0' && (p[1] | 32) == 'x')
		p += 2;
	if (!digits(out, &p, 16) || *p)
		return err_set(e, ERR_BAD, "'%s' is not a hexadecimal number", text);
	return 0;
}

int str_to_size(uint64_t *out, const char *text, struct err *e)
{
	static const char units[] = "KMG";
	const char *p = text, *unit;
	bool good = digits(out, &p, 10);

	if (good && *p) {
		unit = strchr(units, *p & ~32);
		good = unit && *unit && !p[1] &&
		       !mul_overflows(out, *out, 1ull << (10 * (unit - units + 1)));
	}
	if (!good)
		return err_set(e, ERR_BAD,
			       "'%s' is not a size: say bytes, or a number with K, M or G", text);
	return 0;
}

int str_to_bool(bool *out, const char *text, struct err *e)
{
	*out = !strcasecmp(text, "on") || !strcasecmp(text, "true");
	if (!*out && *text && strcasecmp(text, "off") && strcasecmp(text, "false"))
		return err_set(e, ERR_BAD, "'%s' is neither on nor off", text);
	return 0;
}

unsigned int str_distance(const char *a, const char *b)
{
	unsigned int row[3][WORD_MAX + 1];
	size_t an = strnlen(a, WORD_MAX), bn = strnlen(b, WORD_MAX);

	for (unsigned int j = 0; j <= bn; j++)
		row[0][j] = j;
	for (unsigned int i = 1; i <= an; i++) {
		unsigned int *now = row[i % 3], *last = row[(i + 2) % 3],
			     *before = row[(i + 1) % 3];

		now[0] = i;
		for (unsigned int j = 1; j <= bn; j++) {
			unsigned int best = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[an % 3][bn];
}

void str_hex(struct str *s, const void *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++) {
		str_putc(s, hex[b[i] >> 4]);
		str_putc(s, hex[b[i] & 15]);
	}
}

int str_unhex(void *bytes, size_t len, const char *text, struct err *e)
{
	uint8_t *b = bytes;

	if (strlen(text) != 2 * len)
		return err_set(e, ERR_BAD, "%zu hex digits are asked for, %zu were given", 2 * len,
			       strlen(text));
	for (size_t i = 0; i < len; i++) {
		int high = str_digit(text[2 * i]), low = str_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return err_set(e, ERR_BAD, "'%.2s' are not hex digits", &text[2 * i]);
		b[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* The 32 digits of len bytes of text, with hyphens at their four places or none at all. */
static bool uuid_digits(char out[33], const char *text, size_t len)
{
	bool hyphens = len == 36;
	size_t n = 0;

	if (len != 32 && !hyphens)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (hyphens && (i == 8 || i == 13 || i == 18 || i == 23)) {
			if (text[i] != '-')
				return false;
			continue;
		}
		out[n++] = text[i];
	}
	out[n] = '\0';
	return true;
}

int str_to_uuid(uint8_t out[16], const char *text, struct err *e)
{
	static const char urn[] = "urn:uuid:";
	size_t len = strlen(text);
	const char *from = text;
	char hex[33];

	if (!strncmp(text, urn, sizeof(urn) - 1)) {
		from += sizeof(urn) - 1;
		len -= sizeof(urn) - 1;
	} else if (len >= 2 && text[0] == '{' && text[len - 1] == '}') {
		from++;
		len -= 2;
	}
	if (!uuid_digits(hex, from, len) || str_unhex(out, 16, hex, e))
		return err_set(e, ERR_BAD, "'%s' is no UUID: say 32 hex digits as 8-4-4-4-12",
			       text);
	return 0;
}

void str_size(struct str *s, uint64_t bytes)
{
	static const char units[] = { 0, 'K', 'M', 'G' };
	unsigned int i = 0;

	while (i < 3 && bytes && !(bytes & 1023)) {
		bytes >>= 10;
		i++;
	}
	str_add(s, "%llu", (unsigned long long)bytes);
	if (i)
		str_putc(s, units[i]);
}
