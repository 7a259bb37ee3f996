/* SPDX-License-Identifier: Apache-2.0 */
/* A whole board as JSON: its version and its order. */
#include "test.h"

#include "fakeboard.h"

struct dot {
	struct dev dev;
	struct dot_state {
		uint32_t x;
	} s;
};
static const struct field dot_state_f[] = { S(struct dot_state, x) };
static const struct desc dot_state_desc = DESC_OF(struct dot_state, dot_state_f, "DotState");
static const struct dev_class dot_class = {
	.name = "dot",
	.state = &dot_state_desc,
	.size = sizeof(struct dot),
	.state_off = offsetof(struct dot, s),
};

static struct json *board_with(const char *const *id, uint32_t n)
{
	struct err e = { 0 };

	for (uint32_t i = 0; i < n; i++) {
		struct dev *d;

		fake_sound(
			dev_add(&d, &fake.board, &dot_class, &(struct dev_args){ .id = id[i] }, &e),
			&e);
		container_of(d, struct dot, dev)->s.x = i + 10;
	}
	return board_save(&fake.board, "x86_64");
}

TEST(a_board_is_saved_in_the_order_of_adding)
{
	static const char *const id[] = { "c", "a", "b" };
	const struct json *devices;
	struct err e = { 0 };

	fake_begin();
	AUTO_JSON struct json *j = board_with(id, 3);
	assert_int_equal(board_saved_devices(&devices, j, "x86_64", &e), 0);
	assert_int_equal(json_count(devices), 3);
	for (size_t i = 0; i < 3; i++) {
		const struct json *d = json_at(devices, i);

		assert_string_equal(json_str(json_get(d, "id")), id[i]);
		assert_string_equal(json_str(json_get(d, "class")), "dot");
		assert_ptr_equal(board_saved_find(devices, id[i]), d);
		assert_int_equal(json_int(json_get(json_get(d, "state"), "x")), (int)i + 10);
	}
	assert_null(board_saved_find(devices, "d"));
	fake_end();
}

TEST(another_machine_or_form_is_refused_by_name)
{
	static const char *const id[] = { "a" };
	const struct json *devices;
	struct err e = { 0 };
	char line[200];

	fake_begin();
	AUTO_JSON struct json *j = board_with(id, 1);
	assert_int_equal(board_saved_devices(&devices, j, "aarch64", &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "x86_64"));
	json_set_int(j, "virga", 2);
	assert_int_equal(board_saved_devices(&devices, j, "x86_64", &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "form 2"));
	json_set_int(j, "virga", SNAP_VERSION);
	json_set_int(j, "devices", 1);
	assert_int_equal(board_saved_devices(&devices, j, "x86_64", &e), -1);
	assert_int_equal(board_saved_devices(&devices, NULL, "x86_64", &e), -1);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_board_is_saved_in_the_order_of_adding),
		T(another_machine_or_form_is_refused_by_name),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
