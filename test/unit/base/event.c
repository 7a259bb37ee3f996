/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the event monitor (src/base/event.c). */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/event.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

static const struct json *checked(const struct json *j, const char *key, enum json_kind kind)
{
	const struct json *v = json_get(j, key);

	assert_non_null(v);
	assert_int_equal(json_kind(v), kind);
	return v;
}

TEST(event_is_a_json_object_and_an_empty_line)
{
	char path[] = "/tmp/virga-event-XXXXXX", *text, *end;
	AUTO_FD int fd = mkstemp(path);
	struct err e = { 0 };
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "of an earlier run", 17), 17);
	assert_int_equal(event_to_path(path, &e), 0);
	event("vm", "booted", NULL); /* before there is a thread to write it */
	assert_int_equal(event_start(&e), 0);
	event("virtio-device", "activated", "a \"disk\"\n");
	event_finish();
	assert_int_equal(fd_slurp(path, 4096, &text, &len, &e), 0);
	unlink(path);

	end = strstr(text, "\n\n");
	assert_non_null(end);
	{
		AUTO_JSON struct json *j = NULL;
		const struct json *t;

		assert_int_equal(json_parse(&j, text, (size_t)(end - text), &e), 0);
		t = checked(j, "timestamp", JSON_IS_OBJ);
		assert_in_range(json_int(checked(t, "secs", JSON_IS_INT)), 0, 60);
		assert_in_range(json_int(checked(t, "nanos", JSON_IS_INT)), 1, 999999999);
		assert_string_equal(json_str(checked(j, "source", JSON_IS_STR)), "vm");
		assert_string_equal(json_str(checked(j, "event", JSON_IS_STR)), "booted");
		checked(j, "properties", JSON_IS_NULL);
	}
	{
		AUTO_JSON struct json *j = NULL;
		const char *second = end + 2;

		end = strstr(second, "\n\n");
		assert_non_null(end);
		assert_int_equal(end[2], '\0');
		assert_int_equal(json_parse(&j, second, (size_t)(end - second), &e), 0);
		assert_string_equal(
			json_str(checked(checked(j, "properties", JSON_IS_OBJ), "id", JSON_IS_STR)),
			"a \"disk\"\n");
	}
	free(text);
}

TEST(a_property_has_the_name_that_is_said)
{
	char path[] = "/tmp/virga-event-XXXXXX", *text;
	AUTO_FD int fd = mkstemp(path);
	struct err e = { 0 };
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(event_to_path(path, &e), 0);
	assert_int_equal(event_start(&e), 0);
	event_with("guest", "panic", "event", "crash_loaded");
	event_finish();
	assert_int_equal(fd_slurp(path, 4096, &text, &len, &e), 0);
	unlink(path);
	assert_non_null(strstr(text, "\"properties\":{\"event\":\"crash_loaded\"}}\n\n"));
	free(text);
}

TEST(event_without_a_monitor_is_nothing)
{
	event("vm", "booted", NULL);
}

