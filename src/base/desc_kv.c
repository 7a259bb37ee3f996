/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Described data from the command line: "key=value,key=[list],key="quoted"", by the grammar of
 * base/str.h. It knows nothing of dashes and argv: that is conf/cli. Any thread; no state.
 */
#include <stdlib.h>
#include <string.h>

#include "base/desc_row.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

/* Where a key of the command line leads. */
struct slot {
	const struct desc *d;
	const struct field *f;
	void *obj;
};

static int member_from_text(const struct field *f, void *obj, const char *text, size_t len,
			    struct err *e);

static bool is_said_here(const struct field *f)
{
	return !(f->flags & F_PAD) && !(f->cli && !*f->cli);
}

static const char *flat_prefix(const struct field *f)
{
	return f->cli ? f->cli : "";
}

/* Finds the row of a key, through flat rows too. With obj, makes the absent objects on the way
 * and marks them said. */
static bool find_slot(struct slot *out, const struct desc *d, void *obj, const char *key)
{
	for (unsigned int i = 0; i < d->count; i++) {
		const struct field *f = &d->fields[i];

		if (f->flags & F_FLAT) {
			size_t n = strlen(flat_prefix(f));

			if (strncmp(key, flat_prefix(f), n) ||
			    !find_slot(out, f->sub, NULL, key + n))
				continue;
			if (!obj)
				return true;
			row_mark_said(d, obj, i);
			return find_slot(out, f->sub, row_object(f, obj), key + n);
		}
		if (!is_said_here(f))
			continue;
		if (!strcmp(key, row_cli(f)) || (f->old && !strcmp(key, f->old))) {
			*out = (struct slot){ d, f, obj };
			return true;
		}
	}
	return false;
}

struct names {
	const char **list;
	char **owned;
	uint32_t count, room;
};

static void add_name(void *arg, const struct field *f, const char *key, uint32_t flags)
{
	struct names *n = arg;

	(void)f;
	if (flags & (F_HIDDEN | F_DEPRECATED) || !*key)
		return;
	if (n->count + 1 >= n->room) {
		n->list = mem_resize(n->list, n->room, n->room + 32, sizeof(*n->list));
		n->room += 32;
	}
	n->list[n->count++] = mem_str(key);
}

static int unknown_key(const struct desc *d, const char *key, struct err *e)
{
	struct names n = { 0 };
	AUTO_STR struct str near = { 0 };

	desc_each_key(d, add_name, &n);
	if (n.count)
		desc_nearest(&near, key, n.list);
	for (uint32_t i = 0; i < n.count; i++)
		free((void *)(uintptr_t)n.list[i]);
	free(n.list);
	return err_set(e, ERR_BAD, "unknown key '%.64s'%s", key, str_text(&near));
}

