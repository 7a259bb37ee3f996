/* SPDX-License-Identifier: Apache-2.0 */
/*
 * argv into configuration. It knows dashes and how many values an option takes; what a value means
 * is base/desc's. Two passes: single options first, so that one that fills a whole object
 * (--memory) does not sweep away what a list option has put into it (--memory-zone). Called once,
 * by main; no state.
 */
#include "conf/cli.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "conf/opt.h"

/* What is asked in place of running; not rows, because they configure nothing. */
static const struct {
	const char *name;
	enum cli_what what;
} asks[] = {
	{ "-h", CLI_HELP },
	{ "--help", CLI_HELP },
	{ "-V", CLI_VERSION },
	{ "--version", CLI_VERSION },
};

struct parse {
	struct cli *out;
	struct opt opts[OPT_MAX];
	uint32_t opt_count;
	int argc, at;
	char **argv;
	bool lists;	   /* the second pass */
	const char *of_vm; /* an option that was said of the virtual machine */
};

static void *base_of(struct parse *p, const struct opt *o)
{
	char *root = o->vmm ? (char *)&p->out->vmm : (char *)&p->out->vm;

	return root + o->off;
}

/* The option of "--name" or "--name=value", or NULL. */
static const struct opt *find_option(const struct parse *p, const char *arg)
{
	size_t len;

	if (arg[0] != '-' || arg[1] != '-')
		return NULL;
	arg += 2;
	len = strcspn(arg, "=");
	for (uint32_t i = 0; len && i < p->opt_count; i++) {
		const char *opt = p->opts[i].f->opt;

		if (strlen(opt) == len && !strncmp(opt, arg, len))
			return &p->opts[i];
	}
	return NULL;
}

static bool is_ask(const char *arg, enum cli_what *what)
{
	for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
		if (!strcmp(asks[i].name, arg)) {
			*what = asks[i].what;
			return true;
		}
	}
	return false;
}

/* -v, -vv, … */
static unsigned int count_v(const char *arg)
{
	size_t n = arg[0] == '-' ? strspn(arg + 1, "v") : 0;

	return n && !arg[1 + n] ? (unsigned int)n : 0;
}

/* Does the next argument begin an option, so that it is no value? */
static bool is_next_option(const struct parse *p)
{
	const char *arg = p->argv[p->at];
	enum cli_what what;

	return find_option(p, arg) || is_ask(arg, &what) || count_v(arg) || !strcmp(arg, "--doc");
}

static int unknown_option(const struct parse *p, const char *arg, struct err *e)
{
	char dashed[OPT_MAX][40];
	const char *names[OPT_MAX + 3] = { "--help", "--version" };
	AUTO_FREE char *word = mem_strn(arg, strcspn(arg, "="));
	AUTO_STR struct str near = { 0 };
	uint32_t n = 2;

	if (arg[0] != '-')
		return err_set(e, ERR_BAD, "'%s' stands alone: say an option that begins with --",
			       arg);
	for (uint32_t i = 0; i < p->opt_count; i++) {
		snprintf(dashed[i], sizeof(dashed[i]), "--%s", p->opts[i].f->opt);
		if (*p->opts[i].f->opt)
			names[n++] = dashed[i];
	}
	names[n] = NULL;
	desc_nearest(&near, word, names);
	return err_set(e, ERR_BAD, "unknown option '%s'%s: --help lists all", word,
		       str_text(&near));
}

static int take_value(struct parse *p, const struct opt *o, const char *text, struct err *e)
{
	const struct field *f = o->f;
	void *base = base_of(p, o);
	uint64_t *set = (void *)((char *)base + o->owner->set_off);

	if (!desc_is_list(f) && *set >> opt_row(o) & 1)
		return err_set(e, ERR_BAD, "--%s is said twice: it takes one value", f->opt);
	*set |= 1ull << opt_row(o);
	if (!o->vmm)
		p->of_vm = f->opt;
	if (desc_value_from_text(f, base, text, e))
		return err_in(e, "--%s", f->opt);
	return 0;
}

