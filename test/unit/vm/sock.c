/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console's socket and its clients, all in one thread: the loop is run turn by turn. The device
 * is played here.
 */
#include "vm/sock.h"

#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "vm/backlog.h"

static struct device {
	struct outlet *s;
	struct loop *io;
	char path[64];
	size_t room; /* input that it takes */
	char got[4096];
	size_t len;
	unsigned int writable;
} dev;

static size_t on_input(void *arg, const uint8_t *data, size_t len)
{
	size_t n = min_u64(min_u64(len, dev.room), sizeof(dev.got) - 1 - dev.len);

	(void)arg;
	memcpy(dev.got + dev.len, data, n);
	dev.len += n;
	dev.room -= n;
	return n;
}

static void on_writable(void *arg)
{
	(void)arg;
	dev.writable++;
}

static void turns(int n)
{
	while (n--) {
		loop_stop(dev.io);
		loop_run(dev.io);
	}
}

static void begin(void)
{
	struct err e = { 0 };

	signal(SIGPIPE, SIG_IGN);
	dev = (struct device){ .room = sizeof(dev.got) };
	snprintf(dev.path, sizeof(dev.path), "/tmp/virga-sock-%d", getpid());
	assert_int_equal(loop_new(&dev.io, "io", &e), 0);
	assert_int_equal(sock_new(&dev.s, dev.path, &e), 0);
	dev.s->c.input = on_input;
	dev.s->c.writable = on_writable;
	outlet_attach(dev.s, dev.io);
}

static void end(void)
{
	outlet_detach(dev.s);
	loop_free(dev.io);
	dev.s->ops->free(dev.s);
	assert_int_equal(access(dev.path, F_OK), -1);
}

static int client(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", dev.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	turns(3);
	return fd;
}

static size_t put(const char *text)
{
	return dev.s->c.ops->write(&dev.s->c, (const uint8_t *)text, strlen(text));
}

/* What there is for a client now. */
static const char *hears(int fd)
{
	static char text[4096];
	ssize_t n;

	turns(3);
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return errno == EAGAIN ? "" : "error";
	if (n == 0)
		return "end";
	text[n] = '\0';
	return text;
}

static void says(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	turns(3);
}

static const char *device_got(void)
{
	turns(3);
	dev.got[dev.len] = '\0';
	dev.len = 0;
	return dev.got;
}

TEST(what_was_said_before_a_client_came_is_kept_for_the_first)
{
	begin();
	put("early ");
	turns(2);
	put("words");
	int a = client(), b = client();

	assert_string_equal(hears(a), "early words");
	assert_string_equal(hears(b), "");
	put("now");
	assert_string_equal(hears(a), "now");
	assert_string_equal(hears(b), "now");
	close(a);
	close(b);
	turns(3);
	put("later");
	a = client();
	assert_string_equal(hears(a), "later");
	close(a);
	end();
}

TEST(the_newest_megabyte_is_kept_and_nobody_waits)
{
	static char block[4097];
	uint64_t n = 0;
	size_t total = 0;
	ssize_t got;

	begin();
	for (int i = 0; i < 600; i++) {
		for (size_t k = 0; k < 4096; k += 8, n++)
			memcpy(block + k, &n, 8);
		assert_int_equal(dev.s->c.ops->write(&dev.s->c, (uint8_t *)block, 4096), 4096);
	}
	int a = client();
	uint64_t want = n - BACKLOG_MAX / 8;

	while ((got = read(a, block, 4096)) > 0 || total < BACKLOG_MAX) {
		turns(2);
		if (got <= 0)
			continue;
		assert_int_equal(got % 8, 0);
		for (ssize_t k = 0; k < got; k += 8, want++)
			assert_memory_equal(block + k, &want, 8);
		total += (size_t)got;
	}
	assert_int_equal(total, BACKLOG_MAX);
	assert_int_equal(want, n);
	close(a);
	end();
}

TEST(one_writes_and_the_next_takes_over)
{
	begin();
	int a = client(), b = client(), c = client();

	says(b, "no");
	says(a, "one");
	assert_string_equal(device_got(), "one");
	assert_int_equal(shutdown(a, SHUT_WR), 0); /* a goes on listening */
	turns(3);
	says(b, "two");
	says(c, "no");
	assert_string_equal(device_got(), "two");
	close(b);
	says(c, "three");
	assert_string_equal(device_got(), "three");
	put("all");
	assert_string_equal(hears(a), "all");
	assert_string_equal(hears(c), "all");
	close(a);
	close(c);
	end();
}

TEST(input_waits_for_room_and_outlives_its_client)
{
	begin();
	int a = client();

	dev.room = 2;
	says(a, "abcdef");
	close(a);
	turns(5);
	assert_string_equal(device_got(), "ab");
	dev.room = 2;
	dev.s->c.ops->want_input(&dev.s->c, true);
	assert_string_equal(device_got(), "cd");
	dev.room = 100;
	dev.s->c.ops->want_input(&dev.s->c, true);
	assert_string_equal(device_got(), "ef");
	a = client();
	says(a, "next");
	assert_string_equal(device_got(), "next");
	close(a);
	end();
}

