/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of OpenMetrics 1.0: families of numbers with labels, as monitoring systems scrape them. This is
 * the form only; which families there are is said by who calls. No state; a text belongs to one
 * thread. https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
#pragma once

#include <stdint.h>

#include "base/str.h"

#define OM_MEDIA "application/openmetrics-text; version=1.0.0; charset=utf-8"

enum om_type { OM_COUNTER, OM_GAUGE, OM_HISTOGRAM, OM_INFO, OM_STATESET };
extern const char *const om_type_names[];

/* Samples of a family follow om_begin of it, before that of another. */
struct om_family {
	const char *name; /* ends with "_<unit>" where there is one */
	enum om_type type;
	const char *unit; /* NULL = a plain number */
	const char *doc;  /* a sentence without a full stop */
};

/* The list ends with a name of NULL; NULL is a list of none. */
struct om_label {
	const char *name, *value;
};

void om_begin(struct str *out, const struct om_family *f);
void om_put(struct str *out, const struct om_family *f, const struct om_label *l, uint64_t v);
/* For families in seconds: so many nanoseconds. */
void om_put_ns(struct str *out, const struct om_family *f, const struct om_label *l, uint64_t ns);
void om_end(struct str *out);

/* How long something took, in steps that tell an answer at once from a wait. One thread's. */
#define OM_STEPS 8
struct om_times {
	uint64_t count, sum_ns, max_ns;
	uint64_t step[OM_STEPS]; /* not longer than its bound, longer than that before */
};
void om_time(struct om_times *t, uint64_t ns);
void om_put_times(struct str *out, const struct om_family *f, const struct om_label *l,
		  const struct om_times *t);
