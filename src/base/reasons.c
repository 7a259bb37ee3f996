/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reasons in a row. What does not fit into an error goes to the log. See reasons.h.
 */
#include "base/reasons.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define TEXT_MAX 1200 /* leaves room for those who say where it was */

void reasons_add(struct reasons *r, struct err *e)
{
	char line[ERR_TEXT];

	if (!r->count++)
		r->first = *e;
	err_line(e, line, sizeof(line));
	if (!r->is_full && r->text.len + strlen(line) < TEXT_MAX) {
		str_add(&r->text, " (%u) %s", r->count, line);
	} else {
		r->is_full = true;
		log_warn("in the way: (%u) %s", r->count, line);
	}
	err_clear(e);
}

void reasons_say(struct reasons *r, enum err_kind kind, const char *fmt, ...)
{
	char text[ERR_TEXT / 2];
	struct err e = { 0 };
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	err_set(&e, kind, "%s", text);
	reasons_add(r, &e);
}

int reasons_end(struct reasons *r, struct err *e)
{
	AUTO_STR struct str text = r->text;

	r->text = (struct str){ 0 };
	if (!r->count)
		return 0;
	if (r->count > 1)
		return err_set(e, r->first.kind, "%u things are in the way:%s%s", r->count,
			       str_text(&text), r->is_full ? " ... the others are in the log" : "");
	*e = r->first;
	return -1;
}
