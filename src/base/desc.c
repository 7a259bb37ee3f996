/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done to a described struct without text: defaults, freeing, copying, comparing,
 * coverage, and the look for things not built. JSON is in desc_json.c, the command line in
 * desc_kv.c, help in desc_doc.c. Any thread; no state.
 */
#include "base/desc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/desc_row.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum desc_type desc_field_type(const struct field *f)
{
	if (f->type)
		return f->type;
	if (f->names)
		return D_ENUM;
	if (f->member == D_JSON)
		return D_JSON;
	return f->sub ? D_OBJ : f->member;
}

size_t row_item_size(const struct field *f)
{
	switch (desc_field_type(f)) {
	case D_OBJ:
		return f->sub->size;
	case D_STR:
	case D_PATH:
	case D_JSON:
		return sizeof(char *);
	case D_ENUM:
		return sizeof(uint32_t);
	default:
		return f->width ? f->width : f->size;
	}
}

bool row_is_text(const struct field *f)
{
	enum desc_type t = desc_field_type(f);

	return t == D_STR || t == D_PATH;
}

uint64_t row_load(const struct field *f, const void *item)
{
	uint64_t v = 0;

	memcpy(&v, item, row_item_size(f));
	if (desc_field_type(f) == D_INT && f->width < 8 && v >> (8 * f->width - 1) & 1)
		v |= ~0ull << (8 * f->width);
	return v;
}

void row_store(const struct field *f, void *item, uint64_t v)
{
	memcpy(item, &v, row_item_size(f));
}

uint64_t row_max(const struct field *f)
{
	unsigned int bits = 8 * f->width;

	if (f->max)
		return f->max;
	if (desc_field_type(f) == D_INT)
		bits--;
	return bits >= 64 ? ~0ull : (1ull << bits) - 1;
}

void row_mark_said(const struct desc *d, void *obj, unsigned int row)
{
	uint64_t set;

	if (!d->has_set)
		return;
	assert(row < 64);
	memcpy(&set, (char *)obj + d->set_off, sizeof(set));
	set |= 1ull << row;
	memcpy((char *)obj + d->set_off, &set, sizeof(set));
}

/* Numbers, and whatever else is plain bytes. */
static bool is_plain(const struct field *f)
{
	enum desc_type t = desc_field_type(f);

	return t != D_OBJ && t != D_STR && t != D_PATH && t != D_JSON;
}

static void item_default(const struct field *f, void *item)
{
	if (desc_field_type(f) == D_OBJ)
		desc_default(f->sub, item);
	else if (row_is_text(f))
		*(char **)item = f->def_str ? mem_str(f->def_str) : NULL;
	else if (!f->text && desc_field_type(f) != D_HEX)
		row_store(f, item, f->def);
}

void desc_default(const struct desc *d, void *obj)
{
	memset(obj, 0, d->size);
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		char *at = (char *)obj + f->off;

		if (desc_is_list(f) || desc_is_pointer(f))
			continue;
		for (uint32_t i = 0; i < (f->count ? f->count : 1); i++)
			item_default(f, at + i * row_item_size(f));
	}
}

static void item_free(const struct field *f, void *item)
{
	if (desc_field_type(f) == D_OBJ)
		desc_free(f->sub, item);
	else if (row_is_text(f))
		free(*(char **)item);
	else if (desc_field_type(f) == D_JSON)
		json_put(*(struct json **)item);
}

void desc_free(const struct desc *d, void *obj)
{
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		struct row_items it = row_items(f, obj);

		for (uint32_t i = 0; i < it.count && !is_plain(f); i++)
			item_free(f, it.first + i * row_item_size(f));
		if (desc_is_list(f) || desc_is_pointer(f))
			free(it.first);
	}
	memset(obj, 0, d->size);
}

/* What lies behind a member: the member itself, the array of a list, the object of a pointer. */
struct row_items row_items(const struct field *f, const void *obj)
{
	char *at = (char *)(uintptr_t)obj + f->off;
	const row_list *list = (const void *)at;

	if (desc_is_list(f))
		return (struct row_items){ list->items, list->count };
	if (desc_is_pointer(f))
		return (struct row_items){ *(void **)(void *)at, *(void **)(void *)at ? 1 : 0 };
	return (struct row_items){ at, f->count ? f->count : 1 };
}

static void item_copy(const struct field *f, void *to, const void *from)
{
	if (desc_field_type(f) == D_OBJ)
		desc_copy(f->sub, to, from);
	else if (row_is_text(f))
		*(char **)to = *(char *const *)from ? mem_str(*(char *const *)from) : NULL;
	else if (desc_field_type(f) == D_JSON)
		row_store_json(to, *(struct json *const *)from);
	else
		memcpy(to, from, row_item_size(f));
}

void desc_copy(const struct desc *d, void *to, const void *from)
{
	memcpy(to, from, d->size);
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		struct row_items it = row_items(f, from);
		bool apart = desc_is_list(f) || desc_is_pointer(f);
		char *items = (char *)to + f->off;
		size_t size = row_item_size(f);

		if (apart ? !it.count : is_plain(f))
			continue; /* the bytes were all there is */
		if (apart) {
			items = mem_array(it.count, size);
			if (desc_is_list(f))
				((row_list *)(void *)((char *)to + f->off))->items = items;
			else
				*(void **)(void *)((char *)to + f->off) = items;
		}
		for (uint32_t i = 0; i < it.count; i++)
			item_copy(f, items + i * size, it.first + i * size);
	}
}

