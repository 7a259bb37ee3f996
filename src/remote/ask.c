/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests from words: for each shape that a row's argument can have there is one function. What a
 * word means is read from the body's own rows, as virga reads its options. One thread; no state.
 */
#include "remote/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/desc_row.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

/* A body while it is read. */
struct body {
	const struct desc *d;
	void *obj;
};

static void body_auto_free(struct body *b)
{
	if (b->obj)
		desc_free(b->d, b->obj);
	free(b->obj);
}
#define AUTO_BODY __attribute__((cleanup(body_auto_free)))

static struct body body_new(const struct desc *d)
{
	struct body b = { d, mem_new(d->size) };

	desc_default(d, b.obj);
	return b;
}

static int add_fd(struct ask *out, int fd, struct err *e)
{
	if (fcntl(fd, F_GETFD) < 0)
		return err_os(e, ERR_BAD, "descriptor %d", fd);
	if (out->fd_count == HTTPC_FDS_MAX)
		return err_set(e, ERR_BAD, "more than %d descriptors do not go with one request",
			       HTTPC_FDS_MAX);
	out->fds[out->fd_count++] = fd;
	return 0;
}

/* The descriptors that were said, in the order of their rows: that is how the server takes them. */
static int collect_fds(struct ask *out, const struct desc *d, const void *obj, struct err *e)
{
	for (unsigned int row = 0; row < d->count; row++) {
		const struct field *f = &d->fields[row];
		struct row_items it = row_items(f, obj);

		if (!(f->flags & F_FD) && desc_field_type(f) != D_OBJ)
			continue;
		if (f->flags & F_FD && !desc_said(d, obj, row))
			continue;
		for (uint32_t i = 0; i < it.count; i++) {
			const char *item = it.first + i * row_item_size(f);

			if (f->flags & F_FD ? add_fd(out, (int)row_load(f, item), e) < 0
					    : collect_fds(out, f->sub, item, e) < 0)
				return -1;
		}
	}
	return 0;
}

static void print_body(struct ask *out, const struct body *b)
{
	AUTO_JSON struct json *j = desc_to_json(b->d, b->obj);

	out->body = json_text(j, JSON_LINE);
	out->body_len = strlen(out->body);
}

static int one_word(const struct route *r, char *const *args, unsigned int count, const char *what,
		    struct err *e)
{
	if (count == 1)
		return 0;
	if (!count)
		return err_set(e, ERR_BAD, "%s needs %s", r->command, what);
	return err_set(e, ERR_BAD, "%s takes %s, and '%s' stands behind it", r->command, what,
		       args[1]);
}

static int make_nothing(struct ask *out, const struct route *r, char *const *args,
			unsigned int count, struct err *e)
{
	(void)out;
	if (count)
		return err_set(e, ERR_BAD, "%s takes nothing, and '%s' stands behind it",
			       r->command, args[0]);
	return 0;
}

static int make_file(struct ask *out, const struct route *r, char *const *args, unsigned int count,
		     struct err *e)
{
	bool piped = !count || !strcmp(args[0], "-");

	if (count && one_word(r, args, count, "one file", e) < 0)
		return -1;
	return piped ? fd_slurp_open(STDIN_FILENO, "standard input", JSON_TEXT_MAX, &out->body,
				     &out->body_len, e)
		     : fd_slurp(args[0], JSON_TEXT_MAX, &out->body, &out->body_len, e);
}

void ask_config_syntax(struct str *out, const struct desc *body)
{
	if (!(body->fields[0].flags & F_BARE)) {
		str_puts(out, "key=value,...");
		return;
	}
	desc_value_syntax(out, &body->fields[0]);
	str_puts(out, "[,key=value,...]");
}

static int make_config(struct ask *out, const struct route *r, char *const *args,
		       unsigned int count, struct err *e)
{
	AUTO_BODY struct body b = body_new(r->body);
	AUTO_STR struct str what = { 0 };

	ask_config_syntax(&what, b.d);
	if (one_word(r, args, count, str_text(&what), e) < 0 ||
	    desc_from_kv(b.d, b.obj, args[0], e) < 0 || collect_fds(out, b.d, b.obj, e) < 0)
		return -1;
	print_body(out, &b);
	return 0;
}

static int make_word(struct ask *out, const struct route *r, char *const *args, unsigned int count,
		     struct err *e)
{
	AUTO_BODY struct body b = body_new(r->body);
	AUTO_STR struct str what = { 0 };
	const struct field *f = &r->body->fields[0];

	desc_value_syntax(&what, f);
	if (one_word(r, args, count, str_text(&what), e) < 0 ||
	    desc_value_from_text(f, b.obj, args[0], e) < 0)
		return -1;
	row_mark_said(b.d, b.obj, 0);
	print_body(out, &b);
	return 0;
}

