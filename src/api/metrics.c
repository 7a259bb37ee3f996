/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The families and their samples. One function for each group of families; all of them read from
 * what was taken before, and write text. See metrics.h.
 */
#include "api/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "api/footprint.h"
#include "base/event.h"
#include "base/loop.h"
#include "base/mem.h"
#include "conf/doc.h"
#include "conf/page.h"
#include "vm/roster.h"
#include "vm/vmm.h"

#define TEXT_MAX (32u << 20)
#define FAMILY_NAME 96

struct metrics {
	const char *program;
	struct footprint memory;
	uint64_t born_s; /* of the epoch */
};

struct scrape {
	struct metrics *m;
	const struct metrics_from *from;
	const struct report *report;
	struct str *out;
};

/* --- the program's own families --- */

enum {
	BUILD,
	START,
	CPU,
	RESIDENT,
	VM_STATE,
	MEMORY_SIZE,
	MEMORY_RESIDENT,
	MEMORY_OVERHEAD,
	MEMORY_SHARED,
	EXITS,
	VCPU_CPU,
	API_TIME,
	API_ERRORS,
	API_CONNECTIONS,
	API_BAD,
	API_DROPPED,
	API_CLIENTS,
	EVENTS,
	EVENTS_LOST,
	EVENT_SUBSCRIBERS,
	JOBS_BEGUN,
	JOBS_WAITING,
	JOBS_RUNNING,
	WORK_DONE,
	WORK_TOTAL,
	FAMILIES
};

static const struct om_family own[FAMILIES] = {
	[BUILD] = { "virga_build", OM_INFO, NULL, "the program and its version" },
	[START] = { "process_start_time_seconds", OM_GAUGE, "seconds",
		    "when the program began, since the epoch" },
	[CPU] = { "process_cpu_seconds", OM_COUNTER, "seconds",
		  "processor time of all threads, the guest's included, by mode" },
	[RESIDENT] = { "process_resident_memory_bytes", OM_GAUGE, "bytes",
		       "memory of the host that the process holds, the guest's included" },
	[VM_STATE] = { "virga_vm_state", OM_STATESET, NULL,
		       "state of the virtual machine; all are 0 while there is none" },
	[MEMORY_SIZE] = { "virga_memory_guest_bytes", OM_GAUGE, "bytes", "RAM that the guest has" },
	[MEMORY_RESIDENT] = { "virga_memory_guest_resident_bytes", OM_GAUGE, "bytes",
			      "RAM of the guest that takes memory of the host" },
	[MEMORY_OVERHEAD] = { "virga_memory_overhead_bytes", OM_GAUGE, "bytes",
			      "memory of the host beside the guest's RAM" },
	[MEMORY_SHARED] = { "virga_memory_shared_bytes", OM_GAUGE, "bytes",
			    "of the resident memory, what other processes may share" },
	[EXITS] = { "virga_vcpu_exits", OM_COUNTER, NULL,
		    "exits of a vCPU that virga answers, by kind" },
	[VCPU_CPU] = { "virga_vcpu_cpu_seconds", OM_COUNTER, "seconds",
		       "processor time that a vCPU's thread has used" },
	[API_TIME] = { "virga_api_request_duration_seconds", OM_HISTOGRAM, "seconds",
		       "from a whole request to its answer, by route" },
	[API_ERRORS] = { "virga_api_errors", OM_COUNTER, NULL,
			 "requests that were answered with 400 or above, by route" },
	[API_CONNECTIONS] = { "virga_api_connections", OM_COUNTER, NULL,
			      "connections that were made to the API's socket" },
	[API_BAD] = { "virga_api_bad_requests", OM_COUNTER, NULL,
		      "requests that were no HTTP, too large or too slow" },
	[API_DROPPED] = { "virga_api_dropped_connections", OM_COUNTER, NULL,
			  "connections that were refused or ended because of their client" },
	[API_CLIENTS] = { "virga_api_clients", OM_GAUGE, NULL, "connections that there are" },
	[EVENTS] = { "virga_events", OM_COUNTER, NULL,
		     "events that were told, by source and name" },
	[EVENTS_LOST] = { "virga_events_lost", OM_COUNTER, NULL,
			  "events that a reader has lost because it did not read" },
	[EVENT_SUBSCRIBERS] = { "virga_event_subscribers", OM_GAUGE, NULL,
				"clients that have the events streamed" },
	[JOBS_BEGUN] = { "virga_jobs", OM_COUNTER, NULL, "jobs that were asked for" },
	[JOBS_WAITING] = { "virga_jobs_waiting", OM_GAUGE, NULL, "jobs whose turn has not come" },
	[JOBS_RUNNING] = { "virga_jobs_running", OM_GAUGE, NULL, "jobs that run" },
	[WORK_DONE] = { "virga_job_done_bytes", OM_GAUGE, "bytes",
			"of a job that runs: what is done" },
	[WORK_TOTAL] = { "virga_job_expected_bytes", OM_GAUGE, "bytes",
			 "of a job that runs: all that is to be done, as far as is known" },
};

