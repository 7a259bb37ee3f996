/* SPDX-License-Identifier: Apache-2.0 */
/* Memory comes back as a table says, in each mode, or the table is refused with the reason. */
#include "fuzz/memtable.h"

#include "test.h"

#define MUTATIONS 500
#define RANGES_MAX 8u

static const enum restore_mode modes[] = { RESTORE_COPY, RESTORE_MAP, RESTORE_ON_DEMAND };

static bool may(enum restore_mode mode)
{
	return mode != RESTORE_ON_DEMAND || mt_may_serve();
}

TEST(what_was_saved_comes_back_in_each_mode)
{
	static const struct saved_range whole[] = { { 0, MT_LOW, 0 },
						    { MT_HIGH, MT_BYTES - MT_LOW, MT_LOW } };
	/* over the border of two zones, and a page alone */
	static const struct saved_range pieces[] = {
		{ 0, MIB(1) + MT_PAGE, 0 },
		{ MIB(1) + MT_PAGE, MIB(1) - MT_PAGE, MIB(1) + MT_PAGE },
		{ MT_HIGH, MT_PAGE, MT_LOW },
		{ MT_HIGH + MT_PAGE, MT_BYTES - MT_LOW - MT_PAGE, MT_LOW + MT_PAGE }
	};

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		if (!may(modes[i]))
			continue;
		assert_int_equal(mt_try(mt_root(whole, 2), modes[i], NULL, 0), MT_FILLED);
		assert_int_equal(mt_try(mt_root(pieces, 4), modes[i], NULL, 0), MT_FILLED);
	}
}

TEST(what_the_machine_has_not_is_refused_by_name)
{
	static const struct {
		struct saved_range r[2];
		const char *words;
	} bad[] = {
		{ { { 0, MT_LOW, 0 }, { MT_HIGH, MT_PAGE, MT_LOW } }, "bytes of memory" },
		{ { { 0, MT_LOW, 0 }, { MT_HIGH + MT_PAGE, MT_BYTES - MT_LOW, MT_LOW } },
		  "has none there" },
		{ { { 0, MT_LOW + MT_PAGE, 0 },
		    { MT_HIGH, MT_BYTES - MT_LOW - MT_PAGE, MT_LOW + MT_PAGE } },
		  "has none there" },
		{ { { 0, MT_LOW, 0 }, { 1ull << 60, MT_BYTES - MT_LOW, MT_LOW } },
		  "has none there" },
		{ { { 0, MT_LOW, 0 }, { MT_LOW - MT_PAGE, MT_BYTES - MT_LOW, MT_LOW } },
		  "cannot lie there" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad) * ARRAY_LEN(modes); i++) {
		enum restore_mode mode = modes[i % ARRAY_LEN(modes)];
		char why[400];

		if (!may(mode))
			continue;
		assert_int_equal(mt_try(mt_root(bad[i / 3].r, 2), mode, why, sizeof(why)),
				 MT_REFUSED);
		if (!strstr(why, bad[i / 3].words))
			fail_msg("%s: %s", bad[i / 3].words, why);
	}
}

static uint64_t random_number(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static uint32_t cut(struct saved_range *r, uint32_t n, uint64_t base, uint64_t size, uint64_t off)
{
	while (size) {
		uint64_t part = (random_number() % (size / MT_PAGE) + 1) * MT_PAGE;

		if (n + 1 >= RANGES_MAX / 2 && base < MT_HIGH)
			part = size;
		if (n + 1 == RANGES_MAX)
			part = size;
		r[n++] = (struct saved_range){ base, part, off };
		base += part;
		off += part;
		size -= part;
	}
	return n;
}

static void mutate(struct saved_range *r, uint32_t *n)
{
	uint32_t i = (uint32_t)random_number() % *n, k = (uint32_t)random_number() % *n;
	uint64_t *field[] = { &r[i].base, &r[i].size, &r[i].off };
	uint64_t *f = field[random_number() % 3];
	struct saved_range t = r[i];

	switch (random_number() % 7) {
	case 0:
		*f += MT_PAGE;
		break;
	case 1:
		*f -= MT_PAGE;
		break;
	case 2:
		*f ^= 1ull << random_number() % 64;
		break;
	case 3:
		*f = random_number();
		break;
	case 4:
		r[i] = r[k];
		r[k] = t;
		break;
	case 5:
		r[i] = r[k];
		break;
	default:
		r[i] = r[--*n];
		*n += !*n;
	}
}

TEST(every_mutation_is_refused_with_a_reason_or_right)
{
	unsigned int refused = 0, filled = 0;

	for (int i = 0; i < MUTATIONS; i++) {
		enum restore_mode mode = modes[i % 3];
		struct saved_range r[RANGES_MAX];
		uint32_t n = cut(r, 0, 0, MT_LOW, 0);

		n = cut(r, n, MT_HIGH, MT_BYTES - MT_LOW, MT_LOW);
		for (uint64_t k = random_number() % 3; k; k--)
			mutate(r, &n);
		if (mt_try(mt_root(r, n), may(mode) ? mode : RESTORE_COPY, NULL, 0) == MT_FILLED)
			filled++;
		else
			refused++;
	}
	assert_true(refused > MUTATIONS / 4 && filled > MUTATIONS / 4);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_was_saved_comes_back_in_each_mode),
		T(what_the_machine_has_not_is_refused_by_name),
		T(every_mutation_is_refused_with_a_reason_or_right),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
