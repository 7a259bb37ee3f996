/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Described data: a struct and the table that describes it come from the same rows, so they cannot part.
 * A row knows the key, the command-line spelling, type, default, range, names of an enum, nested table, and
 * one sentence. Readers of the rows (JSON in and out, key=value in, schema, help, man page, comparison, copying,
 * freeing) are one function each over any table; nothing else parses or prints configuration or saved state.
 *
 * Shapes a member may have:
 *   bool, uint8_t..uint64_t, int32_t, int64_t	numbers; D_SIZE numbers take K, M, G on the command line
 *   char *					owned string, NULL when absent (D_STR, D_PATH)
 *   enum (4 bytes)				index into names[]
 *   struct x					nested object, always there (D_OBJ)
 *   struct x *					nested object or absent (D_OBJ with F_POINTER)
 *   LIST(t)					count and owned array (D_OBJ, D_STR or number with F_LIST)
 *   uint8_t[n]					opaque bytes as hex (D_HEX)
 *   t[n]					n numbers or objects, all of them (.count = n)
 * A config struct whose table has optional numbers holds `uint64_t set`, one bit per row, that tells said from default.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LIST(type)                                                                                 \
	struct {                                                                                   \
		uint32_t count;                                                                    \
		type *items;                                                                       \
	}

enum desc_type { D_AUTO, D_BOOL, D_UINT, D_INT, D_SIZE, D_STR, D_PATH, D_ENUM, D_OBJ, D_HEX };

enum {
	F_POINTER = 1 << 0,	/* nested object held by an owned pointer */
	F_LIST = 1 << 1,	/* LIST(type) */
	F_OPTIONAL = 1 << 2,	/* left out of JSON unless said (see `set`) or non-NULL */
	F_REQUIRED = 1 << 3,	/* must be said */
	F_FLAT = 1 << 4,	/* on the command line the nested keys are the parent's */
	F_FD = 1 << 5,		/* a passed descriptor: never in JSON out */
	F_HIDDEN = 1 << 6,	/* for tests; not in help */
	F_DEPRECATED = 1 << 7,	/* taken with a warning */
	F_UNBUILT = 1 << 8,	/* known, refused as "not in this build" when it differs from the default */
	F_HEXNUM = 1 << 9,	/* command line number in hex */
};

struct desc;

struct field {
	const char *key;		/* JSON key */
	const char *cli;		/* command-line key where it differs; "" = not on the command line */
	const char *old;		/* former spelling, taken with a warning */
	const char *doc;		/* one sentence without a full stop */
	const char *access;		/* PATH rows: "r" or "rw", for Landlock */
	const char *def_str;		/* default of a string */
	const char *const *names;	/* of an enum, NULL-ended; JSON spelling */
	const char *const *cli_names;	/* command-line spelling where it differs */
	const struct desc *sub;		/* nested table */
	/* a type of its own: text in and out; returns -1 with a sentence. For addresses, cpu lists... */
	const struct desc_text *text;
	uint64_t def, min, max;		/* numbers; max 0 = what the width holds */
	uint32_t off, size;		/* of the member */
	uint32_t count;			/* of a fixed array; 0 = not an array */
	uint32_t max_items;		/* of a list or the bytes of a string; 0 = the engine's limit */
	uint32_t since;			/* saved state: version that brought it */
	uint16_t flags;
	uint8_t type;			/* enum desc_type */
	uint8_t width;			/* bytes of a number or of a list's number */
};

struct desc {
	const char *name;		/* schema name, e.g. "DiskConfig" */
	const char *doc;
	const struct field *fields;
	uint32_t count;
	uint32_t size;			/* sizeof the struct */
	uint32_t version;		/* saved state: 1.. */
	uint32_t set_off;		/* of `uint64_t set`; valid when has_set */
	bool has_set;
	/* relates fields after all were read; may refuse. NULL = nothing to relate */
	int (*fix)(void *obj, struct err *e);
};

/* A row of saved state. type is found from the member: unsigned numbers and bool by themselves, others say. */
#define S(type_, member_, ...)                                                                     \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .width = sizeof(((type_ *)0)->member_),     \
		.type = D_UINT, __VA_ARGS__                                                        \
	}
/* n numbers */
#define S_ARRAY(type_, member_, ...)                                                               \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_),                                             \
		.width = sizeof(((type_ *)0)->member_[0]),                                         \
		.count = sizeof(((type_ *)0)->member_) / sizeof(((type_ *)0)->member_[0]),         \
		.type = D_UINT, __VA_ARGS__                                                        \
	}
/* opaque bytes */
#define S_HEX(type_, member_, ...)                                                                 \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .type = D_HEX, __VA_ARGS__                  \
	}
/* LIST(struct x) of described objects */
#define S_LIST(type_, member_, sub_, ...)                                                          \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .sub = (sub_), .flags = F_LIST,             \
		.type = D_OBJ, __VA_ARGS__                                                         \
	}
/* a struct inside */
#define S_OBJ(type_, member_, sub_, ...)                                                           \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .sub = (sub_), .type = D_OBJ, __VA_ARGS__   \
	}
#define DESC_OF(type_, fields_, name_, ...)                                                        \
	{                                                                                          \
		.name = (name_), .fields = (fields_), .count = sizeof(fields_) / sizeof(fields_[0]), \
		.size = sizeof(type_), .version = 1, __VA_ARGS__                                   \
	}

struct json;		/* base/json.h */
struct str;		/* base/str.h: bounded builder */

/* Every member to its default; lists and pointers empty. obj is overwritten, not freed. */
void desc_default(const struct desc *d, void *obj);
/* Reads an object over defaults. Unknown key, wrong type, out of range: refused with the key's path. obj is
 * freed and defaulted again on failure. */
MUST int desc_from_json(const struct desc *d, void *obj, const struct json *j, struct err *e);
/* "key=value,key=[a,b],key="x,y"" over defaults. fds of F_FD rows land in them. */
MUST int desc_from_kv(const struct desc *d, void *obj, const char *text, struct err *e);
/* A new object that the caller puts with json_put. */
struct json *desc_to_json(const struct desc *d, const void *obj);
void desc_copy(const struct desc *d, void *to, const void *from);
bool desc_equal(const struct desc *d, const void *a, const void *b);
/* Frees what members own and zeroes them. */
void desc_free(const struct desc *d, void *obj);
/* First byte of the struct that no row covers, or d->size when all are covered. Used by tests. */
uint32_t desc_uncovered(const struct desc *d);
