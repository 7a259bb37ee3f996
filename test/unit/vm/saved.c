/* SPDX-License-Identifier: Apache-2.0 */
/* A saved machine as foreign JSON: what can be is read, what cannot be is refused by name. */
#include "vm/saved.h"

#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "base/mem.h"
#include "test.h"

#define RANGE(base, size, off) "{\"base\":" #base ",\"size\":" #size ",\"off\":" #off "}"
#define DEVICE(id, slot) "{\"id\":\"" id "\",\"plug\":{\"fn\":{\"segment\":0,\"slot\":" #slot "}}}"
#define MACHINE(ranges)                                                                            \
	"\"machine\":{\"v\":1,\"state\":{\"real_ns\":5,\"guest_ns\":6,\"has_clock\":true,"         \
	"\"ranges\":[" ranges "]}}"
#define ROOT(machine, devices)                                                                     \
	"{\"virga\":1,\"arch\":\"x86_64\",\"vcpus\":[1,2]," machine ",\"devices\":[" devices "]}"

static int read(struct saved *s, const char *text, struct err *e)
{
	struct json *j;

	assert_int_equal(json_parse(&j, text, strlen(text), e), 0);
	return saved_read(s, j, e);
}

TEST(what_was_saved_is_read)
{
	struct err e = { 0 };
	uint16_t segment = 9;
	struct saved s;
	int slot = 9;

	assert_int_equal(read(&s,
			      ROOT(MACHINE(RANGE(0, 8192, 0) "," RANGE(1048576, 4096, 8192)),
				   DEVICE("a", 3) "," DEVICE("b", 31)),
			      &e),
			 0);
	assert_int_equal(s.bytes, 12288);
	assert_int_equal(s.machine.ranges.count, 2);
	assert_int_equal(s.machine.guest_ns, 6);
	assert_int_equal(json_count(s.vcpus), 2);
	assert_null(saved_device(&s, "c"));
	assert_int_equal(saved_place(saved_device(&s, "b"), &segment, &slot, &e), 0);
	assert_int_equal(segment, 0);
	assert_int_equal(slot, 31);
	saved_free(&s);
	saved_free(&s); /* twice is fine */
}

TEST(a_machine_saved_before_counters_were_is_read)
{
	struct err e = { 0 };
	struct saved s;

	assert_int_equal(read(&s, ROOT(MACHINE(""), ""), &e), 0);
	assert_false(s.machine.has_counter);
	saved_free(&s);
	assert_int_equal(read(&s,
			      ROOT("\"machine\":{\"v\":2,\"state\":{\"real_ns\":5,"
				   "\"guest_ns\":6,\"counter\":7,\"has_clock\":true,"
				   "\"has_counter\":true,\"ranges\":[]}}",
				   ""),
			      &e),
			 0);
	assert_int_equal(s.machine.counter, 7);
	saved_free(&s);
}

TEST(what_cannot_be_is_refused_by_name)
{
	static const char *const bad[][2] = {
		{ "[]", "no saved machine" },
		{ "{\"virga\":2}", "form 2" },
		{ "{\"virga\":1,\"arch\":\"aarch64\"}", "aarch64" },
		{ ROOT("\"x\":1", ""), "SavedMachine is missing" },
		{ ROOT("\"machine\":{\"v\":7,\"state\":{}}", ""), "version 7" },
		{ ROOT(MACHINE(RANGE(1, 4096, 0)), ""), "range 0" },
		{ ROOT(MACHINE(RANGE(0, 4097, 0)), ""), "range 0" },
		{ ROOT(MACHINE(RANGE(0, 0, 0)), ""), "size" },
		{ ROOT(MACHINE(RANGE(0, 4096, 4096)), ""), "range 0" },
		{ ROOT(MACHINE(RANGE(0, 8192, 0) "," RANGE(4096, 4096, 8192)), ""), "range 1" },
		{ ROOT(MACHINE(RANGE(0, "0xfffffffffffff000", 0)), ""), "range 0" },
		{ ROOT(MACHINE(RANGE("0xfffffffffffff000", 8192, 0)), ""), "range 0" },
		{ ROOT(MACHINE(""), "{}"), "device 0 of the saved machine has no id" },
		{ ROOT(MACHINE(""), DEVICE("a", 1) "," DEVICE("a", 2)), "a is saved twice" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = { 0 };
		struct saved s;
		char line[ERR_TEXT];

		assert_int_equal(read(&s, bad[i][0], &e), -1);
		if (!strstr(err_line(&e, line, sizeof(line)), bad[i][1]))
			fail_msg("%s: %s", bad[i][1], line);
	}
}

TEST(a_place_that_cannot_be_is_refused)
{
	static const char *const bad[] = { DEVICE("a", 32), DEVICE("a", -1), DEVICE("a", "3"),
					   "{\"id\":\"a\"}", "{\"id\":\"a\",\"plug\":5}" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_FREE char *text = mem_fmt("{\"virga\":1,\"arch\":\"x86_64\",\"vcpus\":[],"
					       "%s,\"devices\":[%s]}",
					       MACHINE(""), bad[i]);
		struct err e = { 0 };
		uint16_t segment;
		struct saved s;
		int slot;

		assert_int_equal(read(&s, text, &e), 0);
		assert_int_equal(saved_place(saved_device(&s, "a"), &segment, &slot, &e), -1);
		saved_free(&s);
	}
}

/* Each device is looked for among all, which takes ever longer; each of either gets a sentence. */
TEST(more_than_any_machine_has_is_refused_by_its_number)
{
	static const char *const of[] = { "devices", "vcpus" };
	static const char *const said[] = { "100000 devices are saved", "100000 vCPUs are saved" };

	for (size_t k = 0; k < ARRAY_LEN(of); k++) {
		struct json *list = json_arr(), *root;
		struct err e = { 0 };
		struct saved s;
		char line[ERR_TEXT];

		assert_int_equal(
			json_parse(&root, ROOT(MACHINE(""), ""), strlen(ROOT(MACHINE(""), "")), &e),
			0);
		for (unsigned int i = 0; i < 100000; i++)
			json_add(list, json_obj());
		json_set(root, of[k], list);
		assert_int_equal(saved_read(&s, root, &e), -1);
		assert_non_null(strstr(err_line(&e, line, sizeof(line)), said[k]));
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_was_saved_is_read),
		T(a_machine_saved_before_counters_were_is_read),
		T(more_than_any_machine_has_is_refused_by_its_number),
		T(what_cannot_be_is_refused_by_name),
		T(a_place_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
