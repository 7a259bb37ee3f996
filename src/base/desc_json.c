/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Described data to and from JSON, and the schema of that JSON (OpenAPI 3.0). Strict where others
 * are lenient: a key that no row knows is refused by name. null is taken for what may be absent.
 * Any thread; no state.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/desc_row.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

/* How strict a reading is about what is missing. */
struct strict {
	bool state; /* every row up to the version must be there */
	uint32_t version;
};

static int read_object(const struct desc *d, void *obj, const struct json *j,
		       const struct strict *s, struct err *e);

static int wrong_kind(const char *want, const struct json *j, struct err *e)
{
	return err_set(e, ERR_BAD, "is %s, must be %s", json_kind_name(json_kind(j)), want);
}

static int read_uint(const struct field *f, void *item, const struct json *j, struct err *e)
{
	uint64_t v;

	if (json_kind(j) == JSON_IS_STR && f->width == 8 && !strncmp(json_str(j), "0x", 2)) {
		if (str_to_hex(&v, json_str(j), e))
			return -1;
		return row_store_uint(f, item, v, e);
	}
	if (json_kind(j) != JSON_IS_INT)
		return wrong_kind("a whole number", j, e);
	if (json_int(j) < 0)
		return err_set(e, ERR_BAD, "%lld is below zero", (long long)json_int(j));
	return row_store_uint(f, item, (uint64_t)json_int(j), e);
}

static int read_text(const struct field *f, void *item, const struct json *j, struct err *e)
{
	bool may_be_absent = !desc_is_list(f) && !(f->flags & (F_REQUIRED | F_JSON_REQUIRED));

	if (json_kind(j) == JSON_IS_NULL && may_be_absent) {
		free(*(char **)item);
		*(char **)item = NULL;
		return 0;
	}
	if (json_kind(j) != JSON_IS_STR)
		return wrong_kind("a string", j, e);
	return row_store_str(f, item, mem_str(json_str(j)), e);
}

static int read_item(const struct field *f, void *item, const struct json *j,
		     const struct strict *s, struct err *e)
{
	enum desc_type t = desc_field_type(f);
	bool text = (f->text && !f->text->cli_only) || t == D_ENUM || t == D_HEX;

	if (text && json_kind(j) != JSON_IS_STR)
		return wrong_kind("a string", j, e);
	if (f->text && !f->text->cli_only)
		return f->text->parse(item, json_str(j), e);
	switch (t) {
	case D_BOOL:
		if (json_kind(j) != JSON_IS_BOOL)
			return wrong_kind("true or false", j, e);
		row_store(f, item, json_bool(j));
		return 0;
	case D_INT:
		if (json_kind(j) != JSON_IS_INT)
			return wrong_kind("a whole number", j, e);
		return row_store_int(f, item, json_int(j), e);
	case D_STR:
	case D_PATH:
		return read_text(f, item, j, e);
	case D_ENUM:
		return row_store_name(f, item, json_str(j), f->names, e);
	case D_OBJ:
		return read_object(f->sub, item, j, s, e);
	case D_HEX:
		return str_unhex(item, f->size, json_str(j), e);
	case D_JSON:
		json_put(*(struct json **)item);
		row_store_json(item, j);
		return 0;
	default:
		return read_uint(f, item, j, e);
	}
}

/* Descriptors travel beside JSON, never in it: their places are kept, their numbers are not. */
static int read_descriptors(const struct field *f, void *obj, const struct json *j, struct err *e)
{
	size_t n = json_kind(j) == JSON_IS_ARR ? json_count(j) : 0;

	for (size_t i = 0; i < n && desc_is_list(f); i++) {
		void *item = row_grow(f, obj, e);

		if (!item)
			return -1;
		row_store(f, item, (uint64_t)-1);
	}
	return 0;
}