/* The row of "--key" or "--key=value". */
static const struct field *find_key(const struct desc *d, const char *arg)
{
	size_t len = strcspn(arg, "=");

	for (const struct field *f = d->fields; f < desc_end(d); f++)
		if (len > 2 && !strncmp(arg, "--", 2) && strlen(row_cli(f)) == len - 2 &&
		    !strncmp(arg + 2, row_cli(f), len - 2))
			return f;
	return NULL;
}

static int unknown_key(const struct route *r, const char *arg, struct err *e)
{
	AUTO_STR struct str keys = { 0 };

	for (unsigned int i = 0; i < r->body->count; i++)
		str_add(&keys, "%s--%s", i ? ", " : "", row_cli(&r->body->fields[i]));
	return err_set(e, ERR_BAD, "%s has no '%s': it takes %s", r->command, arg, str_text(&keys));
}

static int read_keys(const struct body *body, const struct route *r, char *const *args,
		     unsigned int count, struct err *e)
{
	const struct body b = *body;

	for (unsigned int i = 0; i < count; i++) {
		const struct field *f = find_key(b.d, args[i]);
		const char *value = strchr(args[i], '=');

		if (!f)
			return unknown_key(r, args[i], e);
		if (!value && desc_field_type(f) == D_BOOL)
			value = "=on";
		if (!value && i + 1 == count)
			return err_set(e, ERR_BAD, "--%s needs a value", row_cli(f));
		if (desc_said(b.d, b.obj, (unsigned int)(f - b.d->fields)))
			return err_set(e, ERR_BAD, "--%s is said twice", row_cli(f));
		row_mark_said(b.d, b.obj, (unsigned int)(f - b.d->fields));
		if (desc_value_from_text(f, b.obj, value ? value + 1 : args[++i], e) < 0)
			return err_in(e, "--%s", row_cli(f));
	}
	for (unsigned int i = 0; i < b.d->count; i++)
		if (b.d->fields[i].flags & F_REQUIRED && !desc_said(b.d, b.obj, i))
			return err_set(e, ERR_BAD, "%s needs --%s", r->command,
				       row_cli(&b.d->fields[i]));
	return 0;
}

static int make_keys(struct ask *out, const struct route *r, char *const *args, unsigned int count,
		     struct err *e)
{
	AUTO_BODY struct body b = body_new(r->body);

	if (read_keys(&b, r, args, count, e) < 0)
		return -1;
	print_body(out, &b);
	return 0;
}

/* The word may stand behind keys, too. */
static int make_word_keys(struct ask *out, const struct route *r, char *const *args,
			  unsigned int count, struct err *e)
{
	AUTO_BODY struct body b = body_new(r->body);
	AUTO_STR struct str what = { 0 };
	bool first = count && strncmp(args[0], "--", 2) != 0;
	unsigned int word = first || !count ? 0 : count - 1;

	desc_value_syntax(&what, b.d->fields);
	if (!count || !strncmp(args[word], "--", 2))
		return err_set(e, ERR_BAD, "%s needs %s", r->command, str_text(&what));
	if (desc_value_from_text(b.d->fields, b.obj, args[word], e) < 0)
		return -1;
	row_mark_said(b.d, b.obj, 0);
	if (read_keys(&b, r, args + first, count - 1, e) < 0)
		return -1;
	print_body(out, &b);
	return 0;
}

static int make_id(struct ask *out, const struct route *r, char *const *args, unsigned int count,
		   struct err *e)
{
	if (one_word(r, args, count, "the number of a job", e) < 0 ||
	    str_to_uint(&out->id, args[0], e) < 0)
		return -1;
	free(out->path);
	out->path = route_path(r, out->id);
	return 0;
}

int ask_make(struct ask *out, const struct route *r, char *const *args, unsigned int count,
	     struct err *e)
{
	static int (*const makers[])(struct ask *, const struct route *, char *const *,
				     unsigned int, struct err *) = {
		[ROUTE_NOTHING] = make_nothing, [ROUTE_FILE] = make_file,
		[ROUTE_CONFIG] = make_config,	[ROUTE_WORD] = make_word,
		[ROUTE_KEYS] = make_keys,	[ROUTE_WORD_KEYS] = make_word_keys,
		[ROUTE_ID] = make_id,
	};

	*out = (struct ask){ .path = r->path ? route_path(r, 0) : NULL };
	return makers[r->arg](out, r, args, count, e);
}

void ask_free(struct ask *a)
{
	free(a->path);
	free(a->body);
	*a = (struct ask){ 0 };
}