static void begin(struct scrape *s, int family)
{
	om_begin(s->out, &own[family]);
}

static void put(struct scrape *s, int family, const struct om_label *l, uint64_t v)
{
	om_put(s->out, &own[family], l, v);
}

/* A family of one sample. */
static void put_one(struct scrape *s, int family, uint64_t v)
{
	begin(s, family);
	put(s, family, NULL, v);
}

static uint64_t time_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

static void put_process(struct scrape *s)
{
	const struct om_label build[] = { { "program", s->m->program },
					  { "version", VIRGA_VERSION },
					  { NULL, NULL } };
	const struct om_label user[] = { { "mode", "user" }, { NULL, NULL } };
	const struct om_label system[] = { { "mode", "system" }, { NULL, NULL } };
	struct rusage u = { 0 };

	begin(s, BUILD);
	put(s, BUILD, build, 1);
	put_one(s, START, s->m->born_s);
	getrusage(RUSAGE_SELF, &u);
	begin(s, CPU);
	om_put_ns(s->out, &own[CPU], user, time_ns(&u.ru_utime));
	om_put_ns(s->out, &own[CPU], system, time_ns(&u.ru_stime));
}

static void put_state(struct scrape *s)
{
	const char *const *names = info_desc.fields[ROW_info_state].names;
	int state = vmm_state(s->from->vmm);

	begin(s, VM_STATE);
	for (int i = 0; names[i]; i++) {
		const struct om_label l[] = { { "virga_vm_state", names[i] }, { NULL, NULL } };

		put(s, VM_STATE, l, i == state);
	}
}

static void put_memory(struct scrape *s)
{
	struct footprint *f = &s->m->memory;
	const struct vm_conf *c = vmm_conf(s->from->vmm);

	footprint_look(f, s->report);
	put_one(s, RESIDENT, f->resident);
	put_one(s, MEMORY_SHARED, f->shared);
	if (c)
		put_one(s, MEMORY_SIZE, report_memory(s->report, c));
	if (!f->overhead)
		return;
	put_one(s, MEMORY_OVERHEAD, f->overhead);
	put_one(s, MEMORY_RESIDENT, f->resident > f->overhead ? f->resident - f->overhead : 0);
}

static void put_vcpus(struct scrape *s)
{
	const struct desc *kinds = &vcpu_counts_desc;
	char number[12];

	begin(s, EXITS);
	for (uint32_t i = 0; i < s->report->vcpus; i++) {
		const uint64_t *n = (const uint64_t *)(const void *)&s->report->vcpu[i].exits;

		snprintf(number, sizeof(number), "%" PRIu32, i);
		for (uint32_t k = 0; k < kinds->count; k++) {
			const struct om_label l[] = { { "vcpu", number },
						      { "kind", kinds->fields[k].key },
						      { NULL, NULL } };

			put(s, EXITS, l, n[k]);
		}
	}
	begin(s, VCPU_CPU);
	for (uint32_t i = 0; i < s->report->vcpus; i++) {
		const struct om_label l[] = { { "vcpu", number }, { NULL, NULL } };

		snprintf(number, sizeof(number), "%" PRIu32, i);
		om_put_ns(s->out, &own[VCPU_CPU], l, s->report->vcpu[i].cpu_ns);
	}
}