static bool item_equal(const struct field *f, const void *a, const void *b)
{
	if (desc_field_type(f) == D_OBJ)
		return desc_equal(f->sub, a, b);
	if (row_is_text(f)) {
		const char *x = *(char *const *)a, *y = *(char *const *)b;

		return x && y ? !strcmp(x, y) : x == y;
	}
	if (desc_field_type(f) == D_JSON) {
		const struct json *x = *(struct json *const *)a, *y = *(struct json *const *)b;

		return x && y ? json_equal_to(x, y) : x == y;
	}
	return !memcmp(a, b, row_item_size(f));
}

bool row_is_optional_number(const struct desc *d, const struct field *f)
{
	return d->has_set && f->flags & F_OPTIONAL && is_plain(f) && !f->text && !desc_is_list(f);
}

bool row_equal(const struct field *f, const void *a, const void *b)
{
	struct row_items x = row_items(f, a), y = row_items(f, b);

	if (x.count != y.count)
		return false;
	for (uint32_t i = 0; i < x.count; i++)
		if (!item_equal(f, x.first + i * row_item_size(f), y.first + i * row_item_size(f)))
			return false;
	return true;
}

bool desc_equal(const struct desc *d, const void *a, const void *b)
{
	for (unsigned int i = 0; i < d->count; i++) {
		const struct field *f = &d->fields[i];

		if (!row_equal(f, a, b))
			return false;
		if (row_is_optional_number(d, f) && desc_said(d, a, i) != desc_said(d, b, i))
			return false;
	}
	return true;
}

uint32_t desc_uncovered(const struct desc *d)
{
	AUTO_FREE char *seen = mem_new(d->size);
	uint32_t at;

	if (d->has_set)
		memset(seen + d->set_off, 1, sizeof(uint64_t));
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		bool inside =
			desc_field_type(f) == D_OBJ && !desc_is_list(f) && !desc_is_pointer(f);
		uint32_t whole = f->size;

		/* of nested structs only what their own rows cover up to the first gap */
		if (inside && desc_uncovered(f->sub) < f->sub->size)
			whole = desc_uncovered(f->sub);
		memset(seen + f->off, 1, whole);
	}
	for (at = 0; at < d->size && seen[at]; at++)
		;
	return at;
}

bool row_is_default(const struct desc *d, const struct field *f, const void *obj)
{
	AUTO_FREE char *plain = mem_new(d->size);
	bool same;

	if (desc_is_list(f) || desc_is_pointer(f))
		return !row_items(f, obj).count;
	desc_default(d, plain);
	same = row_equal(f, obj, plain);
	desc_free(d, plain);
	if (same && row_is_optional_number(d, f))
		same = !desc_said(d, obj, (unsigned int)(f - d->fields));
	return same;
}

/* The option or key as it would be said, for a sentence. */
static int unbuilt(struct err *e, const struct field *f, const char *opt, const char *value)
{
	AUTO_STR struct str what = { 0 };

	if (f->opt)
		str_add(&what, "--%s", f->opt);
	else if (opt)
		str_add(&what, "--%s ", opt);
	if (!f->opt && f->flags & F_FLAT) {
		for (uint32_t i = 0; i < f->sub->count; i++)
			str_add(&what, "%s%s*", i ? ", " : "", row_cli(&f->sub->fields[i]));
	} else if (!f->opt && !(value && f->flags & F_BARE)) {
		str_add(&what, "%s%s", row_cli(f), value ? "=" : "");
	}
	return err_set(e, ERR_UNBUILT, "not in this build: %s%s; leave it out", str_text(&what),
		       value ? value : "");
}

static int check_values(const struct field *f, const struct row_items *it, const char *opt,
			struct err *e)
{
	for (uint32_t i = 0; i < it->count; i++) {
		uint64_t v = row_load(f, it->first + i * row_item_size(f));

		if (!(f->unbuilt >> v & 1))
			continue;
		return unbuilt(e, f, opt,
			       f->cli_names && *f->cli_names[v] ? f->cli_names[v] : f->names[v]);
	}
	return 0;
}

static int check_built(const struct desc *d, const void *obj, const char *opt, struct err *e)
{
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		struct row_items it = row_items(f, obj);
		enum desc_type t = desc_field_type(f);

		if (f->flags & F_UNBUILT && !row_is_default(d, f, obj))
			return unbuilt(e, f, opt, NULL);
		if (f->flags & F_UNBUILT)
			continue;
		if (t == D_ENUM && check_values(f, &it, opt, e))
			return -1;
		for (uint32_t i = 0; t == D_OBJ && i < it.count; i++)
			if (check_built(f->sub, it.first + i * f->sub->size, f->opt ? f->opt : opt,
					e))
				return -1;
	}
	return 0;
}

int desc_check_built(const struct desc *d, const void *obj, struct err *e)
{
	return check_built(d, obj, NULL, e);
}

int row_in(struct err *e, const struct field *f, int index)
{
	if (index < 0)
		return err_in(e, "%s", f->key);
	return err_in(e, "%s[%d]", f->key, index);
}

const char *row_cli(const struct field *f)
{
	return f->cli && *f->cli ? f->cli : f->key;
}

void desc_nearest(struct str *out, const char *word, const char *const *names)
{
	const char *best = NULL;
	unsigned int near = 0;

	for (; *names; names++) {
		unsigned int n = str_distance(word, *names);

		if (!best || n < near) {
			best = *names;
			near = n;
		}
	}
	/* farther than half of the word is no likeness */
	if (best && near <= 1 + strlen(word) / 3)
		str_add(out, " (did you mean '%s'?)", best);
}
