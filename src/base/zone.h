/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of day in the host's zone, and dates. In place of the C library's, whose reader of zones
 * brings a tenth of the whole program along (all of scanf, which reads real numbers of every
 * width), and which opens files when it likes. Zones are read once: files as RFC 9636 has them, and
 * rules as POSIX has them in TZ (XBD 8.3). Not a calendar: no weeks, no names. Any thread; a zone
 * that was read is not changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

/* Of a file those are kept that follow a moment; what lies before is as it was before the first. */
#define ZONE_STEPS 64

/* When in a year clocks change. */
struct zone_date {
	char kind; /* 'M': the week-th day of a month; 'J': 1 to 365 without 29 February; 'N': 0 to 365 */
	uint16_t month, week, day;
	int32_t time_s; /* of the clock before the change */
};

struct zone {
	uint32_t steps;
	struct {
		int64_t from;
		int32_t offset_s;
	} step[ZONE_STEPS];
	int32_t first_s; /* before all steps */
	/* what holds after the last step */
	bool cut; /* the file tells more steps */
	bool has_rule, has_summer;
	int32_t winter_s, summer_s; /* seconds east of Greenwich */
	struct zone_date to_summer, to_winter;
};

/* A file's bytes, for the years from a moment on. */
MUST int zone_read_file(struct zone *out, const void *bytes, size_t len, int64_t from,
			struct err *e);
/* "CET-1CEST,M3.5.0,M10.5.0/3" and the like. */
MUST int zone_read_rule(struct zone *out, const char *text, struct err *e);
/* The one that $TZ names, else /etc/localtime, from a year ago on; UTC when it cannot be read.
 * Opens files. */
void zone_read_host(struct zone *out);

/* Seconds east of Greenwich at a moment. */
int32_t zone_offset(const struct zone *z, int64_t at);
/* Date and time of the clock that is so far east; the epoch for what is beyond the year 9999. */
void zone_date(struct tm *out, int64_t at, int32_t offset_s);