static int read_list(const struct field *f, void *obj, const struct json *j, const struct strict *s,
		     struct err *e)
{
	if (json_kind(j) != JSON_IS_ARR) {
		wrong_kind("an array", j, e);
		return row_in(e, f, -1);
	}
	for (size_t i = 0; i < json_count(j); i++) {
		void *item = row_grow(f, obj, e);

		if (!item)
			return row_in(e, f, -1);
		if (read_item(f, item, json_at(j, i), s, e))
			return row_in(e, f, (int)i);
	}
	return 0;
}

static int read_array(const struct field *f, void *obj, const struct json *j,
		      const struct strict *s, struct err *e)
{
	if (json_kind(j) != JSON_IS_ARR || json_count(j) != f->count)
		return err_set(e, ERR_BAD, "%s: must be an array of %u", f->key, f->count);
	for (uint32_t i = 0; i < f->count; i++)
		if (read_item(f, (char *)obj + f->off + i * row_item_size(f), json_at(j, i), s, e))
			return row_in(e, f, (int)i);
	return 0;
}

/* May the member be absent, so that null says so? */
static bool may_be_null(const struct desc *d, const struct field *f)
{
	if (f->flags & (F_REQUIRED | F_JSON_REQUIRED))
		return false;
	return desc_is_pointer(f) || (d->has_set && (desc_is_list(f) || row_is_text(f) || f->text ||
						     f->flags & F_OPTIONAL));
}

/* A member of any shape; errors name its key, and the item. */
static int read_member(const struct field *f, void *obj, const struct json *j,
		       const struct strict *s, struct err *e)
{
	if (f->flags & F_FD)
		return read_descriptors(f, obj, j, e);
	if (desc_is_list(f))
		return read_list(f, obj, j, s, e);
	if (f->count)
		return read_array(f, obj, j, s, e);
	if (read_item(f, desc_is_pointer(f) ? row_object(f, obj) : (char *)obj + f->off, j, s, e))
		return row_in(e, f, -1);
	return 0;
}

static const struct field *find_key(const struct desc *d, const char *key)
{
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		if (f->flags & F_PAD)
			continue;
		if (!strcmp(f->key, key))
			return f;
		if (f->old && !strcmp(f->old, key)) {
			log_warn("'%s' is now called '%s'", key, f->key);
			return f;
		}
	}
	return NULL;
}

static int unknown_key(const struct desc *d, const char *key, struct err *e)
{
	AUTO_FREE const char **names = mem_array(d->count + 1, sizeof(*names));
	AUTO_STR struct str near = { 0 };
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->count; i++)
		if (!(d->fields[i].flags & (F_PAD | F_HIDDEN)))
			names[n++] = d->fields[i].key;
	desc_nearest(&near, key, names);
	return err_set(e, ERR_BAD, "unknown key '%.64s'%s", key, str_text(&near));
}

static int check_missing(const struct desc *d, const struct json *j, const struct strict *s,
			 struct err *e)
{
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		bool must = f->flags & (F_REQUIRED | F_JSON_REQUIRED);

		if (s->state)
			must = f->since <= s->version && !(f->flags & F_PAD);
		if (!must || json_get(j, f->key) || (f->old && json_get(j, f->old)))
			continue;
		return err_set(e, ERR_BAD, "'%s' is missing", f->key);
	}
	return 0;
}

static int read_object(const struct desc *d, void *obj, const struct json *j,
		       const struct strict *s, struct err *e)
{
	struct json_iter it = { 0 };

	if (json_kind(j) != JSON_IS_OBJ)
		return wrong_kind("an object", j, e);
	while (json_next(j, &it)) {
		const struct field *f = find_key(d, it.key);

		if (!f)
			return unknown_key(d, it.key, e);
		if (f->old && json_get(j, f->old) && json_get(j, f->key))
			return err_set(e, ERR_BAD, "'%s' and '%s' are the same key: say one",
				       f->old, f->key);
		if (json_kind(it.value) == JSON_IS_NULL && may_be_null(d, f))
			continue;
		if (f->flags & F_DEPRECATED)
			log_warn("'%s' has no effect any more", f->key);
		if (read_member(f, obj, it.value, s, e))
			return -1;
		row_mark_said(d, obj, (unsigned int)(f - d->fields));
	}
	if (check_missing(d, j, s, e))
		return -1;
	return d->fix ? d->fix(obj, e) : 0;
}

