/* SPDX-License-Identifier: Apache-2.0 */
/* The one road: its order, its way back from every step, and what a saved device brings along. */
#include "test.h"

#include "fakeboard.h"

/* A device that writes down what is done to it, and fails where it is told. */
static char road[256];
static const char *fails_at;

static int step(const char *name, struct err *e)
{
	strncat(road, name, sizeof(road) - strlen(road) - 1);
	strncat(road, " ", sizeof(road) - strlen(road) - 1);
	if (fails_at && !strcmp(fails_at, name))
		return err_set(e, ERR_IO, "%s fails", name);
	return 0;
}

struct toy_state {
	uint32_t n;
	LIST(uint64_t) list;
};
struct toy {
	struct dev dev;
	struct toy_state s;
	struct toy_state gathered;
};
static struct toy *toy_of(struct dev *d)
{
	return container_of(d, struct toy, dev);
}

static int toy_claim(struct dev *d, const struct dev_args *a, struct err *e)
{
	(void)d;
	(void)a;
	return step("claim", e);
}
static int toy_in(struct dev *d, struct err *e)
{
	(void)d;
	return step("in", e);
}
static void toy_out(struct dev *d)
{
	(void)d;
	(void)step("out", NULL);
}
static void toy_unclaim(struct dev *d)
{
	(void)d;
	(void)step("unclaim", NULL);
}
static void *toy_state_at(struct dev *d)
{
	return &toy_of(d)->gathered;
}
static void toy_before_save(struct dev *d)
{
	struct toy_state *g = &toy_of(d)->gathered;

	*g = (struct toy_state){ .n = 7 };
	g->list.count = 2;
	g->list.items = mem_array(2, sizeof(uint64_t));
	g->list.items[1] = 11;
}
static int toy_after_load(struct dev *d, struct err *e)
{
	assert_int_equal(toy_of(d)->gathered.n, 7);
	assert_int_equal(toy_of(d)->gathered.list.items[1], 11);
	return step("after_load", e);
}
static int toy_init(struct dev *d, struct err *e)
{
	return step(d->restored ? "init-restored" : "init", e);
}
static void toy_fini(struct dev *d)
{
	(void)d;
	(void)step("fini", NULL);
}

static const struct field toy_state_f[] = {
	S(struct toy_state, n, .max = 100),
	S_LIST_NUM(struct toy_state, list),
};
static const struct desc toy_state_desc = {
	.name = "ToyState",
	.fields = toy_state_f,
	.count = ARRAY_LEN(toy_state_f),
	.size = sizeof(struct toy_state),
	.version = 2,
};

static const struct plug toy_plug = {
	.name = "toy",
	.claim = toy_claim,
	.in = toy_in,
	.out = toy_out,
	.unclaim = toy_unclaim,
	.state = &toy_state_desc,
	.state_at = toy_state_at,
	.before_save = toy_before_save,
	.after_load = toy_after_load,
};
static const struct dev_class toy_class = {
	.name = "toy",
	.state = &toy_state_desc,
	.size = sizeof(struct toy),
	.state_off = offsetof(struct toy, s),
	.init = toy_init,
	.fini = toy_fini,
	.plug = &toy_plug,
};
static const struct dev_class bare_class = { .name = "bare", .size = sizeof(struct dev) };

static int toy_add(struct dev **out, const struct dev_args *a, struct err *e)
{
	road[0] = '\0';
	return dev_add(out, &fake.board, &toy_class, a, e);
}

TEST(a_device_goes_in_and_out_in_turn)
{
	struct dev *d;
	struct err e = { 0 };

	fake_begin();
	assert_int_equal(toy_add(&d, &(struct dev_args){ .id = "t" }, &e), 0);
	assert_ptr_equal(dev_find(&fake.board, "t"), d);
	dev_remove(d);
	assert_string_equal(road, "claim init in out fini unclaim ");
	assert_null(dev_find(&fake.board, "t"));
	fake_end();
}

TEST(a_failure_goes_back_the_steps_it_went)
{
	static const struct {
		const char *at, *road;
	} row[] = {
		{ "claim", "claim " },
		{ "init", "claim init unclaim " },
		{ "in", "claim init in fini unclaim " },
	};

	fake_begin();
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct err e = { 0 };
		char line[200];

		fails_at = row[i].at;
		assert_int_equal(toy_add(NULL, &(struct dev_args){ .id = "t" }, &e), -1);
		assert_string_equal(road, row[i].road);
		err_line(&e, line, sizeof(line));
		assert_non_null(strstr(line, "device t"));
		assert_true(list_empty(&fake.board.devs));
	}
	fails_at = NULL;
	fake_end();
}

