/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of log lines, taken apart and filled in. A token is a row: its name and the function
 * that says it. What follows "local" in a name is the same in the zone of the host. See logform.h.
 */
#include "base/logform.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define LOCAL "local"

/* A line being filled in. */
struct line {
	char *at;
	size_t used, size;
	const struct log_record *r;
	const struct zone *zone;
	struct tm day[2]; /* UTC, local; made when a token asks */
	bool has_day[2];
};

static void __attribute__((format(printf, 2, 3))) say(struct line *l, const char *fmt, ...)
{
	size_t room = l->size - l->used;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(l->at + l->used, room, fmt, args);
	va_end(args);
	if (n > 0)
		l->used += (size_t)n < room ? (size_t)n : room ? room - 1 : 0;
}

static const struct tm *day_of(struct line *l, bool local)
{
	struct tm *t = &l->day[local];

	if (!l->has_day[local])
		zone_date(t, l->r->wall.tv_sec,
			  local ? zone_offset(l->zone, l->r->wall.tv_sec) : 0);
	l->has_day[local] = true;
	return t;
}

static unsigned int micros_of(const struct line *l)
{
	return (unsigned int)(l->r->wall.tv_nsec / 1000);
}

/* --- tokens --- */

static const char *const level_names[] = { "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

const char *log_level_name(unsigned int level)
{
	return level_names[level % ARRAY_LEN(level_names)];
}

static void say_boottime(struct line *l, bool local __attribute__((unused)))
{
	unsigned long long us = l->r->since_ns / 1000;

	say(l, "%3llu.%06llu", us / 1000000, us % 1000000);
}

static void say_wallclock(struct line *l, bool local)
{
	const struct tm *t = day_of(l, local);

	say(l, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday,
	    t->tm_hour, t->tm_min, t->tm_sec, micros_of(l));
}

static void say_glog(struct line *l, bool local)
{
	const struct tm *t = day_of(l, local);

	say(l, "%02d%02d %02d:%02d:%02d.%06u", t->tm_mon + 1, t->tm_mday, t->tm_hour, t->tm_min,
	    t->tm_sec, micros_of(l));
}

static void say_pid(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%d", (int)getpid());
}

static void say_tid(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%d", (int)gettid());
}

static void say_thread(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%s", *l->r->thread ? l->r->thread : "anonymous");
}

static void say_level(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%s", log_level_name(l->r->level));
}

static void say_levelchar(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%c", log_level_name(l->r->level)[0]);
}

static void say_location(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%s:%d", l->r->file, l->r->line);
}

static void say_msg(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%s", l->r->msg);
}

static void say_year(struct line *l, bool local)
{
	say(l, "%04d", day_of(l, local)->tm_year + 1900);
}

static void say_month(struct line *l, bool local)
{
	say(l, "%02d", day_of(l, local)->tm_mon + 1);
}

static void say_day(struct line *l, bool local)
{
	say(l, "%02d", day_of(l, local)->tm_mday);
}

static void say_hour(struct line *l, bool local)
{
	say(l, "%02d", day_of(l, local)->tm_hour);
}

static void say_minute(struct line *l, bool local)
{
	say(l, "%02d", day_of(l, local)->tm_min);
}

static void say_second(struct line *l, bool local)
{
	say(l, "%02d", day_of(l, local)->tm_sec);
}

static void say_micros(struct line *l, bool local __attribute__((unused)))
{
	say(l, "%06u", micros_of(l));
}

static void say_offset(struct line *l, bool local)
{
	long minutes = day_of(l, local)->tm_gmtoff / 60;
	char sign = minutes < 0 ? '-' : '+';

	minutes = minutes < 0 ? -minutes : minutes;
	say(l, "%c%02ld:%02ld", sign, minutes / 60, minutes % 60);
}

static const struct token {
	const char *name;
	void (*say)(struct line *l, bool local);
	bool zoned; /* there is a local one too */
} tokens[] = {
	{ "boottime", say_boottime, false },
	{ "wallclock", say_wallclock, false },
	{ "glog", say_glog, true },
	{ "thread", say_thread, false },
	{ "level", say_level, false },
	{ "levelchar", say_levelchar, false },
	{ "location", say_location, false },
	{ "msg", say_msg, false },
	{ "pid", say_pid, false },
	{ "tid", say_tid, false },
	{ "year", say_year, true },
	{ "month", say_month, true },
	{ "day", say_day, true },
	{ "hour", say_hour, true },
	{ "minute", say_minute, true },
	{ "second", say_second, true },
	{ "micros", say_micros, true },
	{ "offset", say_offset, true },
};
#define TOKENS ((int)ARRAY_LEN(tokens)) /* the local one of token i is i + TOKENS */

/* --- taking apart --- */

static int token_find(const char *name, size_t length)
{
	size_t local = strlen(LOCAL);

	for (int i = 0; i < TOKENS; i++)
		if (strlen(tokens[i].name) == length && !strncmp(tokens[i].name, name, length))
			return i;
	if (length <= local || strncmp(name, LOCAL, local))
		return -1;
	for (int i = 0; i < TOKENS; i++)
		if (tokens[i].zoned && strlen(tokens[i].name) == length - local &&
		    !strncmp(tokens[i].name, name + local, length - local))
			return i + TOKENS;
	return -1;
}

static int piece_add(struct log_form *f, int token, size_t at, size_t length, struct err *e)
{
	if (token < 0 && !length)
		return 0;
	if (f->count == ARRAY_LEN(f->pieces))
		return err_set(e, ERR_BAD, "more than %u parts", LOG_FORM_PIECES);
	f->pieces[f->count].token = (int16_t)token;
	f->pieces[f->count].at = (uint16_t)at;
	f->pieces[f->count++].length = (uint16_t)length;
	return 0;
}

/* The token whose name begins at *p; leaves *p behind its brace. */
static int token_add(struct log_form *f, const char **p, struct err *e)
{
	size_t length = strcspn(*p, "}");
	int token = token_find(*p, length);

	if (!(*p)[length])
		return err_set(e, ERR_BAD, "a '{' without its '}': say {{ for a brace");
	if (token < 0)
		return err_set(e, ERR_BAD, "there is no token {%.*s}: docs/security.md lists them",
			       (int)(length < 40 ? length : 40), *p);
	*p += length + 1;
	return piece_add(f, token, 0, 0, e);
}

int log_form_parse(struct log_form *out, const char *text, struct err *e)
{
	struct log_form f = { 0 };
	size_t used = 0, begun = 0;
	bool local = false;

	if (strlen(text) >= sizeof(f.text))
		return err_set(e, ERR_BAD, "longer than %u bytes", LOG_FORM_BYTES - 1);
	while (*text) {
		bool brace = *text == '{' || *text == '}';

		if (!brace || text[1] == *text) {
			f.text[used++] = *text;
			text += brace ? 2 : 1;
			continue;
		}
		if (*text++ == '}')
			return err_set(e, ERR_BAD, "a '}' without its '{': say }} for a brace");
		if (piece_add(&f, -1, begun, used - begun, e) < 0 || token_add(&f, &text, e) < 0)
			return -1;
		begun = used;
		local = local || f.pieces[f.count - 1].token >= TOKENS;
	}
	if (piece_add(&f, -1, begun, used - begun, e) < 0)
		return -1;
	if (local)
		zone_read_host(&f.zone);
	*out = f;
	return 0;
}

size_t log_form_fill(char *out, size_t size, const struct log_form *f, const struct log_record *r)
{
	struct line l = { .at = out, .size = size, .r = r, .zone = &f->zone };

	for (unsigned int i = 0; i < f->count; i++) {
		int token = f->pieces[i].token;

		if (token < 0)
			say(&l, "%.*s", f->pieces[i].length, f->text + f->pieces[i].at);
		else
			tokens[token % TOKENS].say(&l, token >= TOKENS);
	}
	return l.used;
}
