/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Described data: a struct and the table that describes it come from the same rows, so they cannot
 * part. A row knows the key, the command-line spelling, type, default, range, names of an enum,
 * nested table, and one sentence. Readers of the rows (JSON in and out, key=value in, schema, help,
 * man page, comparison, copying, freeing) are one function each over any table; nothing else parses
 * or prints configuration or saved state.
 *
 * Shapes a member may have:
 *   bool, uint8_t..uint64_t, int8_t..int64_t	numbers; D_SIZE numbers take K, M, G on the command line
 *   char *					owned string, NULL when absent (D_STR, D_PATH)
 *   enum (4 bytes)				index into names[]
 *   struct x					nested object, always there (D_OBJ)
 *   struct x *					nested object or absent (D_OBJ with F_POINTER)
 *   LIST(t)					count and owned array (D_OBJ, D_STR or number with F_LIST)
 *   uint8_t[n]					opaque bytes as hex (D_HEX)
 *   t[n]					n numbers or objects, all of them (.count = n)
 *   plain data with a text of its own		(.text)
 *   struct json *				any JSON value, owned, NULL when absent; .sub tells its schema
 * A config struct holds `uint64_t set` (has_set), one bit per row, that tells said from default;
 * what is absent is left out of its JSON. State structs have none, and every row is in their JSON.
 * Whole numbers above INT64_MAX are "0x…" strings in JSON; such strings are read for any unsigned
 * number of 8 bytes.
 *
 * On the command line a value is said as (base/str.h has the grammar):
 *   number, string, path, toggle, enum		key=value
 *   F_BARE enum or string			the value alone, without its key
 *   list of numbers or strings			key=[1,3-5,8] or key=x
 *   list of objects				key=[a@b,c@[d,e]]: the rows of each in turn; with F_ITEMS key=[k=v,k=v:k=v]
 *   object, F_FLAT				its keys, each with the row's .cli in front, are keys of the parent
 *   object, F_WORDS				key=[names of its bool rows]
 *   object, otherwise				key=1:2:3, its rows in turn
 * An empty value says nothing, but "off" to a toggle.
 *
 * Nothing here keeps state; any thread may call. Foreign input never recurses deeper than the
 * tables do.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct json; /* base/json.h */
struct str;  /* base/str.h: bounded builder */

#define LIST(type)                                                                                 \
	struct {                                                                                   \
		uint32_t count;                                                                    \
		type *items;                                                                       \
	}

enum desc_type {
	D_AUTO,
	D_BOOL,
	D_UINT,
	D_INT,
	D_SIZE,
	D_STR,
	D_PATH,
	D_ENUM,
	D_OBJ,
	D_HEX,
	D_JSON
};

enum {
	F_POINTER = 1 << 0,    /* nested object held by an owned pointer */
	F_LIST = 1 << 1,       /* LIST(type) */
	F_OPTIONAL = 1 << 2,   /* left out of JSON unless said (see `set`) or non-NULL */
	F_REQUIRED = 1 << 3,   /* must be said */
	F_FLAT = 1 << 4,       /* on the command line the nested keys are the parent's */
	F_FD = 1 << 5,	       /* a passed descriptor: never in JSON out */
	F_HIDDEN = 1 << 6,     /* for tests; not in help */
	F_DEPRECATED = 1 << 7, /* taken with a warning */
	F_UNBUILT =
		1 << 8, /* known, refused as "not in this build" when it differs from the default */
	F_HEXNUM = 1 << 9,	   /* command line number in hex */
	F_BARE = 1 << 10,	   /* command line: the value may stand without its key */
	F_WORDS = 1 << 11,	   /* command line: an object of bools as a list of their names */
	F_ITEMS = 1 << 12,	   /* command line: a list of objects as key=value parted by ':' */
	F_JSON_REQUIRED = 1 << 13, /* must be said in JSON, has a default on the command line */
	F_PAD = 1 << 14,	   /* state: bytes that hold nothing; never written, always zero */
	F_COUNTED = 1 << 15,	   /* a flag whose number of times counts, as -v */
	F_GAUGE = 1 << 16,	   /* counters: it falls too; others only grow */
};

struct desc;

/* A text for plain data: addresses and the like. Copied and compared as bytes. */
struct desc_text {
	const char *what; /* placeholder in help: "<mac>" */
	bool cli_only;	  /* JSON has the number */
	int (*parse)(void *member, const char *text, struct err *e);
	void (*print)(const void *member, struct str *out); /* NULL with cli_only */
	bool (*absent)(const void *member); /* left out of JSON then; NULL = never */
};

