/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about log lines (src/base/log.c): their form, their bounds, the limit per site. */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

/* A pipe that the log writes to; what came is read at once. */
struct catch
{
	int in, out;
	char text[16384];
};

static void catch_start(struct catch *c, enum log_level level)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	c->in = p[0];
	c->out = p[1];
	log_init(level, c->out);
}

/* Ends the catching and returns the text. */
static const char *catch_end(struct catch *c)
{
	ssize_t n = 0;
	size_t used = 0;

	fd_close(&c->out);
	while ((n = read(c->in, c->text + used, sizeof(c->text) - 1 - used)) > 0)
		used += (size_t)n;
	c->text[used] = '\0';
	fd_close(&c->in);
	log_init(LOG_WARN, STDERR_FILENO);
	return c->text;
}

static unsigned int lines(const char *s)
{
	unsigned int n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

TEST(log_line_has_time_thread_level_place_and_message)
{
	static struct catch c;
	unsigned int sec, us, line;
	char thread[32], level[16], file[32], rest[64];

	catch_start(&c, LOG_INFO);
	log_info("disk %s", "d0");
	catch_end(&c);
	assert_int_equal(sscanf(c.text, "virga: %u.%6us: <%31[^>]> %15[^:]:%31[^:]:%u -- %63[^\n]",
				&sec, &us, thread, level, file, &line, rest),
			 7);
	assert_string_equal(level, "INFO");
	assert_string_equal(file, "log.c");
	assert_string_equal(rest, "disk d0");
	assert_int_equal(lines(c.text), 1);
}

TEST(log_leaves_out_what_is_below_the_level)
{
	static struct catch c;

	catch_start(&c, LOG_WARN);
	log_info("no");
	log_debug("no");
	log_warn("yes");
	log_error("yes");
	assert_int_equal(lines(catch_end(&c)), 2);
	assert_null(strstr(c.text, "no\n"));
}

TEST(log_message_cannot_forge_a_line)
{
	static struct catch c;

	catch_start(&c, LOG_WARN);
	log_warn("serial \"%s\"", "a\nvirga: 0.0s: <vmm> ERROR\x1b[2J\r");
	assert_int_equal(lines(catch_end(&c)), 1);
	assert_null(strchr(c.text, '\x1b'));
	assert_null(strchr(c.text, '\r'));
}

TEST(log_line_is_bounded)
{
	static char big[8192];
	static struct catch c;

	memset(big, 'x', sizeof(big) - 1);
	catch_start(&c, LOG_WARN);
	log_warn("%s", big);
	log_warn("next");
	assert_int_equal(lines(catch_end(&c)), 2);
	assert_true(strlen(c.text) < 4096);
}

TEST(log_line_has_the_form_that_was_asked_for)
{
	static struct catch c;
	struct err e = { 0 };

	catch_start(&c, LOG_WARN);
	assert_int_equal(log_format("{levelchar} {location}: {msg}|", &e), 0);
	log_warn("disk %s", "d\x01");
	assert_int_equal(log_format("{", &e), -1);
	catch_end(&c);
	assert_int_equal(strncmp(c.text, "W log.c:", 8), 0);
	assert_non_null(strstr(c.text, ": disk d?|\n"));
	assert_int_equal(
		log_format("virga: {boottime}s: <{thread}> {level}:{location} -- {msg}", &e), 0);
}

TEST(log_waits_for_no_reader)
{
	static char text[1 << 18];
	static struct catch c;
	const char *now;
	size_t used;
	ssize_t n;

	catch_start(&c, LOG_WARN);
	assert_int_equal(fcntl(c.in, F_SETPIPE_SZ, 4096), 4096);
	for (int i = 0; i < 90; i++)
		log_warn("%0100d", i); /* more than the pipe holds */
	used = (size_t)read(c.in, text, 4096);
	log_warn("now");
	log_init(LOG_WARN, STDERR_FILENO);
	fd_close(&c.out);
	while ((n = read(c.in, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	fd_close(&c.in);
	assert_true(lines(text) < 60);
	now = strstr(text, "-- now (");
	assert_non_null(now);
	assert_non_null(strstr(now, " more left out)\n"));
	assert_int_equal(lines(text) - 1 + strtoul(now + 8, NULL, 10), 90);
}

static void guest_speaks(void)
{
	log_guest("bad descriptor");
}

TEST(log_guest_says_ten_lines_at_once_and_counts_the_rest)
{
	const uint64_t second = 1000000000, start = 77 * second + 5;
	struct log_site site = { .burst = 10 };
	uint32_t dropped = 0, said = 0;

	for (int i = 0; i < 1000; i++)
		said += log_site_admits(&site, start, &dropped);
	assert_int_equal(said, 10);
	assert_int_equal(dropped, 0);
	assert_false(log_site_admits(&site, start + second / 2, &dropped));
	assert_true(log_site_admits(&site, start + second, &dropped));
	assert_int_equal(dropped, 991);
	assert_false(log_site_admits(&site, start + second, &dropped));
	for (int i = 0; i < 20; i++)
		said += log_site_admits(&site, start + 100 * second, &dropped);
	assert_int_equal(said, 20);
}

TEST(log_guest_is_one_line_at_its_site)
{
	static struct catch c;

	catch_start(&c, LOG_WARN);
	guest_speaks();
	assert_int_equal(lines(catch_end(&c)), 1);
	assert_non_null(strstr(c.text, "bad descriptor"));
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(log_line_has_time_thread_level_place_and_message),
		T(log_leaves_out_what_is_below_the_level),
		T(log_message_cannot_forge_a_line),
		T(log_line_is_bounded),
		T(log_line_has_the_form_that_was_asked_for),
		T(log_waits_for_no_reader),
		T(log_guest_says_ten_lines_at_once_and_counts_the_rest),
		T(log_guest_is_one_line_at_its_site),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
