/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zones of time: files, rules, and the arithmetic of days. See zone.h.
 */
#include "base/zone.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/mem.h"

#define DAY_S 86400
#define YEAR_S (366 * DAY_S)
#define YEAR_9999_S 253402300800
#define FILE_MAX KIB(64)
#define HEAD 44u     /* RFC 9636 §3.1 */
#define TIME_MAX 167 /* hours of a rule's time, RFC 9636 §3.3.2 */
#define OFFSET_MAX 24

/* --- days --- */

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 || year % 400 == 0);
}

/* Days from the epoch to 1 January. */
static int64_t days_to(int64_t year)
{
	int64_t y = year - 1;

	return 365 * (year - 1970) + (y / 4 - 1969 / 4) - (y / 100 - 1969 / 100) +
	       (y / 400 - 1969 / 400);
}

static unsigned int month_days(int64_t year, unsigned int month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 1 && is_leap(year) ? 29 : days[month];
}

/* The year of a day counted from the epoch; years before 1 are none of ours. */
static int64_t year_of(int64_t day)
{
	int64_t year = 1970 + day / 366;

	while (days_to(year + 1) <= day)
		year++;
	while (days_to(year) > day)
		year--;
	return year;
}

static int64_t day_of(int64_t at)
{
	return at / DAY_S - (at % DAY_S < 0);
}

/* The day of the week, Sunday 0. */
static int64_t weekday(int64_t day)
{
	return ((day + 4) % 7 + 7) % 7;
}

void zone_date(struct tm *out, int64_t at, int32_t offset_s)
{
	int64_t day, year, rest;
	unsigned int month = 0;

	if (at < -YEAR_9999_S / 8 || at >= YEAR_9999_S - DAY_S)
		at = 0;
	at += offset_s;
	day = day_of(at);
	year = year_of(day);
	rest = at - day * DAY_S;
	*out = (struct tm){
		.tm_year = (int)(year - 1900),
		.tm_yday = (int)(day - days_to(year)),
		.tm_wday = (int)weekday(day),
		.tm_hour = (int)(rest / 3600),
		.tm_min = (int)(rest / 60 % 60),
		.tm_sec = (int)(rest % 60),
		.tm_gmtoff = offset_s,
	};
	day -= days_to(year);
	for (; day >= month_days(year, month); month++)
		day -= month_days(year, month);
	out->tm_mon = (int)month;
	out->tm_mday = (int)day + 1;
}

/* --- rules --- */

/* Seconds from the epoch to the change of a year, by a clock that does not change. */
static int64_t date_in(const struct zone_date *d, int64_t year)
{
	int64_t day = days_to(year), first;

	if (d->kind == 'M') {
		for (unsigned int m = 0; m + 1 < d->month; m++)
			day += month_days(year, m);
		first = (d->day - weekday(day) + 7) % 7 + 7 * (d->week - 1);
		/* the fifth is the last */
		day += first < month_days(year, d->month - 1u) ? first : first - 7;
	} else {
		day += d->day;
		if (d->kind == 'J')
			day += is_leap(year) && d->day >= 60 ? 0 : -1;
	}
	return day * DAY_S + d->time_s;
}

static int32_t rule_offset(const struct zone *z, int64_t at)
{
	int64_t year, summer, winter;

	if (!z->has_summer || at >= YEAR_9999_S || at < -YEAR_9999_S / 8)
		return z->winter_s;
	year = year_of(day_of(at + z->winter_s));
	summer = date_in(&z->to_summer, year) - z->winter_s;
	winter = date_in(&z->to_winter, year) - z->summer_s;
	if (summer < winter)
		return at >= summer && at < winter ? z->summer_s : z->winter_s;
	return at >= winter && at < summer ? z->winter_s : z->summer_s;
}

