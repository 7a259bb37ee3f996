/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a TPM's process hands out and takes back, with a process that is played: its answers lie in a
 * socket pair beforehand, and what it was asked is read afterwards.
 */
#include "dev/tpmblob.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "test.h"

#define ALL_CAPS 0, 0x300
#define WORDS_MAX 64

static int ours, theirs;
static struct tpmblob_answer a;

static void say(const uint32_t *words, unsigned int n)
{
	uint32_t be[WORDS_MAX];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	for (unsigned int i = 0; i < n; i++)
		be[i] = __builtin_bswap32(words[i]);
	assert_int_equal(write(theirs, be, n * 4), n * 4);
}

static void begin(const uint32_t *words, unsigned int n)
{
	a = (struct tpmblob_answer){ 0 };
	say(words, n);
	shutdown(theirs, SHUT_WR);
}

static void asked(uint32_t word)
{
	uint32_t be;

	assert_int_equal(read(theirs, &be, 4), 4);
	assert_int_equal(__builtin_bswap32(be), word);
}

static void end(void)
{
	close(ours);
	close(theirs);
}

TEST(what_there_is_comes_in_parts_and_what_there_is_not_is_left_out)
{
	static const uint32_t answers[] = { ALL_CAPS,
					    /* 8 bytes in two parts; none; 4 bytes */
					    0, 2, 8, 4, 0x01020304, 0, 2, 8, 4, 0x05060708, 0x800,
					    0, 0, 0, 0, 0, 4, 4, 0xfffefdfc };
	static const uint32_t asks[] = { 1, 12, 1, 1, 0, 12, 1, 1, 4, 12, 1, 2, 0, 12, 1, 3, 0 };
	struct tpmblob b[TPMBLOB_KINDS];
	struct err e = { 0 };
	uint32_t n;

	begin(answers, ARRAY_LEN(answers));
	assert_int_equal(tpmblob_get(b, &n, ours, &a, &e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(b[0].kind, 1);
	assert_int_equal(b[0].flags, 2);
	assert_string_equal(b[0].bytes, "0102030405060708");
	assert_int_equal(b[1].kind, 3);
	assert_string_equal(b[1].bytes, "fffefdfc");
	for (unsigned int i = 0; i < ARRAY_LEN(asks); i++)
		asked(asks[i]);
	for (uint32_t i = 0; i < n; i++)
		desc_free(&tpmblob_desc, &b[i]);
	end();
}

TEST(answers_that_can_not_be_are_refused)
{
	static const struct {
		const char *words;
		unsigned int n;
		uint32_t answer[8];
	} bad[] = {
		{ "hung up", 0, { 0 } },
		{ "can not hand out", 2, { 0, 0x100 } },
		{ "hung up", 4, { ALL_CAPS, 0, 0 } },
		{ "refuses: 0x5", 6, { ALL_CAPS, 5, 0, 0, 0 } },
		{ "can not be", 6, { ALL_CAPS, 0, 0, 4, 5 } },
		{ "can not be", 6, { ALL_CAPS, 0, 0, 4, 0 } },
		{ "can not be", 6, { ALL_CAPS, 0, 0, 0x7fffffff, 4 } },
		{ "hung up", 7, { ALL_CAPS, 0, 0, 8, 8, 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct tpmblob b[TPMBLOB_KINDS];
		struct err e = { 0 };
		char line[ERR_TEXT];
		uint32_t n;

		begin(bad[i].answer, bad[i].n);
		assert_int_equal(tpmblob_get(b, &n, ours, &a, &e), -1);
		assert_int_equal(n, 0);
		if (!strstr(err_line(&e, line, sizeof(line)), bad[i].words))
			fail_msg("%zu: %s", i, line);
		end();
	}
}

TEST(what_was_saved_is_given_back_or_refused)
{
	static const uint32_t answers[] = { ALL_CAPS, 0 }, refusal[] = { ALL_CAPS, 9 };
	static char lawful[] = "0a0b0c0d", odd[] = "0a0", foul[] = "0g", none[] = "";
	struct tpmblob b = { .kind = 2, .flags = 1, .bytes = lawful };
	char *const bad[] = { odd, foul, none, NULL };
	struct err e = { 0 };

	begin(answers, ARRAY_LEN(answers));
	assert_int_equal(tpmblob_put(&b, 1, ours, &a, &e), 0);
	for (size_t i = 0; i < 6; i++)
		asked(((const uint32_t[]){ 1, 13, 1, 2, 4, 0x0a0b0c0d })[i]);
	end();
	begin(refusal, ARRAY_LEN(refusal));
	assert_int_equal(tpmblob_put(&b, 1, ours, &a, &e), -1);
	end();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		b.bytes = bad[i];
		begin(answers, ARRAY_LEN(answers));
		assert_int_equal(tpmblob_put(&b, 1, ours, &a, &e), -1);
		end();
	}
}

/* What is sent beforehand, and what comes when nobody waits any more, until nothing is late. */
TEST(an_answer_that_comes_late_is_taken_whole_and_nothing_behind_it)
{
	static const uint32_t words[] = { ALL_CAPS, 0, 2, 8, 8, 1, 2, 0x55 };

	for (unsigned int early = 0; early < ARRAY_LEN(words) - 1; early++) {
		struct tpmblob b[TPMBLOB_KINDS];
		struct err e = { 0 };
		uint32_t n, word;

		begin(words, early);
		assert_int_equal(tpmblob_get(b, &n, ours, &a, &e), -1);
		assert_true(tpmblob_is_late(&a));
		end();
		say(words + early, ARRAY_LEN(words) - early); /* the same process, later */
		/* nobody asked for the second when the first did not come */
		for (int i = 0; i < 9 && tpmblob_is_late(&a); i++)
			assert_true(tpmblob_skip(&a, ours));
		assert_false(tpmblob_is_late(&a));
		assert_int_equal(read(ours, &word, 4), 4);
		assert_int_equal(__builtin_bswap32(word), early < 2 ? 0 : 0x55);
		end();
	}
}

TEST(a_late_answer_that_is_none_or_does_not_come_is_told)
{
	static const uint32_t many[] = { ALL_CAPS, 0, 2, 8, TPMBLOB_MAX + 1, 1 };
	struct tpmblob b[TPMBLOB_KINDS];
	struct err e = { 0 };
	uint32_t n;

	begin(many, ARRAY_LEN(many));
	assert_int_equal(tpmblob_get(b, &n, ours, &a, &e), -1);
	assert_true(tpmblob_is_late(&a));
	assert_false(tpmblob_skip(&a, ours));
	end();
	begin(many, 3);
	assert_int_equal(tpmblob_get(b, &n, ours, &a, &e), -1);
	end();
	say(many, 0);
	assert_int_equal(fcntl(ours, F_SETFL, O_NONBLOCK), 0);
	assert_true(tpmblob_skip(&a, ours)); /* not yet */
	shutdown(theirs, SHUT_WR);
	assert_false(tpmblob_skip(&a, ours));
	end();
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_there_is_comes_in_parts_and_what_there_is_not_is_left_out),
		T(answers_that_can_not_be_are_refused),
		T(what_was_saved_is_given_back_or_refused),
		T(an_answer_that_comes_late_is_taken_whole_and_nothing_behind_it),
		T(a_late_answer_that_is_none_or_does_not_come_is_told),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
