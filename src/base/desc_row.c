/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing one value that a reader has found, after judging it: ranges, names, lengths, room in a
 * list. The sentences for what is wrong with a single value are here, so that JSON and the command
 * line say the same.
 */
#include "base/desc_row.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define LIST_MAX 16384u	     /* items, where the row says nothing */
#define TEXT_MAX (64u << 10) /* bytes of a string, where the row says nothing */

static int out_of_range(const struct field *f, const char *what, struct err *e)
{
	AUTO_STR struct str range = { 0 };

	if (f->flags & F_HEXNUM)
		str_add(&range, "0x%llx to 0x%llx", (unsigned long long)f->min,
			(unsigned long long)row_max(f));
	else
		str_add(&range, "%llu to %llu", (unsigned long long)f->min,
			(unsigned long long)row_max(f));
	return err_set(e, ERR_BAD, "%s is not within %s", what, str_text(&range));
}

int row_store_uint(const struct field *f, void *item, uint64_t v, struct err *e)
{
	if (v < f->min || v > row_max(f)) {
		AUTO_STR struct str what = { 0 };

		str_add(&what, f->flags & F_HEXNUM ? "0x%llx" : "%llu", (unsigned long long)v);
		return out_of_range(f, str_text(&what), e);
	}
	row_store(f, item, v);
	return 0;
}

int row_store_int(const struct field *f, void *item, int64_t v, struct err *e)
{
	int64_t max = (int64_t)row_max(f), min = -max - 1;

	if (f->max || f->min)
		min = (int64_t)f->min;
	if (v < min || v > max)
		return err_set(e, ERR_BAD, "%lld is not within %lld to %lld", (long long)v,
			       (long long)min, (long long)max);
	row_store(f, item, (uint64_t)v);
	return 0;
}

int row_store_str(const struct field *f, void *item, char *owned, struct err *e)
{
	AUTO_FREE char *text = owned;
	uint32_t max = f->max_items && !desc_is_list(f) ? f->max_items : TEXT_MAX;

	if (strlen(text) > max)
		return err_set(e, ERR_BAD, "%zu bytes are too long: at most %u are taken",
			       strlen(text), max);
	free(*(char **)item);
	*(char **)item = take(&text);
	return 0;
}

int row_store_name(const struct field *f, void *item, const char *name, const char *const *names,
		   struct err *e)
{
	AUTO_STR struct str all = { 0 };

	for (uint32_t i = 0; names[i]; i++) {
		if (!strcmp(names[i], name)) {
			row_store(f, item, i);
			return 0;
		}
		if (*names[i])
			str_add(&all, "%s%s", all.len ? ", " : "", names[i]);
	}
	return err_set(e, ERR_BAD, "'%s' is none of %s", name, str_text(&all));
}

void row_store_json(void *item, const struct json *j)
{
	*(struct json **)item = j ? json_dup(j) : NULL;
}

void *row_grow(const struct field *f, void *obj, struct err *e)
{
	row_list *l = (void *)((char *)obj + f->off);
	uint32_t max = f->max_items ? f->max_items : LIST_MAX;
	size_t size = row_item_size(f);
	char *item;

	if (l->count >= max) {
		err_set(e, ERR_BAD, "more than %u items", max);
		return NULL;
	}
	l->items = mem_resize(l->items, l->count, (size_t)l->count + 1, size);
	item = l->items + l->count++ * size;
	if (desc_field_type(f) == D_OBJ)
		desc_default(f->sub, item);
	return item;
}

void *row_object(const struct field *f, void *obj)
{
	void **at = (void *)((char *)obj + f->off);

	if (!desc_is_pointer(f))
		return at;
	if (!*at) {
		*at = mem_new(f->sub->size);
		desc_default(f->sub, *at);
	}
	return *at;
}
