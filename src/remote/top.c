/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look is the metrics sorted into rows of two tables, vCPUs and devices; a page is the text that two
 * looks make. What belongs to which column is a table of names. See top.h; the terminal is
 * remote/screen's.
 */
#include "remote/top.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/omread.h"
#include "base/str.h"
#include "remote/ask.h"
#include "remote/reply.h"
#include "remote/screen.h"

#define ROWS_MAX 4096 /* of a table; a foreign server has no more to say */
#define KIB_D 1024.0

/* --- the command --- */

struct top_conf {
	uint64_t set;
	uint32_t interval;
	bool once;
};

static const struct field top_fields[] = {
	S(struct top_conf, interval, .what = "<seconds>", .def = 1, .min = 1, .max = 3600,
	  .doc = "time from one look to the next"),
	S(struct top_conf, once, .doc = "print sums once, and end"),
};

static const struct desc top_desc =
	DESC_OF(struct top_conf, top_fields, "TopOptions", .has_set = true,
		.set_off = offsetof(struct top_conf, set));

const struct route top_route = {
	.path = "metrics",
	.command = "top",
	.body = &top_desc,
	.arg = ROUTE_KEYS,
	.doc = "show on a screen what the virtual machine does: exits, devices, memory, jobs",
};

/* --- looking --- */

enum { CPU, IO, MMIO, EOI, HALT, INTERRUPT, OTHER, VCPU_COLUMNS };
enum { BYTES_IN, BYTES_OUT, OPS_IN, OPS_OUT, TIME_IN, TIME_OUT, FAILED, DEVICE_COLUMNS };
#define COLUMNS_MAX 8

/* A vCPU or a device. */
struct row {
	char *name;
	double n[COLUMNS_MAX];
};

struct table {
	uint32_t count;
	struct row *rows;
};

struct top_look {
	uint64_t at_ns;
	char *state, *jobs; /* text */
	double user, system;
	double ram, ram_resident, overhead, resident, clients;
	struct table vcpus, devices;
};

/* The row of that name, made where there is none; NULL when there are too many. */
static struct row *row_of(struct table *t, const char *name)
{
	/* samples of one row often follow each other */
	for (uint32_t i = t->count; i-- > 0;)
		if (!strcmp(t->rows[i].name, name))
			return &t->rows[i];
	if (t->count == ROWS_MAX)
		return NULL;
	t->rows = mem_resize(t->rows, t->count, t->count + 1, sizeof(t->rows[0]));
	t->rows[t->count].name = mem_str(name);
	return &t->rows[t->count++];
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

/* Which column a counter of a device goes to, by the end of its name. */
static const struct {
	const char *end;
	int column;
} device_columns[] = {
	{ "_read_bytes_total", BYTES_IN },
	{ "_rx_bytes_total", BYTES_IN },
	{ "_write_bytes_total", BYTES_OUT },
	{ "_tx_bytes_total", BYTES_OUT },
	{ "_console_bytes_total", BYTES_OUT },
	{ "_firmware_bytes_total", BYTES_OUT },
	{ "_read_ops_total", OPS_IN },
	{ "_rx_frames_total", OPS_IN },
	{ "_write_ops_total", OPS_OUT },
	{ "_tx_frames_total", OPS_OUT },
	{ "_codes_total", OPS_OUT },
	{ "_interrupts_total", OPS_IN },
	{ "_events_total", OPS_IN },
	{ "_read_time_seconds_total", TIME_IN },
	{ "_write_time_seconds_total", TIME_OUT },
	{ "_failed_ops_total", FAILED },
	{ "_dropped_total", FAILED },
};

static void look_at_device(struct top_look *l, const struct omread_sample *s)
{
	const char *id = omread_label(s, "device");
	struct row *r = *id ? row_of(&l->devices, id) : NULL;

	for (size_t i = 0; r && i < ARRAY_LEN(device_columns); i++)
		if (ends_with(s->name, device_columns[i].end))
			r->n[device_columns[i].column] += s->value;
}

static void look_at_vcpu(struct top_look *l, const struct omread_sample *s)
{
	static const char *const kinds[] = {
		[IO] = "io",	 [MMIO] = "mmio",	    [EOI] = "eoi",
		[HALT] = "halt", [INTERRUPT] = "interrupt", [OTHER] = "other",
	};
	const char *number = omread_label(s, "vcpu"), *kind = omread_label(s, "kind");
	struct row *r = *number ? row_of(&l->vcpus, number) : NULL;

	if (r && !strcmp(s->name, "virga_vcpu_cpu_seconds_total"))
		r->n[CPU] = s->value;
	for (int i = IO; r && i < VCPU_COLUMNS; i++)
		if (!strcmp(kind, kinds[i]))
			r->n[i] = s->value;
}

static void look_at_job(struct top_look *l, const struct omread_sample *s)
{
	bool done = !strcmp(s->name, "virga_job_done_bytes");
	char *was = l->jobs;

	if (!done && strcmp(s->name, "virga_job_expected_bytes") != 0)
		return;
	l->jobs = mem_fmt("%s%sjob %s, %s: %.0f MiB %s", was ? was : "", was ? "; " : "",
			  omread_label(s, "job"), omread_label(s, "verb"), s->value / KIB_D / KIB_D,
			  done ? "done" : "in all");
	free(was);
}

static void look_at_one(struct top_look *l, const struct omread_sample *s)
{
	const struct {
		const char *name;
		double *to;
	} plain[] = {
		{ "virga_memory_guest_bytes", &l->ram },
		{ "virga_memory_guest_resident_bytes", &l->ram_resident },
		{ "virga_memory_overhead_bytes", &l->overhead },
		{ "process_resident_memory_bytes", &l->resident },
		{ "virga_api_clients", &l->clients },
	};

	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (!strcmp(s->name, plain[i].name))
			*plain[i].to = s->value;
	if (!strcmp(s->name, "process_cpu_seconds_total"))
		*(strcmp(omread_label(s, "mode"), "user") ? &l->system : &l->user) = s->value;
	if (!strcmp(s->name, "virga_vm_state") && s->value > 0) {
		free(l->state);
		l->state = mem_str(omread_label(s, "virga_vm_state"));
	}
}

struct top_look *top_look_new(const char *metrics, uint64_t at_ns)
{
	struct top_look *l = NEW(struct top_look);
	struct omread_sample s;

