/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of described data, on tables made for it: saved state here, configuration in
 * test/unit/conf. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/desc.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct part {
	uint32_t x, y;
};
static const struct field part_f[] = { S(struct part, x), S(struct part, y, .max = 9) };
static const struct desc part_desc = DESC_OF(struct part, part_f, "part");

struct state {
	uint64_t big;
	int32_t low;
	uint8_t flags;
	bool on;
	uint16_t regs[3];
	uint8_t blob[4];
	struct part part, parts[2];
	LIST(struct part) list;
	LIST(uint16_t) numbers;
	uint32_t pad;
	uint32_t late;
};
static const struct field state_f[] = {
	S(struct state, big),
	S(struct state, low),
	S(struct state, flags, .max = 3),
	S(struct state, on),
	S_ARRAY(struct state, regs),
	S_HEX(struct state, blob),
	S_OBJ(struct state, part, &part_desc),
	S_OBJS(struct state, parts, &part_desc),
	S_LIST(struct state, list, &part_desc),
	S_LIST_NUM(struct state, numbers),
	S_PAD(struct state, pad),
	S(struct state, late, .since = 2, .def = 5),
};
static const struct desc state_desc = DESC_OF(struct state, state_f, "state");

static void fill(struct state *s)
{
	*s = (struct state){
		.big = UINT64_MAX,
		.low = -5,
		.flags = 3,
		.on = true,
		.regs = { 1, 2, 65535 },
		.blob = { 0xde, 0xad, 0, 1 },
		.part = { 7, 8 },
		.parts = { { 1, 2 }, { 3, 4 } },
		.late = 1,
	};
	s->list.items = mem_array(2, sizeof(*s->list.items));
	s->list.count = 2;
	s->list.items[1] = (struct part){ 5, 6 };
	s->numbers.items = mem_array(1, sizeof(uint16_t));
	s->numbers.count = 1;
	s->numbers.items[0] = 500;
}

static struct json *parsed(const char *text)
{
	struct err e = { 0 };
	struct json *j = NULL;

	assert_int_equal(json_parse(&j, text, strlen(text), &e), 0);
	return j;
}

TEST(state_survives_json)
{
	struct state a, b = { 0 };
	struct err e = { 0 };
	struct json *j;

	fill(&a);
	j = desc_to_json(&state_desc, &a);
	assert_int_equal(desc_from_saved(&state_desc, &b, j, 2, &e), 0);
	assert_true(desc_equal(&state_desc, &a, &b));
	assert_true(b.big == UINT64_MAX);
	assert_int_equal(b.low, -5);
	assert_int_equal(b.list.items[1].y, 6);
	json_put(j);
	desc_free(&state_desc, &a);
	desc_free(&state_desc, &b);
}

TEST(numbers_too_big_for_json_are_hex_strings)
{
	struct state a = { .big = 1ull << 63 };
	struct json *j = desc_to_json(&state_desc, &a);

	assert_string_equal(json_str(json_get(j, "big")), "0x8000000000000000");
	json_put(j);
}

TEST(a_copy_is_equal_and_apart)
{
	struct state a, b;

	fill(&a);
	desc_copy(&state_desc, &b, &a);
	assert_true(desc_equal(&state_desc, &a, &b));
	assert_ptr_not_equal(a.list.items, b.list.items);
	b.list.items[0].x = 1;
	assert_false(desc_equal(&state_desc, &a, &b));
	desc_free(&state_desc, &a);
	desc_free(&state_desc, &b);
	assert_null(b.list.items);
}

static int loads(const char *key, const char *value, uint32_t version, bool drop)
{
	struct state a, b = { 0 };
	struct err e = { 0 };
	struct json *j, *copy = json_obj();
	struct json_iter it = { 0 };
	char *text;
	int r;

	fill(&a);
	j = desc_to_json(&state_desc, &a);
	while (json_next(j, &it)) {
		if (!strcmp(it.key, key))
			continue;
		text = json_text(it.value, JSON_LINE);
		json_set(copy, it.key, parsed(text));
		free(text);
	}
	if (!drop)
		json_set(copy, key, parsed(value));
	r = desc_from_saved(&state_desc, &b, copy, version, &e);
	json_put(j);
	json_put(copy);
	desc_free(&state_desc, &a);
	desc_free(&state_desc, &b);
	return r;
}

TEST(saved_state_is_judged_as_foreign)
{
	assert_int_equal(loads("flags", "3", 2, false), 0);
	assert_int_equal(loads("flags", "4", 2, false), -1);
	assert_int_equal(loads("flags", "-1", 2, false), -1);
	assert_int_equal(loads("flags", "1.5", 2, false), -1);
	assert_int_equal(loads("flags", "\"1\"", 2, false), -1);
	assert_int_equal(loads("flags", "null", 2, false), -1);
	assert_int_equal(loads("big", "\"0x10\"", 2, false), 0);
	assert_int_equal(loads("big", "\"16\"", 2, false), -1);
	assert_int_equal(loads("on", "1", 2, false), -1);
	assert_int_equal(loads("low", "2147483648", 2, false), -1);
	assert_int_equal(loads("low", "-2147483648", 2, false), 0);
	assert_int_equal(loads("regs", "[1,2]", 2, false), -1);
	assert_int_equal(loads("regs", "[1,2,65536]", 2, false), -1);
	assert_int_equal(loads("blob", "\"00\"", 2, false), -1);
	assert_int_equal(loads("parts", "[{\"x\":1,\"y\":2}]", 2, false), -1);
	assert_int_equal(loads("part", "{\"x\":1}", 2, false), -1);
	assert_int_equal(loads("list", "[{\"x\":1,\"y\":10}]", 2, false), -1);
	assert_int_equal(loads("list", "{}", 2, false), -1);
	assert_int_equal(loads("stranger", "1", 2, false), -1);
	assert_int_equal(loads("pad", "\"00000000\"", 2, false), -1);
}

