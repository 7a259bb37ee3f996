/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion scripts. A script has two halves: tables of what can be said, made of rows, and a fixed
 * text that reads them. What can be said as a value is a list of words:
 *	key=		a key with any value
 *	key=@		a key with a path
 *	key=a|b		a key with one of these words
 *	word		a word by itself
 *	@		a path by itself
 * No state.
 */
#include "remote/complete.h"

#include <stdlib.h>
#include <string.h>

#include "base/desc_row.h"
#include "base/mem.h"
#include "base/str.h"
#include "conf/opt.h"
#include "conf/routes.h"
#include "remote/words.h"

/* Something that can be said: an option, a command, or an option of a command. */
struct part {
	const char *of; /* command, or NULL */
	char *name;	/* "--disk", "add-disk" */
	const char *doc;
	char *spec; /* of its value; NULL: takes none */
};

struct tables {
	const char *program, *also; /* names of the program */
	const char *prefix;	    /* of shell functions */
	struct part parts[ROUTE_COUNT + OPT_MAX + 32];
	unsigned int count;
};

static bool is_command(const struct part *p)
{
	return p->name[0] != '-';
}

static void add(struct tables *t, const char *of, char *name, const char *doc, char *spec)
{
	if (t->count < ARRAY_LEN(t->parts))
		t->parts[t->count++] = (struct part){ of, name, doc, spec };
}

/* "on|off", "@", or nothing where a value is free. */
static void value_spec(struct str *out, const struct field *f)
{
	const char *const *names = f->cli_names ? f->cli_names : f->names;
	bool more = false;

	if (desc_is_list(f) || f->text)
		return;
	switch (desc_field_type(f)) {
	case D_BOOL:
		str_puts(out, "on|off");
		break;
	case D_PATH:
		str_putc(out, '@');
		break;
	case D_ENUM:
		for (uint32_t i = 0; names[i]; i++) {
			if (f->unbuilt >> i & 1 || !*names[i])
				continue;
			str_add(out, "%s%s", more ? "|" : "", names[i]);
			more = true;
		}
		break;
	default:
		break;
	}
}

static void key_spec(void *arg, const struct field *f, const char *key, uint32_t flags)
{
	struct str *out = arg;
	size_t from;

	if (flags & (F_HIDDEN | F_DEPRECATED | F_UNBUILT))
		return;
	if (out->len)
		str_putc(out, ' ');
	if (*key)
		str_add(out, "%s=", key);
	from = out->len;
	value_spec(out, f);
	/* said bare, words stand by themselves */
	for (size_t i = from; !*key && i < out->len; i++)
		if (out->text[i] == '|')
			out->text[i] = ' ';
	if (*key && f->flags & F_BARE && desc_field_type(f) == D_PATH)
		str_puts(out, " @");
}

static char *table_spec(const struct desc *d)
{
	struct str out = { 0 };

	desc_each_key(d, key_spec, &out);
	return str_take(&out);
}

/* Of an option that is not an object: its value as words by themselves. */
static char *row_spec(const struct field *f)
{
	struct str out = { 0 };

	if (desc_field_type(f) == D_OBJ)
		return table_spec(f->sub);
	value_spec(&out, f);
	for (size_t i = 0; i < out.len; i++)
		if (out.text[i] == '|')
			out.text[i] = ' ';
	return str_take(&out);
}

static char *command_spec(const struct route *r)
{
	switch (r->arg) {
	case ROUTE_FILE:
		return mem_str("@");
	case ROUTE_CONFIG:
		return table_spec(r->body);
	case ROUTE_WORD:
	case ROUTE_WORD_KEYS:
		return row_spec(&r->body->fields[0]);
	default:
		return mem_str("");
	}
}

static void add_commands(struct tables *t)
{
	const struct route *r;

	for (unsigned int at = 0; (r = words_nth(at)); at++) {
		if (!r->command)
			continue;
		add(t, NULL, mem_str(r->command), r->doc, command_spec(r));
		for (unsigned int i = r->arg == ROUTE_WORD_KEYS;
		     (r->arg == ROUTE_KEYS || r->arg == ROUTE_WORD_KEYS) && i < r->body->count;
		     i++) {
			const struct field *f = &r->body->fields[i];

			add(t, r->command, mem_fmt("--%s", row_cli(f)), f->doc,
			    desc_field_type(f) == D_BOOL ? NULL : row_spec(f));
		}
	}
}

