/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line, word by word. See vsline.h.
 */
#include "net/vsline.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define WORD "connect"

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next word of [*at, end); its length, 0 when there is none. */
static uint32_t next_word(const char **at, const char *end)
{
	const char *p = *at;
	uint32_t n = 0;

	while (p < end && is_blank(*p))
		p++;
	*at = p;
	while (p + n < end && !is_blank(p[n]))
		n++;
	return n;
}

static bool read_port(uint32_t *port, const char *text, uint32_t len)
{
	uint64_t v = 0;
	uint32_t i = len > 1 && text[0] == '+' ? 1 : 0;

	if (!len)
		return false;
	for (; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(text[i] - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*port = (uint32_t)v;
	return true;
}

enum vsline vsline_read(uint32_t *port, uint32_t *used, const char *text, uint32_t len)
{
	const char *end = memchr(text, '\n', len < VSLINE_MAX ? len : VSLINE_MAX), *at = text;
	uint32_t n;

	if (!end)
		return len < VSLINE_MAX ? VSLINE_MORE : VSLINE_BAD;
	n = next_word(&at, end);
	if (n != strlen(WORD) || strncasecmp(at, WORD, n) != 0)
		return VSLINE_BAD;
	at += n;
	n = next_word(&at, end);
	if (!read_port(port, at, n))
		return VSLINE_BAD;
	*used = (uint32_t)(end - text) + 1;
	return VSLINE_OK;
}
