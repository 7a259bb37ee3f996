/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents printed from the rows: each has a function for an option, one for a key, and one that
 * walks all options by their headings. Texts about the program as a whole stand here; those about
 * options do not. No state.
 */
#include "conf/doc.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "conf/conf.h"
#include "conf/openapi.h"
#include "conf/opt.h"
#include "conf/page.h"

#define PEER_NAME "cloud-hypervisor"

static const char *const groups[] = { "Payload", "Machine", "Devices", "Consoles", "Program" };

static const char about[] =
	"virga runs a virtual machine on KVM. Its command line is that of Cloud Hypervisor.";

bool doc_kind_of(enum doc_kind *out, const char *name)
{
	static const char *const names[] = {
		[DOC_HELP] = "help",	   [DOC_MAN] = "man",	      [DOC_MD] = "md",
		[DOC_OPENAPI] = "openapi", [DOC_METRICS] = "metrics",
	};

	for (unsigned int i = 0; i < ARRAY_LEN(names); i++) {
		if (!strcmp(names[i], name)) {
			*out = (enum doc_kind)i;
			return true;
		}
	}
	return false;
}

/* What stands behind an option's name, "" for a flag. */
static void option_syntax(struct str *out, const struct opt *o)
{
	if (opt_is_flag(o))
		return;
	if (desc_field_type(o->f) == D_OBJ && o->f->sub->count && o->f->sub->fields[0].names) {
		desc_value_syntax(out, &o->f->sub->fields[0]);
		str_puts(out, "|key=value,...");
	} else if (desc_field_type(o->f) == D_OBJ) {
		str_puts(out, opt_is_lenient(o) ? "[key=value,...]" : "key=value,...");
	} else {
		desc_value_syntax(out, o->f);
	}
	if (desc_is_list(o->f))
		str_puts(out, " [...]");
}

static void option_name(struct str *out, const struct opt *o)
{
	if (*o->f->opt)
		str_add(out, "--%s", o->f->opt);
	else
		str_add(out, "-%s", o->f->cli);
}

static void help_option(FILE *f, const struct opt *o)
{
	AUTO_STR struct str head = { 0 }, text = { 0 };

	option_name(&head, o);
	if (!opt_is_flag(o))
		str_putc(&head, ' ');
	option_syntax(&head, o);
	fprintf(f, "  %s\n", str_text(&head));
	page_key_text(&text, o->f, o->f->flags);
	page_sentence(f, str_text(&text), 4);
	if (desc_field_type(o->f) != D_OBJ)
		return;
	page_help_keys(f, o->f->sub);
}

void doc_help(FILE *f)
{
	struct opt opts[OPT_MAX];
	uint32_t n = opt_all(opts);
	AUTO_STR struct str unbuilt = { 0 };

	fprintf(f, "%s\n\nUsage: virga [options]\n", about);
	for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
		fprintf(f, "\n%s:\n", groups[g]);
		for (uint32_t i = 0; i < n; i++) {
			if (strcmp(opts[i].f->group, groups[g]))
				continue;
			if (!(opts[i].f->flags & F_UNBUILT))
				help_option(f, &opts[i]);
			else
				str_add(&unbuilt, "--%s ", opts[i].f->opt);
		}
	}
	fprintf(f,
		"  -h, --help\n    print this\n  -V, --version\n    print the version\n"
		"  --doc help|man|md|openapi|metrics\n    print a document made from the descriptions of the options\n");
	fprintf(f, "\nValues:\n");
	for (size_t i = 0; i < PAGE_VALUES; i++) {
		fprintf(f, "  %-16s", page_values[i].what);
		page_wrap(f, page_values[i].text, 18, 18);
	}
	fprintf(f, "\nKnown, and not in this build:\n");
	page_sentence(f, str_text(&unbuilt), 2);
	fprintf(f,
		"\nExample:\n  virga --kernel vmlinux --cmdline \"console=hvc0 root=/dev/vda1\" \\\n"
		"        --cpus boot=2 --memory size=1G --disk path=disk.raw --net tap=tap0\n");
}

static void man_option(FILE *f, const struct opt *o)
{
	AUTO_STR struct str name = { 0 }, value = { 0 }, text = { 0 };

	option_name(&name, o);
	option_syntax(&value, o);
	page_key_text(&text, o->f, o->f->flags);
	fputs(".TP\n\\fB", f);
	page_roff(f, str_text(&name));
	fputs("\\fR ", f);
	page_roff(f, str_text(&value));
	fputc('\n', f);
	page_roff(f, str_text(&text));
	fputs(".\n", f);
	if (desc_field_type(o->f) != D_OBJ || !o->f->sub->count)
		return;
	page_man_keys(f, o->f->sub);
}

