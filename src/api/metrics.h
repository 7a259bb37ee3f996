/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything there is to count, as OpenMetrics text: the answer to GET /api/v1/metrics. Families of
 * devices are made of the classes' own rows (core/dev.h), so that a counter has one name and one
 * sentence here, in vm.counters and in the documents; families of the program stand in a table here.
 * Control thread; costs a few system calls and no wait.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "base/http.h"
#include "base/openmetrics.h"
#include "conf/routes.h"

struct metrics;
struct vmm;

/* How requests of a route went. */
struct api_count {
	uint64_t errors;      /* answers of 400 and above */
	struct om_times took; /* from the whole request to its answer */
};

/* Opens what it reads later, so before the process confines itself. program is what it is called,
 * see doc_program. */
void metrics_new(struct metrics **out, const char *program);
/* NULL is fine. */
void metrics_free(struct metrics *m);

struct metrics_from {
	struct vmm *vmm;
	const struct api_count *routes; /* ROUTE_COUNT of them */
	const struct http_counts *http;
};
/* The whole text; the caller frees it. */
char *metrics_text(struct metrics *m, const struct metrics_from *f, size_t *len)
	__attribute__((returns_nonnull));

/* All families that there can be: the last section of the manual page, and a table in Markdown. */
void metrics_print_man(FILE *f);
void metrics_print_md(FILE *f);
