/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the readers of described data (desc*.c) share about a single row. For them only; others
 * include base/desc.h.
 */
#pragma once

#include "base/desc.h"

/* LIST() of anything, as it lies in memory */
typedef LIST(char) row_list;

/* The items that a row holds in obj, one after the other. */
struct row_items {
	char *first;
	uint32_t count;
};
struct row_items row_items(const struct field *f, const void *obj);
size_t row_item_size(const struct field *f);
bool row_is_text(const struct field *f);
bool row_is_optional_number(const struct desc *d, const struct field *f);
bool row_is_default(const struct desc *d, const struct field *f, const void *obj);
bool row_equal(const struct field *f, const void *a, const void *b);

/* A number, bool or enum of the row's width; signed ones are extended. */
uint64_t row_load(const struct field *f, const void *item);
void row_store(const struct field *f, void *item, uint64_t v);
/* What a number may be at most; of signed numbers the width's. */
uint64_t row_max(const struct field *f);
/* Stores v after judging its range. */
MUST int row_store_uint(const struct field *f, void *item, uint64_t v, struct err *e);
MUST int row_store_int(const struct field *f, void *item, int64_t v, struct err *e);
MUST int row_store_str(const struct field *f, void *item, char *owned, struct err *e);
MUST int row_store_name(const struct field *f, void *item, const char *name,
			const char *const *names, struct err *e);
/* item becomes a copy of j, which may be NULL; what it held is not freed. */
void row_store_json(void *item, const struct json *j);
/* A new item behind a list's last, at its default; NULL with a sentence when the list is full. */
void *row_grow(const struct field *f, void *obj, struct err *e);
/* The object of a pointer row, made with its defaults when absent. */
void *row_object(const struct field *f, void *obj);

void row_mark_said(const struct desc *d, void *obj, unsigned int row);
/* Adds "key" or "key[3]" as a frame; returns -1. */
int row_in(struct err *e, const struct field *f, int index);
const char *row_cli(const struct field *f);
