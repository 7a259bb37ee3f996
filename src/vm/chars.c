/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consoles of the config → streams. See chars.h.
 */
#include "vm/chars.h"

int chars_open(struct chars *s, const struct vm_conf *c, struct err *e)
{
	const struct {
		const char *option;
		struct chardev **out;
		enum console_mode mode;
		const char *file;
	} rows[] = {
		{ "--serial", &s->serial, c->serial.mode, c->serial.file },
		{ "--console", &s->console, c->console.mode, c->console.file },
		{ "--debug-console", &s->debug_console, c->debug_console.mode,
		  c->debug_console.file },
	};

	*s = (struct chars){ 0 };
	if (tty_new(&s->tty, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (tty_open(s->tty, rows[i].out, rows[i].mode, rows[i].file, e) < 0) {
			chars_close(s);
			return err_in(e, "%s", rows[i].option);
		}
	}
	return 0;
}

void chars_close(struct chars *s)
{
	tty_free(s->tty);
	*s = (struct chars){ 0 };
}
