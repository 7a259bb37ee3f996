/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam over jansson. It adds what the library leaves open: limits on size, depth and memory
 * before a byte is parsed, sentences for errors, and strings that are never refused when written.
 * It is not a schema: see base/desc.
 */
#include "base/json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* struct json is json_t under another name; these two are the only places that know. */
static json_t *lib(const struct json *j)
{
	return (json_t *)(void *)j;
}

static struct json *ours(json_t *j)
{
	return (struct json *)(void *)j;
}

/* A new value, or the end of the process as with every allocation that fails. */
static struct json *made(json_t *j)
{
	if (!j)
		abort();
	return ours(j);
}

/* What the library takes of memory for what begins with this byte, or follows it, rather too much: a value
 * with its place among others, and with the table that it begins with. */
static const uint16_t costs[256] = { ['['] = 144, ['{'] = 272, ['"'] = 112, [','] = 48 };

/* What a text is judged by before the library sees it. */
struct shape {
	unsigned int line, depth;
	size_t memory;
};

static int check_shape(const struct shape *s, struct err *e)
{
	if (s->depth > JSON_DEPTH_MAX)
		return err_set(e, ERR_BAD, "line %u: nested deeper than %d levels", s->line,
			       JSON_DEPTH_MAX);
	if (s->memory > JSON_MEMORY_MAX)
		return err_set(e, ERR_BAD,
			       "line %u: so many values would take more than %u MiB of memory",
			       s->line, JSON_MEMORY_MAX >> 20);
	return 0;
}

/* Behind the string that begins at i; a line's end in one is an error of the library's, which tells
 * of it with its own count. */
static size_t behind_string(const char *text, size_t i, size_t len)
{
	for (i++; i < len && text[i] != '"'; i++)
		i += text[i] == '\\';
	return i + 1;
}

/* The library descends by recursion, and takes many times a text's length for small values. */
static int look_through(const char *text, size_t len, struct err *e)
{
	struct shape s = { .line = 1, .memory = len };

	for (size_t i = 0; i < len;) {
		char c = text[i];

		i = c == '"' ? behind_string(text, i, len) : i + 1;
		s.line += c == '\n';
		s.depth -= (c == '}' || c == ']') && s.depth;
		if (!costs[(unsigned char)c])
			continue;
		s.depth += c == '{' || c == '[';
		s.memory += costs[(unsigned char)c];
		if (check_shape(&s, e) < 0)
			return -1;
	}
	return 0;
}

int json_parse(struct json **out, const char *text, size_t len, struct err *e)
{
	json_error_t why;
	json_t *j;

	if (len > JSON_TEXT_MAX)
		return err_set(e, ERR_BAD, "the text is longer than %u MiB", JSON_TEXT_MAX >> 20);
	if (look_through(text, len, e) < 0)
		return -1;
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!j)
		return err_set(e, ERR_BAD, "line %d, column %d: %s", why.line, why.column,
			       why.text);
	*out = ours(j);
	return 0;
}

void json_put(struct json *j)
{
	json_decref(lib(j));
}

struct json *json_obj(void)
{
	return made(json_object());
}

struct json *json_arr(void)
{
	return made(json_array());
}

struct json *json_new_str(const char *text)
{
	json_t *j = json_string(text);
	char *plain;

	if (j)
		return ours(j);
	plain = mem_str(text);
	for (char *p = plain; *p; p++)
		if (*p & 0x80)
			*p = '?';
	j = json_string(plain);
	free(plain);
	return made(j);
}

struct json *json_new_int(int64_t v)
{
	return made(json_integer(v));
}

struct json *json_new_bool(bool v)
{
	return made(json_boolean(v));
}

struct json *json_new_null(void)
{
	return made(json_null());
}

void json_set(struct json *obj, const char *key, struct json *v)
{
	if (json_object_set_new_nocheck(lib(obj), key, lib(v)))
		abort();
}

void json_add(struct json *arr, struct json *v)
{
	if (json_array_append_new(lib(arr), lib(v)))
		abort();
}

void json_set_str(struct json *obj, const char *key, const char *v)
{
	json_set(obj, key, json_new_str(v));
}

void json_set_int(struct json *obj, const char *key, int64_t v)
{
	json_set(obj, key, json_new_int(v));
}

void json_set_bool(struct json *obj, const char *key, bool v)
{
	json_set(obj, key, json_new_bool(v));
}

enum json_kind json_kind(const struct json *j)
{
	switch (json_typeof(lib(j))) {
	case JSON_OBJECT:
		return JSON_IS_OBJ;
	case JSON_ARRAY:
		return JSON_IS_ARR;
	case JSON_STRING:
		return JSON_IS_STR;
	case JSON_INTEGER:
		return JSON_IS_INT;
	case JSON_REAL:
		return JSON_IS_REAL;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_IS_BOOL;
	case JSON_NULL:
	default:
		return JSON_IS_NULL;
	}
}

const char *json_kind_name(enum json_kind kind)
{
	static const char *const names[] = {
		[JSON_IS_NULL] = "null",     [JSON_IS_BOOL] = "true or false",
		[JSON_IS_INT] = "a number",  [JSON_IS_REAL] = "a fraction",
		[JSON_IS_STR] = "a string",  [JSON_IS_ARR] = "an array",
		[JSON_IS_OBJ] = "an object",
	};

	return names[kind];
}

const struct json *json_get(const struct json *obj, const char *key)
{
	return ours(json_object_get(lib(obj), key));
}

size_t json_count(const struct json *j)
{
	return json_is_array(lib(j)) ? json_array_size(lib(j)) : json_object_size(lib(j));
}

const struct json *json_at(const struct json *arr, size_t i)
{
	return ours(json_array_get(lib(arr), i));
}

bool json_next(const struct json *obj, struct json_iter *it)
{
	json_t *o = lib(obj);

	it->at = it->at ? json_object_iter_next(o, it->at) : json_object_iter(o);
	if (!it->at)
		return false;
	it->key = json_object_iter_key(it->at);
	it->value = ours(json_object_iter_value(it->at));
	return true;
}

const char *json_str(const struct json *j)
{
	const char *text = json_string_value(lib(j));

	return text ? text : "";
}

int64_t json_int(const struct json *j)
{
	return json_integer_value(lib(j));
}

bool json_bool(const struct json *j)
{
	return json_is_true(lib(j));
}

struct json *json_dup(const struct json *j)
{
	return made(json_deep_copy(lib(j)));
}

bool json_equal_to(const struct json *a, const struct json *b)
{
	return json_equal(lib(a), lib(b));
}

char *json_text(const struct json *j, enum json_style style)
{
	size_t flags = style == JSON_PRETTY ? JSON_INDENT(2) : JSON_COMPACT;
	char *text = json_dumps(lib(j), flags | JSON_ENCODE_ANY);

	if (!text)
		abort();
	return text;
}