static int scalar_from_text(const struct field *f, void *item, char *owned, struct err *e)
{
	AUTO_FREE char *text = owned;
	bool on = false;
	int64_t i = 0;
	uint64_t u = 0;

	if (f->text)
		return f->text->parse(item, text, e);
	switch (desc_field_type(f)) {
	case D_BOOL:
		if (str_to_bool(&on, text, e))
			return -1;
		row_store(f, item, on);
		return 0;
	case D_INT:
		return str_to_int(&i, text, e) ? -1 : row_store_int(f, item, i, e);
	case D_SIZE:
		return str_to_size(&u, text, e) ? -1 : row_store_uint(f, item, u, e);
	case D_STR:
	case D_PATH:
		return row_store_str(f, item, take(&text), e);
	case D_ENUM:
		for (char *p = text; *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p |= 32;
		return row_store_name(f, item, text, f->cli_names ? f->cli_names : f->names, e);
	case D_HEX:
		return str_unhex(item, f->size, text, e);
	default:
		if (f->flags & F_HEXNUM)
			return str_to_hex(&u, text, e) ? -1 : row_store_uint(f, item, u, e);
		return str_to_uint(&u, text, e) ? -1 : row_store_uint(f, item, u, e);
	}
}

/* The rows of an object in turn: a:b:c:d or a@[b]. */
static int tuple_from_text(const struct desc *d, void *obj, const char *text, size_t len, char sep,
			   struct err *e)
{
	AUTO_FREE char *copy = mem_strn(text, len);
	const char *at = copy, *piece;
	unsigned int i = 0;
	size_t n;

	while (str_piece(&at, sep, &piece, &n)) {
		while (i < d->count && !is_said_here(&d->fields[i]))
			i++;
		if (i == d->count)
			return err_set(e, ERR_BAD, "'%s' has too many parts at '%c'", copy, sep);
		if (member_from_text(&d->fields[i], obj, piece, n, e))
			return row_in(e, &d->fields[i], -1);
		row_mark_said(d, obj, i++);
	}
	while (i < d->count && !is_said_here(&d->fields[i]))
		i++;
	if (i < d->count)
		return err_set(e, ERR_BAD, "'%s' has too few parts: '%s' is missing after a '%c'",
			       copy, row_cli(&d->fields[i]), sep);
	return d->fix ? d->fix(obj, e) : 0;
}

/* "a-b" of a list of numbers. True when the piece was such a range. */
static bool range_from_text(const struct field *f, void *obj, const char *text, struct err *e,
			    int *result)
{
	enum desc_type t = desc_field_type(f);
	const char *dash = *text ? strchr(text + 1, '-') : NULL; /* a first one is a minus */
	uint64_t from, to;
	AUTO_FREE char *first = NULL;

	if (!dash || (t != D_UINT && t != D_INT))
		return false;
	first = mem_strn(text, (size_t)(dash - text));
	*result = -1;
	if (str_to_uint(&from, first, e) || str_to_uint(&to, dash + 1, e))
		return true;
	if (from > to) {
		err_set(e, ERR_BAD, "the range %s ends before it begins", text);
		return true;
	}
	for (uint64_t v = from;; v++) {
		void *item = row_grow(f, obj, e);

		if (!item || row_store_uint(f, item, v, e))
			return true;
		if (v == to)
			break;
	}
	*result = 0;
	return true;
}

static int list_item_from_text(const struct field *f, void *obj, const char *text, size_t len,
			       struct err *e)
{
	AUTO_FREE char *plain = str_unquote(text, len);
	void *item;
	int result;

	if (range_from_text(f, obj, plain, e, &result))
		return result;
	item = row_grow(f, obj, e);
	if (!item)
		return -1;
	if (desc_field_type(f) != D_OBJ)
		return scalar_from_text(f, item, take(&plain), e);
	if (f->flags & F_ITEMS) {
		AUTO_FREE char *copy = mem_strn(text, len);

		return desc_from_kv(f->sub, item, copy, e);
	}
	return tuple_from_text(f->sub, item, text, len, '@', e);
}

/* Without the outer brackets, if the whole value stands in them. */
static char *inside(const char *text, size_t len)
{
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
		return mem_strn(text + 1, len - 2);
	return mem_strn(text, len);
}

static int list_from_text(const struct field *f, void *obj, const char *text, size_t len,
			  struct err *e)
{
	AUTO_FREE char *list = inside(text, len);
	const char *at = list, *piece;
	size_t n;

	if (!*list)
		return 0;
	/* "[a]b[" has its brackets in pairs, but not what stood between the outer two */
	if (str_balanced(list, e))
		return -1;
	while (str_piece(&at, f->flags & F_ITEMS ? ':' : ',', &piece, &n))
		if (list_item_from_text(f, obj, piece, n, e))
			return -1;
	return 0;
}

/* Names of the bool rows that are on. */
static int words_from_text(const struct desc *d, void *obj, const char *text, size_t len,
			   struct err *e)
{
	AUTO_FREE char *list = inside(text, len);
	const char *at = list, *piece;
	size_t n;

	while (*list && str_piece(&at, ',', &piece, &n)) {
		AUTO_FREE char *word = str_unquote(piece, n);
		struct slot s;

		if (!find_slot(&s, d, obj, word))
			return unknown_key(d, word, e);
		row_store(s.f, (char *)obj + s.f->off, true);
		row_mark_said(d, obj, (unsigned int)(s.f - d->fields));
	}
	return 0;
}

/* The value behind "key=". */
static int member_from_text(const struct field *f, void *obj, const char *text, size_t len,
			    struct err *e)
{
	if (desc_is_list(f))
		return list_from_text(f, obj, text, len, e);
	if (desc_field_type(f) != D_OBJ)
		return scalar_from_text(f, (char *)obj + f->off, str_unquote(text, len), e);
	if (f->flags & F_WORDS)
		return words_from_text(f->sub, row_object(f, obj), text, len, e);
	return tuple_from_text(f->sub, row_object(f, obj), text, len, ':', e);
}

static bool is_name(const struct field *f, const char *word)
{
	const char *const *names = f->cli_names ? f->cli_names : f->names;

	for (; desc_field_type(f) == D_ENUM && *names; names++)
		if (!strcmp(*names, word))
			return true;
	return false;
}

/* A value without its key: a word of a bare enum, or anything for a bare string. */
static int bare_from_text(const struct desc *d, void *obj, const char *text, size_t len,
			  struct err *e)
{
	AUTO_FREE char *word = str_unquote(text, len);
	struct slot s;

	for (unsigned int i = 0; i < d->count; i++) {
		const struct field *f = &d->fields[i];

		if (!(f->flags & F_BARE) || (!row_is_text(f) && !is_name(f, word)))
			continue;
		if (desc_said(d, obj, i))
			return err_set(e, ERR_BAD,
				       "'%s' comes after another value of the same kind: "
				       "say one",
				       word);
		row_mark_said(d, obj, i);
		return scalar_from_text(f, (char *)obj + f->off, take(&word), e);
	}
	if (find_slot(&s, d, NULL, word)) {
		AUTO_STR struct str syntax = { 0 };

		desc_value_syntax(&syntax, s.f);
		return err_set(e, ERR_BAD, "'%s' needs a value: %s=%s", word, word,
			       str_text(&syntax));
	}
	return unknown_key(d, word, e);
}

static void trim(const char **text, size_t *len)
{
	while (*len && **text == ' ') {
		++*text;
		--*len;
	}
	while (*len && (*text)[*len - 1] == ' ')
		--*len;
}

static int pair_from_text(const struct desc *d, void *obj, const char *text, size_t len,
			  struct err *e)
{
	const char *equals = str_find(text, len, '='), *value;
	AUTO_FREE char *key = NULL;
	struct slot s;
	unsigned int row;

	trim(&text, &len);
	if (!len)
		return err_set(e, ERR_BAD, "nothing stands between two commas");
	if (!equals)
		return bare_from_text(d, obj, text, len, e);
	key = mem_strn(text, (size_t)(equals - text));
	value = equals + 1;
	len -= (size_t)(value - text);
	trim(&value, &len);
	if (!find_slot(&s, d, NULL, key))
		return unknown_key(d, key, e);
	if (!len && desc_field_type(s.f) != D_BOOL)
		return 0; /* nothing is said, so no object is made for it either */
	(void)find_slot(&s, d, obj, key);
	row = (unsigned int)(s.f - s.d->fields);
	if (s.d->has_set && desc_said(s.d, s.obj, row))
		return err_set(e, ERR_BAD, "'%s' is said twice", key);
	if (s.f->old && !strcmp(key, s.f->old))
		log_warn("'%s' is now called '%s'", key, row_cli(s.f));
	if (s.f->flags & F_DEPRECATED)
		log_warn("'%s' has no effect any more", key);
	row_mark_said(s.d, s.obj, row);
	if (member_from_text(s.f, s.obj, value, len, e))
		return err_in(e, "%s", key);
	return 0;
}

static int missing(const struct field *f, const char *prefix, struct err *e)
{
	AUTO_STR struct str words = { 0 };

	if (is_said_here(f))
		return err_set(e, ERR_BAD, "'%s%s' is missing", prefix, row_cli(f));
	desc_value_syntax(&words, f);
	return err_set(e, ERR_BAD, "one of %s is missing", str_text(&words));
}

/* After the last key: relate the rows, then see what is missing. */
static int finish(const struct desc *d, void *obj, const char *prefix, struct err *e)
{
	if (d->fix && d->fix(obj, e))
		return -1;
	for (unsigned int i = 0; i < d->count; i++) {
		const struct field *f = &d->fields[i];

		if (f->flags & F_FLAT && row_items(f, obj).count &&
		    finish(f->sub, row_items(f, obj).first, flat_prefix(f), e))
			return -1;
		if (f->flags & F_REQUIRED && !desc_said(d, obj, i))
			return missing(f, prefix, e);
	}
	return 0;
}

static int read_pairs(const struct desc *d, void *obj, const char *text, struct err *e)
{
	const char *at = text, *piece;
	size_t len;

	if (str_balanced(text, e))
		return -1;
	while (text[strspn(text, " ")] && str_piece(&at, ',', &piece, &len))
		if (pair_from_text(d, obj, piece, len, e))
			return -1;
	return finish(d, obj, "", e);
}

int desc_from_kv(const struct desc *d, void *obj, const char *text, struct err *e)
{
	desc_free(d, obj);
	desc_default(d, obj);
	if (!read_pairs(d, obj, text, e))
		return 0;
	desc_free(d, obj);
	desc_default(d, obj);
	return -1;
}

int desc_value_from_text(const struct field *f, void *base, const char *text, struct err *e)
{
	void *item;

	if (desc_field_type(f) == D_OBJ && desc_is_list(f)) {
		item = row_grow(f, base, e);
		return item ? desc_from_kv(f->sub, item, text, e) : -1;
	}
	if (desc_field_type(f) == D_OBJ)
		return desc_from_kv(f->sub, row_object(f, base), text, e);
	/* options are whole words: quotes in a kernel command line are the kernel's */
	return scalar_from_text(f, (char *)base + f->off, mem_str(text), e);
}
