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

static void rows_of(struct row rows[CHARS], struct chars *s, struct vm_conf *c)
{
	rows[0] = (struct row){ "--serial",
				&s->serial,
				{ c->serial.mode, c->serial.file, c->serial.socket },
				&c->serial.file };
	rows[1] = (struct row){ "--console",
				&s->console,
				{ c->console.mode, c->console.file, c->console.socket },
				&c->console.file };
	rows[2] = (struct row){ "--debug-console",
				&s->debug_console,
				{ c->debug_console.mode, c->debug_console.file, NULL },
				&c->debug_console.file };
}

static size_t no_write(struct chardev *c, const uint8_t *data, size_t len)
{
	(void)c;
	(void)data;
	return len;
}
static void no_wish(struct chardev *c, bool on)
{
	(void)c;
	(void)on;
}
static const struct chardev_ops no_ops = { .write = no_write, .want_input = no_wish };

void chars_rehearse(struct chars *s, struct chardev none[CHARS], struct vm_conf *c,
		    struct reasons *r)
{
	struct row rows[CHARS];
	struct err e = { 0 };

	*s = (struct chars){ 0 };
	rows_of(rows, s, c);
	for (size_t i = 0; i < CHARS; i++) {
		none[i] = (struct chardev){ .ops = &no_ops };
		if (rows[i].args.mode != CONSOLE_OFF)
			*rows[i].out = &none[i];
		if (tty_judge(&rows[i].args, &e) == 0)
			continue;
		err_in(&e, "%s", rows[i].option);
		reasons_add(r, &e);
	}
}

int chars_open(struct chars *s, struct vm_conf *c, struct err *e)
{
	struct row rows[CHARS];

	*s = (struct chars){ 0 };
	if (tty_new(&s->tty, e) < 0)
		return -1;
	rows_of(rows, s, c);
	for (size_t i = 0; i < CHARS; i++) {
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
