/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about descriptors (src/base/fd.c). */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

/* An unlinked file that holds text. */
static int file_with(const char *text)
{
	char path[] = "/tmp/virga-fd-XXXXXX";
	int fd = mkstemp(path);
	struct err e = { 0 };

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(fd_write_all(fd, text, strlen(text), &e), 0);
	return fd;
}

TEST(fd_open_names_path_and_cause)
{
	struct err e = { 0 };
	char line[128];

	assert_int_equal(fd_open("/nowhere/disk", O_RDONLY, 0, &e), -1);
	assert_string_equal(err_line(&e, line, sizeof(line)),
			    "open /nowhere/disk: No such file or directory");
}

TEST(fd_open_is_close_on_exec)
{
	struct err e = { 0 };
	AUTO_FD int fd = fd_open("/dev/null", O_RDONLY, 0, &e);

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

TEST(fd_read_at_reads_all_or_tells_the_early_end)
{
	AUTO_FD int fd = file_with("0123456789");
	struct err e = { 0 };
	char buf[8], line[128];

	assert_int_equal(fd_read_at(fd, buf, 4, 3, &e), 0);
	assert_memory_equal(buf, "3456", 4);
	assert_int_equal(fd_read_at(fd, buf, 8, 6, &e), -1);
	assert_int_equal(e.kind, ERR_IO);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "ends early"));
	assert_int_equal(fd_read_at(fd, buf, 0, 100, &e), 0);
}

TEST(fd_close_keeps_errno_and_forgets_the_number)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	errno = ENOTTY;
	fd_close(&fd);
	assert_int_equal(fd, -1);
	fd_close(&fd);
	assert_int_equal(errno, ENOTTY);
}

TEST(fd_slurp_takes_the_whole_file_up_to_max)
{
	char path[] = "/tmp/virga-slurp-XXXXXX";
	AUTO_FREE char *big = mem_new(10001);
	AUTO_FD int fd = mkstemp(path);
	struct err e = { 0 };
	char *out = NULL;
	size_t len;

	memset(big, 'x', 10000);
	assert_int_equal(fd_write_all(fd, big, 10000, &e), 0);
	assert_int_equal(fd_slurp(path, 10000, &out, &len, &e), 0);
	assert_int_equal(len, 10000);
	assert_string_equal(out, big);
	free(out);
	assert_int_equal(fd_slurp(path, 9999, &out, &len, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(fd_slurp(path, 100, &out, &len, &e), 0);
	assert_int_equal(len, 0);
	assert_string_equal(out, "");
	free(out);
	unlink(path);
	/* a file that does not know its size */
	assert_int_equal(fd_slurp("/proc/self/status", 1 << 20, &out, &len, &e), 0);
	assert_true(len > 100);
	free(out);
}

TEST(fd_size_is_for_files_and_refuses_others)
{
	AUTO_FD int file = file_with("123");
	struct err e = { 0 };
	AUTO_FD int tty = fd_open("/dev/null", O_RDONLY, 0, &e);
	uint64_t size = 0;

	assert_int_equal(fd_size(file, &size, &e), 0);
	assert_int_equal(size, 3);
	assert_int_equal(fd_size(tty, &size, &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
}

TEST(fd_signal_counts_and_never_blocks)
{
	struct err e = { 0 };
	AUTO_FD int ev = fd_event(&e);
	const uint64_t nearly_full = UINT64_MAX - 1;

	assert_true(ev >= 0);
	assert_int_equal(fd_drain(ev), 0);
	fd_signal(ev);
	fd_signal(ev);
	assert_int_equal(fd_drain(ev), 2);
	assert_int_equal(write(ev, &nearly_full, sizeof(nearly_full)), sizeof(nearly_full));
	fd_signal(ev);
	assert_true(fd_drain(ev) == nearly_full);
}

TEST(a_unix_socket_has_a_path_that_fits_its_address)
{
	char path[110];
	struct sockaddr_un a;
	struct err e = { 0 };
	int fd;

	memset(path, 'p', sizeof(path));
	path[108] = '\0';
	assert_int_equal(fd_unix(&a, path, &e), -1);
	assert_int_equal(fd_unix(&a, "", &e), -1);
	assert_int_equal(e.kind, ERR_BAD);
	path[107] = '\0';
	fd = fd_unix(&a, path, &e);
	assert_true(fd >= 0);
	assert_string_equal(a.sun_path, path);
	close(fd);
}

TEST(fd_reach_connects_where_somebody_listens_and_says_who_must)
{
	char path[] = "/tmp/virga-fd-XXXXXX";
	struct sockaddr_un a;
	struct err e = { 0 };
	int dir = mkstemp(path), server, fd;

	assert_true(dir >= 0);
	close(dir);
	unlink(path);
	assert_int_equal(fd_reach(path, "the moon", &e), -1);
	assert_non_null(strstr(err_frame(&e, 0), "the moon must listen there"));
	server = fd_unix(&a, path, &e);
	assert_int_equal(bind(server, (const struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(server, 1), 0);
	fd = fd_reach(path, "the moon", &e);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	close(server);
	unlink(path);
}

TEST(fd_may_reach_tells_the_same_and_who_listens_hears_nothing)
{
	char path[] = "/tmp/virga-fd-XXXXXX";
	struct sockaddr_un a;
	struct err e = { 0 };
	int dir = mkstemp(path), server;

	assert_true(dir >= 0);
	close(dir);
	assert_int_equal(fd_may_reach(path, "the moon", &e), -1); /* a file */
	unlink(path);
	assert_int_equal(fd_may_reach(path, "the moon", &e), -1);
	assert_int_equal(e.kind, ERR_ABSENT);
	server = fd_unix(&a, path, &e);
	assert_int_equal(bind(server, (const struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(fd_may_reach(path, "the moon", &e), -1); /* deaf */
	assert_non_null(strstr(err_frame(&e, 0), "Connection refused"));
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(fd_may_reach(path, "the moon", &e), 0);
	assert_int_equal(accept(server, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	close(server);
	assert_int_equal(fd_may_reach(path, "the moon", &e), -1); /* dead */
	assert_non_null(strstr(err_frame(&e, 0), "the moon must listen there"));
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(fd_open_names_path_and_cause),
		T(fd_open_is_close_on_exec),
		T(fd_read_at_reads_all_or_tells_the_early_end),
		T(fd_close_keeps_errno_and_forgets_the_number),
		T(fd_slurp_takes_the_whole_file_up_to_max),
		T(fd_size_is_for_files_and_refuses_others),
		T(fd_signal_counts_and_never_blocks),
		T(a_unix_socket_has_a_path_that_fits_its_address),
		T(fd_reach_connects_where_somebody_listens_and_says_who_must),
		T(fd_may_reach_tells_the_same_and_who_listens_hears_nothing),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