TEST(a_missing_row_is_forgiven_only_if_it_is_newer_than_the_state)
{
	assert_int_equal(loads("late", NULL, 1, true), 0);
	assert_int_equal(loads("late", NULL, 2, true), -1);
	assert_int_equal(loads("big", NULL, 1, true), -1);
}

TEST(what_failed_is_back_at_its_defaults)
{
	struct state s;
	struct err e = { 0 };
	struct json *j = parsed("{\"flags\":1,\"list\":[{\"x\":1,\"y\":2}],\"low\":\"x\"}");

	fill(&s);
	assert_int_equal(desc_from_json(&state_desc, &s, j, &e), -1);
	assert_int_equal(s.flags, 0);
	assert_int_equal(s.list.count, 0);
	assert_int_equal(s.late, 5);
	json_put(j);
	desc_free(&state_desc, &s);
}

TEST(errors_tell_the_way_to_the_key)
{
	struct state s = { 0 };
	struct err e = { 0 };
	struct json *j = parsed("{\"list\":[{\"x\":1,\"y\":2},{\"x\":1,\"z\":2}]}");
	char line[200];

	assert_int_equal(desc_from_json(&state_desc, &s, j, &e), -1);
	assert_string_equal(err_line(&e, line, sizeof(line)),
			    "list[1]: unknown key 'z' (did you mean 'x'?)");
	json_put(j);
	desc_free(&state_desc, &s);
}

TEST(every_byte_of_a_state_is_covered_or_named)
{
	static const struct field gap_f[] = { S(struct part, x) };
	static const struct desc gap = DESC_OF(struct part, gap_f, "gap");
	struct outer {
		struct part p;
		uint32_t z;
	};
	static const struct field outer_f[] = { S_OBJ(struct outer, p, &gap), S(struct outer, z) };
	static const struct desc outer = DESC_OF(struct outer, outer_f, "outer");

	assert_int_equal(desc_uncovered(&state_desc), sizeof(struct state));
	assert_int_equal(desc_uncovered(&gap), 4);
	assert_int_equal(desc_uncovered(&outer), 4);
}

static int refuse(void *obj, struct err *e)
{
	const struct part *p = obj;

	return p->x > p->y ? err_set(e, ERR_BAD, "x is above y") : 0;
}

TEST(a_fix_hook_may_refuse)
{
	static const struct desc d = DESC_OF(struct part, part_f, "part", .fix = refuse);
	struct part p = { 0 };
	struct err e = { 0 };
	struct json *good = parsed("{\"x\":1,\"y\":2}"), *bad = parsed("{\"x\":3,\"y\":2}");

	assert_int_equal(desc_from_json(&d, &p, good, &e), 0);
	assert_int_equal(desc_from_json(&d, &p, bad, &e), -1);
	assert_int_equal(p.x, 0);
	json_put(good);
	json_put(bad);
}

TEST(a_table_may_be_of_a_later_version)
{
	static const struct field rows[] = { S(struct part, x), S(struct part, y, .since = 2) };
	static const struct desc d = DESC_OF_V(struct part, rows, "part", 2);
	static const struct desc fixed = DESC_OF_V(struct part, rows, "part", 3, .fix = refuse);
	struct part p = { 0 };
	struct err e = { 0 };
	struct json *old = parsed("{\"x\":7}");

	assert_int_equal(d.version, 2);
	assert_int_equal(fixed.version, 3);
	assert_ptr_equal(fixed.fix, refuse);
	assert_int_equal(desc_from_saved(&d, &p, old, 1, &e), 0);
	assert_int_equal(p.x, 7);
	assert_int_equal(desc_from_saved(&d, &p, old, 2, &e), -1);
	json_put(old);
}

TEST(a_far_word_is_not_suggested)
{
	static const char *const names[] = { "path", "readonly", NULL };
	struct str s = { 0 };

	desc_nearest(&s, "pth", names);
	assert_string_equal(str_text(&s), " (did you mean 'path'?)");
	str_cut(&s, 0);
	desc_nearest(&s, "zzzzzz", names);
	assert_string_equal(str_text(&s), "");
	str_fini(&s);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(state_survives_json),
		T(numbers_too_big_for_json_are_hex_strings),
		T(a_copy_is_equal_and_apart),
		T(saved_state_is_judged_as_foreign),
		T(a_missing_row_is_forgiven_only_if_it_is_newer_than_the_state),
		T(what_failed_is_back_at_its_defaults),
		T(errors_tell_the_way_to_the_key),
		T(every_byte_of_a_state_is_covered_or_named),
		T(a_fix_hook_may_refuse),
		T(a_table_may_be_of_a_later_version),
		T(a_far_word_is_not_suggested),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
