/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consoles of the config → streams. See chars.h.
 */
#include "vm/chars.h"

#include "base/log.h"
#include "base/mem.h"

struct row {
	const char *option;
	struct chardev **out;
	struct tty_args args;
	char **file; /* the config's */
};

static int open_row(struct chars *s, const struct row *r, struct err *e)
{
	char *path;

	if (tty_open(s->tty, r->out, &path, &r->args, e) < 0)
		return err_in(e, "%s", r->option);
	if (!path)
		return 0;
	log_info("%s is at %s", r->option, path);
	free(*r->file);
	*r->file = path;
	return 0;
}

int chars_open(struct chars *s, struct vm_conf *c, struct err *e)
{
	struct row rows[] = {
		{ "--serial",
		  &s->serial,
		  { c->serial.mode, c->serial.file, c->serial.socket },
		  &c->serial.file },
		{ "--console",
		  &s->console,
		  { c->console.mode, c->console.file, c->console.socket },
		  &c->console.file },
		{ "--debug-console",
		  &s->debug_console,
		  { c->debug_console.mode, c->debug_console.file, NULL },
		  &c->debug_console.file },
	};

	*s = (struct chars){ 0 };
	if (tty_new(&s->tty, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (open_row(s, &rows[i], e) < 0) {
			chars_close(s);
			return -1;
		}
	}
	return 0;
}

void chars_close(struct chars *s)
{
	tty_free(s->tty);
	*s = (struct chars){ 0 };
}
