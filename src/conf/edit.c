/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists and single objects of the configuration, changed through their rows. See edit.h.
 */
#include "conf/edit.h"

#include <string.h>

#include "base/desc_row.h"
#include "base/fd.h"
#include "base/mem.h"

static const struct field *section_of(const struct desc *kind)
{
	for (const struct field *f = vm_desc.fields; f < desc_end(&vm_desc); f++)
		if (f->sub == kind && (desc_is_list(f) || desc_is_pointer(f)))
			return f;
	return NULL;
}

static const struct field *section_named(const char *option)
{
	for (const struct field *f = vm_desc.fields; f < desc_end(&vm_desc); f++)
		if (f->opt && !strcmp(f->opt, option))
			return f;
	return NULL;
}

int conf_put(struct vm_conf *c, const struct desc *kind, void *thing, struct err *e)
{
	const struct field *f = section_of(kind);
	void *to;

	if (!f)
		return err_set(e, ERR_BAD, "a configuration has no room for %s", kind->name);
	if (!desc_is_list(f) && row_items(f, c).count)
		return err_set(e, ERR_TAKEN, "there is a --%s already, and one at most", f->opt);
	to = desc_is_list(f) ? row_grow(f, c, e) : row_object(f, c);
	if (!to)
		return err_in(e, "--%s", f->opt);
	desc_free(kind, to);
	memcpy(to, thing, kind->size);
	memset(thing, 0, kind->size);
	return 0;
}

void conf_close(const struct desc *kind, void *thing)
{
	for (const struct field *f = kind->fields; f < desc_end(kind); f++) {
		struct row_items it = row_items(f, thing);

		for (uint32_t i = 0; i < it.count; i++) {
			char *item = it.first + i * row_item_size(f);

			if (f->flags & F_FD && desc_is_list(f))
				fd_close((int *)(void *)item);
			else if (desc_field_type(f) == D_OBJ)
				conf_close(f->sub, item);
		}
	}
}

void conf_drop(struct vm_conf *c, const struct conf_dev *d)
{
	const struct field *f = section_named(d->kind);
	struct row_items it = row_items(f, c);
	size_t size = f->sub->size;
	char *at = it.first + d->index * size;
	row_list *list;

	conf_close(f->sub, at);
	desc_free(f->sub, at);
	if (!desc_is_list(f)) {
		free(at);
		memset((char *)c + f->off, 0, sizeof(void *));
		return;
	}
	memmove(at, at + size, (it.count - d->index - 1) * size);
	list = (void *)((char *)c + f->off);
	if (!--list->count)
		free(take(&list->items));
}

bool conf_find(struct conf_dev *out, const struct vm_conf *c, const char *id)
{
	AUTO_FREE struct conf_dev *devs = NULL;
	uint32_t n = conf_devs(&devs, c);

	for (uint32_t i = 0; i < n; i++) {
		if (!*devs[i].id || strcmp(*devs[i].id, id) != 0)
			continue;
		*out = devs[i];
		return true;
	}
	return false;
}

void conf_find_last(struct conf_dev *out, const struct vm_conf *c, const struct desc *kind)
{
	AUTO_FREE struct conf_dev *devs = NULL;
	const char *option = section_of(kind)->opt;
	uint32_t n = conf_devs(&devs, c);

	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(devs[i].kind, option))
			*out = devs[i];
}
