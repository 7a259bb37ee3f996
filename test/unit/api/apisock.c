/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about the socket of the REST API (src/api/apisock.c, over src/base/listen.c). */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/apisock.h"
#include "base/fd.h"
#include "base/mem.h"

static struct {
	char dir[64], path[96], lock[104];
} at;

static int setup(void **state)
{
	(void)state;
	strcpy(at.dir, "/tmp/apisock-XXXXXX");
	assert_non_null(mkdtemp(at.dir));
	snprintf(at.path, sizeof(at.path), "%s/api", at.dir);
	snprintf(at.lock, sizeof(at.lock), "%s.lock", at.path);
	return 0;
}

/* Nothing may be left. */
static int teardown(void **state)
{
	(void)state;
	return rmdir(at.dir);
}

static struct apisock *opened(void)
{
	struct api_socket_conf c = { .path = at.path };
	struct apisock *s = NULL;
	struct err e = { 0 };

	if (apisock_new(&s, &c, &e) < 0)
		fail_msg("%s", err_frame(&e, 0));
	return s;
}

static void refused(const struct api_socket_conf *c, enum err_kind kind, const char *why)
{
	char line[ERR_TEXT];
	struct apisock *s;
	struct err e = { 0 };

	assert_int_equal(apisock_new(&s, c, &e), -1);
	if (!strstr(err_line(&e, line, sizeof(line)), why))
		fail_msg("\"%s\" is not in: %s", why, line);
	assert_int_equal(e.kind, kind);
}

static void path_refused(enum err_kind kind, const char *why)
{
	refused(&(struct api_socket_conf){ .path = at.path }, kind, why);
}

static void fd_refused(int fd, const char *why)
{
	refused(&(struct api_socket_conf){ .fd = fd }, ERR_BAD, why);
}

