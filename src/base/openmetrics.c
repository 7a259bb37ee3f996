/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of OpenMetrics. See openmetrics.h.
 */
#include "base/openmetrics.h"

#include <inttypes.h>
#include <stddef.h>

#define SECOND_NS 1000000000u

const char *const om_type_names[] = {
	[OM_COUNTER] = "counter", [OM_GAUGE] = "gauge",	      [OM_HISTOGRAM] = "histogram",
	[OM_INFO] = "info",	  [OM_STATESET] = "stateset", NULL,
};

/* What stands behind a family's name in its samples. */
static const char *const suffixes[] = {
	[OM_COUNTER] = "_total", [OM_GAUGE] = "",    [OM_HISTOGRAM] = "",
	[OM_INFO] = "_info",	 [OM_STATESET] = "",
};

static const struct {
	uint64_t ns;
	const char *text;
} bounds[OM_STEPS] = {
	{ 100000, "0.0001" },  { 250000, "0.00025" },	{ 1000000, "0.001" },
	{ 5000000, "0.005" },  { 25000000, "0.025" },	{ 100000000, "0.1" },
	{ 1000000000, "1.0" }, { 10000000000, "10.0" },
};

/* Text within quotes, or of a sentence. */
static void escape(struct str *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			str_putc(out, '\\');
		if (*text == '\n')
			str_puts(out, "\\n");
		else
			str_putc(out, *text);
	}
}

void om_begin(struct str *out, const struct om_family *f)
{
	str_add(out, "# TYPE %s %s\n", f->name, om_type_names[f->type]);
	if (f->unit)
		str_add(out, "# UNIT %s %s\n", f->name, f->unit);
	str_add(out, "# HELP %s ", f->name);
	escape(out, f->doc);
	str_putc(out, '\n');
}

static void label(struct str *out, const struct om_label *l, bool first)
{
	str_add(out, "%c%s=\"", first ? '{' : ',', l->name);
	escape(out, l->value);
	str_putc(out, '"');
}

/* The name with its labels; `more` is one behind the list, or NULL. */
static void sample(struct str *out, const struct om_family *f, const char *suffix,
		   const struct om_label *l, const struct om_label *more)
{
	bool first = true;

	str_puts(out, f->name);
	str_puts(out, suffix);
	for (; l && l->name; l++, first = false)
		label(out, l, first);
	if (more)
		label(out, more, first);
	str_puts(out, first && !more ? " " : "} ");
}

static void number(struct str *out, uint64_t v)
{
	str_add(out, "%" PRIu64 "\n", v);
}

static void seconds(struct str *out, uint64_t ns)
{
	str_add(out, "%" PRIu64 ".%09" PRIu64 "\n", ns / SECOND_NS, ns % SECOND_NS);
}

void om_put(struct str *out, const struct om_family *f, const struct om_label *l, uint64_t v)
{
	sample(out, f, suffixes[f->type], l, NULL);
	number(out, v);
}

void om_put_ns(struct str *out, const struct om_family *f, const struct om_label *l, uint64_t ns)
{
	sample(out, f, suffixes[f->type], l, NULL);
	seconds(out, ns);
}

void om_end(struct str *out)
{
	str_puts(out, "# EOF\n");
}

void om_time(struct om_times *t, uint64_t ns)
{
	unsigned int i = 0;

	while (i < OM_STEPS && ns > bounds[i].ns)
		i++;
	if (i < OM_STEPS)
		t->step[i]++;
	t->count++;
	t->sum_ns += ns;
	if (ns > t->max_ns)
		t->max_ns = ns;
}

void om_put_times(struct str *out, const struct om_family *f, const struct om_label *l,
		  const struct om_times *t)
{
	struct om_label le = { "le", "+Inf" };
	uint64_t sum = 0;

	for (unsigned int i = 0; i < OM_STEPS; i++) {
		sum += t->step[i];
		le.value = bounds[i].text;
		sample(out, f, "_bucket", l, &le);
		number(out, sum);
	}
	le.value = "+Inf";
	sample(out, f, "_bucket", l, &le);
	number(out, t->count);
	sample(out, f, "_count", l, NULL);
	number(out, t->count);
	sample(out, f, "_sum", l, NULL);
	seconds(out, t->sum_ns);
}