	l->at_ns = at_ns;
	while (omread_next(&metrics, &s)) {
		look_at_one(l, &s);
		look_at_vcpu(l, &s);
		look_at_device(l, &s);
		look_at_job(l, &s);
	}
	return l;
}

static void table_free(struct table *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		free(t->rows[i].name);
	free(t->rows);
}

void top_look_free(struct top_look *l)
{
	if (!l)
		return;
	table_free(&l->vcpus);
	table_free(&l->devices);
	free(l->state);
	free(l->jobs);
	free(l);
}

/* --- the page --- */

struct page {
	const struct top_look *now, *before;
	double seconds; /* between the two; 1 where sums are told */
	struct str out;
};

/* What a counter has grown by in a second; of a machine that began anew, all of it. */
static double rate(const struct page *p, double now, double before)
{
	return (now >= before ? now - before : now) / p->seconds;
}

/* "812", "4.1K", "99M": at most five letters. */
static void add_amount(struct str *out, double v, int width)
{
	static const char units[] = " KMGTPE";
	char text[32];
	int u = 0;

	for (; v >= (u ? 999.5 : 9999.5) && units[u + 1]; u++)
		v /= KIB_D;
	if (u && v < 9.95)
		snprintf(text, sizeof(text), "%.1f%c", v, units[u]);
	else
		snprintf(text, sizeof(text), "%.0f%.*s", v, u > 0, &units[u]);
	str_add(out, "%*s", width, text);
}

static const struct row *row_before(const struct table *t, const char *name)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (!strcmp(t->rows[i].name, name))
			return &t->rows[i];
	return NULL;
}

/* A row's columns as rates. */
static void rates(const struct page *p, const struct table *before, const struct row *now,
		  double out[COLUMNS_MAX])
{
	const struct row *b = before ? row_before(before, now->name) : NULL;

	for (int i = 0; i < COLUMNS_MAX; i++)
		out[i] = rate(p, now->n[i], b ? b->n[i] : 0);
}

static void page_head(struct page *p)
{
	const struct top_look *n = p->now, *b = p->before;
	struct str *out = &p->out;

	str_add(out, "%s   ", n->state ? n->state : "no virtual machine");
	if (b)
		str_add(out, "processors: %.0f%% user, %.0f%% system   ",
			100 * rate(p, n->user, b->user), 100 * rate(p, n->system, b->system));
	else
		str_add(out, "processors: %.2f s user, %.2f s system   ", n->user, n->system);
	str_add(out, "clients: %.0f\n", n->clients);
	str_puts(out, "memory:");
	add_amount(out, n->resident, 6);
	str_puts(out, " resident");
	if (n->ram > 0) {
		str_puts(out, ", guest");
		add_amount(out, n->ram_resident, 6);
		str_puts(out, " of");
		add_amount(out, n->ram, 6);
	}
	if (n->overhead > 0) {
		str_puts(out, ", beside it");
		add_amount(out, n->overhead, 6);
	}
	str_putc(out, '\n');
	if (n->jobs)
		str_add(out, "%s\n", n->jobs);
}

