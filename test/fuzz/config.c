/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients of the REST API send: a VM's configuration as JSON, or the body of another request.
 * What is taken is written out, read again and must be the same; then a configuration is copied and
 * judged by the rules. The first byte says whether the rest is the text itself, or instructions to
 * write one, and whose body it is.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/check.h"
#include "conf/conf.h"
#include "conf/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Descriptors do not travel: only what JSON carries can be compared. */
static void forget_descriptors(struct vm_conf *c)
{
	for (uint32_t i = 0; i < c->net.count; i++)
		c->net.items[i].fds.count = 0;
	for (uint32_t i = 0; i < c->devices.count; i++) {
		c->devices.items[i].fd = 0;
		c->devices.items[i].set &= ~(1ull << ROW_device_fd);
	}
	if (c->platform) {
		c->platform->iommufd_fd = 0;
		c->platform->set &= ~(1ull << ROW_platform_iommufd_fd);
	}
}

static void check_again(const struct vm_conf *c)
{
	struct json *j = desc_to_json(&vm_desc, c), *again = NULL;
	char *text = json_text(j, JSON_LINE);
	struct vm_conf back = { 0 }, copy;
	struct err e = { 0 };

	if (json_parse(&again, text, strlen(text), &e) ||
	    desc_from_json(&vm_desc, &back, again, &e))
		abort();
	conf_copy(&copy, &back);
	if (!desc_equal(&vm_desc, c, &back) || !desc_equal(&vm_desc, &copy, &back))
		abort();
	conf_free(&back);
	conf_free(&copy);
	json_put(j);
	json_put(again);
	free(text);
}

/*
 * JSON from instructions, so that what is tried is well formed and mostly of the right shape. A
 * stack of tables tells whose keys are meant. Each step is two bytes: what to write, and for which
 * row of the table.
 */
struct writer {
	struct str text;
	const struct desc *d[JSON_DEPTH_MAX];
	char close[JSON_DEPTH_MAX];
	unsigned int depth;
	bool more;
};

static void step_in(struct writer *w, const struct field *f)
{
	if (w->depth + 2 >= JSON_DEPTH_MAX || !f->sub)
		return;
	if (desc_is_list(f)) {
		str_putc(&w->text, '[');
		w->d[w->depth] = NULL;
		w->close[w->depth++] = ']';
	}
	str_putc(&w->text, '{');
	w->d[w->depth] = f->sub;
	w->close[w->depth++] = '}';
	w->more = false;
}

static void step_out(struct writer *w)
{
	str_putc(&w->text, w->close[--w->depth]);
	if (w->depth && !w->d[w->depth - 1])
		str_putc(&w->text, w->close[--w->depth]);
	w->more = true;
}

static void write_scalar(struct writer *w, const struct field *f, uint8_t what)
{
	unsigned int names = 0;

	while (f->names && f->names[names])
		names++;
	switch (what % 6) {
	case 0:
		str_puts(&w->text, what & 64 ? "true" : "false");
		break;
	case 1:
		str_add(&w->text, "%llu", 1ull << (what & 63));
		break;
	case 2:
		str_puts(&w->text, what & 64 ? "\"12:34:56:78:9a:bc\"" : "\"x\"");
		break;
	case 3:
		str_puts(&w->text, what & 64 ? "null" : "[]");
		break;
	case 4:
		str_add(&w->text, "\"%s\"", names ? f->names[what % names] : "");
		break;
	default:
		str_puts(&w->text, what & 64 ? "[1,2]" : "[\"x\"]");
	}
}

static void write_step(struct writer *w, uint8_t what, uint8_t row)
{
	const struct desc *d = w->d[w->depth - 1];
	const struct field *f = d->count ? &d->fields[row % d->count] : NULL;

	if (!f || what == 255) {
		if (w->depth > 1)
			step_out(w);
		return;
	}
	str_add(&w->text, "%s\"%s\":", w->more ? "," : "", f->key);
	w->more = true;
	if (what & 128 && f->sub && w->depth + 2 < JSON_DEPTH_MAX)
		step_in(w, f);
	else
		write_scalar(w, f, what);
}

static char *written(const struct desc *d, const uint8_t *data, size_t size)
{
	struct writer w = { .d = { d }, .close = { '}' }, .depth = 1 };

	str_putc(&w.text, '{');
	for (size_t i = 0; i + 1 < size; i += 2)
		write_step(&w, data[i], data[i + 1]);
	while (w.depth)
		str_putc(&w.text, w.close[--w.depth]);
	return str_take(&w.text);
}

/* The table of the n-th body, counted over and over. */
static const struct desc *body(unsigned int n)
{
	const struct desc *all[ROUTE_COUNT];
	unsigned int count = 0;

	for (unsigned int i = 0; i < ROUTE_COUNT; i++)
		if (route_table[i].body)
			all[count++] = route_table[i].body;
	return all[n % count];
}

/* Of a body that is taken: its text is as that of what is read from it. */
static char *body_text(const struct desc *d, const struct json *j)
{
	AUTO_FREE char *obj = mem_new(d->size);
	struct json *out;
	struct err e = { 0 };
	char *text;

	if (desc_from_json(d, obj, j, &e)) {
		if (!e.count)
			abort();
		return NULL;
	}
	out = desc_to_json(d, obj);
	text = json_text(out, JSON_LINE);
	json_put(out);
	desc_free(d, obj);
	return text;
}

static void check_body(const struct desc *d, const struct json *j)
{
	AUTO_FREE char *first = body_text(d, j), *second = NULL;
	struct json *again = NULL;
	struct err e = { 0 };

	if (!first)
		return;
	if (json_parse(&again, first, strlen(first), &e))
		abort();
	second = body_text(d, again);
	if (!second || strcmp(first, second))
		abort();
	json_put(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = NULL;
	const struct desc *d;
	struct json *j = NULL;
	struct vm_conf c = { 0 };
	struct err e = { 0 };

	if (!size)
		return 0;
	log_init(LOG_ERROR, 2);
	d = data[0] & 2 ? body(data[0] >> 2) : &vm_desc;
	text = data[0] & 1 ? written(d, data + 1, size - 1)
			   : mem_strn((const char *)data + 1, size - 1);
	if (json_parse(&j, text, strlen(text), &e))
		return 0;
	if (d != &vm_desc) {
		check_body(d, j);
	} else if (!desc_from_json(&vm_desc, &c, j, &e)) {
		forget_descriptors(&c);
		check_again(&c);
		if (conf_check_rules(&c, &e) && !e.count)
			abort();
		if (conf_check(&c, &e) && !e.count)
			abort();
	} else if (!e.count) {
		abort();
	}
	conf_free(&c);
	json_put(j);
	return 0;
}
