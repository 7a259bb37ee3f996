/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about metrics (src/api/metrics.c): their names are lawful, the documents have them all. */
#include "conf/conf.h" /* first: its rows use T for themselves */
#include "test.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "api/metrics.h"
#include "base/event.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "conf/doc.h"
#include "vm/vmm.h"

static char *doc(const char *file)
{
	const char *here = __FILE__, *slash = strrchr(here, '/');
	AUTO_FREE char *path = mem_fmt("%.*s/../../../docs/%s", (int)(slash - here), here, file);
	struct err e = { 0 };
	char *text;
	size_t len;

	assert_int_equal(fd_slurp(path, 4u << 20, &text, &len, &e), 0);
	return text;
}

static char *printed(void (*print)(FILE *f))
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	print(f);
	fclose(f);
	return text;
}

static void print_manual(FILE *f)
{
	doc_print(f, DOC_MAN);
	metrics_print_man(f);
}

TEST(documents_are_what_the_program_prints)
{
	AUTO_FREE char *rows = printed(metrics_print_md), *manual = printed(print_manual);
	AUTO_FREE char *page = doc("metrics.md"), *man = doc("virga.1");

	if (!strstr(page, rows))
		fail_msg("docs/metrics.md does not hold what virga --doc metrics prints");
	if (strcmp(man, manual) != 0)
		fail_msg(
			"docs/virga.1 is not what the program prints: virga --doc man > docs/virga.1");
}

/* Of the rows that --doc metrics prints. */
TEST(every_metric_has_a_name_of_its_own)
{
	AUTO_FREE char *rows = printed(metrics_print_md);
	unsigned int n = 0;

	for (char *at = rows; (at = strstr(at, "\n| `")); at++, n++) {
		char name[128], needle[140];
		size_t len = strcspn(at + 4, "`");

		assert_true(len && len < sizeof(name));
		memcpy(name, at + 4, len);
		name[len] = '\0';
		for (const char *p = name; *p; p++)
			assert_true(islower((unsigned char)*p) || *p == '_');
		snprintf(needle, sizeof(needle), "\n| `%s` |", name);
		if (strstr(at + 1, needle))
			fail_msg("%s is there twice", name);
	}
	assert_true(n > 40);
}

static void on_rest(void *arg, bool failed)
{
	(void)arg, (void)failed;
}
static void on_end(void *arg)
{
	(void)arg;
}

TEST(without_a_machine_the_program_is_told_of)
{
	const struct vmm_up up = { .rest = on_rest, .end = on_end };
	static struct api_count routes[ROUTE_COUNT];
	const struct http_counts http = { .clients = 3 };
	struct metrics_from from = { .routes = routes, .http = &http };
	struct err e = { 0 };
	struct metrics *m;
	struct loop *l;
	size_t len;

	assert_int_equal(loop_new(&l, "test", &e), 0);
	vmm_new(&from.vmm, l, &up);
	metrics_new(&m, "virga");
	om_time(&routes[ROUTE_vmm_ping].took, 2000000);
	event("vm", "pausing", NULL);
	{
		AUTO_FREE char *text = metrics_text(m, &from, &len);

		assert_int_equal(strlen(text), len);
		assert_string_equal(text + len - 6, "# EOF\n");
		assert_non_null(strstr(text, "virga_build_info{program=\"virga\","));
		assert_non_null(strstr(text, "\nvirga_vm_state{virga_vm_state=\"Running\"} 0\n"));
		assert_non_null(strstr(text, "\nvirga_api_clients 3\n"));
		assert_non_null(strstr(text, "_count{route=\"vmm.ping\"} 1\n"));
		assert_null(strstr(text, "route=\"vm.info\""));
		assert_non_null(
			strstr(text, "virga_events_total{source=\"vm\",event=\"pausing\"} 1\n"));
		assert_null(strstr(text, "virga_memory_guest_bytes"));
		assert_null(strstr(text, "virga_blk_"));
		assert_null(strstr(text, "process_resident_memory_bytes 0\n"));
	}
	metrics_free(m);
	vmm_free(from.vmm);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(documents_are_what_the_program_prints),
		T(every_metric_has_a_name_of_its_own),
		T(without_a_machine_the_program_is_told_of),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