static void collect_remote(struct tables *t)
{
	t->program = "virga-remote";
	t->also = "ch-remote";
	t->prefix = "_virga_remote";
	add_commands(t);
	for (unsigned int i = 0; i < words_desc.count; i++) {
		const struct field *f = &words_desc.fields[i];
		bool flag = desc_field_type(f) == D_BOOL;

		add(t, NULL, mem_fmt("--%s", f->opt), f->doc, flag ? NULL : row_spec(f));
	}
	for (const struct words_ask *a = words_asks; a->name; a++) {
		char *spec = *a->value ? mem_str(a->value) : NULL;

		for (char *p = spec; p && *p; p++)
			if (*p == '|')
				*p = ' ';
		add(t, NULL, mem_str(a->name), a->doc, spec);
	}
}

static void collect_virga(struct tables *t)
{
	struct opt opts[OPT_MAX];
	uint32_t n = opt_all(opts);

	t->program = t->also = "virga";
	t->prefix = "_virga";
	for (uint32_t i = 0; i < n; i++) {
		const struct field *f = opts[i].f;

		if (f->flags & F_UNBUILT)
			continue;
		add(t, NULL, *f->opt ? mem_fmt("--%s", f->opt) : mem_fmt("-%s", f->cli), f->doc,
		    opt_is_flag(&opts[i]) ? NULL : row_spec(f));
	}
	add(t, NULL, mem_str("--help"), "print the options", NULL);
	add(t, NULL, mem_str("--version"), "print the version", NULL);
}

/* Text of a script with the functions' prefix in place of each "@@". */
static void emit(FILE *f, const struct tables *t, const char *text)
{
	for (const char *at; (at = strstr(text, "@@")); text = at + 2)
		fprintf(f, "%.*s%s", (int)(at - text), text, t->prefix);
	fputs(text, f);
}

/* A script up to where its main function begins; what follows is for the caller to emit, after the
 * names of the commands. */
static const char *emit_opening(FILE *f, const struct tables *t, const char *script)
{
	static const char opening[] = "@@() {\n\t";
	size_t len = (size_t)(strstr(script, opening) - script) + strlen(opening);
	AUTO_FREE char *text = mem_strn(script, len);

	emit(f, t, text);
	return script + len;
}

/* In single quotes, in which bash and zsh know no escape and fish knows one. */
static void quote(FILE *f, const char *text, const char *apostrophe)
{
	fputc('\'', f);
	for (; *text; text++)
		if (*text == '\'')
			fputs(apostrophe, f);
		else
			fputc(*text, f);
	fputc('\'', f);
}

/* A function for bash and zsh that sets `spec` for a command, an option, or "command option"; its
 * status says whether a value is taken. */
static void print_specs(FILE *f, const struct tables *t)
{
	emit(f, t, "@@_spec() {\n\tcase $1 in\n");
	for (const struct part *p = t->parts; p < t->parts + t->count; p++) {
		if (!p->spec)
			continue;
		fprintf(f, "\t'%s%s%s') spec='%s' ;;\n", p->of ? p->of : "", p->of ? " " : "",
			p->name, p->spec);
	}
	fputs("\t*) return 1 ;;\n\tesac\n}\n", f);
}

/* The names of a kind: commands, or options of a command. */
static void print_names(FILE *f, const struct tables *t, bool commands, const char *of)
{
	const char *sep = "";

	for (const struct part *p = t->parts; p < t->parts + t->count; p++) {
		if (is_command(p) != commands ||
		    (p->of != of && (!of || !p->of || strcmp(p->of, of))))
			continue;
		fprintf(f, "%s%s", sep, p->name);
		sep = " ";
	}
}

/* A function for bash and zsh that sets `options` to those of a command, or of the program. */
static void print_options(FILE *f, const struct tables *t)
{
	emit(f, t, "@@_options() {\n\tcase $1 in\n");
	for (unsigned int i = 0; i < t->count; i++) {
		const struct part *p = &t->parts[i];

		if (!p->of || (i && t->parts[i - 1].of && !strcmp(t->parts[i - 1].of, p->of)))
			continue;
		fprintf(f, "\t%s) options='", p->of);
		print_names(f, t, false, p->of);
		fputs("' ;;\n", f);
	}
	fputs("\t*) options='' ;;\n\tesac\n\toptions+=' ", f);
	print_names(f, t, false, NULL);
	fputs("'\n}\n", f);
}