/* Says what form a missing value would have. */
static int missing_value(const struct opt *o, struct err *e)
{
	AUTO_STR struct str syntax = { 0 };

	if (desc_field_type(o->f) == D_OBJ)
		str_puts(&syntax, "key=value,...");
	else
		desc_value_syntax(&syntax, o->f);
	return err_set(e, ERR_BAD, "--%s needs a value: --%s %s", o->f->opt, o->f->opt,
		       str_text(&syntax));
}

/* The option at p->at - 1 with its values; those of the other pass are passed over. */
static int take_option(struct parse *p, const struct opt *o, const char *arg, struct err *e)
{
	const char *equals = strchr(arg, '=');
	bool mine = desc_is_list(o->f) == p->lists;
	unsigned int values = 0;

	if (opt_is_flag(o)) {
		if (equals)
			return err_set(e, ERR_BAD, "--%s takes no value", o->f->opt);
		return mine ? take_value(p, o, desc_field_type(o->f) == D_BOOL ? "on" : "", e) : 0;
	}
	if (equals && mine && take_value(p, o, equals + 1, e))
		return -1;
	if (equals)
		return 0;
	while (p->at < p->argc && !is_next_option(p)) {
		/* what looks like an option is left for the main loop to name; a kernel may be
		 * told -x */
		if (p->argv[p->at][0] == '-' && (values || desc_field_type(o->f) == D_OBJ))
			break;
		if (mine && take_value(p, o, p->argv[p->at], e))
			return -1;
		p->at++;
		values++;
		if (!desc_is_list(o->f))
			break;
	}
	if (values)
		return 0;
	if (!opt_is_lenient(o))
		return missing_value(o, e);
	return mine ? take_value(p, o, "", e) : 0;
}

static int take_doc(struct parse *p, struct err *e)
{
	const char *name = p->at < p->argc ? p->argv[p->at++] : "";

	p->out->what = CLI_DOC;
	if (!doc_kind_of(&p->out->doc, name))
		return err_set(e, ERR_BAD, "--doc '%s': say openapi, man, md or help", name);
	return 0;
}

/* Once, in the second pass. */
static int take_verbosity(struct parse *p, unsigned int more)
{
	if (p->lists && more + p->out->vmm.verbosity <= UINT8_MAX)
		p->out->vmm.verbosity = (uint8_t)(p->out->vmm.verbosity + more);
	return 0;
}

static int take_argument(struct parse *p, struct err *e)
{
	const char *arg = p->argv[p->at++];
	const struct opt *o = find_option(p, arg);
	unsigned int more = count_v(arg);

	if (o)
		return take_option(p, o, arg, e);
	if (is_ask(arg, &p->out->what)) {
		/* whatever else was said, but how much is to be told */
		for (; p->at < p->argc; p->at++)
			more += count_v(p->argv[p->at]);
		return take_verbosity(p, more);
	}
	if (!strcmp(arg, "--doc"))
		return take_doc(p, e);
	if (!more)
		return unknown_option(p, arg, e);
	return take_verbosity(p, more);
}

/* A machine that was saved is what it was. */
static int check_restore(const struct parse *p, struct err *e)
{
	if (p->out->what != CLI_RUN || !p->out->vmm.restore || !p->of_vm)
		return 0;
	return err_set(
		e, ERR_BAD,
		"--%s does not go with --restore: a VM goes on as it was saved, and what may be "
		"another's in it is said within --restore",
		p->of_vm);
}

int cli_parse(struct cli *out, int argc, char **argv, struct err *e)
{
	struct parse p = { .out = out, .argc = argc, .argv = argv };

	*out = (struct cli){ .what = argc > 1 ? CLI_RUN : CLI_HELP };
	desc_default(&vmm_desc, &out->vmm);
	conf_default(&out->vm);
	p.opt_count = opt_all(p.opts);
	for (unsigned int pass = 0; pass < 2; pass++) {
		p.lists = pass;
		p.at = 1;
		while (p.at < argc)
			if (take_argument(&p, e))
				return -1;
	}
	return check_restore(&p, e);
}

void cli_free(struct cli *c)
{
	desc_free(&vmm_desc, &c->vmm);
	conf_free(&c->vm);
}