static void page_vcpus(struct page *p)
{
	const struct table *t = &p->now->vcpus;
	double n[COLUMNS_MAX];

	if (!t->count)
		return;
	str_add(&p->out, "\n%-16s%8s%8s%8s%8s%8s%8s%8s\n", "vcpu", p->before ? "cpu%" : "cpu s",
		p->before ? "exits/s" : "exits", "io", "mmio", "eoi", "halt", "intr");
	for (uint32_t i = 0; i < t->count; i++) {
		double exits = 0;

		rates(p, p->before ? &p->before->vcpus : NULL, &t->rows[i], n);
		for (int k = IO; k < VCPU_COLUMNS; k++)
			exits += n[k];
		str_add(&p->out, "%-16s%8.1f", t->rows[i].name, p->before ? 100 * n[CPU] : n[CPU]);
		add_amount(&p->out, exits, 8);
		for (int k = IO; k <= INTERRUPT; k++)
			add_amount(&p->out, n[k], 8);
		str_putc(&p->out, '\n');
	}
}

/* Mean time of an operation, in microseconds. */
static double mean_us(double seconds, double ops)
{
	return ops > 0 ? seconds / ops * 1e6 : 0;
}

static void page_devices(struct page *p)
{
	const struct table *t = &p->now->devices;
	bool live = p->before;
	double n[COLUMNS_MAX];

	if (!t->count)
		return;
	str_add(&p->out, "\n%-16s%8s%8s%9s%9s%8s%8s%8s\n", "device", live ? "in/s" : "in",
		live ? "out/s" : "out", live ? "op-in/s" : "ops in", live ? "op-out/s" : "ops out",
		"in us", "out us", "failed");
	for (uint32_t i = 0; i < t->count; i++) {
		rates(p, p->before ? &p->before->devices : NULL, &t->rows[i], n);
		str_add(&p->out, "%-16s", t->rows[i].name);
		for (int k = BYTES_IN; k <= OPS_OUT; k++)
			add_amount(&p->out, n[k], k < OPS_IN ? 8 : 9);
		add_amount(&p->out, mean_us(n[TIME_IN], n[OPS_IN]), 8);
		add_amount(&p->out, mean_us(n[TIME_OUT], n[OPS_OUT]), 8);
		add_amount(&p->out, t->rows[i].n[FAILED], 8);
		str_putc(&p->out, '\n');
	}
}

char *top_page(const struct top_look *now, const struct top_look *before)
{
	struct page p = { .now = now, .before = before, .seconds = 1 };

	if (before && now->at_ns > before->at_ns)
		p.seconds = (double)(now->at_ns - before->at_ns) / 1e9;
	page_head(&p);
	page_vcpus(&p);
	page_devices(&p);
	return str_take(&p.out);
}

/* --- the command, carried out --- */

static int scrape(struct top_look **out, struct httpc *c, struct err *e)
{
	const struct httpc_ask ask = { .method = "GET", .path = ROUTE_BASE "metrics" };
	struct httpc_answer a;

	if (httpc_call(c, &ask, &a, e) < 0)
		return -1;
	if (a.code != 200)
		return err_set(e, ERR_UNBUILT,
			       "the server answers with %u: top needs the metrics of virga",
			       a.code);
	*out = top_look_new(a.body, loop_now_ns());
	return 0;
}

static int read_words(struct top_conf *out, char *const *args, unsigned int count, struct err *e)
{
	AUTO_JSON struct json *j = NULL;
	struct ask a;
	int r = ask_make(&a, &top_route, args, count, e);

	if (r == 0)
		r = json_parse(&j, a.body, a.body_len, e);
	ask_free(&a);
	desc_default(&top_desc, out);
	return r < 0 ? -1 : desc_from_json(&top_desc, out, j, e);
}

/* Until it is enough. */
static int show(struct screen *s, struct httpc *c, const struct top_conf *conf, struct err *e)
{
	struct top_look *before = NULL, *now = NULL;
	bool goes_on = true;
	int r = 0;

	while (goes_on && (r = scrape(&now, c, e)) == 0) {
		AUTO_FREE char *page = top_page(now, before);

		goes_on = screen_show(s, page) && !conf->once &&
			  screen_wait(s, before ? conf->interval * 1000 : 300);
		top_look_free(before);
		before = now;
	}
	top_look_free(before);
	return r;
}

int top_run(struct httpc *c, char *const *args, unsigned int count, struct err *e)
{
	struct top_conf conf;
	struct screen s;
	int r;

	if (read_words(&conf, args, count, e) < 0)
		return -1;
	if (screen_init(&s, conf.once ? SCREEN_PLAIN : SCREEN_LIVE, e) < 0)
		return -1;
	r = show(&s, c, &conf, e);
	screen_fini(&s);
	return r;
}