static const char bash_text[] =
	/* $1: what stands before the value and is not of it, $2: the value so far */
	"@@_value() {\n"
	"\tlocal head=$1 part=$2 word key value\n"
	"\tif [[ $part == *,* ]]; then\n"
	"\t\thead+=${part%,*},\n"
	"\t\tpart=${part##*,}\n"
	"\tfi\n"
	"\tfor word in $spec; do\n"
	"\t\tkey=${word%%=*}=\n"
	"\t\tif [[ $word == @ ]]; then\n"
	"\t\t\t[[ $part == *=* ]] || @@_files \"$head\" \"$part\"\n"
	"\t\telif [[ $word != *=* ]]; then\n"
	"\t\t\t[[ $word != \"$part\"* ]] || found+=(\"$head$word\")\n"
	"\t\telif [[ $part != \"$key\"* ]]; then\n"
	"\t\t\t[[ $key != \"$part\"* ]] || found+=(\"$head$key\")\n"
	"\t\telif [[ ${word#*=} == @ ]]; then\n"
	"\t\t\t@@_files \"$head$key\" \"${part#*=}\"\n"
	"\t\telse\n"
	"\t\t\tvalue=${word#*=}\n"
	"\t\t\tfor value in ${value//|/ }; do\n"
	"\t\t\t\t[[ $value != \"${part#*=}\"* ]] || found+=(\"$head$key$value\")\n"
	"\t\t\tdone\n"
	"\t\tfi\n"
	"\tdone\n"
	"}\n"
	"@@_files() {\n"
	"\tlocal path paths\n"
	"\tmapfile -t paths < <(compgen -f -- \"$2\")\n"
	"\tfor path in \"${paths[@]}\"; do\n"
	"\t\tfound+=(\"$1$path\")\n"
	"\tdone\n"
	"\tcompopt -o filenames 2> /dev/null\n"
	"}\n"
	"@@() {\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} current= command= option= word spec= options= found=() said\n"
	"\tread -ra said <<< \"$line\"\n"
	"\tif [[ $line != *[[:space:]] ]]; then\n"
	"\t\tcurrent=${said[-1]}\n"
	"\t\tunset 'said[-1]'\n"
	"\tfi\n"
	"\tfor word in \"${said[@]:1}\"; do\n"
	"\t\tif [[ $word == -* ]]; then\n"
	"\t\t\toption=\n"
	"\t\t\t[[ $word == *=* ]] || ! @@_takes \"$word\" || option=$word\n"
	"\t\telif [[ $option && $commands ]]; then\n"
	"\t\t\toption=\n"
	"\t\telif [[ ! $option && ! $command ]]; then\n"
	"\t\t\tcommand=$word\n"
	"\t\tfi\n"
	"\tdone\n"
	"\tif [[ $current == -*=* ]] && @@_takes \"${current%%=*}\"; then\n"
	"\t\t@@_value \"${current%%=*}=\" \"${current#*=}\"\n"
	"\telif [[ $current == -* ]]; then\n"
	"\t\t@@_options \"$command\"\n"
	"\t\tmapfile -t found < <(compgen -W \"$options\" -- \"$current\")\n"
	"\telif [[ $option ]]; then\n"
	"\t\t@@_takes \"$option\"\n"
	"\t\t@@_value '' \"$current\"\n"
	"\telif [[ ! $command ]]; then\n"
	"\t\tmapfile -t found < <(compgen -W \"$commands\" -- \"$current\")\n"
	"\telif @@_spec \"$command\"; then\n"
	"\t\t@@_value '' \"$current\"\n"
	"\tfi\n"
	/* bash replaces only what stands behind a character that breaks words */
	"\tword=\n"
	"\t[[ $COMP_WORDBREAKS != *=* ]] || word+==\n"
	"\t[[ $COMP_WORDBREAKS != *:* ]] || word+=:\n"
	"\t[[ ! $word ]] || word=${current%\"${current##*[\"$word\"]}\"}\n"
	"\tCOMPREPLY=(\"${found[@]#\"$word\"}\")\n"
	"\t[[ ${found[0]} != *= ]] || compopt -o nospace 2> /dev/null\n"
	"}\n"
	"@@_takes() { @@_spec \"$command $1\" || @@_spec \"$1\"; }\n";

static void print_bash(FILE *f, const struct tables *t)
{
	const char *rest;

	fprintf(f, "# Completion of %s for bash: printed by virga-remote --completion.\n",
		t->program);
	print_specs(f, t);
	print_options(f, t);
	rest = emit_opening(f, t, bash_text);
	fputs("local commands='", f);
	print_names(f, t, true, NULL);
	fputs("'\n\t", f);
	emit(f, t, rest);
	emit(f, t, "complete -F @@ ");
	fprintf(f, "%s%s%s\n", t->program, t->also == t->program ? "" : " ",
		t->also == t->program ? "" : t->also);
}

