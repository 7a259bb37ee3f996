/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line at a time: name, perhaps {label="value",...}, a blank, a number. See omread.h.
 */
#include "base/omread.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == ':';
}

/* Moves *at over a name; false when there is none, or it is too long. */
static bool take_name(const char **at, char out[OMREAD_NAME])
{
	size_t n = 0;

	for (; is_name(**at); (*at)++) {
		if (n + 1 == OMREAD_NAME)
			return false;
		out[n++] = **at;
	}
	out[n] = '\0';
	return n;
}

/* What stands between quotes; *at is behind the first of them. */
static bool take_value(const char **at, char out[OMREAD_VALUE])
{
	size_t n = 0;

	for (; **at && **at != '"' && **at != '\n'; (*at)++) {
		char c = **at;

		if (c == '\\') {
			c = *++*at;
			if (c == 'n')
				c = '\n';
			else if (c != '\\' && c != '"')
				return false;
		}
		if (n + 1 == OMREAD_VALUE)
			return false;
		out[n++] = c >= 0x20 && c < 0x7f ? c : '?';
	}
	out[n] = '\0';
	return *(*at)++ == '"';
}

/* *at is behind the opening brace. */
static bool take_labels(const char **at, struct omread_sample *out)
{
	while (**at != '}') {
		struct omread_label *l = &out->label[out->labels];

		if (out->labels == OMREAD_LABELS || !take_name(at, l->name))
			return false;
		if (*(*at)++ != '=' || *(*at)++ != '"' || !take_value(at, l->value))
			return false;
		out->labels++;
		if (**at == ',')
			(*at)++;
		else if (**at != '}')
			return false;
	}
	(*at)++;
	return true;
}

static bool take_sample(const char *at, struct omread_sample *out)
{
	char *end;

	out->labels = 0;
	if (!take_name(&at, out->name))
		return false;
	if (*at == '{') {
		at++;
		if (!take_labels(&at, out))
			return false;
	}
	if (*at++ != ' ' || isspace((unsigned char)*at))
		return false;
	out->value = strtod(at, &end);
	return end != at && (*end == '\n' || *end == ' ');
}

bool omread_next(const char **at, struct omread_sample *out)
{
	while (**at) {
		const char *line = *at, *end = strchr(line, '\n');

		*at = end ? end + 1 : line + strlen(line);
		if (end && take_sample(line, out))
			return true;
	}
	return false;
}

const char *omread_label(const struct omread_sample *s, const char *name)
{
	for (unsigned int i = 0; i < s->labels; i++)
		if (!strcmp(s->label[i].name, name))
			return s->label[i].value;
	return "";
}
