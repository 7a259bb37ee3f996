/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of virga-remote: options before and behind the command, questions, wrong usage. */
#include "test.h"

#include <string.h>

#include "base/mem.h"
#include "remote/words.h"

static struct words w;
static struct err e;
static char text_[400];

static int parse(const char *text)
{
	char *argv[32] = { (char *)(uintptr_t) "virga-remote" }, *word = text_;
	int n = 1;

	strncpy(text_, text, sizeof(text_) - 1);
	for (char *next; *text && word; word = next) {
		next = strchr(word, ' ');
		if (next)
			*next++ = '\0';
		argv[n++] = word;
	}
	err_clear(&e);
	return words_parse(&w, n, argv, &e);
}

static void refuses(const char *text, const char *sentence)
{
	char line[ERR_TEXT];

	if (!parse(text))
		fail_msg("'%s' was taken", text);
	if (!strstr(err_line(&e, line, sizeof(line)), sentence))
		fail_msg("'%s': %s", text, line);
	words_free(&w);
}

TEST(options_stand_before_the_command_and_behind_it)
{
	static const char *const same[] = {
		"--api-socket /s --async boot",
		"boot --async --api-socket /s",
		"--api-socket=/s boot --async",
		"--async boot --api-socket=/s",
	};

	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		assert_int_equal(parse(same[i]), 0);
		assert_int_equal(w.what, WORDS_ASK);
		assert_string_equal(w.api_socket, "/s");
		assert_true(w.async);
		assert_string_equal(w.route->command, "boot");
		assert_int_equal(w.count, 0);
		words_free(&w);
	}
}

TEST(words_behind_a_command_are_kept_in_order)
{
	assert_int_equal(parse("--timeout 5 resize --cpus 2 --memory=1G --balloon"), 0);
	assert_int_equal(w.timeout, 5);
	assert_int_equal(w.count, 4);
	assert_string_equal(w.args[0], "--cpus");
	assert_string_equal(w.args[1], "2");
	assert_string_equal(w.args[2], "--memory=1G");
	words_free(&w);
	assert_int_equal(parse("create -"), 0);
	assert_string_equal(w.args[0], "-");
	words_free(&w);
	/* a value may look like an option of ours */
	assert_int_equal(parse("resize-disk --disk --async --size 1G"), 0);
	assert_false(w.async);
	assert_string_equal(w.args[1], "--async");
	words_free(&w);
}

TEST(questions_are_known_wherever_they_stand)
{
	static const struct {
		const char *text;
		enum words_what what;
		const char *command, *name;
	} t[] = {
		{ "", WORDS_HELP, NULL, NULL },
		{ "-h", WORDS_HELP, NULL, NULL },
		{ "--help boot", WORDS_HELP, "boot", NULL },
		{ "resize --help", WORDS_HELP, "resize", NULL },
		{ "help resize", WORDS_HELP, "resize", NULL },
		{ "-V", WORDS_VERSION, NULL, NULL },
		{ "--api-socket /s --version", WORDS_VERSION, NULL, NULL },
		{ "--completion zsh", WORDS_COMPLETION, NULL, "zsh" },
		{ "--doc=man", WORDS_DOC, NULL, "man" },
		{ "-V -h", WORDS_VERSION, NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		if (parse(t[i].text))
			fail_msg("%s", err_frame(&e, 0));
		assert_int_equal(w.what, t[i].what);
		assert_int_equal(!t[i].command, !w.route);
		if (w.route)
			assert_string_equal(w.route->command, t[i].command);
		if (t[i].name)
			assert_string_equal(w.name, t[i].name);
		words_free(&w);
	}
}

TEST(wrong_usage_is_refused_with_a_sentence)
{
	refuses("--api-socket /s", "say a command");
	refuses("bot", "there is no command 'bot' (did you mean 'boot'?)");
	refuses("--api-sokket /s boot", "did you mean '--api-socket'?");
	refuses("boot --cpus 2", "unknown option '--cpus'");
	refuses("-x boot", "unknown option '-x'");
	refuses("boot --api-socket", "--api-socket needs a value");
	refuses("--api-socket /a --api-socket /b boot", "--api-socket is said twice");
	refuses("--async=on boot", "--async takes no value");
	refuses("--timeout soon ping", "--timeout");
	refuses("--timeout 1000001 ping", "--timeout");
	refuses("ping a b c d e f g h i j k l m n o p q", "ping takes fewer words");
	refuses("-- boot", "unknown option '--'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(options_stand_before_the_command_and_behind_it),
		T(words_behind_a_command_are_kept_in_order),
		T(questions_are_known_wherever_they_stand),
		T(wrong_usage_is_refused_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
