/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting argv: an option of the program may stand before the command and behind it; what looks like
 * an option and is none of ours belongs to a command that takes --key value. No state.
 */
#include "remote/words.h"

#include <stdio.h>
#include <string.h>

#include "base/desc_row.h"
#include "base/mem.h"
#include "base/str.h"
#include "remote/inspect.h"
#include "remote/top.h"

static const struct field fields[] = {
	S(struct words, api_socket, .opt = "api-socket", .group = "Where", .type = D_PATH,
	  .doc = "socket of the REST API"),
	S(struct words, dbus_service_name, .opt = "dbus-service-name", .group = "Where",
	  .what = "<name>", .doc = "name of the D-Bus service"),
	S(struct words, dbus_object_path, .opt = "dbus-object-path", .group = "Where",
	  .what = "<object>", .doc = "object path of the D-Bus service"),
	S(struct words, dbus_system_bus, .opt = "dbus-system-bus", .group = "Where",
	  .doc = "use the system bus in place of the session bus"),
	S(struct words, async, .opt = "async", .group = "How",
	  .doc = "start a command that may take long, print its job and do not wait for it"),
	S(struct words, wait, .opt = "wait", .group = "How", .what = "<seconds>", .max = 1000000,
	  .doc = "how long the socket may not be there yet"),
	S(struct words, timeout, .opt = "timeout", .group = "How", .what = "<seconds>",
	  .max = 1000000, .doc = "how long the program may be silent, 0 for as long as it likes"),
};

const struct desc words_desc = DESC_OF(struct words, fields, "RemoteOptions", .has_set = true,
				       .set_off = offsetof(struct words, set));

const struct words_ask words_asks[] = {
	{ "--help", "-h", "", "print this, or what the command takes", WORDS_HELP },
	{ "--version", "-V", "", "print the version", WORDS_VERSION },
	{ "--completion", "", "bash|zsh|fish", "print the completion of a shell",
	  WORDS_COMPLETION },
	{ "--doc", "", "help|man", "print a document made from the descriptions of the commands",
	  WORDS_DOC },
	{ NULL, NULL, NULL, NULL, WORDS_ASK },
};

struct parse {
	struct words *out;
	int argc, at;
	char **argv;
};

const struct route *words_nth(unsigned int i)
{
	static const struct route *const own[WORDS_OWN + 1] = { &top_route, &inspect_route,
								&check_route, NULL };

	return i < ROUTE_COUNT ? &route_table[i] : own[i - ROUTE_COUNT];
}

const struct route *words_command(const char *name)
{
	const struct route *r;

	for (unsigned int i = 0; (r = words_nth(i)); i++)
		if (r->command && !strcmp(r->command, name))
			return r;
	return NULL;
}

/* Is arg the option of that name, alone or with "=value"? */
static bool is_option(const char *arg, const char *name)
{
	size_t len = strcspn(arg, "=");

	return strlen(name) == len && !strncmp(arg, name, len);
}

/* The value behind "=", or the next argument. */
static int value_of(struct parse *p, const char *arg, const char **value, struct err *e)
{
	const char *equals = strchr(arg, '=');

	if (!equals && p->at == p->argc)
		return err_set(e, ERR_BAD, "%s needs a value", arg);
	*value = equals ? equals + 1 : p->argv[p->at++];
	return 0;
}

static int take_option(struct parse *p, const struct field *f, const char *arg, struct err *e)
{
	unsigned int row = (unsigned int)(f - fields);
	const char *value = "on";

	if (desc_said(&words_desc, p->out, row))
		return err_set(e, ERR_BAD, "--%s is said twice", f->opt);
	if (desc_field_type(f) == D_BOOL && strchr(arg, '='))
		return err_set(e, ERR_BAD, "--%s takes no value", f->opt);
	if (desc_field_type(f) != D_BOOL && value_of(p, arg, &value, e) < 0)
		return -1;
	row_mark_said(&words_desc, p->out, row);
	if (desc_value_from_text(f, p->out, value, e) < 0)
		return err_in(e, "--%s", f->opt);
	return 0;
}