static const char zsh_text[] = "@@_value() {\n"
			       "\tlocal word key\n"
			       "\tlocal -a keys words_\n"
			       "\tcompset -P '*,'\n"
			       "\tif [[ $PREFIX == *=* ]]; then\n"
			       "\t\tkey=${PREFIX%%=*}\n"
			       "\t\tcompset -P 1 '*='\n"
			       "\t\tfor word in ${=spec}; do\n"
			       "\t\t\t[[ $word == $key=* ]] || continue\n"
			       "\t\t\tif [[ ${word#*=} == @ ]]; then\n"
			       "\t\t\t\t_files -S ''\n"
			       "\t\t\telse\n"
			       "\t\t\t\tcompadd -- ${(s:|:)${word#*=}}\n"
			       "\t\t\tfi\n"
			       "\t\tdone\n"
			       "\t\treturn\n"
			       "\tfi\n"
			       "\tfor word in ${=spec}; do\n"
			       "\t\tcase $word in\n"
			       "\t\t@) _files ;;\n"
			       "\t\t*=*) keys+=(\"${word%%=*}=\") ;;\n"
			       "\t\t*) words_+=(\"$word\") ;;\n"
			       "\t\tesac\n"
			       "\tdone\n"
			       "\tcompadd -S '' -a keys\n"
			       "\tcompadd -a words_\n"
			       "}\n"
			       "@@_takes() { @@_spec \"$command $1\" || @@_spec \"$1\" }\n"
			       "@@() {\n"
			       "\tlocal word command option spec options\n"
			       "\tfor word in \"${(@)words[2,CURRENT-1]}\"; do\n"
			       "\t\tif [[ $word == -* ]]; then\n"
			       "\t\t\toption=\n"
			       "\t\t\t[[ $word == *=* ]] || ! @@_takes \"$word\" || option=$word\n"
			       "\t\telif [[ -n $option && $#commands -gt 0 ]]; then\n"
			       "\t\t\toption=\n"
			       "\t\telif [[ -z $option && -z $command ]]; then\n"
			       "\t\t\tcommand=$word\n"
			       "\t\tfi\n"
			       "\tdone\n"
			       "\tif [[ $PREFIX == -*=* ]] && @@_takes \"${PREFIX%%=*}\"; then\n"
			       "\t\tcompset -P 1 '*='\n"
			       "\t\t@@_value\n"
			       "\telif [[ $PREFIX == -* ]]; then\n"
			       "\t\t@@_options \"$command\"\n"
			       "\t\tcompadd -- ${=options}\n"
			       "\telif [[ -n $option ]]; then\n"
			       "\t\t@@_takes \"$option\"\n"
			       "\t\t@@_value\n"
			       "\telif [[ -z $command ]]; then\n"
			       "\t\t_describe command commands\n"
			       "\telif @@_spec \"$command\"; then\n"
			       "\t\t@@_value\n"
			       "\tfi\n"
			       "}\n"
			       "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
			       "\t@@ \"$@\"\n"
			       "else\n";

static void print_zsh(FILE *f, const struct tables *t)
{
	bool two = t->also != t->program;
	const char *rest;

	fprintf(f,
		"#compdef %s%s%s\n# Completion of %s for zsh: printed by virga-remote --completion.\n",
		t->program, two ? " " : "", two ? t->also : "", t->program);
	print_specs(f, t);
	print_options(f, t);
	rest = emit_opening(f, t, zsh_text);
	fputs("local -a commands=(\n", f);
	for (const struct part *p = t->parts; p < t->parts + t->count; p++) {
		AUTO_FREE char *text = mem_fmt("%s:%s", p->name, p->doc);

		if (!is_command(p))
			continue;
		fputs("\t\t", f);
		quote(f, text, "'\\''");
		fputc('\n', f);
	}
	fputs("\t)\n\t", f);
	emit(f, t, rest);
	emit(f, t, "\tcompdef @@ ");
	fprintf(f, "%s%s%s\nfi\n", t->program, two ? " " : "", two ? t->also : "");
}

