/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values (RFC 8259): a thin seam over the library, so that no other file knows which one it
 * is. Foreign text is limited in size, depth and the memory it takes, a key said twice is refused,
 * and errors name the line. Any thread may call; a value belongs to one. A value has one owner:
 * json_set and json_add take what they are given.
 *
 * Whole numbers above INT64_MAX do not travel as JSON numbers; base/desc writes them as "0x…"
 * strings.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define JSON_TEXT_MAX (64u << 20)    /* bytes of a text that is read */
#define JSON_DEPTH_MAX 32	     /* objects and arrays within each other */
#define JSON_MEMORY_MAX (256u << 20) /* bytes that the values of a text take, estimated */

struct json;

enum json_kind {
	JSON_IS_NULL,
	JSON_IS_BOOL,
	JSON_IS_INT,
	JSON_IS_REAL,
	JSON_IS_STR,
	JSON_IS_ARR,
	JSON_IS_OBJ,
};

/* Reads one value that fills the text. The caller puts *out. */
MUST int json_parse(struct json **out, const char *text, size_t len, struct err *e);
/* Frees the value and all within it. NULL is fine. */
void json_put(struct json *j);
static inline void json_auto_put_(struct json **j)
{
	json_put(*j);
}
#define AUTO_JSON __attribute__((cleanup(json_auto_put_)))

/* New values; never NULL. Bytes of a string that are not UTF-8 become question marks. */
struct json *json_obj(void);
struct json *json_arr(void);
struct json *json_new_str(const char *text);
struct json *json_new_int(int64_t v);
struct json *json_new_bool(bool v);
struct json *json_new_null(void);

/* Takes v into the object (in place of an older one of that key) or behind the array's last. */
void json_set(struct json *obj, const char *key, struct json *v);
void json_add(struct json *arr, struct json *v);
void json_set_str(struct json *obj, const char *key, const char *v);
void json_set_int(struct json *obj, const char *key, int64_t v);
void json_set_bool(struct json *obj, const char *key, bool v);

enum json_kind json_kind(const struct json *j);
/* "an object", "a number", … for sentences */
const char *json_kind_name(enum json_kind kind);
/* The member, borrowed, or NULL; NULL too when obj is no object or NULL. */
const struct json *json_get(const struct json *obj, const char *key);
/* Elements of an array, members of an object, else 0. */
size_t json_count(const struct json *j);
/* Element i of an array, borrowed, or NULL. */
const struct json *json_at(const struct json *arr, size_t i);
/* Walks an object in the order of its text. Zero-initialise it; false at the end. The object
 * does not change meanwhile. */
struct json_iter {
	void *at;
	const char *key;
	const struct json *value;
};
bool json_next(const struct json *obj, struct json_iter *it);

/* Values; the kind was asked before, else "" / 0 / false. */
const char *json_str(const struct json *j);
int64_t json_int(const struct json *j);
bool json_bool(const struct json *j);
/* A value of the same content that the caller puts. */
struct json *json_dup(const struct json *j);
bool json_equal_to(const struct json *a, const struct json *b);

enum json_style { JSON_LINE, JSON_PRETTY };
/* The text, which the caller frees; members in the order they were set. */
char *json_text(const struct json *j, enum json_style style) __attribute__((returns_nonnull));