/* What a pipe holds, as text. */
static size_t drain(int fd, char *text, size_t size)
{
	size_t used = 0;
	ssize_t n;

	while (used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return used;
}

static unsigned int times(const char *text, const char *what)
{
	unsigned int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

#define LOST "\"vmm\",\"event\":\"events-lost\",\"properties\":{\"count\":\""
#define MANY 5000 /* events: several times what pipe and buffer hold */

/* More events than pipe and buffer hold, for a reader who does not read yet. */
static void flood(int p[2])
{
	struct err e = { 0 };

	assert_int_equal(pipe(p), 0);
	assert_int_equal(event_to_fd(p[1], &e), 0);
	assert_int_equal(event_start(&e), 0);
	for (int i = 0; i < MANY; i++)
		event("vm", "paused", NULL);
}

TEST(event_never_waits_for_its_reader_and_counts_what_is_lost)
{
	static char text[1 << 19];
	unsigned int told, lost = 0;
	size_t used;
	int p[2];

	flood(p);
	assert_false(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	/* the reader wakes up, and the next event says what he has missed */
	used = 0;
	for (unsigned int i = 0; i < 100 && times(text, "paused") < 500; i++) {
		used += (size_t)read(p[0], text + used, 4096);
		text[used] = '\0';
	}
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	for (unsigned int i = 0; i < 20; i++) {
		used += drain(p[0], text + used, sizeof(text) - used);
		usleep(10000);
	}
	event("vm", "resumed", NULL);
	for (unsigned int i = 0; i < 1000 && !strstr(text, "resumed"); i++) {
		used += drain(p[0], text + used, sizeof(text) - used);
		usleep(10000);
	}
	event_finish();
	close(p[0]);
	close(p[1]);

	told = times(text, "\"paused\"");
	assert_non_null(strstr(text, "\"resumed\""));
	for (char *at = text; (at = strstr(at, LOST)); at += strlen(LOST))
		lost += (unsigned int)strtoul(at + strlen(LOST), NULL, 10);
	assert_true(lost);
	assert_int_equal(told + lost, MANY);
}

TEST(event_monitor_ends_though_nobody_reads)
{
	uint64_t begun;
	int p[2];

	flood(p);
	begun = loop_now_ns();
	event_finish();
	assert_true(loop_now_ns() - begun < 3000000000ull);
	close(p[0]);
	close(p[1]);
}

/* Has the writer's thread done all that it was told to? */
static bool writer_rests(void)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *at;
	bool rests = false;

	while (!rests && (at = readdir(dir))) {
		char path[300], name[32], state = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", at->d_name);
		f = fopen(path, "r");
		rests = f && fscanf(f, "%*d (%31[^)]) %c", name, &state) == 2 &&
			!strcmp(name, "event-monitor") && state == 'S';
		if (f)
			fclose(f);
	}
	closedir(dir);
	return rests;
}

static void wait_for_rest(void)
{
	for (int i = 0; i < 20000 && !writer_rests(); i++)
		usleep(1000);
	assert_true(writer_rests());
}

TEST(event_monitor_outlives_its_reader)
{
	static char text[4096];
	char dir[] = "/tmp/virga-event-XXXXXX", path[64];
	struct err e = { 0 };
	int reader;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(event_to_path(path, &e), 0);
	assert_int_equal(event_start(&e), 0);
	event("vm", "booting", NULL);
	wait_for_rest();
	close(reader);
	event("vm", "booted", NULL);
	wait_for_rest();
	reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	event("vm", "paused", NULL);
	event_finish();
	drain(reader, text, sizeof(text));
	close(reader);
	unlink(path);
	rmdir(dir);
	assert_null(strstr(text, "booted"));
	assert_non_null(strstr(text, "\"paused\""));
	assert_int_equal(text[0], '{');
}

TEST(a_fifo_is_not_waited_for_and_its_first_reader_misses_nothing)
{
	static char text[4096];
	char dir[] = "/tmp/virga-event-XXXXXX", path[64];
	uint64_t begun = loop_now_ns();
	struct err e = { 0 };
	int reader;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(event_to_path(path, &e), 0);
	assert_int_equal(event_start(&e), 0);
	event("vmm", "starting", NULL);
	event("vm", "booting", NULL);
	assert_true(loop_now_ns() - begun < 500000000ull);
	usleep(120000);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(reader, text, 1) == 1);
	event("vm", "booted", NULL);
	event_finish();
	fcntl(reader, F_SETFL, O_NONBLOCK);
	drain(reader, text + 1, sizeof(text) - 1);
	close(reader);
	unlink(path);
	rmdir(dir);
	assert_int_equal(text[0], '{');
	assert_int_equal(times(text, "\"starting\"") + times(text, "\"booting\"") +
				 times(text, "\"booted\""),
			 3);
	assert_int_equal(times(text, "\n\n"), 3);
}

TEST(event_monitor_ends_though_nobody_opened_the_fifo)
{
	char dir[] = "/tmp/virga-event-XXXXXX", path[64];
	uint64_t begun = loop_now_ns();
	struct err e = { 0 };

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(event_to_path(path, &e), 0);
	assert_int_equal(event_start(&e), 0);
	event("vmm", "starting", NULL);
	event_finish();
	assert_true(loop_now_ns() - begun < 2000000000ull);
	unlink(path);
	rmdir(dir);
}

/* --- subscribers --- */

struct listener {
	struct event_sub sub;
	char text[1 << 16];
	size_t used;
	bool refuses;
	unsigned int refused;
};

static bool hear(void *arg, const char *text, size_t len)
{
	struct listener *l = arg;

	if (l->refuses) {
		l->refused++;
		return false;
	}
	assert_true(l->used + len < sizeof(l->text));
	memcpy(l->text + l->used, text, len);
	l->used += len;
	l->text[l->used] = '\0';
	return true;
}

static void turn(struct loop *l)
{
	loop_stop(l);
	loop_run(l);
}

TEST(subscribers_hear_what_happens_from_then_on)
{
	static struct listener a, b;
	struct err e = { 0 };
	struct loop *l;

	assert_int_equal(loop_new(&l, "test", &e), 0);
	event("vm", "booting", NULL);
	event_subscribe(&a.sub, l, hear, &a);
	event("vm", "booted", NULL);
	event_subscribe(&b.sub, l, hear, &b);
	assert_int_equal(event_subscribers(), 2);
	event("virtio-device", "activated", "_disk0");
	turn(l);
	event_unsubscribe(&a.sub);
	event_unsubscribe(&a.sub);
	event("vm", "pausing", NULL);
	turn(l);
	event_unsubscribe(&b.sub);
	assert_int_equal(event_subscribers(), 0);
	loop_free(l);

	assert_null(strstr(a.text, "booting"));
	assert_null(strstr(a.text, "pausing"));
	assert_int_equal(times(a.text, "\n\n"), 2);
	assert_non_null(strstr(a.text, "\"booted\",\"properties\":null}\n\n{"));
	assert_null(strstr(b.text, "booted"));
	assert_non_null(strstr(b.text, "{\"id\":\"_disk0\"}}\n\n"));
	assert_int_equal(times(b.text, "\n\n"), 2);
}

TEST(a_subscriber_who_does_not_listen_is_told_how_much_he_lost)
{
	static struct listener slow, deaf;
	unsigned int lost = 0, told;
	struct err e = { 0 };
	struct loop *l;
	uint64_t before = event_losses();

	assert_int_equal(loop_new(&l, "test", &e), 0);
	event_subscribe(&slow.sub, l, hear, &slow);
	event_subscribe(&deaf.sub, l, hear, &deaf);
	/* more than a ring holds, in one turn of the loop */
	for (int i = 0; i < 1000; i++)
		event("vm", "paused", NULL);
	deaf.refuses = true;
	turn(l);
	event("vm", "resumed", NULL);
	turn(l);
	deaf.refuses = false;
	event("vm", "resumed", NULL);
	turn(l);
	event_unsubscribe(&slow.sub);
	event_unsubscribe(&deaf.sub);
	loop_free(l);

	told = times(slow.text, "\"paused\"");
	for (char *at = slow.text; (at = strstr(at, LOST)); at += strlen(LOST))
		lost += (unsigned int)strtoul(at + strlen(LOST), NULL, 10);
	assert_true(told > 50);
	assert_int_equal(told + lost, 1000);
	assert_int_equal(times(slow.text, "\"resumed\""), 2);
	/* what the ring lost before, and what it refused itself, come in two sentences */
	assert_int_equal(times(deaf.text, "\"paused\""), 0);
	assert_int_equal(times(deaf.text, LOST), 1);
	assert_int_equal(times(deaf.text, "\"resumed\""), 1);
	assert_true(event_losses() > before);
}

TEST(every_event_is_counted_by_its_name)
{
	unsigned int n = event_kinds_count, i = 0;
	uint64_t known, other = event_times(n);

	while (strcmp(event_kinds[i].name, "rebooting") != 0)
		i++;
	known = event_times(i);
	event("vm", "rebooting", NULL);
	event("vm", "rebooting", NULL);
	event("nobody", "rebooting", NULL);
	assert_int_equal(event_times(i), known + 2);
	assert_int_equal(event_times(n), other + 1);
}

TEST(event_refuses_a_descriptor_that_cannot_be_written)
{
	struct err e = { 0 };
	AUTO_FD int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(event_to_fd(fd, &e), -1);
	assert_int_equal(event_to_fd(1000000, &e), -1);
	assert_int_equal(event_to_path("/nowhere/events", &e), -1);
}

/* The tree's own copy lies three folders above this file. */
TEST(the_page_on_events_names_them_all)
{
	const char *here = __FILE__, *slash = strrchr(here, '/');
	AUTO_FREE char *path = mem_fmt("%.*s/../../../docs/events.md", (int)(slash - here), here);
	AUTO_FREE char *page = NULL;
	struct err e = { 0 };
	size_t len;

	assert_int_equal(fd_slurp(path, 1 << 20, &page, &len, &e), 0);
	for (unsigned int i = 0; i < event_kinds_count; i++) {
		const struct event_kind *k = &event_kinds[i];
		AUTO_FREE char *row = mem_fmt("\n| `%s` | `%s` | %s%s%s | %s |\n", k->source,
					      k->name, *k->properties ? "`" : "", k->properties,
					      *k->properties ? "`" : "", k->when);

		if (!strstr(page, row))
			fail_msg("docs/events.md has no row %s", row);
	}
	assert_int_equal(times(page, "\n| `"), event_kinds_count);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_page_on_events_names_them_all),
		T(event_without_a_monitor_is_nothing),
		T(event_is_a_json_object_and_an_empty_line),
		T(a_property_has_the_name_that_is_said),
		T(event_refuses_a_descriptor_that_cannot_be_written),
		T(event_never_waits_for_its_reader_and_counts_what_is_lost),
		T(event_monitor_ends_though_nobody_reads),
		T(event_monitor_outlives_its_reader),
		T(a_fifo_is_not_waited_for_and_its_first_reader_misses_nothing),
		T(event_monitor_ends_though_nobody_opened_the_fifo),
		T(subscribers_hear_what_happens_from_then_on),
		T(a_subscriber_who_does_not_listen_is_told_how_much_he_lost),
		T(every_event_is_counted_by_its_name),
	};

	signal(SIGPIPE, SIG_IGN); /* as main does */
	log_init(LOG_ERROR, STDERR_FILENO);
	return cmocka_run_group_tests(t, NULL, NULL);
}
