/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How rows look to a reader of help: the keys of the command line, what a value looks like, what
 * the default is. The layout of the documents is conf/doc's. Any thread; no state.
 */
#include <stdio.h>
#include <string.h>

#include "base/desc_row.h"
#include "base/str.h"

static void each_key(const struct desc *d, const struct field *around, desc_key_fn *fn, void *arg)
{
	const char *prefix = around && around->cli ? around->cli : "";

	char key[96];

	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		if (f->flags & F_FLAT) {
			struct field flat = *f;

			if (around)
				flat.flags |= around->flags & F_UNBUILT;
			each_key(f->sub, &flat, fn, arg);
			continue;
		}
		uint32_t flags = f->flags;
		bool bare = f->flags & F_BARE && f->cli && !*f->cli;

		if (f->flags & F_PAD || (f->cli && !*f->cli && !bare))
			continue;
		snprintf(key, sizeof(key), "%s%s", prefix, bare ? "" : row_cli(f));
		if (around) {
			flags |= around->flags & F_UNBUILT;
			flags &= desc_is_pointer(around) ? ~(uint32_t)F_REQUIRED : ~0u;
		}
		fn(arg, f, key, flags);
	}
}

void desc_each_key(const struct desc *d, desc_key_fn *fn, void *arg)
{
	each_key(d, NULL, fn, arg);
}

static void item_syntax(struct str *out, const struct field *f);

static void tuple_syntax(struct str *out, const struct desc *d, char sep)
{
	bool more = false;

	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		if (f->cli && !*f->cli)
			continue;
		if (more)
			str_putc(out, sep);
		more = true;
		if (desc_is_list(f))
			desc_value_syntax(out, f);
		else
			str_add(out, "<%s>", row_cli(f));
	}
}

static void words_syntax(struct str *out, const struct desc *d)
{
	for (const struct field *f = d->fields; f < desc_end(d); f++)
		str_add(out, "%s%s", f > d->fields ? "|" : "", row_cli(f));
}

static void kv_syntax(struct str *out, const struct desc *d, char sep)
{
	for (const struct field *f = d->fields; f < desc_end(d); f++) {
		if (f > d->fields)
			str_putc(out, sep);
		str_add(out, "%s=", row_cli(f));
		desc_value_syntax(out, f);
	}
}

static void enum_syntax(struct str *out, const struct field *f)
{
	const char *const *names = f->cli_names ? f->cli_names : f->names;
	bool more = false;

	for (uint32_t i = 0; names[i]; i++) {
		if (f->unbuilt >> i & 1 || !*names[i])
			continue;
		str_add(out, "%s%s", more ? "|" : "", names[i]);
		more = true;
	}
}

static void object_syntax(struct str *out, const struct field *f)
{
	if (f->flags & F_WORDS)
		words_syntax(out, f->sub);
	else if (f->flags & F_ITEMS)
		kv_syntax(out, f->sub, ',');
	else
		tuple_syntax(out, f->sub, desc_is_list(f) ? '@' : ':');
}

static void item_syntax(struct str *out, const struct field *f)
{
	if (f->what || f->text) {
		str_puts(out, f->what ? f->what : f->text->what);
		return;
	}
	switch (desc_field_type(f)) {
	case D_BOOL:
		str_puts(out, "on|off");
		break;
	case D_SIZE:
		str_puts(out, "<size>");
		break;
	case D_STR:
		str_puts(out, "<text>");
		break;
	case D_PATH:
		str_puts(out, "<path>");
		break;
	case D_HEX:
		str_puts(out, "<hex>");
		break;
	case D_ENUM:
		enum_syntax(out, f);
		break;
	case D_OBJ:
		object_syntax(out, f);
		break;
	default:
		str_puts(out, f->flags & F_HEXNUM ? "<0xhex>" : "<n>");
	}
}

void desc_value_syntax(struct str *out, const struct field *f)
{
	if (!desc_is_list(f)) {
		item_syntax(out, f);
		return;
	}
	str_putc(out, '[');
	item_syntax(out, f);
	str_puts(out, f->flags & F_ITEMS ? ":...]" : ",...]");
}

bool desc_default_text(struct str *out, const struct field *f)
{
	if (desc_is_list(f) || desc_is_pointer(f) || f->text ||
	    f->flags & (F_REQUIRED | F_OPTIONAL))
		return false;
	switch (desc_field_type(f)) {
	case D_BOOL:
		str_puts(out, f->def ? "on" : "off");
		return true;
	case D_SIZE:
		str_size(out, f->def);
		return true;
	case D_STR:
	case D_PATH:
		if (f->def_str)
			str_puts(out, f->def_str);
		return f->def_str;
	case D_ENUM:
		str_puts(out, (f->cli_names ? f->cli_names : f->names)[f->def]);
		return true;
	case D_UINT:
	case D_INT:
		str_add(out, f->flags & F_HEXNUM ? "0x%llx" : "%llu", (unsigned long long)f->def);
		return true;
	default:
		return false;
	}
}