static void doc_man(FILE *f)
{
	struct opt opts[OPT_MAX];
	uint32_t n = opt_all(opts);

	fputs(".\\\" Printed by virga --doc man; edit src/conf/*.def in its place.\n", f);
	fprintf(f,
		".TH VIRGA 1 \"\" \"virga %s\" \"User Commands\"\n.SH NAME\nvirga \\- virtual machine monitor\n",
		VIRGA_VERSION);
	fputs(".SH SYNOPSIS\n.B virga\n.RI [ options ]\n.SH DESCRIPTION\n", f);
	page_roff(f, about);
	fputs("\nIt ends with status 0 when the guest has powered off, and with status 1 and a sentence on standard "
	      "error when it can not begin or go on.\n.SH VALUES\n",
	      f);
	for (size_t i = 0; i < PAGE_VALUES; i++) {
		fputs(".TP\n.B ", f);
		page_roff(f, page_values[i].what);
		fputc('\n', f);
		page_roff(f, page_values[i].text);
		fputc('\n', f);
	}
	for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
		fputs(".SH OPTIONS: ", f);
		for (const char *p = groups[g]; *p; p++)
			fputc(*p >= 'a' && *p <= 'z' ? *p & ~32 : *p, f);
		fputc('\n', f);
		for (uint32_t i = 0; i < n; i++)
			if (!strcmp(opts[i].f->group, groups[g]))
				man_option(f, &opts[i]);
	}
	fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nprint the options.\n"
	      ".TP\n\\fB\\-V\\fR, \\fB\\-\\-version\\fR\nprint the version.\n"
	      ".TP\n\\fB\\-\\-doc\\fR help|man|md|openapi|metrics\n"
	      "print a document made from the descriptions of the options.\n",
	      f);
}

/* A cell of a Markdown table. */
static void cell(FILE *f, const char *text, bool code)
{
	fputs(code && *text ? " `" : " ", f);
	for (; *text; text++) {
		if (*text == '|')
			fputc('\\', f);
		fputc(*text, f);
		if (*text == '`')
			fputc(' ', f);
	}
	fputs(code ? "` |" : " |", f);
}

static void md_key(void *arg, const struct field *f, const char *key, uint32_t flags)
{
	FILE *out = arg;
	AUTO_STR struct str left = { 0 }, def = { 0 }, text = { 0 };

	if (flags & (F_HIDDEN | F_DEPRECATED))
		return;
	page_key_syntax(&left, f, key);
	if (flags & F_REQUIRED && !(flags & F_BARE))
		str_puts(&def, "required");
	else
		desc_default_text(&def, f);
	str_puts(&text, f->doc);
	if (flags & F_UNBUILT)
		str_puts(&text, "; *not in this build*");
	fputc('|', out);
	cell(out, str_text(&left), true);
	cell(out, str_text(&def), false);
	cell(out, str_text(&text), false);
	fputc('\n', out);
}

static void md_option(FILE *f, const struct opt *o)
{
	AUTO_STR struct str head = { 0 }, text = { 0 };

	option_name(&head, o);
	if (!opt_is_flag(o))
		str_putc(&head, ' ');
	option_syntax(&head, o);
	page_key_text(&text, o->f, o->f->flags);
	fprintf(f, "\n### `%s`\n\n%s.\n", str_text(&head), str_text(&text));
	if (desc_field_type(o->f) != D_OBJ || !o->f->sub->count)
		return;
	fputs("\n| key | default | |\n| --- | --- | --- |\n", f);
	desc_each_key(o->f->sub, md_key, f);
}

static void doc_md(FILE *f)
{
	struct opt opts[OPT_MAX];
	uint32_t n = opt_all(opts);

	fprintf(f,
		"<!-- Printed by virga --doc md; edit src/conf/*.def in its place. -->\n# Options\n\n%s\n\n",
		about);
	for (size_t i = 0; i < PAGE_VALUES; i++)
		fprintf(f, "- `%s`: %s\n", page_values[i].what, page_values[i].text);
	for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
		fprintf(f, "\n## %s\n", groups[g]);
		for (uint32_t i = 0; i < n; i++)
			if (!strcmp(opts[i].f->group, groups[g]))
				md_option(f, &opts[i]);
	}
}

void doc_print(FILE *f, enum doc_kind kind)
{
	static void (*const print[])(FILE *) = {
		[DOC_HELP] = doc_help,
		[DOC_MAN] = doc_man,
		[DOC_MD] = doc_md,
		[DOC_OPENAPI] = openapi_print,
	};

	if (kind < ARRAY_LEN(print))
		print[kind](f);
}

const char *doc_program(const char *argv0)
{
	const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;

	return strcmp(name, PEER_NAME) ? "virga" : PEER_NAME;
}

const char *const doc_features[] = {
	"kvm",	    "io_uring", "seccomp", "landlock",
#ifdef VIRGA_DBUS
	"dbus_api",
#endif
	NULL,
};

/* What the program was made with, for a report of trouble. */
static void version_details(FILE *f)
{
	fputs("Version: virga " VIRGA_VERSION
	      ", with the command line of Cloud Hypervisor v" DOC_PEER_VERSION "\n"
	      "Compiler: " __VERSION__ "\n"
	      "Features: ",
	      f);
	for (unsigned int i = 0; doc_features[i]; i++)
		fprintf(f, "%s%s", i ? ", " : "", doc_features[i]);
	fputc('\n', f);
}

const char *doc_version_of(const char *program)
{
	return strcmp(program, PEER_NAME) ? VIRGA_VERSION : DOC_PEER_VERSION;
}

void doc_version(FILE *f, const char *argv0, unsigned int verbosity)
{
	const char *name = doc_program(argv0);

	fprintf(f, "%s v%s\n", name, doc_version_of(name));
	if (verbosity)
		version_details(f);
}