struct field {
	const char *key;   /* JSON key */
	const char *cli;   /* command-line key where it differs; "" = not on the command line; of an
					 * F_FLAT row: what stands in front of the nested keys */
	const char *opt;   /* this row is an option of the program: --opt */
	const char *group; /* of an option: heading under which help lists it */
	const char *what;  /* placeholder in help where the type's is not enough: "<iface>" */
	const char *old;   /* former spelling, taken with a warning */
	const char *doc;   /* one sentence without a full stop */
	const char *unit;  /* counters: "bytes", "microseconds"; NULL = a plain number */
	const char *access;	  /* PATH rows, for Landlock: "r", "rw", "rwm" (guard/landlock.h) */
	const char *def_str;	  /* default of a string */
	const char *const *names; /* of an enum, NULL-ended; JSON spelling */
	const char *const *cli_names; /* command-line spelling where it differs */
	const struct desc *sub;	      /* nested table */
	/* a type of its own: text in and out; returns -1 with a sentence. For addresses, cpu
	 * lists... */
	const struct desc_text *text;
	uint64_t def, min, max; /* numbers; max 0 = what the width holds */
	uint32_t unbuilt;	/* of an enum: bit per value that is known and not in this build */
	uint32_t off, size;	/* of the member */
	uint32_t max_items;	/* of a list, or the bytes of a string; 0 = the engine's limit */
	/* there are nearly a thousand rows: what is small is kept small */
	uint32_t flags : 20;
	uint32_t since : 8; /* saved state: version that brought it */
	/* as F_LIST and F_POINTER, by the row macros */
	bool is_list : 1;
	bool is_pointer : 1;
	uint16_t count;	    /* of a fixed array; 0 = not an array */
	uint8_t type : 4;   /* enum desc_type; D_AUTO: names, sub, then the member tell */
	uint8_t member : 4; /* enum desc_type of the C member, by the row macros */
	uint8_t width;	    /* bytes of a number or of a list's number */
};

/* What the compiler knows of a member. */
#define DESC_MEMBER(m)                                                                             \
	_Generic((m), bool: D_BOOL, uint8_t: D_UINT, uint16_t: D_UINT, uint32_t: D_UINT,           \
		 unsigned long: D_UINT, unsigned long long: D_UINT, int8_t: D_INT, int16_t: D_INT, \
		 int32_t: D_INT, long: D_INT, long long: D_INT, char *: D_STR,      \
		 struct json *: D_JSON, default: D_AUTO)

struct desc {
	const char *name; /* schema name, e.g. "DiskConfig" */
	const char *doc;
	const struct field *fields;
	uint32_t count;
	uint32_t size;	  /* sizeof the struct */
	uint32_t version; /* saved state: 1.. */
	uint32_t set_off; /* of `uint64_t set`; valid when has_set */
	bool has_set;
	/* the schema of an object with any keys, whose values are all like this row; there is no
	 * struct then */
	const struct field *values;
	/* relates fields after all were read; may refuse. NULL = nothing to relate */
	int (*fix)(void *obj, struct err *e);
};

/* A row of saved state. The type is found from the member; enums with names, and sizes, say
 * their own. */
#define S(type_, member_, ...)                                                                     \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .width = sizeof(((type_ *)0)->member_),     \
		.member = DESC_MEMBER(((type_ *)0)->member_), __VA_ARGS__                          \
	}
/* n numbers */
#define S_ARRAY(type_, member_, ...)                                                               \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .width = sizeof(((type_ *)0)->member_[0]),  \
		.count = sizeof(((type_ *)0)->member_) / sizeof(((type_ *)0)->member_[0]),         \
		.member = DESC_MEMBER(((type_ *)0)->member_[0]), __VA_ARGS__                       \
	}
/* opaque bytes */
#define S_HEX(type_, member_, ...)                                                                 \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .type = D_HEX, __VA_ARGS__                  \
	}
/* bytes that keep the struct dense and hold nothing: covered, not written, zero after loading */
#define S_PAD(type_, member_)                                                                      \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .type = D_HEX, .flags = F_PAD               \
	}
/* LIST(struct x) of described objects */
#define S_LIST(type_, member_, sub_, ...)                                                          \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .sub = (sub_), .is_list = true,             \
		.type = D_OBJ, __VA_ARGS__                                                         \
	}
/* LIST(number) */
#define S_LIST_NUM(type_, member_, ...)                                                            \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .is_list = true,                            \
		.width = sizeof(((type_ *)0)->member_.items[0]),                                   \
		.member = DESC_MEMBER(((type_ *)0)->member_.items[0]), __VA_ARGS__                 \
	}
/* a struct inside */
#define S_OBJ(type_, member_, sub_, ...)                                                           \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .sub = (sub_), .type = D_OBJ, __VA_ARGS__   \
	}