static const char fish_text[] =
	"function @@_value\n"
	"\tset -l part (commandline -ct)\n"
	"\tset -l head ''\n"
	"\tif string match -qr -- '^-[^=]*=' $part\n"
	"\t\tset part (string replace -r -- '^-[^=]*=' '' $part)\n"
	"\tend\n"
	"\tif string match -q -- '*,*' $part\n"
	"\t\tset head (string replace -r -- '[^,]*$' '' $part)\n"
	"\t\tset part (string replace -r -- '^.*,' '' $part)\n"
	"\tend\n"
	"\tfor word in (string split -n ' ' -- $argv[1])\n"
	"\t\tset -l key (string replace -r -- '=.*$' '' $word)\n"
	"\t\tset -l values (string replace -r -- '^[^=]*=' '' $word)\n"
	"\t\tif test $word = @\n"
	"\t\t\tstring match -q -- '*=*' $part; or __fish_complete_path $part\n"
	"\t\telse if not string match -q -- '*=*' $word\n"
	"\t\t\techo $head$word\n"
	"\t\telse if not string match -q -- \"$key=*\" $part\n"
	"\t\t\techo $head$key=\n"
	"\t\telse if test \"$values\" = @\n"
	"\t\t\tfor path in (__fish_complete_path (string replace -r -- '^[^=]*=' '' $part))\n"
	"\t\t\t\techo $head$key=$path\n"
	"\t\t\tend\n"
	"\t\telse\n"
	"\t\t\tfor value in (string split -n '|' -- $values)\n"
	"\t\t\t\techo $head$key=$value\n"
	"\t\t\tend\n"
	"\t\tend\n"
	"\tend\n"
	"end\n"
	"function @@_after\n"
	"\tset -l said (string match -- '-*' (commandline -opc))\n"
	"\ttest \"$said[-1]\" = $argv[1]\n"
	"end\n";

/* "complete -c NAME [-n ...]": the start of a line. */
static void fish_line(FILE *f, const struct tables *t, const char *name, const struct part *p)
{
	fprintf(f, "complete -c %s", name);
	if (p->of)
		fprintf(f, " -n '__fish_seen_subcommand_from %s'", p->of);
	else if (is_command(p))
		emit(f, t, " -n @@_idle");
}

static void fish_part(FILE *f, const struct tables *t, const char *name, const struct part *p)
{
	fish_line(f, t, name, p);
	if (is_command(p))
		fprintf(f, " -f -a %s", p->name);
	else if (p->name[1] == '-')
		fprintf(f, " -l %s%s", p->name + 2, p->spec ? "" : " -f");
	else
		fprintf(f, " -s %s", p->name + 1);
	if (!is_command(p) && p->spec) {
		fputs(" -x -a ", f);
		fputc('\'', f);
		emit(f, t, "(@@_value \"");
		fprintf(f, "%s\")'", p->spec);
	}
	fputs(" -d ", f);
	quote(f, p->doc, "\\'");
	fputc('\n', f);
	/* further values of an option, where no command could stand in their place */
	if (!is_command(p) && p->spec && t->also == t->program) {
		fprintf(f, "complete -c %s -f", name);
		emit(f, t, " -n '@@_after ");
		fprintf(f, "%s' -a '", p->name);
		emit(f, t, "(@@_value \"");
		fprintf(f, "%s\")'\n", p->spec);
	}
	if (!is_command(p))
		return;
	fprintf(f, "complete -c %s -n '__fish_seen_subcommand_from %s' -f", name, p->name);
	if (*p->spec) {
		fputs(" -a '", f);
		emit(f, t, "(@@_value \"");
		fprintf(f, "%s\")'", p->spec);
	}
	fputc('\n', f);
}

static void print_fish(FILE *f, const struct tables *t)
{
	fprintf(f, "# Completion of %s for fish: printed by virga-remote --completion.\n",
		t->program);
	emit(f, t, fish_text);
	emit(f, t, "function @@_idle\n\tnot __fish_seen_subcommand_from ");
	print_names(f, t, true, NULL);
	fputs("\nend\n", f);
	for (unsigned int n = 0; n < (t->also == t->program ? 1u : 2u); n++) {
		const char *name = n ? t->also : t->program;

		fprintf(f, "complete -c %s -f\n", name);
		for (const struct part *p = t->parts; p < t->parts + t->count; p++)
			fish_part(f, t, name, p);
	}
}

int complete_print(FILE *f, const char *what, struct err *e)
{
	static const struct {
		const char *name;
		void (*print)(FILE *f, const struct tables *t);
	} shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };
	size_t len = strcspn(what, ":");
	AUTO_FREE struct tables *t = NEW(struct tables);

	if (what[len] && strcmp(what + len, ":virga"))
		return err_set(e, ERR_BAD, "--completion '%s': it is virga's with ':virga' behind",
			       what);
	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		if (strlen(shells[i].name) != len || strncmp(shells[i].name, what, len))
			continue;
		if (what[len])
			collect_virga(t);
		else
			collect_remote(t);
		shells[i].print(f, t);
		for (unsigned int n = 0; n < t->count; n++) {
			free(t->parts[n].name);
			free(t->parts[n].spec);
		}
		return 0;
	}
	return err_set(e, ERR_BAD, "--completion '%s': say bash, zsh or fish", what);
}