static int read_whole(const struct desc *d, void *obj, const struct json *j, const struct strict *s,
		      struct err *e)
{
	desc_free(d, obj);
	desc_default(d, obj);
	if (!read_object(d, obj, j, s, e))
		return 0;
	desc_free(d, obj);
	desc_default(d, obj);
	return -1;
}

int desc_from_json(const struct desc *d, void *obj, const struct json *j, struct err *e)
{
	return read_whole(d, obj, j, &(struct strict){ 0 }, e);
}

int desc_from_saved(const struct desc *d, void *obj, const struct json *j, uint32_t version,
		    struct err *e)
{
	return read_whole(d, obj, j, &(struct strict){ .state = true, .version = version }, e);
}

static struct json *write_uint(uint64_t v)
{
	char text[24];

	if (v <= INT64_MAX)
		return json_new_int((int64_t)v);
	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)v);
	return json_new_str(text);
}

static struct json *write_item(const struct field *f, const void *item)
{
	enum desc_type t = desc_field_type(f);
	AUTO_STR struct str s = { 0 };

	if (f->text && !f->text->cli_only) {
		f->text->print(item, &s);
		return json_new_str(str_text(&s));
	}
	switch (t) {
	case D_BOOL:
		return json_new_bool(row_load(f, item));
	case D_INT:
		return json_new_int((int64_t)row_load(f, item));
	case D_STR:
	case D_PATH:
		return *(char *const *)item ? json_new_str(*(char *const *)item) : json_new_null();
	case D_ENUM:
		return json_new_str(f->names[row_load(f, item)]);
	case D_OBJ:
		return desc_to_json(f->sub, item);
	case D_HEX:
		str_hex(&s, item, f->size);
		return json_new_str(str_text(&s));
	case D_JSON:
		return *(struct json *const *)item ? json_dup(*(struct json *const *)item)
						   : json_new_null();
	default:
		return write_uint(row_load(f, item));
	}
}

/* Is the member absent, so that its key is left out? State leaves nothing out. */
static bool is_absent(const struct desc *d, unsigned int row, const void *obj)
{
	const struct field *f = &d->fields[row];
	const char *at = (const char *)obj + f->off;

	if (f->flags & (F_FD | F_PAD))
		return true;
	if (!d->has_set || (desc_is_list(f) && f->flags & (F_REQUIRED | F_JSON_REQUIRED)))
		return false;
	if (f->flags & (F_HIDDEN | F_DEPRECATED) && row_is_default(d, f, obj))
		return true;
	if (f->text && f->text->absent)
		return f->text->absent(at);
	if (desc_is_list(f) || desc_is_pointer(f))
		return !row_items(f, obj).count;
	if (row_is_text(f) || desc_field_type(f) == D_JSON)
		return !*(char *const *)at;
	return row_is_optional_number(d, f) && !desc_said(d, obj, row);
}

struct json *desc_to_json(const struct desc *d, const void *obj)
{
	struct json *out = json_obj();

	for (unsigned int i = 0; i < d->count; i++) {
		const struct field *f = &d->fields[i];
		struct row_items it = row_items(f, obj);
		struct json *v;

		if (is_absent(d, i, obj))
			continue;
		if (desc_is_list(f) || f->count) {
			v = json_arr();
			for (uint32_t n = 0; n < it.count; n++)
				json_add(v, write_item(f, it.first + n * row_item_size(f)));
		} else {
			v = it.count ? write_item(f, it.first) : json_new_null();
		}
		json_set(out, f->key, v);
	}
	return out;
}