/* n structs inside */
#define S_OBJS(type_, member_, sub_, ...)                                                          \
	{                                                                                          \
		.key = #member_, .off = offsetof(type_, member_),                                  \
		.size = sizeof(((type_ *)0)->member_), .sub = (sub_), .type = D_OBJ,               \
		.count = sizeof(((type_ *)0)->member_) / sizeof(((type_ *)0)->member_[0]),         \
		__VA_ARGS__                                                                        \
	}
/* The table of a struct in its first version, and in a later one: rows that came with version n
 * say .since = n. What follows are more members, .fix for one. */
#define DESC_OF(type_, fields_, name_, ...) DESC_OF_V(type_, fields_, name_, 1, __VA_ARGS__)
#define DESC_OF_V(type_, fields_, name_, version_, ...)                                            \
	{                                                                                          \
		.name = (name_), .fields = (fields_),                                              \
		.count = sizeof(fields_) / sizeof(fields_[0]), .size = sizeof(type_),              \
		.version = (version_), __VA_ARGS__                                                 \
	}

/* Every member to its default; lists and pointers empty. obj is overwritten, not freed. */
void desc_default(const struct desc *d, void *obj);
/* Frees what members own and zeroes them. */
void desc_free(const struct desc *d, void *obj);
/* to is overwritten, not freed. */
void desc_copy(const struct desc *d, void *to, const void *from);
/* Of what was said and what was not, only optional numbers count. */
bool desc_equal(const struct desc *d, const void *a, const void *b);

/* For all readers: obj is zeroed or holds values, which are freed; on failure it is back at its
 * defaults. */

/* Reads an object over defaults. Unknown key, wrong type, out of range: refused with the key's
 * path, one frame a level. */
MUST int desc_from_json(const struct desc *d, void *obj, const struct json *j, struct err *e);
/* The same for saved state of a version: rows that this version knew must be there, newer ones
 * may be missing. */
MUST int desc_from_saved(const struct desc *d, void *obj, const struct json *j, uint32_t version,
			 struct err *e);
/* "key=value,key=[a,b],key="x,y"" over defaults. fds of F_FD rows land in them. */
MUST int desc_from_kv(const struct desc *d, void *obj, const char *text, struct err *e);
/* One value of one row, as it stands behind "key=" or "--opt "; of a list row: one more of them.
 * base is the struct that holds the member. */
MUST int desc_value_from_text(const struct field *f, void *base, const char *text, struct err *e);

/* A new object that the caller puts with json_put. */
struct json *desc_to_json(const struct desc *d, const void *obj);
/* OpenAPI 3 schema of the table; nested tables are references to #/components/schemas/<name>. */
struct json *desc_schema(const struct desc *d);

/* Behind the last row; a table of free keys has none. */
static inline const struct field *desc_end(const struct desc *d)
{
	return d->count ? d->fields + d->count : d->fields;
}
/* First byte of the struct that no row covers, or d->size when all are covered. Used by tests. */
uint32_t desc_uncovered(const struct desc *d);
/* Refuses with ERR_UNBUILT what is known, not in this build, and not at its default. */
MUST int desc_check_built(const struct desc *d, const void *obj, struct err *e);
/* Was row i of a table with has_set said? */
static inline bool desc_said(const struct desc *d, const void *obj, unsigned int row)
{
	uint64_t set;

	__builtin_memcpy(&set, (const char *)obj + d->set_off, sizeof(set));
	return set >> row & 1;
}

/* How a row is seen by those who print documents. */
enum desc_type desc_field_type(const struct field *f);
static inline bool desc_is_list(const struct field *f)
{
	return f->is_list || f->flags & F_LIST;
}
static inline bool desc_is_pointer(const struct field *f)
{
	return f->is_pointer || f->flags & F_POINTER;
}
/* Calls fn for each command-line key, flat nested ones included; key is the whole spelling, ""
 * of a row that is only said bare. flags are the row's, with F_UNBUILT of those around it, and
 * F_REQUIRED only where nothing around it may be left out. */
typedef void desc_key_fn(void *arg, const struct field *f, const char *key, uint32_t flags);
void desc_each_key(const struct desc *d, desc_key_fn *fn, void *arg);
/* "<path>", "on|off", "<size>", "[<n>,…]", … as a value is said on the command line. */
void desc_value_syntax(struct str *out, const struct field *f);
/* The default as it is said on the command line; false and nothing when there is none. */
bool desc_default_text(struct str *out, const struct field *f);

/* " (did you mean 'x'?)" to the name nearest to word, or nothing when none is near. names is
 * NULL-ended. */
void desc_nearest(struct str *out, const char *word, const char *const *names);
