/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of help and of manual pages, made of rows. No state.
 */
#include "conf/page.h"

#include <string.h>

#include "base/str.h"

#define WIDTH 100      /* columns of help */
#define KEY_COLUMN 6   /* where keys begin in help */
#define TEXT_COLUMN 40 /* where their sentences begin */

const struct page_value page_values[PAGE_VALUES] = {
	{ "--option value",
	  "or --option=value. An option shown with [...] takes several values and may be given "
	  "again; each value is one more device." },
	{ "key=value,...",
	  "keys of an option in any order. Quotes protect commas; two quotes within quotes are "
	  "one." },
	{ "on|off", "or true|false." },
	{ "<size>", "bytes, or a number with K, M or G behind it." },
	{ "[1,2]",
	  "a list; of numbers also with ranges: [1,3-5,8]. The brackets may be left out around a single "
	  "item." },
};

void page_key_syntax(struct str *out, const struct field *f, const char *key)
{
	if (*key)
		str_add(out, "%s=", key);
	desc_value_syntax(out, f);
}

void page_key_text(struct str *out, const struct field *f, uint32_t flags)
{
	AUTO_STR struct str def = { 0 };

	str_puts(out, f->doc);
	if (flags & F_REQUIRED && !(flags & F_BARE))
		str_puts(out, " (required)");
	else if (!f->opt || desc_field_type(f) != D_BOOL)
		if (desc_default_text(&def, f))
			str_add(out, " (%s)", str_text(&def));
	if (flags & F_UNBUILT)
		str_puts(out, "; not in this build");
}

void page_wrap(FILE *f, const char *text, unsigned int indent, unsigned int at)
{
	unsigned int column = at;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column > indent && column + 1 + n > WIDTH) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', f);
			column++;
		}
		fprintf(f, "%.*s", (int)n, text);
		column += (unsigned int)n;
		text += n + strspn(text + n, " ");
	}
	fputc('\n', f);
}

void page_sentence(FILE *f, const char *text, unsigned int indent)
{
	fprintf(f, "%*s", (int)indent, "");
	page_wrap(f, text, indent, indent);
}

struct help {
	FILE *f;
	struct str unbuilt; /* keys left for the last line */
};

static void help_key(void *arg, const struct field *f, const char *key, uint32_t flags)
{
	struct help *h = arg;
	AUTO_STR struct str left = { 0 }, text = { 0 };

	if (flags & (F_HIDDEN | F_DEPRECATED))
		return;
	if (flags & F_UNBUILT) {
		str_add(&h->unbuilt, "%s%s", h->unbuilt.len ? ", " : "", key);
		return;
	}
	page_key_syntax(&left, f, key);
	page_key_text(&text, f, flags);
	fprintf(h->f, "%*s%s", KEY_COLUMN, "", str_text(&left));
	if (KEY_COLUMN + left.len + 1 > TEXT_COLUMN)
		fprintf(h->f, "\n%*s", TEXT_COLUMN, "");
	else
		fprintf(h->f, "%*s", (int)(TEXT_COLUMN - KEY_COLUMN - left.len), "");
	page_wrap(h->f, str_text(&text), TEXT_COLUMN, TEXT_COLUMN);
}

void page_help_keys(FILE *f, const struct desc *d)
{
	struct help h = { .f = f };

	desc_each_key(d, help_key, &h);
	if (h.unbuilt.len) {
		fprintf(f, "%*snot in this build:", KEY_COLUMN, "");
		page_wrap(f, str_text(&h.unbuilt), KEY_COLUMN + 2, KEY_COLUMN + 18);
	}
	str_fini(&h.unbuilt);
}

void page_roff(FILE *f, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", f);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", f);
		else if (*text == '-')
			fputs("\\-", f);
		else
			fputc(*text, f);
	}
}

static void man_key(void *arg, const struct field *f, const char *key, uint32_t flags)
{
	FILE *out = arg;
	AUTO_STR struct str left = { 0 }, text = { 0 };

	if (flags & (F_HIDDEN | F_DEPRECATED))
		return;
	page_key_syntax(&left, f, key);
	page_key_text(&text, f, flags);
	fputs(".TP\n.B ", out);
	page_roff(out, str_text(&left));
	fputc('\n', out);
	page_roff(out, str_text(&text));
	fputs(".\n", out);
}

void page_man_keys(FILE *f, const struct desc *d)
{
	fputs(".RS\n", f);
	desc_each_key(d, man_key, f);
	fputs(".RE\n", f);
}
