/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help and manual page. What they say of a command, a key or an option is in its row; texts about the
 * program as a whole stand here. No state.
 */
#include "remote/usage.h"

#include <string.h>

#include "base/desc_row.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/doc.h"
#include "conf/page.h"
#include "remote/ask.h"
#include "remote/words.h"

#define COMMAND_COLUMN 28

static const char about[] =
	"virga-remote commands a running virga, or Cloud Hypervisor, over its REST API.";

static const char answers[] =
	"An answer is printed as it comes: JSON, or what the command says. A refusal is printed on "
	"standard error, what was wanted first and the cause last. The status is 0 when it was done, 1 "
	"when it was not, and 2 when there is no such command or option.";

const char *usage_program(const char *argv0)
{
	const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;

	return strcmp(name, "ch-remote") ? "virga-remote" : "ch-remote";
}

void usage_version(FILE *f, const char *argv0)
{
	const char *name = usage_program(argv0);

	fprintf(f, "%s v%s\n", name, strcmp(name, "ch-remote") ? VIRGA_VERSION : DOC_PEER_VERSION);
}

/* "--key <value>" of a command */
static void key_head(struct str *out, const struct field *f)
{
	str_add(out, "--%s", row_cli(f));
	if (desc_field_type(f) == D_BOOL)
		return;
	str_putc(out, ' ');
	desc_value_syntax(out, f);
}

/* Is the value of the row said without its key? */
static bool is_word(const struct route *r, const struct field *f)
{
	return f == r->body->fields && (r->arg == ROUTE_WORD || r->arg == ROUTE_WORD_KEYS);
}

void usage_argument(struct str *out, const struct route *r)
{
	switch (r->arg) {
	case ROUTE_FILE:
		str_puts(out, "[<path>|-]");
		break;
	case ROUTE_CONFIG:
		ask_config_syntax(out, r->body);
		break;
	case ROUTE_WORD:
		desc_value_syntax(out, &r->body->fields[0]);
		break;
	case ROUTE_KEYS:
	case ROUTE_WORD_KEYS:
		for (const struct field *f = r->body->fields; f < desc_end(r->body); f++) {
			bool must = f->flags & F_REQUIRED;

			if (is_word(r, f)) {
				desc_value_syntax(out, f);
				continue;
			}
			str_add(out, "%s%s", f > r->body->fields ? " " : "", must ? "" : "[");
			key_head(out, f);
			str_puts(out, must ? "" : "]");
		}
		break;
	case ROUTE_ID:
		str_puts(out, "<n>");
		break;
	case ROUTE_NOTHING:
	default:
		break;
	}
}

/* The sentence of a command, and when it is no command of this build. */
static void command_text(struct str *out, const struct route *r)
{
	str_puts(out, r->doc);
	if (r->flags & R_UNBUILT)
		str_puts(out, "; not in this build");
}

static void help_commands(FILE *f)
{
	const struct route *r;

	for (unsigned int at = 0; (r = words_nth(at)); at++) {
		AUTO_STR struct str text = { 0 };

		if (!r->command)
			continue;
		command_text(&text, r);
		fprintf(f, "  %-*s", COMMAND_COLUMN - 2, r->command);
		page_wrap(f, str_text(&text), COMMAND_COLUMN, COMMAND_COLUMN);
	}
}

static void option_head(struct str *out, const struct field *f)
{
	str_add(out, "--%s", f->opt);
	if (desc_field_type(f) == D_BOOL)
		return;
	str_putc(out, ' ');
	desc_value_syntax(out, f);
}

static void ask_head(struct str *out, const struct words_ask *a)
{
	str_add(out, "%s%s%s%s%s", a->brief, *a->brief ? ", " : "", a->name, *a->value ? " " : "",
		a->value);
}

static void help_line(FILE *f, const char *head, const char *text)
{
	fprintf(f, "  %s\n", head);
	page_sentence(f, text, 4);
}

/* Each option with its sentence, in the form of a document. */
static void all_options(FILE *f, void (*line)(FILE *f, const char *head, const char *text))
{
	for (const struct field *row = words_desc.fields; row < desc_end(&words_desc); row++) {
		AUTO_STR struct str head = { 0 }, text = { 0 };

		option_head(&head, row);
		page_key_text(&text, row, row->flags);
		line(f, str_text(&head), str_text(&text));
	}
	for (const struct words_ask *a = words_asks; a->name; a++) {
		AUTO_STR struct str head = { 0 };

		ask_head(&head, a);
		line(f, str_text(&head), a->doc);
	}
}

