/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a snapshot, whatever its files say. */
#include "remote/inspect.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "quoted.h"
#include "remote/words.h"

/* As it is printed; NULL when it is refused. */
static char *told(const char *state, const char *config)
{
	AUTO_JSON struct json *s = json_quoted(state), *c = json_quoted(config), *out = NULL;
	const struct inspect_memory m = { .bytes = 64 << 20, .data = 1 << 20 };
	struct err e = { 0 };
	char *text = NULL;
	size_t len;
	FILE *f;

	if (inspect_describe(&out, s, c, &m, &e) < 0) {
		assert_int_not_equal(e.count, 0);
		return NULL;
	}
	f = open_memstream(&text, &len);
	inspect_print(f, out);
	fclose(f);
	return text;
}

static void tells(const char *state, const char *config, const char *words)
{
	AUTO_FREE char *text = told(state, config);

	assert_non_null(text);
	if (!strstr(text, words))
		fail_msg("%s does not say \"%s\"", text, words);
	for (const char *p = text; *p; p++)
		assert_true(*p == '\n' || ((unsigned char)*p >= ' ' && *p != 0x7f));
}

TEST(what_is_known_is_told)
{
	static const char saved[] =
		"{'virga':1,'arch':'x86_64','build':'9.9','vcpus':[{},{}],'machine':{'v':1,'state':{'real_ns':1000000000,"
		"'ranges':[{'base':4096,'size':2097152,'off':0}]}},'devices':[{'id':'d','class':'blk','v':3,'pv':2}]}";

	tells(saved, "{}", "saved by  virga 9.9 on x86_64, form 1");
	tells(saved, "{}", "1970-01-01 00:00:01 UTC");
	tells(saved, "{}", "vCPUs     2");
	tells(saved, "{}", "64.0 MiB, of which 1.0 MiB");
	tells(saved, "{}", "at 0x1000 2.0 MiB");
	tells(saved, "{}", "d                blk          3        2");
	tells(saved, "{'disks':[{'id':'d','path':'/x'}],'pvpanic':false}",
	      "disks {\"id\":\"d\",\"path\":\"/x\"}");
}

TEST(what_is_missing_or_odd_is_passed_over)
{
	tells("{'virga':1}", "{}", "saved by  virga - on -, form 1");
	tells("{'virga':'x','arch':7,'build':[],'vcpus':{},'machine':[],'devices':{'a':1}}", "{}",
	      "form 0");
	tells("{'virga':1,'machine':{'state':{'real_ns':9223372036854775807,'ranges':[7,{'base':'x'}]}},'devices':[7,{}]}",
	      "{'a':null,'b':[[]],'c':'d'}", "c \"d\"");
	tells("{'virga':1,'arch':'\\u001b[2J\\u007f','devices':[{'id':'\\u0007'}]}",
	      "{'\\u001b':1}", "?[2J?");
}

TEST(what_is_no_snapshot_is_refused)
{
	assert_null(told("[]", "{}"));
	assert_null(told("{}", "{}"));
	assert_null(told("{'virga':1}", "[]"));
}

TEST(its_commands_need_no_server)
{
	assert_null(words_command("snapshot-inspect")->path);
	assert_null(words_command("snapshot-check")->path);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_is_known_is_told),
		T(what_is_missing_or_odd_is_passed_over),
		T(what_is_no_snapshot_is_refused),
		T(its_commands_need_no_server),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