static bool digits(int32_t *out, const char **p, int32_t max)
{
	int32_t v = 0;

	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9' && v <= max; (*p)++)
		v = v * 10 + **p - '0';
	*out = v;
	return v <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool clock_read(int32_t *out_s, const char **p, int32_t hours_max)
{
	bool minus = **p == '-';
	int32_t v, s = 0;

	*p += minus || **p == '+';
	for (int32_t unit = 3600; unit; unit /= 60) {
		if (unit < 3600 && *(*p)++ != ':')
			return false;
		if (!digits(&v, p, unit == 3600 ? hours_max : 59))
			return false;
		s += v * unit;
		if (**p != ':')
			break;
	}
	*out_s = minus ? -s : s;
	return true;
}

/* Three letters and more, or anything between < and >. */
static bool name_skip(const char **p)
{
	size_t n = 0;

	if (**p == '<') {
		n = strcspn(*p, ">");
		*p += n + ((*p)[n] == '>');
		return (*p)[-1] == '>' && n > 1;
	}
	while (((*p)[n] | 32) >= 'a' && ((*p)[n] | 32) <= 'z')
		n++;
	*p += n;
	return n >= 3;
}

static bool date_read(struct zone_date *d, const char **p)
{
	int32_t month = 1, week = 1, day;
	bool good;

	*d = (struct zone_date){ .kind = **p == 'M' || **p == 'J' ? **p : 'N', .time_s = 7200 };
	*p += d->kind != 'N';
	if (d->kind == 'M')
		good = digits(&month, p, 12) && month && *(*p)++ == '.' && digits(&week, p, 5) &&
		       week && *(*p)++ == '.' && digits(&day, p, 6);
	else
		good = digits(&day, p, 365) && (day || d->kind == 'N');
	if (!good)
		return false;
	d->month = (uint16_t)month;
	d->week = (uint16_t)week;
	d->day = (uint16_t)day;
	if (**p != '/')
		return true;
	(*p)++;
	return clock_read(&d->time_s, p, TIME_MAX);
}

static bool rule_read(struct zone *z, const char *p)
{
	if (!name_skip(&p) || !clock_read(&z->winter_s, &p, OFFSET_MAX))
		return false;
	z->winter_s = -z->winter_s;
	z->has_rule = true;
	if (!*p)
		return true;
	if (!name_skip(&p))
		return false;
	z->has_summer = true;
	z->summer_s = z->winter_s + 3600;
	if (*p && *p != ',') {
		if (!clock_read(&z->summer_s, &p, OFFSET_MAX))
			return false;
		z->summer_s = -z->summer_s;
	}
	/* as the C library has it */
	if (!*p)
		p = ",M3.2.0,M11.1.0";
	return *p++ == ',' && date_read(&z->to_summer, &p) && *p++ == ',' &&
	       date_read(&z->to_winter, &p) && !*p;
}

int zone_read_rule(struct zone *out, const char *text, struct err *e)
{
	struct zone z = { 0 };

	if (!rule_read(&z, text))
		return err_set(e, ERR_BAD, "'%.40s' is no rule of a time zone", text);
	*out = z;
	return 0;
}

/* --- files --- */

/* What follows a head, and how long it is. RFC 9636 §3.1 */
struct block {
	uint32_t leaps, times, types, names, standard, greenwich;
	uint64_t size;
};

static bool block_read(struct block *b, const uint8_t *at, size_t len, unsigned int word)
{
	if (len < HEAD || memcmp(at, "TZif", 4) != 0)
		return false;
	*b = (struct block){
		.greenwich = be32_get(at + 20),
		.standard = be32_get(at + 24),
		.leaps = be32_get(at + 28),
		.times = be32_get(at + 32),
		.types = be32_get(at + 36),
		.names = be32_get(at + 40),
	};
	b->size = (uint64_t)b->times * (word + 1) + 6ull * b->types + b->names +
		  (uint64_t)b->leaps * (word + 4) + b->standard + b->greenwich;
	return b->types && b->size <= len - HEAD;
}

static int64_t step_at(const uint8_t *at, uint32_t i, unsigned int word)
{
	return word == 8 ? (int64_t)be64_get(at + 8ul * i) : (int32_t)be32_get(at + 4ul * i);
}

/* Takes the steps of a block from a moment on, as many as there is room for. */
static bool steps_take(struct zone *z, const struct block *b, const uint8_t *at, unsigned int word,
		       int64_t from)
{
	const uint8_t *type = at + (size_t)b->times * word, *local = type + b->times;
	uint32_t before = 0; /* the type */

	for (uint32_t i = 0; i < b->times; i++) {
		int64_t when = step_at(at, i, word);

		if (type[i] >= b->types || (i && when <= step_at(at, i - 1, word)))
			return false;
		if (when <= from) {
			before = type[i];
		} else if (z->steps < ZONE_STEPS) {
			z->step[z->steps].from = when;
			z->step[z->steps++].offset_s = (int32_t)be32_get(local + 6ul * type[i]);
		} else {
			z->cut = true;
		}
	}
	z->first_s = (int32_t)be32_get(local + 6ul * before);
	for (uint32_t i = 0; i < z->steps; i++)
		if (z->step[i].offset_s / DAY_S)
			return false;
	return z->first_s / DAY_S == 0;
}

static bool file_read(struct zone *z, const uint8_t *at, size_t len, int64_t from)
{
	unsigned int word = 4;
	char rule[128] = "";
	struct block b;
	size_t n = 0;

	if (!block_read(&b, at, len, word))
		return false;
	/* from version 2 on the same follows with wide times, and a rule behind it */
	if (at[4] >= '2') {
		at += HEAD + b.size;
		len -= HEAD + b.size;
		word = 8;
		if (!block_read(&b, at, len, word))
			return false;
	}
	if (!steps_take(z, &b, at + HEAD, word, from))
		return false;
	at += HEAD + b.size;
	len -= HEAD + b.size;
	if (z->cut || word == 4 || len < 2 || at[0] != '\n' || at[1] == '\n')
		return true;
	while (++n < len && n < sizeof(rule) && at[n] != '\n')
		rule[n - 1] = (char)at[n];
	return n < len && at[n] == '\n' && rule_read(z, rule);
}

int zone_read_file(struct zone *out, const void *bytes, size_t len, int64_t from, struct err *e)
{
	struct zone z = { 0 };

	if (!file_read(&z, bytes, len, from))
		return err_set(e, ERR_BAD, "the file describes no time zone");
	*out = z;
	return 0;
}

static bool host_file(struct zone *out, const char *path)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FREE uint8_t *bytes = fd < 0 ? NULL : mem_new(FILE_MAX);
	ssize_t n = bytes ? read(fd, bytes, FILE_MAX) : -1;
	struct err e = { 0 };

	return n > 0 && zone_read_file(out, bytes, (size_t)n, time(NULL) - YEAR_S, &e) == 0;
}

void zone_read_host(struct zone *out)
{
	const char *name = getenv("TZ"), *folder = getenv("TZDIR");
	struct err e = { 0 };
	char path[512];

	*out = (struct zone){ 0 };
	if (!name) {
		host_file(out, "/etc/localtime");
		return;
	}
	name += *name == ':';
	if (!*name)
		return;
	snprintf(path, sizeof(path), "%s%s%s",
		 *name == '/' ? ""
		 : folder     ? folder
			      : "/usr/share/zoneinfo",
		 *name == '/' ? "" : "/", name);
	if (!host_file(out, path) && zone_read_rule(out, name, &e) < 0)
		*out = (struct zone){ 0 };
}

int32_t zone_offset(const struct zone *z, int64_t at)
{
	int32_t offset_s = z->first_s;

	if (z->has_rule && (!z->steps || at >= z->step[z->steps - 1].from))
		return rule_offset(z, at);
	for (uint32_t i = 0; i < z->steps && z->step[i].from <= at; i++)
		offset_s = z->step[i].offset_s;
	return offset_s;
}