void usage_help(FILE *f)
{
	fprintf(f,
		"%s\n\nUsage: virga-remote --api-socket <path> [options] command ...\n\nCommands:\n",
		about);
	help_commands(f);
	fputs("\nOptions:\n", f);
	all_options(f, help_line);
	fputs("\n", f);
	page_sentence(f, answers, 0);
	fputs("\nExample:\n  virga-remote --api-socket /run/virga.sock add-disk path=disk.raw,readonly=on\n"
	      "  virga-remote add-disk --help\n",
	      f);
}

/* What --key value or a word means. */
static void help_values(FILE *f, const struct route *r)
{
	unsigned int count = r->arg == ROUTE_WORD ? 1 : r->body->count;

	for (unsigned int i = 0; i < count; i++) {
		const struct field *row = &r->body->fields[i];
		AUTO_STR struct str head = { 0 };

		if (is_word(r, row))
			desc_value_syntax(&head, row);
		else
			key_head(&head, row);
		help_line(f, str_text(&head), row->doc);
	}
}

void usage_command(FILE *f, const struct route *r)
{
	AUTO_STR struct str argument = { 0 }, text = { 0 };

	usage_argument(&argument, r);
	command_text(&text, r);
	fprintf(f, "Usage: virga-remote %s%s%s%s\n\n",
		r->path ? "--api-socket <path> [options] " : "", r->command,
		argument.len ? " " : "", str_text(&argument));
	if (r->path)
		fprintf(f, "%s %s,", route_method_name(r->method), r->path);
	page_wrap(f, str_text(&text), 0, r->path ? (unsigned int)(strlen(r->path) + 5) : 0);
	if (r->arg == ROUTE_FILE)
		fputs("\nThe file, or standard input, holds the JSON that `virga --doc openapi` "
		      "describes.\n",
		      f);
	if (r->arg == ROUTE_CONFIG) {
		fputs("\nKeys:\n", f);
		page_help_keys(f, r->body);
	}
	if (r->arg == ROUTE_KEYS || r->arg == ROUTE_WORD || r->arg == ROUTE_WORD_KEYS) {
		fputs("\nValues:\n", f);
		help_values(f, r);
	}
}

static void man_commands(FILE *f)
{
	const struct route *r;

	for (unsigned int at = 0; (r = words_nth(at)); at++) {
		AUTO_STR struct str argument = { 0 }, text = { 0 };

		if (!r->command)
			continue;
		usage_argument(&argument, r);
		command_text(&text, r);
		fputs(".TP\n\\fB", f);
		page_roff(f, r->command);
		fputs("\\fR ", f);
		page_roff(f, str_text(&argument));
		fputc('\n', f);
		page_roff(f, str_text(&text));
		if (r->path) {
			fprintf(f, " (%s ", route_method_name(r->method));
			page_roff(f, r->path);
			fputc(')', f);
		}
		fputs(".\n", f);
		if (r->arg == ROUTE_CONFIG || r->arg == ROUTE_KEYS || r->arg == ROUTE_WORD_KEYS)
			page_man_keys(f, r->body);
	}
}

static void man_line(FILE *f, const char *head, const char *text)
{
	fputs(".TP\n.B ", f);
	page_roff(f, head);
	fputc('\n', f);
	page_roff(f, text);
	fputs(".\n", f);
}

void usage_man(FILE *f)
{
	fputs(".\\\" Printed by virga-remote --doc man; edit src/conf/routes.def in its place.\n",
	      f);
	fprintf(f,
		".TH VIRGA-REMOTE 1 \"\" \"virga %s\" \"User Commands\"\n.SH NAME\n"
		"virga\\-remote \\- command a running virtual machine monitor\n",
		VIRGA_VERSION);
	fputs(".SH SYNOPSIS\n.B virga\\-remote\n.RI \\-\\-api\\-socket \" path \" [ options ]\n"
	      ".I command ...\n.SH DESCRIPTION\n",
	      f);
	page_roff(f, about);
	fputc('\n', f);
	page_roff(f, answers);
	fputs("\n.SH VALUES\n", f);
	for (size_t i = 1; i < PAGE_VALUES; i++) {
		fputs(".TP\n.B ", f);
		page_roff(f, page_values[i].what);
		fputc('\n', f);
		page_roff(f, page_values[i].text);
		fputc('\n', f);
	}
	fputs(".SH COMMANDS\n", f);
	man_commands(f);
	fputs(".SH OPTIONS\n", f);
	all_options(f, man_line);
	fputs(".SH SEE ALSO\n.BR virga (1)\n", f);
}
