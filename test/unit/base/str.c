/* SPDX-License-Identifier: Apache-2.0 */
/* The text builder and the value grammar of the command line. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

TEST(str_grows_and_says_what_it_holds)
{
	struct str s = { 0 };

	assert_string_equal(str_text(&s), "");
	for (int i = 0; i < 1000; i++)
		str_add(&s, "%d,", i % 10);
	assert_int_equal(s.len, 2000);
	str_cut(&s, 4);
	assert_string_equal(str_text(&s), "0,1,");
	str_fini(&s);
}

TEST(str_stops_at_its_limit)
{
	struct str s = { .max = 5 };

	str_puts(&s, "abc");
	assert_false(s.cut);
	str_puts(&s, "defg");
	assert_true(s.cut);
	assert_string_equal(str_text(&s), "abcde");
	str_putc(&s, 'x');
	assert_int_equal(s.len, 5);
	str_fini(&s);
}

static void pieces_are(const char *text, char sep, const char *const *want)
{
	const char *at = text, *piece;
	size_t len;

	while (str_piece(&at, sep, &piece, &len)) {
		assert_non_null(*want);
		assert_int_equal(strlen(*want), len);
		assert_memory_equal(piece, *want, len);
		want++;
	}
	assert_null(*want);
}

TEST(quotes_and_brackets_protect_commas)
{
	pieces_are("a=1,b=[2,3],c=\"4,5\"", ',',
		   (const char *[]){ "a=1", "b=[2,3]", "c=\"4,5\"", NULL });
	pieces_are("[a@[1,2],b@3],c", ',', (const char *[]){ "[a@[1,2],b@3]", "c", NULL });
	pieces_are("a,,b", ',', (const char *[]){ "a", "", "b", NULL });
	pieces_are("\"]\",b", ',', (const char *[]){ "\"]\"", "b", NULL });
	pieces_are("a,", ',', (const char *[]){ "a", "", NULL });
}

TEST(unbalanced_text_is_refused)
{
	struct err e = { 0 };

	assert_int_equal(str_balanced("a=[1,[2]],b=\"]\"", &e), 0);
	assert_int_equal(str_balanced("a=]", &e), -1);
	assert_int_equal(str_balanced("a=[[]", &e), -1);
	assert_int_equal(str_balanced("a=\"x", &e), -1);
}

static void unquotes_to(const char *text, const char *want)
{
	char *got = str_unquote(text, strlen(text));

	assert_string_equal(got, want);
	free(got);
}

TEST(two_quotes_within_quotes_are_one)
{
	unquotes_to("\"a,b\"", "a,b");
	unquotes_to("\"say \"\"x\"\"\"", "say \"x\"");
	unquotes_to("a\"b\"c", "abc");
	unquotes_to("\"\"", "");
	unquotes_to("", "");
}

TEST(sizes_take_k_m_and_g)
{
	static const struct {
		const char *text;
		uint64_t want;
	} good[] = { { "0", 0 },	   { "4096", 4096 },
		     { "4K", 4096 },	   { "512M", 512ull << 20 },
		     { "1g", 1ull << 30 }, { "18446744073709551615", UINT64_MAX } };
	static const char *const bad[] = { "",
					   "K",
					   "1T",
					   "1KK",
					   "-1",
					   "1.5G",
					   " 1",
					   "0x10",
					   "18446744073709551616",
					   "17179869184G",
					   "1M " };
	struct err e = { 0 };
	uint64_t v;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(str_to_size(&v, good[i].text, &e), 0);
		assert_int_equal(v, good[i].want);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(str_to_size(&v, bad[i], &e), -1);
}

TEST(numbers_are_whole_and_fit)
{
	struct err e = { 0 };
	uint64_t u;
	int64_t i;

	assert_int_equal(str_to_uint(&u, "18446744073709551615", &e), 0);
	assert_int_equal(str_to_uint(&u, "18446744073709551616", &e), -1);
	assert_int_equal(str_to_uint(&u, "", &e), -1);
	assert_int_equal(str_to_int(&i, "-9223372036854775808", &e), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(str_to_int(&i, "9223372036854775808", &e), -1);
	assert_int_equal(str_to_hex(&u, "0xE9", &e), 0);
	assert_int_equal(u, 0xe9);
	assert_int_equal(str_to_hex(&u, "e9", &e), 0);
	assert_int_equal(str_to_hex(&u, "0x", &e), -1);
	assert_int_equal(str_to_hex(&u, "0x10000000000000000", &e), -1);
}

TEST(toggles_are_on_or_off_in_any_case)
{
	static const char *const on[] = { "on", "ON", "true", "True" };
	static const char *const off[] = { "off", "OFF", "false", "" };
	struct err e = { 0 };
	bool b;

	for (int i = 0; i < 4; i++) {
		assert_int_equal(str_to_bool(&b, on[i], &e), 0);
		assert_true(b);
		assert_int_equal(str_to_bool(&b, off[i], &e), 0);
		assert_false(b);
	}
	assert_int_equal(str_to_bool(&b, "yes", &e), -1);
	assert_int_equal(str_to_bool(&b, "1", &e), -1);
}

TEST(distance_counts_changed_letters)
{
	assert_int_equal(str_distance("num_queue", "num_queues"), 1);
	assert_int_equal(str_distance("size", "sise"), 1);
	assert_int_equal(str_distance("isze", "size"), 1);
	assert_int_equal(str_distance("", "abc"), 3);
	assert_int_equal(str_distance("abc", "abc"), 0);
}

TEST(hex_goes_both_ways)
{
	uint8_t bytes[3] = { 0, 0xab, 0xff }, back[3];
	struct err e = { 0 };
	struct str s = { 0 };

	str_hex(&s, bytes, 3);
	assert_string_equal(str_text(&s), "00abff");
	assert_int_equal(str_unhex(back, 3, str_text(&s), &e), 0);
	assert_memory_equal(bytes, back, 3);
	assert_int_equal(str_unhex(back, 3, "00abf", &e), -1);
	assert_int_equal(str_unhex(back, 3, "00abfg", &e), -1);
	str_fini(&s);
}

TEST(sizes_are_written_as_people_say_them)
{
	struct str s = { 0 };

	str_size(&s, 512ull << 20);
	str_putc(&s, ' ');
	str_size(&s, 4097);
	str_putc(&s, ' ');
	str_size(&s, 0);
	str_putc(&s, ' ');
	str_size(&s, 1ull << 40);
	assert_string_equal(str_text(&s), "512M 4097 0 1024G");
	str_fini(&s);
}

TEST(a_uuid_is_read_in_each_of_its_spellings)
{
	static const char *const good[] = {
		"00112233-4455-6677-8899-AABBccddeeff",
		"00112233445566778899aabbccddeeff",
		"{00112233-4455-6677-8899-aabbccddeeff}",
		"urn:uuid:00112233-4455-6677-8899-aabbccddeeff",
	};
	static const char *const bad[] = {
		"",
		"0",
		"{}",
		"00112233-4455-6677-8899-aabbccddee",
		"00112233-4455-6677-8899-aabbccddeeff0",
		"00112233-4455-6677-8899-aabbccddeeff-",
		"-0112233-4455-6677-8899-aabbccddeeff",
		"001122334455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899aabbccddeeff",
		"0011-22334455-6677-8899-aabbccddeeff",
		"0011223g-4455-6677-8899-aabbccddeeff",
		" 0112233-4455-6677-8899-aabbccddeeff",
		"+0112233-4455-6677-8899-aabbccddeeff",
		"{00112233-4455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeeff}",
		"urn:uuid:{00112233-4455-6677-8899-aabbccddeeff}",
	};
	uint8_t uuid[16];
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		memset(uuid, 0x55, sizeof(uuid));
		assert_int_equal(str_to_uuid(uuid, good[i], &e), 0);
		for (unsigned int k = 0; k < 16; k++)
			assert_int_equal(uuid[k], k * 0x11);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		e = (struct err){ 0 };
		assert_int_equal(str_to_uuid(uuid, bad[i], &e), -1);
		assert_int_equal(e.kind, ERR_BAD);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(str_grows_and_says_what_it_holds),
		T(str_stops_at_its_limit),
		T(quotes_and_brackets_protect_commas),
		T(unbalanced_text_is_refused),
		T(two_quotes_within_quotes_are_one),
		T(sizes_take_k_m_and_g),
		T(numbers_are_whole_and_fit),
		T(toggles_are_on_or_off_in_any_case),
		T(distance_counts_changed_letters),
		T(hex_goes_both_ways),
		T(sizes_are_written_as_people_say_them),
		T(a_uuid_is_read_in_each_of_its_spellings),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
