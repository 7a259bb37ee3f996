/* SPDX-License-Identifier: Apache-2.0 */
/* Documents printed from the rows: those under docs/ are what the program prints, and help fits
 * a terminal. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/doc.h"
#include "conf/opt.h"

#define COLUMNS 100
#define DOC_MAX (4u << 20)

static char *printed(enum doc_kind kind)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	doc_print(f, kind);
	fclose(f);
	return text;
}

/* The tree's own copy lies three folders above this file. */
static void is_in_docs(enum doc_kind kind, const char *name, const char *file)
{
	const char *here = __FILE__, *slash = strrchr(here, '/');
	AUTO_FREE char *path = mem_fmt("%.*s/../../../docs/%s", (int)(slash - here), here, file);
	AUTO_FREE char *want = printed(kind);
	AUTO_FREE char *got = NULL;
	struct err e = { 0 };
	char line[400];
	size_t len;

	if (fd_slurp(path, DOC_MAX, &got, &len, &e))
		fail_msg("%s", err_line(&e, line, sizeof(line)));
	/* what is known above conf/ follows in the manual page, and has a test there */
	if (kind == DOC_MAN ? strncmp(got, want, strlen(want)) : strcmp(got, want))
		fail_msg("docs/%s is not what the program prints: virga --doc %s > docs/%s", file,
			 name, file);
}

TEST(docs_are_what_the_program_prints)
{
	is_in_docs(DOC_MAN, "man", "virga.1");
	is_in_docs(DOC_MD, "md", "options.md");
	is_in_docs(DOC_OPENAPI, "openapi", "openapi.json");
}

TEST(help_fits_a_terminal_and_names_every_option)
{
	AUTO_FREE char *text = printed(DOC_HELP);
	struct opt opts[OPT_MAX];
	uint32_t n = opt_all(opts);
	char name[64];

	for (const char *p = text; *p; p += strcspn(p, "\n") + 1) {
		size_t len = strcspn(p, "\n");

		if (len > COLUMNS)
			fail_msg("%zu columns: %.*s", len, (int)len, p);
		if (len && p[len - 1] == ' ')
			fail_msg("ends with a blank: %.*s", (int)len, p);
	}
	for (uint32_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "--%s", opts[i].f->opt);
		if (*opts[i].f->opt && !strstr(text, name))
			fail_msg("%s is not in the help", name);
	}
}

TEST(the_schema_names_every_table_it_refers_to)
{
	AUTO_FREE char *text = printed(DOC_OPENAPI);
	struct json *j = NULL;
	const struct json *schemas;
	struct err e = { 0 };

	assert_int_equal(json_parse(&j, text, strlen(text), &e), 0);
	schemas = json_get(json_get(j, "components"), "schemas");
	for (const char *p = text; (p = strstr(p, "#/components/schemas/")); p++) {
		const char *at = p + strlen("#/components/schemas/");
		AUTO_FREE char *name = mem_strn(at, strcspn(at, "\""));

		assert_non_null(json_get(schemas, name));
	}
	assert_non_null(json_get(schemas, "VmConfig"));
	json_put(j);
}

static char *version_of(const char *argv0, unsigned int verbosity)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	doc_version(f, argv0, verbosity);
	fclose(f);
	return text;
}

static void version_is(const char *argv0, const char *want)
{
	AUTO_FREE char *text = version_of(argv0, 0);

	assert_string_equal(text, want);
}

TEST(version_is_told_under_the_name_of_the_caller)
{
	version_is("virga", "virga v" VIRGA_VERSION "\n");
	version_is("/usr/bin/virga", "virga v" VIRGA_VERSION "\n");
	version_is("/usr/bin/cloud-hypervisor", "cloud-hypervisor v53.0.0\n");
	version_is("cloud-hypervisor", "cloud-hypervisor v53.0.0\n");
}

TEST(version_with_verbosity_tells_of_the_build)
{
	AUTO_FREE char *text = version_of("cloud-hypervisor", 1);

	assert_int_equal(strncmp(text, "cloud-hypervisor v53.0.0\n", 25), 0);
	assert_non_null(strstr(text, "\nVersion: virga " VIRGA_VERSION ","));
	assert_non_null(strstr(text, "\nFeatures: kvm, "));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(docs_are_what_the_program_prints),
		T(help_fits_a_terminal_and_names_every_option),
		T(the_schema_names_every_table_it_refers_to),
		T(version_is_told_under_the_name_of_the_caller),
		T(version_with_verbosity_tells_of_the_build),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