static void schema_number(struct json *s, const struct field *f)
{
	char format[16];

	json_set_str(s, "type", "integer");
	snprintf(format, sizeof(format), "%s%u", desc_field_type(f) == D_INT ? "int" : "uint",
		 8u * f->width);
	json_set_str(s, "format", format);
	if (desc_field_type(f) == D_INT)
		return;
	json_set_int(s, "minimum", (int64_t)f->min);
	if (row_max(f) <= INT64_MAX)
		json_set_int(s, "maximum", (int64_t)row_max(f));
}

static struct json *schema_item(const struct field *f)
{
	struct json *s = json_obj(), *names;
	char ref[96];

	if (f->text && !f->text->cli_only) {
		json_set_str(s, "type", "string");
		return s;
	}
	switch (desc_field_type(f)) {
	case D_BOOL:
		json_set_str(s, "type", "boolean");
		break;
	case D_STR:
	case D_PATH:
	case D_HEX:
		json_set_str(s, "type", "string");
		break;
	case D_ENUM:
		json_set_str(s, "type", "string");
		names = json_arr();
		for (uint32_t i = 0; f->names[i]; i++)
			json_add(names, json_new_str(f->names[i]));
		json_set(s, "enum", names);
		break;
	case D_JSON:
		if (!f->sub)
			break; /* anything */
			       /* fall through */
	case D_OBJ:
		snprintf(ref, sizeof(ref), "#/components/schemas/%s", f->sub->name);
		json_set_str(s, "$ref", ref);
		break;
	default:
		schema_number(s, f);
	}
	return s;
}

static void schema_default(struct json *s, const struct field *f)
{
	switch (desc_field_type(f)) {
	case D_OBJ:
	case D_HEX:
	case D_JSON:
		return;
	case D_STR:
	case D_PATH:
		if (f->def_str)
			json_set_str(s, "default", f->def_str);
		return;
	case D_BOOL:
		json_set_bool(s, "default", f->def);
		return;
	case D_ENUM:
		json_set_str(s, "default", f->names[f->def]);
		return;
	default:
		if (!f->text)
			json_set_int(s, "default", (int64_t)f->def);
	}
}

static struct json *schema_row(const struct field *f)
{
	struct json *s = schema_item(f), *outer;

	if (desc_is_list(f) || f->count) {
		outer = json_obj();
		json_set_str(outer, "type", "array");
		json_set(outer, "items", s);
		s = outer;
	} else if (!(f->flags & (F_REQUIRED | F_OPTIONAL))) {
		schema_default(s, f);
	}
	if (json_get(s, "$ref"))
		return s; /* OpenAPI 3.0: nothing may stand beside a reference */
	if (f->doc)
		json_set_str(s, "description", f->doc);
	if (f->flags & F_DEPRECATED)
		json_set_bool(s, "deprecated", true);
	return s;
}

struct json *desc_schema(const struct desc *d)
{
	struct json *s = json_obj(), *must = json_arr(), *rows = json_obj();

	json_set_str(s, "type", "object");
	if (d->doc)
		json_set_str(s, "description", d->doc);
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		if (f->flags & (F_HIDDEN | F_PAD | F_FD))
			continue;
		if (f->flags & (F_REQUIRED | F_JSON_REQUIRED))
			json_add(must, json_new_str(f->key));
		json_set(rows, f->key, schema_row(f));
		if (f->old) {
			struct json *old = schema_row(f);

			json_set_bool(old, "deprecated", true);
			json_set(rows, f->old, old);
		}
	}
	if (json_count(must))
		json_set(s, "required", must);
	else
		json_put(must);
	json_set(s, "properties", rows);
	if (d->values)
		json_set(s, "additionalProperties", schema_item(d->values));
	else
		json_set_bool(s, "additionalProperties", false);
	return s;
}
