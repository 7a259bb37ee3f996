/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The random source: who gets how much of it, and what a source that is dry, ended or slow does to
 * the guest and to the loop. virtio 1.3 §5.4.
 */
#include "conf/conf.h"

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "dev/rng.h"
#include "virtio/drive.h"

static void up(struct rig *r, const char *src)
{
	const struct rng_conf c = { .src = (char *)(uintptr_t)src };

	rig_init(r);
	rig_add(r, &rng_class, &c);
	drv_start(r, 0);
}

static void ask(struct rig *r, uint16_t head, uint64_t at, uint32_t len)
{
	drv_desc(r, 0, head, at, len, F_WRITE, 0);
	drv_offer(r, 0, head);
}

/* A file of our own in the test's directory. */
static const char *file_of(char path[64], const char *text)
{
	snprintf(path, 64, "/tmp/virga-rng-%d", getpid());
	unlink(path);
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
	return path;
}

TEST(a_request_is_filled_from_urandom)
{
	struct rig r;

	up(&r, "/dev/urandom");
	ask(&r, 0, BUF, 64);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 1);
	assert_int_equal(drv_used_len(&r, 0, 0), 64);
	assert_true(mem_rd(&r, BUF, 8) | mem_rd(&r, BUF + 56, 8));
	assert_int_equal(mem_rd(&r, BUF + 64, 8), 0);
	assert_true(drv_pending(&r, 0));
	rig_fini(&r);
}

TEST(a_huge_request_gets_a_bounded_part)
{
	struct rig r;

	up(&r, "/dev/urandom");
	ask(&r, 0, BUF, 0x80000);
	for (uint16_t i = 1; i < 8; i++)
		ask(&r, i, BUF, 0x80000);
	drv_kick(&r, 0);
	rig_turn(&r, 1);
	assert_in_range(drv_used(&r, 0), 1, 7); /* one turn, one slice */
	assert_int_equal(drv_used_len(&r, 0, 0), 65536);
	rig_turn(&r, 8);
	assert_int_equal(drv_used(&r, 0), 8);
	rig_fini(&r);
}

TEST(a_request_without_room_comes_back_empty)
{
	struct rig r;

	up(&r, "/dev/urandom");
	drv_desc(&r, 0, 0, BUF, 16, 0, 0);
	drv_offer(&r, 0, 0);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 1);
	assert_int_equal(drv_used_len(&r, 0, 0), 0);
	rig_fini(&r);
}

TEST(a_dry_source_keeps_the_request_until_it_has_something)
{
	char path[64];
	struct rig r;
	int fd;

	snprintf(path, sizeof(path), "/tmp/virga-rng-%d", getpid());
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK);
	up(&r, path);
	ask(&r, 0, BUF, 8);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 0);
	assert_int_equal(write(fd, "abc", 3), 3);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 1);
	assert_int_equal(drv_used_len(&r, 0, 0), 3);
	assert_int_equal(mem_rd(&r, BUF, 3), 'a' | 'b' << 8 | 'c' << 16);
	ask(&r, 1, BUF, 8);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	drv_start(&r, 0); /* a reset while it waits */
	assert_int_equal(write(fd, "xyz", 3), 3);
	rig_turn(&r, 3);
	ask(&r, 1, BUF, 8);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 1);
	assert_int_equal(drv_used_len(&r, 0, 0), 3);
	rig_fini(&r);
	close(fd);
	unlink(path);
}

TEST(a_source_that_ended_keeps_the_guest_waiting_and_goes_on_when_it_grows)
{
	char path[64];
	struct rig r;
	FILE *f;

	up(&r, file_of(path, "0123"));
	ask(&r, 0, BUF, 16);
	ask(&r, 1, BUF + 16, 16);
	drv_kick(&r, 0);
	rig_turn(&r, 5);
	assert_int_equal(drv_used(&r, 0), 1);
	assert_int_equal(drv_used_len(&r, 0, 0), 4);
	f = fopen(path, "a");
	fputs("45678", f);
	fclose(f);
	usleep(250000);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 2);
	assert_int_equal(drv_used_len(&r, 0, 1), 5);
	rig_fini(&r);
	unlink(path);
}

TEST(a_foul_ring_needs_a_reset)
{
	struct rig r;

	up(&r, "/dev/urandom");
	ask(&r, 0, RAM_SIZE, 16);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_status(&r), 15 | 64);
	drv_start(&r, 0);
	ask(&r, 0, BUF, 16);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 1);
	rig_fini(&r);
}

TEST(a_source_that_is_none_is_named)
{
	static const char *const sources[] = { "/nowhere/at/all", "/tmp" };
	struct rig r;

	rig_init(&r);
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const struct rng_conf c = { .src = (char *)(uintptr_t)sources[i] };
		struct err e = { 0 };
		char line[256];

		assert_int_equal(rig_add_saved(&r, &rng_class, &c, NULL, &e), -1);
		assert_non_null(strstr(err_line(&e, line, sizeof(line)), sources[i]));
	}
	rig_fini(&r);
}

TEST(saved_and_made_again_it_is_the_same)
{
	const struct rng_conf c = { .src = (char *)(uintptr_t) "/dev/urandom" };
	struct err e = { 0 };
	struct json *j, *k;
	struct rig r;

	up(&r, c.src);
	ask(&r, 0, BUF, 16);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	vdev_stop(vdev_of(r.d));
	j = dev_save(r.d);
	dev_remove(r.d);
	assert_int_equal(rig_add_saved(&r, &rng_class, &c, j, &e), 0);
	k = dev_save(r.d);
	assert_true(json_equal_to(j, k));
	json_put(j);
	json_put(k);
	vdev_resume(r.d);
	ask(&r, 0, BUF, 16);
	drv_kick(&r, 0);
	rig_turn(&r, 3);
	assert_int_equal(drv_used(&r, 0), 2);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_request_is_filled_from_urandom),
		T(a_huge_request_gets_a_bounded_part),
		T(a_request_without_room_comes_back_empty),
		T(a_dry_source_keeps_the_request_until_it_has_something),
		T(a_source_that_ended_keeps_the_guest_waiting_and_goes_on_when_it_grows),
		T(a_foul_ring_needs_a_reset),
		T(a_source_that_is_none_is_named),
		T(saved_and_made_again_it_is_the_same),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