/* Writes for a time, reading a's output as it comes; the bytes that a got. */
static size_t flood(int a, uint64_t ns)
{
	static uint8_t block[65536];
	uint64_t late = loop_now_ns() + ns;
	size_t total = 0;

	memset(block, 'x', sizeof(block));
	while (loop_now_ns() < late) {
		dev.s->c.ops->write(&dev.s->c, block, sizeof(block));
		turns(1);
		for (ssize_t n; a >= 0 && (n = read(a, block, sizeof(block))) > 0;)
			total += (size_t)n;
		if (a < 0 && dev.writable)
			break;
	}
	return total;
}

TEST(a_watcher_that_never_reads_is_put_off_and_the_others_go_on)
{
	begin();
	int a = client(), b = client();

	flood(a, 1500000000);
	assert_true(flood(a, 200000000) > 4 * BACKLOG_MAX);
	const char *said = hears(b);

	assert_int_equal(*said, 'x');
	while (*said == 'x')
		said = hears(b);
	assert_string_equal(said, "end");
	close(a);
	close(b);
	end();
}

TEST(a_writer_that_never_reads_is_put_off_within_two_seconds)
{
	uint64_t began = loop_now_ns();

	begin();
	int a = client();

	while (!dev.writable && loop_now_ns() - began < 5000000000)
		flood(-1, 50000000);
	assert_true(dev.writable);
	assert_true(loop_now_ns() - began < 2000000000);
	assert_int_equal(put("free"), 4);
	close(a);
	end();
}

TEST(more_clients_than_the_limit_are_refused)
{
	int fds[SOCK_CLIENTS_MAX], more;

	begin();
	for (size_t i = 0; i < SOCK_CLIENTS_MAX; i++)
		fds[i] = client();
	more = client();
	assert_string_equal(hears(more), "end");
	put("x");
	for (size_t i = 0; i < SOCK_CLIENTS_MAX; i++)
		assert_string_equal(hears(fds[i]), "x");
	for (size_t i = 0; i < SOCK_CLIENTS_MAX; i++)
		close(fds[i]);
	close(more);
	end();
}

TEST(clients_stay_while_the_machine_is_made_anew)
{
	struct err e = { 0 };

	begin();
	int a = client();

	put("one ");
	outlet_detach(dev.s);
	loop_free(dev.io);
	put("two ");
	assert_int_equal(write(a, "typed", 5), 5);
	assert_int_equal(loop_new(&dev.io, "io", &e), 0);
	outlet_attach(dev.s, dev.io);
	put("three");
	assert_string_equal(hears(a), "one two three");
	assert_string_equal(device_got(), "typed");
	close(a);
	end();
}

TEST(the_end_waits_for_a_slow_reader)
{
	static uint8_t block[300000];
	size_t total = 0;
	ssize_t n;

	begin();
	int a = client();
	pid_t pid = fork();

	if (!pid) {
		dup2(a, 3); /* the other end is not kept open here */
		close_range(4, ~0u, 0);
		a = 3;
		usleep(100000);
		while ((n = read(a, block, sizeof(block))) > 0 || (n < 0 && errno == EAGAIN))
			total += n > 0 ? (size_t)n : 0;
		_exit(total != 3 * sizeof(block));
	}
	close(a);
	for (int i = 0; i < 3; i++)
		assert_int_equal(dev.s->c.ops->write(&dev.s->c, block, sizeof(block)),
				 sizeof(block));
	end();
	int status;

	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void refused(const char *path, const char *why)
{
	struct err e = { 0 };
	struct outlet *s;
	char line[400];

	assert_int_equal(sock_new(&s, path, &e), -1);
	if (!strstr(err_line(&e, line, sizeof(line)), why))
		fail_msg("%s", line);
}

TEST(a_dead_socket_is_replaced_and_nothing_else)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char file[] = "/tmp/virga-sock-file-XXXXXX", longer[200];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/virga-sock-%d", getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	begin();
	refused(dev.path, "in use");
	end();
	close(mkstemp(file));
	refused(file, "no socket");
	unlink(file);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	refused(longer, "1 to 107 bytes");
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(what_was_said_before_a_client_came_is_kept_for_the_first),
		T(the_newest_megabyte_is_kept_and_nobody_waits),
		T(one_writes_and_the_next_takes_over),
		T(input_waits_for_room_and_outlives_its_client),
		T(a_watcher_that_never_reads_is_put_off_and_the_others_go_on),
		T(a_writer_that_never_reads_is_put_off_within_two_seconds),
		T(more_clients_than_the_limit_are_refused),
		T(clients_stay_while_the_machine_is_made_anew),
		T(the_end_waits_for_a_slow_reader),
		T(a_dead_socket_is_replaced_and_nothing_else),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
