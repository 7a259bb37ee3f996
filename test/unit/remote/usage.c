/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of virga-remote: the manual page under docs/ is what the program prints, help names every
 * command and fits a terminal, and completions name whatever can be said. */
#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/desc_row.h"
#include "base/fd.h"
#include "base/mem.h"
#include "remote/complete.h"
#include "remote/usage.h"
#include "remote/words.h"

#define COLUMNS 100

static char *text;

static FILE *begin(void)
{
	static size_t len;

	free(text);
	return open_memstream(&text, &len);
}

static void lines_fit(const char *p)
{
	for (; *p; p += strcspn(p, "\n") + 1)
		if (strcspn(p, "\n") > COLUMNS && !strstr(p, "Usage:"))
			fail_msg("longer than %d: %.*s", COLUMNS, (int)strcspn(p, "\n"), p);
}

TEST(the_manual_page_is_what_the_program_prints)
{
	const char *here = __FILE__, *slash = strrchr(here, '/');
	AUTO_FREE char *path =
		mem_fmt("%.*s/../../../docs/virga-remote.1", (int)(slash - here), here);
	AUTO_FREE char *got = NULL;
	struct err e = { 0 };
	FILE *f = begin();
	size_t len;

	usage_man(f);
	fclose(f);
	if (fd_slurp(path, 4 << 20, &got, &len, &e))
		fail_msg("%s", err_frame(&e, 0));
	if (strcmp(got, text))
		fail_msg("docs/virga-remote.1 is not what the program prints: "
			 "virga-remote --doc man > docs/virga-remote.1");
}

TEST(help_names_every_command_and_option)
{
	FILE *f = begin();

	usage_help(f);
	fclose(f);
	lines_fit(text);
	for (const struct route *r = route_table; r < route_table + ROUTE_COUNT; r++) {
		AUTO_FREE char *line = mem_fmt("\n  %s ", r->command);

		assert_non_null(strstr(text, line));
	}
	for (unsigned int i = 0; i < words_desc.count; i++)
		assert_non_null(strstr(text, words_desc.fields[i].opt));
	for (const struct words_ask *a = words_asks; a->name; a++)
		assert_non_null(strstr(text, a->name));
}

TEST(help_of_a_command_names_its_keys)
{
	for (const struct route *r = route_table; r < route_table + ROUTE_COUNT; r++) {
		FILE *f = begin();

		usage_command(f, r);
		fclose(f);
		lines_fit(text);
		assert_non_null(strstr(text, r->command));
		assert_non_null(strstr(text, r->path));
		for (unsigned int i = 0; r->arg == ROUTE_KEYS && i < r->body->count; i++)
			assert_non_null(strstr(text, row_cli(&r->body->fields[i])));
	}
}

TEST(the_name_of_the_program_decides_whose_version_it_tells)
{
	FILE *f = begin();

	usage_version(f, "/usr/bin/ch-remote");
	fclose(f);
	assert_ptr_equal(strstr(text, "ch-remote v53."), text);
	f = begin();
	usage_version(f, "./virga-remote");
	fclose(f);
	assert_ptr_equal(strstr(text, "virga-remote v"), text);
	assert_null(strstr(text, "v53."));
}

TEST(completions_name_every_command)
{
	static const char *const shells[] = { "bash", "zsh", "fish" };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		AUTO_FREE char *of_virga = mem_fmt("%s:virga", shells[i]);
		FILE *f = begin();

		assert_int_equal(complete_print(f, shells[i], &e), 0);
		fclose(f);
		for (const struct route *r = route_table; r < route_table + ROUTE_COUNT; r++)
			assert_non_null(strstr(text, r->command));
		assert_non_null(strstr(text, "readonly=on|off"));
		assert_null(strstr(text, "@@"));
		f = begin();
		assert_int_equal(complete_print(f, of_virga, &e), 0);
		fclose(f);
		assert_non_null(strstr(text, "readonly=on|off"));
		assert_null(strstr(text, "add-disk"));
	}
}

TEST(other_shells_are_refused)
{
	static const char *const bad[] = {
		"", "sh", "bas", "bashh", "bash:", "bash:qemu", ":virga"
	};
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(complete_print(stdout, bad[i], &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_manual_page_is_what_the_program_prints),
		T(help_names_every_command_and_option),
		T(help_of_a_command_names_its_keys),
		T(the_name_of_the_program_decides_whose_version_it_tells),
		T(completions_name_every_command),
		T(other_shells_are_refused),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(text);
	return failed;
}