/* Can somebody connect? */
static bool answers(void)
{
	struct sockaddr_un a;
	struct err e = { 0 };
	AUTO_FD int fd = fd_unix(&a, at.path, &e);

	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* A socket file whose owner is dead. */
static void leave_socket(void)
{
	struct sockaddr_un a;
	struct err e = { 0 };
	int fd = fd_unix(&a, at.path, &e);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
}

TEST(apisock_listens_and_leaves_nothing)
{
	mode_t old = umask(077);
	struct apisock *s = opened();
	struct stat st;

	assert_true(answers());
	assert_int_equal(stat(at.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(at.lock, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(fcntl(apisock_fd(s), F_GETFD) & FD_CLOEXEC);
	apisock_free(s);
	assert_false(exists(at.path));
	assert_false(exists(at.lock));
	umask(old);
}

TEST(apisock_replaces_what_a_dead_process_left)
{
	struct apisock *s;

	leave_socket();
	s = opened();
	assert_true(answers());
	apisock_free(s);
	/* a lock file without a holder is no hindrance */
	leave_socket();
	close(open(at.lock, O_RDWR | O_CREAT, 0600));
	s = opened();
	assert_true(answers());
	apisock_free(s);
	assert_false(exists(at.lock));
}

TEST(apisock_refuses_a_path_that_is_in_use)
{
	struct sockaddr_un a;
	struct err e = { 0 };
	struct apisock *s = opened();
	int fd;

	path_refused(ERR_TAKEN, "in use by another process, which holds ");
	assert_true(answers());
	assert_true(exists(at.lock));
	apisock_free(s);
	/* somebody who knows of no lock */
	fd = fd_unix(&a, at.path, &e);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 0), 0);
	path_refused(ERR_TAKEN, "it is in use by another process");
	assert_false(exists(at.lock));
	/* his queue is full */
	for (int i = 0; i < 3; i++)
		answers();
	path_refused(ERR_TAKEN, "it is in use by another process");
	close(fd);
	unlink(at.path);
}

TEST(apisock_refuses_what_is_no_socket)
{
	char longer[200];

	close(open(at.path, O_WRONLY | O_CREAT, 0600));
	path_refused(ERR_TAKEN, "no socket");
	assert_true(exists(at.path));
	unlink(at.path);
	assert_int_equal(mkdir(at.path, 0700), 0);
	path_refused(ERR_TAKEN, "no socket");
	rmdir(at.path);
	assert_int_equal(symlink("/dev/null", at.lock), 0);
	path_refused(ERR_IO, "open the lock");
	unlink(at.lock);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	memcpy(longer, at.dir, strlen(at.dir));
	longer[strlen(at.dir)] = '/';
	refused(&(struct api_socket_conf){ .path = longer }, ERR_BAD, "1 to 107 bytes");
	refused(&(struct api_socket_conf){ .path = (char *)"/nowhere/api" }, ERR_IO,
		"open the lock /nowhere/api.lock");
}

TEST(apisock_leaves_the_files_of_others)
{
	struct apisock *s = opened();

	unlink(at.path);
	unlink(at.lock);
	leave_socket();
	close(open(at.lock, O_RDWR | O_CREAT, 0600));
	apisock_free(s);
	assert_true(exists(at.path));
	assert_true(exists(at.lock));
	unlink(at.path);
	unlink(at.lock);
}

TEST(apisock_takes_a_listening_descriptor)
{
	struct sockaddr_un a;
	struct err e = { 0 };
	int fd = fd_unix(&a, at.path, &e), p[2], other;
	struct apisock *s;

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	fd_refused(fd, "does not listen");
	assert_int_equal(listen(fd, 5), 0);
	fcntl(fd, F_SETFD, 0);
	assert_int_equal(apisock_new(&s, &(struct api_socket_conf){ .fd = fd }, &e), 0);
	assert_int_equal(apisock_fd(s), fd);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(answers());
	apisock_free(s);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	/* its file is its maker's */
	assert_true(exists(at.path));
	unlink(at.path);

	assert_int_equal(pipe(p), 0);
	fd_refused(p[0], "no unix stream socket");
	fd_refused(999, "Bad file descriptor");
	other = socket(AF_INET, SOCK_STREAM, 0);
	fd_refused(other, "no unix stream socket");
	close(other);
	other = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	fd_refused(other, "no unix stream socket");
	close(other);
	/* what was refused is still its maker's */
	assert_int_equal(fcntl(p[0], F_GETFD), 0);
	close(p[0]);
	close(p[1]);
}

/* One of many starters: at the word, it tries, holds what it got for a moment, and tells. 0: had it,
 * alone; 1: was refused; else something is wrong. */
static int starter(int go, bool dies)
{
	struct api_socket_conf c = { .path = at.path };
	struct apisock *s;
	struct err e = { 0 };
	char b;

	if (read(go, &b, 1) != 0)
		return 2;
	if (apisock_new(&s, &c, &e) < 0)
		return e.kind == ERR_TAKEN ? 1 : 3;
	if (!answers())
		return 4;
	usleep(2000);
	/* nobody has taken it away */
	if (!answers())
		return 5;
	if (!dies)
		apisock_free(s);
	return 0;
}

TEST(apisock_has_one_owner_however_many_start_at_once)
{
	for (int round = 0; round < 100; round++) {
		unsigned int told[6] = { 0 };
		int go[2], status;

		if (round % 2)
			leave_socket();
		assert_int_equal(pipe(go), 0);
		for (int i = 0; i < 4; i++) {
			if (fork() == 0) {
				close(go[1]);
				_exit(starter(go[0], round % 4 == 3));
			}
		}
		close(go[1]);
		close(go[0]);
		for (int i = 0; i < 4; i++) {
			assert_true(wait(&status) > 0);
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 6);
			told[WEXITSTATUS(status)]++;
		}
		assert_int_equal(told[0] + told[1], 4);
		assert_true(told[0] >= 1);
		unlink(at.path);
		unlink(at.lock);
	}
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(apisock_listens_and_leaves_nothing),
		T(apisock_replaces_what_a_dead_process_left),
		T(apisock_refuses_a_path_that_is_in_use),
		T(apisock_refuses_what_is_no_socket),
		T(apisock_leaves_the_files_of_others),
		T(apisock_takes_a_listening_descriptor),
		T(apisock_has_one_owner_however_many_start_at_once),
	};

	return cmocka_run_group_tests(t, setup, teardown);
}
