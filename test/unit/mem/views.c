/* SPDX-License-Identifier: Apache-2.0 */
/* Views are what a model says after each cut: which addresses, of where in the file, in how many pieces. */
#include "mem/views.h"

#include <string.h>

#include "test.h"

#define ADDRESSES 96u
#define CUTS 20000

/* Where in the file each address lies; 0: nowhere. */
static uint64_t model[ADDRESSES + 1];

static unsigned int pieces(const uint64_t *where)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ADDRESSES; i++)
		n += where[i] && (!i || where[i] != where[i - 1] + 1);
	return n;
}

static void check(struct views *v)
{
	for (uint64_t a = 0; a < ADDRESSES; a++) {
		uint64_t n, off = 0, same = 1;
		bool is = views_at(v, a, ADDRESSES - a, &n, &off);

		while (a + same < ADDRESSES && model[a + same] == (model[a] ? model[a] + same : 0))
			same++;
		assert_int_equal(is, model[a] != 0);
		assert_int_equal(n, same);
		if (is)
			assert_int_equal(off, model[a]);
		assert_int_equal(views_at(v, a, 1, &n, &off), is);
		assert_int_equal(n, 1);
	}
	assert_int_equal(views_count(v), pieces(model));
}

static void add(struct views *v, uint64_t base, uint64_t size, uint64_t off)
{
	views_add(v, base, size, off);
	for (uint64_t i = 0; i < size; i++)
		model[base + i] = off + i;
}

static struct views *three(void)
{
	struct views *v = views_new();

	memset(model, 0, sizeof(model));
	add(v, 2, 30, 1000);
	add(v, 32, 20, 5000); /* adjoins, and is of elsewhere in the file */
	add(v, 60, 36, 2000);
	return v;
}

static uint64_t random_number(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

TEST(every_cut_leaves_what_a_model_leaves)
{
	struct views *v = three();

	check(v);
	for (int i = 0; i < CUTS; i++) {
		uint64_t a = random_number() % ADDRESSES;
		uint64_t len = random_number() % (i % 10 ? 3 : ADDRESSES - a) + 1;
		uint64_t then[ADDRESSES + 1];

		if (len > ADDRESSES - a)
			len = ADDRESSES - a;
		memcpy(then, model, sizeof(then));
		memset(then + a, 0, len * sizeof(then[0]));
		assert_int_equal(views_without(v, a, len), pieces(then));
		assert_int_equal(views_count(v), pieces(model));
		views_drop(v, a, len);
		memcpy(model, then, sizeof(then));
		check(v);
		if (!views_count(v) || i % 50 == 0) {
			views_free(v);
			v = three();
		}
	}
	views_free(v);
}

TEST(what_lies_beside_them_is_no_view)
{
	struct views *v = views_new();
	uint64_t n, off;

	assert_false(views_at(v, 0, 7, &n, &off));
	assert_int_equal(n, 7);
	views_drop(v, 0, UINT64_MAX);
	views_add(v, 100, 10, 0);
	views_drop(v, 0, 100);
	views_drop(v, 110, 5);
	assert_int_equal(views_count(v), 1);
	assert_false(views_at(v, 90, 100, &n, &off));
	assert_int_equal(n, 10);
	assert_true(views_at(v, 109, 100, &n, &off));
	assert_int_equal(n, 1);
	assert_int_equal(off, 9);
	assert_false(views_at(v, 110, 4, &n, &off));
	assert_int_equal(n, 4);
	views_free(v);
	views_free(NULL);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_cut_leaves_what_a_model_leaves),
		T(what_lies_beside_them_is_no_view),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