static int take_ask(struct parse *p, const struct words_ask *a, const char *arg, struct err *e)
{
	/* -h behind --version and the like: the first one that asks is answered */
	const char *value = NULL;

	if (*a->value && value_of(p, arg, &value, e) < 0)
		return -1;
	if (p->out->what != WORDS_ASK)
		return 0;
	p->out->what = a->what;
	p->out->name = value;
	return 0;
}

static int unknown_option(const char *arg, struct err *e)
{
	const char *names[ARRAY_LEN(fields) + 8] = { NULL };
	char dashed[ARRAY_LEN(fields)][40];
	AUTO_FREE char *word = mem_strn(arg, strcspn(arg, "="));
	AUTO_STR struct str near = { 0 };
	unsigned int n = 0;

	for (const struct words_ask *a = words_asks; a->name; a++)
		names[n++] = a->name;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		snprintf(dashed[i], sizeof(dashed[i]), "--%s", fields[i].opt);
		names[n++] = dashed[i];
	}
	desc_nearest(&near, word, names);
	return err_set(e, ERR_BAD, "unknown option '%s'%s: --help lists all", word,
		       str_text(&near));
}

static int take_word(struct parse *p, char *arg, struct err *e)
{
	struct words *w = p->out;

	if (w->count == WORDS_MAX)
		return err_set(e, ERR_BAD, "%s takes fewer words", w->route->command);
	w->args[w->count++] = arg;
	return 0;
}

/* Is "--key" of the command said without a value? */
static bool is_flag(const struct route *r, const char *arg)
{
	for (unsigned int i = 0; i < r->body->count; i++) {
		const struct field *f = &r->body->fields[i];

		if (desc_field_type(f) == D_BOOL && is_option(arg + 2, row_cli(f)))
			return true;
	}
	return false;
}

static int take_dashed(struct parse *p, char *arg, struct err *e)
{
	for (const struct words_ask *a = words_asks; a->name; a++)
		if (is_option(arg, a->name) || !strcmp(arg, a->brief))
			return take_ask(p, a, arg, e);
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (!strncmp(arg, "--", 2) && is_option(arg + 2, fields[i].opt))
			return take_option(p, &fields[i], arg, e);
	if (!p->out->route ||
	    (p->out->route->arg != ROUTE_KEYS && p->out->route->arg != ROUTE_WORD_KEYS))
		return unknown_option(arg, e);
	if (take_word(p, arg, e) < 0)
		return -1;
	if (strchr(arg, '=') || p->at == p->argc || is_flag(p->out->route, arg))
		return 0;
	return take_word(p, p->argv[p->at++], e);
}

static int take_command(struct parse *p, const char *arg, struct err *e)
{
	const char *names[ROUTE_COUNT + WORDS_OWN + 1] = { NULL };
	const struct route *r;
	AUTO_STR struct str near = { 0 };
	unsigned int n = 0;

	p->out->route = words_command(arg);
	if (p->out->route)
		return 0;
	for (unsigned int i = 0; (r = words_nth(i)); i++)
		if (r->command)
			names[n++] = r->command;
	desc_nearest(&near, arg, names);
	return err_set(e, ERR_BAD, "there is no command '%s'%s: --help lists all", arg,
		       str_text(&near));
}

static int take_argument(struct parse *p, struct err *e)
{
	char *arg = p->argv[p->at++];

	if (arg[0] == '-' && arg[1])
		return take_dashed(p, arg, e);
	if (p->out->route)
		return take_word(p, arg, e);
	if (!strcmp(arg, "help") && p->out->what == WORDS_ASK) {
		p->out->what = WORDS_HELP;
		return 0;
	}
	return take_command(p, arg, e);
}

int words_parse(struct words *out, int argc, char **argv, struct err *e)
{
	struct parse p = { .out = out, .argc = argc, .at = 1, .argv = argv };

	*out = (struct words){ 0 };
	desc_default(&words_desc, out);
	out->what = argc > 1 ? WORDS_ASK : WORDS_HELP;
	while (p.at < argc)
		if (take_argument(&p, e) < 0)
			return -1;
	if (out->what == WORDS_ASK && !out->route)
		return err_set(e, ERR_BAD, "say a command: --help lists all");
	return 0;
}

void words_free(struct words *w)
{
	desc_free(&words_desc, w);
}