TEST(an_id_is_taken_once)
{
	struct err e = { 0 };

	fake_begin();
	assert_int_equal(toy_add(NULL, &(struct dev_args){ 0 }, &e), -1);
	assert_int_equal(toy_add(NULL, &(struct dev_args){ .id = "" }, &e), -1);
	assert_int_equal(toy_add(NULL, &(struct dev_args){ .id = "t" }, &e), 0);
	assert_int_equal(toy_add(NULL, &(struct dev_args){ .id = "t" }, &e), -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	assert_int_equal(
		dev_add(NULL, &fake.board, &bare_class, &(struct dev_args){ .id = "u" }, &e), 0);
	dev_remove_all(&fake.board);
	assert_true(list_empty(&fake.board.devs));
	fake_end();
}

/* Saves a toy with n and loads the text, changed by who asks, into a fresh one. */
static int reborn(uint32_t n, void (*change)(struct json *), struct err *e)
{
	AUTO_JSON struct json *saved = NULL, *again = NULL;
	AUTO_FREE char *text = NULL;
	struct dev *d;
	int rc;

	fake_begin();
	assert_int_equal(toy_add(&d, &(struct dev_args){ .id = "t" }, e), 0);
	toy_of(d)->s.n = n;
	toy_of(d)->s.list.count = 1;
	toy_of(d)->s.list.items = mem_array(1, sizeof(uint64_t));
	saved = dev_save(d);
	dev_remove(d);
	text = json_text(saved, JSON_LINE);
	assert_int_equal(json_parse(&again, text, strlen(text), e), 0);
	if (change)
		change(again);
	rc = toy_add(&d, &(struct dev_args){ .id = "t", .saved = again }, e);
	if (!rc) {
		assert_true(d->restored);
		assert_int_equal(toy_of(d)->s.n, n);
		assert_int_equal(toy_of(d)->s.list.count, 1);
	}
	fake_end();
	return rc;
}

TEST(a_saved_device_is_reborn_on_the_same_road)
{
	struct err e = { 0 };

	assert_int_equal(reborn(5, NULL, &e), 0);
	assert_string_equal(road, "claim init-restored after_load in out fini unclaim ");
}

static void newer(struct json *j)
{
	json_set_int(j, "v", 3);
}
static void versionless(struct json *j)
{
	json_set(j, "v", json_new_null());
}
static void other_class(struct json *j)
{
	json_set_str(j, "class", "disk");
}
static void stateless(struct json *j)
{
	json_set(j, "state", json_new_null());
}
static void plug_newer(struct json *j)
{
	json_set_int(j, "pv", 9);
}

TEST(a_saved_state_that_is_not_ours_is_refused_before_init)
{
	void (*const change[])(struct json *) = { newer, versionless, other_class, stateless };

	for (size_t i = 0; i < ARRAY_LEN(change); i++) {
		struct err e = { 0 };

		assert_int_equal(reborn(5, change[i], &e), -1);
		assert_string_equal(road, "claim unclaim ");
	}
}

TEST(a_saved_state_out_of_range_is_refused)
{
	struct err e = { 0 };

	assert_int_equal(reborn(101, NULL, &e), -1);
	assert_string_equal(road, "claim unclaim ");
	assert_int_equal(reborn(1, plug_newer, &e), -1);
	assert_string_equal(road, "claim init-restored fini unclaim ");
}

static unsigned int told;

static void note(void *arg, struct err *e)
{
	char line[200];

	assert_ptr_equal(arg, &told);
	assert_non_null(strstr(err_line(e, line, sizeof(line)), "device t"));
	err_clear(e);
	told++;
}

TEST(a_rehearsal_takes_note_of_who_cannot_come_and_goes_on)
{
	static const struct {
		const char *at, *road, *back;
	} row[] = {
		{ "claim", "claim ", "" },
		{ "init", "claim init ", "unclaim " },
		{ "in", "claim init in ", "fini unclaim " },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct err e = { 0 };
		struct dev *d = NULL;

		fake_begin();
		fake.board.refused = note;
		fake.board.refused_arg = &told;
		told = 0;
		fails_at = row[i].at;
		assert_int_equal(toy_add(&d, &(struct dev_args){ .id = "t" }, &e), 0);
		assert_string_equal(road, row[i].road);
		assert_int_equal(told, 1);
		assert_int_equal(e.count, 0);
		assert_null(d);
		assert_non_null(dev_find(&fake.board, "t"));
		fails_at = NULL;
		assert_int_equal(toy_add(&d, &(struct dev_args){ .id = "u" }, &e), 0);
		assert_non_null(d);
		dev_remove(d);
		road[0] = '\0';
		dev_remove_all(&fake.board);
		assert_string_equal(road, row[i].back);
		fake_end();
	}
}

static void rehearse_it(struct json *j)
{
	newer(j);
	fake.board.refused = note;
	fake.board.refused_arg = &told;
}

TEST(a_rehearsal_looks_at_the_rest_of_what_it_cannot_read)
{
	AUTO_JSON struct json *saved = NULL;
	struct err e = { 0 };
	struct dev *d;

	fake_begin();
	assert_int_equal(toy_add(&d, &(struct dev_args){ .id = "t" }, &e), 0);
	saved = dev_save(d);
	dev_remove(d);
	rehearse_it(saved);
	told = 0;
	fails_at = "init";
	assert_int_equal(toy_add(NULL, &(struct dev_args){ .id = "t", .saved = saved }, &e), 0);
	assert_string_equal(road, "claim init ");
	assert_int_equal(told, 2);
	fails_at = NULL;
	dev_remove_all(&fake.board);
	fake_end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_device_goes_in_and_out_in_turn),
		T(a_failure_goes_back_the_steps_it_went),
		T(an_id_is_taken_once),
		T(a_saved_device_is_reborn_on_the_same_road),
		T(a_saved_state_that_is_not_ours_is_refused_before_init),
		T(a_saved_state_out_of_range_is_refused),
		T(a_rehearsal_takes_note_of_who_cannot_come_and_goes_on),
		T(a_rehearsal_looks_at_the_rest_of_what_it_cannot_read),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