static void put_api(struct scrape *s)
{
	const struct http_counts *h = s->from->http;

	begin(s, API_TIME);
	for (int i = 0; i < ROUTE_COUNT; i++) {
		const struct om_label l[] = { { "route", route_table[i].path }, { NULL, NULL } };

		if (s->from->routes[i].took.count)
			om_put_times(s->out, &own[API_TIME], l, &s->from->routes[i].took);
	}
	begin(s, API_ERRORS);
	for (int i = 0; i < ROUTE_COUNT; i++) {
		const struct om_label l[] = { { "route", route_table[i].path }, { NULL, NULL } };

		if (s->from->routes[i].took.count)
			put(s, API_ERRORS, l, s->from->routes[i].errors);
	}
	put_one(s, API_CONNECTIONS, h->connections);
	put_one(s, API_BAD, h->bad);
	put_one(s, API_DROPPED, h->refused + h->dropped);
	put_one(s, API_CLIENTS, h->clients);
}

static void put_events(struct scrape *s)
{
	begin(s, EVENTS);
	for (unsigned int i = 0; i < event_kinds_count; i++) {
		const struct om_label l[] = { { "source", event_kinds[i].source },
					      { "event", event_kinds[i].name },
					      { NULL, NULL } };

		put(s, EVENTS, l, event_times(i));
	}
	put_one(s, EVENTS_LOST, event_losses());
	put_one(s, EVENT_SUBSCRIBERS, event_subscribers());
}

static void put_progress(struct scrape *s, int family)
{
	struct jobs *jobs = vmm_jobs(s->from->vmm);
	char number[24];

	begin(s, family);
	for (struct job *j = job_next(jobs, NULL); j; j = job_next(jobs, j)) {
		const struct om_label l[] = { { "job", number },
					      { "verb", j->verb },
					      { NULL, NULL } };

		if (j->state != JOB_RUNNING)
			continue;
		snprintf(number, sizeof(number), "%" PRIu64, j->id);
		put(s, family, l, family == WORK_DONE ? j->work.done : j->work.total);
	}
}

static void put_jobs(struct scrape *s)
{
	struct jobs *jobs = vmm_jobs(s->from->vmm);
	uint64_t waiting = 0, running = 0;

	for (struct job *j = job_next(jobs, NULL); j; j = job_next(jobs, j)) {
		waiting += j->state == JOB_WAITING;
		running += j->state == JOB_RUNNING;
	}
	put_one(s, JOBS_BEGUN, jobs->last_id);
	put_one(s, JOBS_WAITING, waiting);
	put_one(s, JOBS_RUNNING, running);
	put_progress(s, WORK_DONE);
	put_progress(s, WORK_TOTAL);
}

/* --- families of devices --- */

