/* SPDX-License-Identifier: Apache-2.0 */
/* The seam over the JSON library. */
#include "test.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/json.h"

static int parses(const char *text)
{
	struct json *j = NULL;
	struct err e = { 0 };
	int r = json_parse(&j, text, strlen(text), &e);

	json_put(j);
	return r;
}

TEST(text_comes_back_in_its_order)
{
	static const char text[] = "{\"z\":1,\"a\":[true,null,\"x\"],\"m\":{}}";
	struct json *j;
	struct err e = { 0 };
	char *out;

	assert_int_equal(json_parse(&j, text, strlen(text), &e), 0);
	out = json_text(j, JSON_LINE);
	assert_string_equal(out, text);
	free(out);
	json_put(j);
}

TEST(a_key_said_twice_is_refused)
{
	assert_int_equal(parses("{\"a\":1,\"a\":2}"), -1);
}

TEST(broken_text_is_refused)
{
	static const char *const bad[] = {
		"",	 "{",	    "{\"a\":}",	   "[1,]",
		"{} {}", "{'a':1}", "\"\\ud800\"", "99999999999999999999",
		"nul"
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(parses(bad[i]), -1);
}

TEST(errors_name_the_line)
{
	static const char text[] = "{\n\"a\": 1,\n\"b\": x}";
	struct json *j;
	struct err e = { 0 };
	char line[256];

	assert_int_equal(json_parse(&j, text, strlen(text), &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "line 3"));
}

TEST(depth_is_limited)
{
	char text[2 * (JSON_DEPTH_MAX + 1) + 1];

	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	text[2 * JSON_DEPTH_MAX] = 0;
	assert_int_equal(parses(text), 0);
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	text[2 * (JSON_DEPTH_MAX + 1)] = 0;
	assert_int_equal(parses(text), -1);
	assert_int_equal(parses("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[\""),
			 0);
}

/* Counting goes on behind a string, wherever it ends. */
TEST(strings_hide_no_depth)
{
	static const char *const before[] = { "\"\",", "\"\\\\\",", "\"\\\"[\",", "\"]]]]\"," };
	char text[64 + 2 * (JSON_DEPTH_MAX + 1)];

	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
		for (int deep = JSON_DEPTH_MAX - 1; deep <= JSON_DEPTH_MAX; deep++) {
			size_t n = (size_t)snprintf(text, sizeof(text), "[%s", before[i]);

			memset(text + n, '[', (size_t)deep);
			memset(text + n + deep, ']', (size_t)deep + 1);
			text[n + 2 * (size_t)deep + 1] = 0;
			assert_int_equal(parses(text), deep < JSON_DEPTH_MAX ? 0 : -1);
		}
	assert_int_equal(parses("\""), -1);
	assert_int_equal(parses("[\"\\"), -1);
	assert_int_equal(parses("[\"\\\""), -1);
}

/* A list of as many of these as the longest text has room for. */
static char *many(const char *element, size_t *len)
{
	size_t n = strlen(element), times = (JSON_TEXT_MAX - 8) / n;
	char *text = malloc(JSON_TEXT_MAX);

	text[0] = '[';
	for (size_t i = 0; i < times; i++)
		memcpy(text + 1 + i * n, element, n);
	memcpy(text + 1 + times * n, "0]", 2);
	*len = times * n + 3;
	return text;
}

TEST(a_text_whose_values_take_too_much_memory_is_refused_before_they_do)
{
	static const char *const element[] = { "[],", "{},", "0,", "\"\",", "{\"a\":0},\n" };
	char line[256];

	for (size_t i = 0; i < sizeof(element) / sizeof(*element); i++) {
		struct rusage before, after;
		struct err e = { 0 };
		struct json *j;
		size_t len;
		char *text = many(element[i], &len);

		getrusage(RUSAGE_SELF, &before);
		assert_int_equal(json_parse(&j, text, len, &e), -1);
		assert_non_null(strstr(err_line(&e, line, sizeof(line)), "256 MiB of memory"));
		getrusage(RUSAGE_SELF, &after);
		assert_true(after.ru_maxrss - before.ru_maxrss < 16 << 10);
		free(text);
	}
}

static size_t allocated(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

/* Where the allocator is a sanitizer's, nothing is seen of it. */
TEST(values_take_no_more_memory_than_they_are_judged_by)
{
	static const char *const element[] = { "[],", "{},", "0,", "\"\",", "{\"a\":[0]}," };

	for (size_t i = 0; i < sizeof(element) / sizeof(*element); i++) {
		size_t n = strlen(element[i]), len, before;
		struct err e = { 0 };
		struct json *j = NULL;
		char *text = many(element[i], &len);

		before = allocated();
		while (json_parse(&j, text, len, &e) < 0) {
			len = (len - 3) / n / 2 * n;
			memcpy(text + 1 + len, "0]", 2);
			len += 3;
		}
		assert_true(len > 1 << 19);
		assert_true(allocated() - before < JSON_MEMORY_MAX);
		json_put(j);
		free(text);
	}
}

TEST(strings_that_are_no_utf8_are_written_all_the_same)
{
	struct json *j = json_new_str("a\xff"
				      "b");
	char *out = json_text(j, JSON_LINE);

	assert_string_equal(out, "\"a?b\"");
	free(out);
	json_put(j);
}

TEST(objects_are_built_and_walked)
{
	struct json *o = json_obj(), *a = json_arr();
	struct json_iter it = { 0 };
	const char *keys[4] = { 0 };
	int n = 0;

	json_set_str(o, "s", "x");
	json_set_int(o, "i", -3);
	json_set_bool(o, "b", true);
	json_add(a, json_new_int(7));
	json_set(o, "a", a);
	while (json_next(o, &it))
		keys[n++] = it.key;
	assert_int_equal(n, 4);
	assert_string_equal(keys[0], "s");
	assert_string_equal(keys[3], "a");
	assert_int_equal(json_count(json_get(o, "a")), 1);
	assert_int_equal(json_int(json_at(json_get(o, "a"), 0)), 7);
	assert_null(json_at(json_get(o, "a"), 1));
	assert_null(json_get(o, "none"));
	assert_null(json_get(NULL, "none"));
	assert_int_equal(json_int(json_get(o, "i")), -3);
	assert_true(json_bool(json_get(o, "b")));
	assert_string_equal(json_str(json_get(o, "i")), "");
	json_put(o);
	json_put(NULL);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(text_comes_back_in_its_order),
		T(a_key_said_twice_is_refused),
		T(broken_text_is_refused),
		T(errors_name_the_line),
		T(depth_is_limited),
		T(strings_hide_no_depth),
		T(a_text_whose_values_take_too_much_memory_is_refused_before_they_do),
		T(values_take_no_more_memory_than_they_are_judged_by),
		T(strings_that_are_no_utf8_are_written_all_the_same),
		T(objects_are_built_and_walked),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