/* A time counts in seconds here, whatever it does in vm.counters. */
static const char *unit_of(const struct field *f)
{
	return f->unit && !strcmp(f->unit, "microseconds") ? "seconds" : f->unit;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

/* virga_<class>_<key>, and the unit where the key does not end with it. */
static struct om_family family_of(char name[FAMILY_NAME], const struct dev_class *c,
				  const struct field *f)
{
	const char *unit = unit_of(f);
	bool said = !unit || ends_with(f->key, unit);

	snprintf(name, FAMILY_NAME, "virga_%s_%s%s%s", c->name, f->key, said ? "" : "_",
		 said ? "" : unit);
	return (struct om_family){
		.name = name,
		.type = f->flags & F_GAUGE ? OM_GAUGE : OM_COUNTER,
		.unit = unit,
		.doc = f->doc,
	};
}

static void put_counter(struct scrape *s, const struct dev_class *c, uint32_t row)
{
	const struct field *f = &c->counters->fields[row];
	char name[FAMILY_NAME];
	struct om_family family = family_of(name, c, f);
	bool micros = family.unit && strcmp(family.unit, f->unit) != 0;

	om_begin(s->out, &family);
	for (uint32_t i = 0; i < s->report->devs; i++) {
		const struct report_dev *d = &s->report->dev[i];
		const struct om_label l[] = { { "device", d->id }, { NULL, NULL } };

		if (d->class != c)
			continue;
		if (micros)
			om_put_ns(s->out, &family, l, d->n[row] * 1000);
		else
			om_put(s->out, &family, l, d->n[row]);
	}
}

static bool is_there(const struct report *r, const struct dev_class *c)
{
	for (uint32_t i = 0; i < r->devs; i++)
		if (r->dev[i].class == c)
			return true;
	return false;
}

static void put_devices(struct scrape *s)
{
	for (size_t i = 0; roster[i]; i++)
		for (uint32_t k = 0; is_there(s->report, roster[i]) && k < dev_counters(roster[i]);
		     k++)
			put_counter(s, roster[i], k);
}

/* --- all of them --- */

char *metrics_text(struct metrics *m, const struct metrics_from *f, size_t *len)
{
	struct str out = { .max = TEXT_MAX };
	struct scrape s = { .m = m, .from = f, .report = vmm_report(f->vmm), .out = &out };

	put_process(&s);
	put_state(&s);
	put_memory(&s);
	if (s.report->vcpus)
		put_vcpus(&s);
	put_devices(&s);
	put_api(&s);
	put_events(&s);
	put_jobs(&s);
	om_end(&out);
	*len = out.len;
	return str_take(&out);
}

/* --- documents --- */

/* key is that of vm.counters, or NULL. */
typedef void row_fn(FILE *out, const struct om_family *f, const char *key, const char *unit);

static void each_row(FILE *out, row_fn *fn)
{
	char name[FAMILY_NAME];

	for (int i = 0; i < FAMILIES; i++)
		fn(out, &own[i], NULL, NULL);
	for (size_t i = 0; roster[i]; i++) {
		for (uint32_t k = 0; k < dev_counters(roster[i]); k++) {
			const struct field *f = &roster[i]->counters->fields[k];
			struct om_family family = family_of(name, roster[i], f);

			fn(out, &family, f->key, f->unit);
		}
	}
}

static void man_row(FILE *out, const struct om_family *f, const char *key, const char *unit)
{
	fprintf(out, ".TP\n.B %s\n", f->name);
	page_roff(out, f->doc);
	fprintf(out, " (%s", om_type_names[f->type]);
	if (key)
		fprintf(out, "; in vm.counters: %s", key);
	if (unit && strcmp(unit, f->unit) != 0)
		fprintf(out, ", in %s", unit);
	fputs(").\n", out);
}

void metrics_print_man(FILE *f)
{
	fputs(".SH METRICS\nWhat GET /api/v1/metrics tells, in the form of OpenMetrics; a counter has "
	      "_total behind its name there.\n",
	      f);
	each_row(f, man_row);
}

static void md_row(FILE *out, const struct om_family *f, const char *key, const char *unit)
{
	fprintf(out, "| `%s` | %s |", f->name, om_type_names[f->type]);
	if (key)
		fprintf(out, " `%s`", key);
	if (unit && strcmp(unit, f->unit) != 0)
		fprintf(out, " (%s)", unit);
	fprintf(out, " | %s |\n", f->doc);
}

void metrics_print_md(FILE *f)
{
	fputs("| metric | type | in `vm.counters` | |\n| --- | --- | --- | --- |\n", f);
	each_row(f, md_row);
}

/* --- beginning and end --- */

void metrics_new(struct metrics **out, const char *program)
{
	struct metrics *m = NEW(struct metrics);

	m->program = program;
	m->born_s = (uint64_t)time(NULL);
	footprint_init(&m->memory);
	*out = m;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	footprint_fini(&m->memory);
	free(m);
}
