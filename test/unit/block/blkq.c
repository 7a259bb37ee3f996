/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of disk requests over all engines: on the file system of /tmp or of the source, and on
 * one that is memory. The loop does not run; the tests take its turns.
 */
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "block/img.h"

#define SIZE (1 << 20)
#define DEPTH 8

struct rig {
	char path[64];
	int fd; /* a second look at the file */
	struct img *img;
	struct loop *loop;
	struct blkq *q;
};

static char disk_dir[64]; /* not memory */
static char ram_dir[] = "/dev/shm/virga-blkq-XXXXXX";

static void rig_open(struct rig *r, const char *dir, struct img_args *a, unsigned int engine)
{
	struct err e = { 0 };
	uint8_t block[4096];

	snprintf(r->path, sizeof(r->path), "%s/img", dir);
	r->fd = open(r->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(r->fd >= 0);
	for (size_t i = 0; i < SIZE / sizeof(block); i++) {
		for (size_t k = 0; k < sizeof(block); k++)
			block[k] = (uint8_t)(i + k / 512);
		assert_int_equal(write(r->fd, block, sizeof(block)), sizeof(block));
	}
	a->path = r->path;
	a->fd = -1;
	if (img_open(&r->img, a, &e))
		fail_msg("%s", err_frame(&e, 0));
	assert_int_equal(loop_new(&r->loop, "test", &e), 0);
	if (blkq_new(&r->q, r->img, r->loop, DEPTH, engine, &e))
		fail_msg("%s", err_frame(&e, 0));
}

static void rig_close(struct rig *r)
{
	blkq_drain(r->q);
	blkq_free(r->q);
	loop_free(r->loop);
	img_free(r->img);
	unlink(r->path);
	fd_close(&r->fd);
}

struct req {
	struct blk_io io;
	struct kiov iov[4];
	int ended;
	enum blk_status status;
};

static void req_done(struct blk_io *io, enum blk_status s)
{
	struct req *r = container_of(io, struct req, io);

	r->ended++;
	r->status = s;
}

static void req_go(struct rig *rig, struct req *r, enum blk_op op, uint64_t off, void *buf,
		   uint64_t len)
{
	*r = (struct req){ .io = { .op = op, .off = off, .len = len, .done = req_done } };
	if (buf) {
		r->iov[0] = kiov_of(buf, len);
		r->io.iov = r->iov;
		r->io.iovs = 1;
	}
	blkq_submit(rig->q, &r->io);
	assert_int_equal(r->ended, 0); /* never from within submit */
}

static enum blk_status one(struct rig *rig, enum blk_op op, uint64_t off, void *buf, uint64_t len)
{
	struct req r;

	req_go(rig, &r, op, off, buf, len);
	blkq_drain(rig->q);
	assert_int_equal(r.ended, 1);
	return r.status;
}

static void read_and_write(const char *dir, bool direct, unsigned int engine)
{
	uint8_t *buf = aligned_alloc(4096, 16384), *look = aligned_alloc(4096, 16384);
	struct img_args a = { .direct = direct };
	struct rig r;

	rig_open(&r, dir, &a, engine);
	assert_int_equal(one(&r, BLK_READ, 8192, buf, 8192), BLK_OK);
	assert_int_equal(buf[0], 2);
	assert_int_equal(buf[512], 3);
	assert_int_equal(buf[8191], 3 + 7);
	memset(buf, 0xa5, 16384);
	assert_int_equal(one(&r, BLK_WRITE, 4096, buf, 16384), BLK_OK);
	assert_int_equal(one(&r, BLK_FLUSH, 0, NULL, 0), BLK_OK);
	assert_int_equal(pread(r.fd, look, 16384, 4096), 16384);
	assert_memory_equal(buf, look, 16384);
	assert_int_equal(pread(r.fd, look, 4096, 0), 4096);
	assert_int_equal(look[511], 0);
	free(buf);
	free(look);
	rig_close(&r);
}

TEST(the_ring_reads_and_writes)
{
	read_and_write(disk_dir, false, BLKQ_URING);
}

TEST(plain_calls_read_and_write)
{
	read_and_write(disk_dir, false, BLKQ_SYNC);
}

TEST(aio_reads_and_writes)
{
	read_and_write(disk_dir, false, BLKQ_AIO);
}

TEST(direct_io_reads_and_writes)
{
	read_and_write(disk_dir, true, BLKQ_URING);
	read_and_write(disk_dir, true, BLKQ_AIO);
	read_and_write(disk_dir, true, BLKQ_SYNC);
}

/* Looked at from outside, as a device does that does not sleep yet. */
static void seen(unsigned int engine)
{
	uint8_t *buf = aligned_alloc(4096, 4096), look[4096];
	struct img_args a = { .direct = true };
	uint64_t end = loop_now_ns() + 5000000000ull;
	struct req q;
	struct rig r;

	rig_open(&r, disk_dir, &a, engine);
	memset(buf, 0x5a, 4096);
	assert_false(blkq_ready(r.q));
	q = (struct req){ .io = { .op = BLK_WRITE, .off = 4096, .len = 4096 } };
	q.io.done = req_done;
	q.iov[0] = kiov_of(buf, 4096);
	q.io.iov = q.iov;
	q.io.iovs = 1;
	blkq_submit(r.q, &q.io);
	blkq_turn(r.q);
	while (!q.ended && loop_now_ns() < end)
		if (blkq_ready(r.q))
			blkq_turn(r.q);
	assert_int_equal(q.ended, 1);
	assert_int_equal(q.status, BLK_OK);
	assert_false(blkq_ready(r.q));
	assert_int_equal(pread(r.fd, look, 4096, 4096), 4096);
	assert_memory_equal(buf, look, 4096);
	free(buf);
	rig_close(&r);
}

TEST(an_end_is_seen_without_sleeping)
{
	seen(BLKQ_URING);
	seen(BLKQ_AIO);
	seen(BLKQ_SYNC);
}

TEST(the_ring_works_on_memory_too)
{
	read_and_write(ram_dir, false, BLKQ_URING);
}

TEST(memory_needs_no_ring)
{
	struct img_args a = { 0 };
	struct rig r;

	rig_open(&r, ram_dir, &a, BLKQ_AUTO);
	assert_string_equal(blkq_engine_name(r.q), "sync");
	rig_close(&r);
	rig_open(&r, disk_dir, &a, BLKQ_AUTO);
	assert_string_equal(blkq_engine_name(r.q), "io_uring");
	rig_close(&r);
}

/* Odd addresses, many chunks, and several of them at once, who share one aligned buffer. */
static void misaligned(unsigned int engine)
{
	size_t len = 600 << 10;
	uint8_t *mem = malloc(3 * len), *look = malloc(len);
	struct img_args a = { .direct = true };
	struct req q[3];
	struct rig r;

	rig_open(&r, disk_dir, &a, engine);
	for (int i = 0; i < 3; i++)
		req_go(&r, &q[i], BLK_READ, 8192, mem + (size_t)i * len + 1, len - 512);
	blkq_drain(r.q);
	assert_int_equal(pread(r.fd, look, len - 512, 8192), len - 512);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(q[i].ended, 1);
		assert_int_equal(q[i].status, BLK_OK);
		assert_memory_equal(mem + (size_t)i * len + 1, look, len - 512);
	}
	for (size_t i = 0; i < len; i++)
		mem[i + 1] = (uint8_t)(i * 7);
	assert_int_equal(one(&r, BLK_WRITE, 4096, mem + 1, len), BLK_OK);
	assert_int_equal(pread(r.fd, look, len, 4096), len);
	assert_memory_equal(mem + 1, look, len);
	free(mem);
	free(look);
	rig_close(&r);
}

TEST(direct_io_bounces_what_is_not_aligned)
{
	misaligned(BLKQ_URING);
	misaligned(BLKQ_AIO);
	misaligned(BLKQ_SYNC);
}

TEST(more_than_the_engine_holds_waits_in_line)
{
	static struct req q[100];
	static uint8_t buf[100][512];

	for (unsigned int engine = BLKQ_URING; engine <= BLKQ_SYNC; engine *= 2) {
		struct img_args a = { .direct = true };
		struct rig r;

		rig_open(&r, disk_dir, &a, engine);
		for (int i = 0; i < 100; i++)
			req_go(&r, &q[i], BLK_READ, (uint64_t)i * 512, buf[i], 512);
		blkq_drain(r.q);
		for (int i = 0; i < 100; i++) {
			assert_int_equal(q[i].ended, 1);
			assert_int_equal(q[i].status, BLK_OK);
			assert_int_equal(buf[i][0], i / 8 + i % 8);
		}
		rig_close(&r);
	}
}

/* The first turn's reads are answered one by one, those of the turns behind it together. */
TEST(many_reads_of_the_page_cache_turn_after_turn)
{
	static struct req q[40];
	static uint8_t buf[40][1024];

	for (unsigned int engine = BLKQ_URING; engine <= BLKQ_SYNC; engine *= 2) {
		struct img_args a = { 0 };
		struct rig r;

		rig_open(&r, disk_dir, &a, engine);
		for (int turn = 0; turn < 4; turn++) {
			memset(buf, 0xff, sizeof(buf));
			for (int i = 0; i < 40; i++) {
				q[i] = (struct req){ .io = { .op = BLK_READ,
							     .off = (uint64_t)i * 512,
							     .len = 1024,
							     .done = req_done } };
				q[i].iov[0] = kiov_of(buf[i], i % 3 ? 100 : 1024);
				q[i].iov[1] = kiov_of(buf[i] + 100, 924);
				q[i].io.iov = q[i].iov;
				q[i].io.iovs = i % 3 ? 2 : 1;
				blkq_submit(r.q, &q[i].io);
			}
			blkq_drain(r.q);
			for (int i = 0; i < 40; i++) {
				assert_int_equal(q[i].ended, 1);
				assert_int_equal(q[i].status, BLK_OK);
				assert_int_equal(buf[i][0], i / 8 + i % 8);
				assert_int_equal(buf[i][1023], (i + 1) / 8 + (i + 1) % 8);
			}
		}
		rig_close(&r);
	}
}

TEST(what_lies_outside_the_disk_is_refused)
{
	struct img_args a = { 0 };
	uint8_t buf[1024];
	struct rig r;

	rig_open(&r, disk_dir, &a, BLKQ_AUTO);
	assert_int_equal(one(&r, BLK_READ, SIZE, buf, 512), BLK_IOERR);
	assert_int_equal(one(&r, BLK_READ, SIZE - 512, buf, 1024), BLK_IOERR);
	assert_int_equal(one(&r, BLK_READ, UINT64_MAX - 511, buf, 1024), BLK_IOERR);
	assert_int_equal(one(&r, BLK_WRITE, 1, buf, 512), BLK_IOERR);
	assert_int_equal(one(&r, BLK_READ, 0, buf, 100), BLK_IOERR);
	assert_int_equal(one(&r, BLK_READ, 0, buf, 0), BLK_IOERR);
	assert_int_equal(one(&r, BLK_READ, SIZE - 512, buf, 512), BLK_OK);
	rig_close(&r);
}

TEST(a_file_cut_short_is_an_error_not_a_hang)
{
	for (unsigned int engine = BLKQ_URING; engine <= BLKQ_SYNC; engine *= 2) {
		struct img_args a = { 0 };
		uint8_t buf[4096];
		struct rig r;

		rig_open(&r, disk_dir, &a, engine);
		assert_int_equal(ftruncate(r.fd, 6144), 0);
		assert_int_equal(one(&r, BLK_READ, 4096, buf, 4096), BLK_IOERR);
		assert_int_equal(one(&r, BLK_READ, 8192, buf, 4096), BLK_IOERR);
		rig_close(&r);
	}
}

TEST(a_readonly_image_refuses_all_that_changes_it)
{
	struct img_args a = { .readonly = true };
	uint8_t buf[512];
	struct rig r;

	rig_open(&r, disk_dir, &a, BLKQ_AUTO);
	assert_int_equal(one(&r, BLK_WRITE, 0, buf, 512), BLK_IOERR);
	assert_int_equal(one(&r, BLK_DISCARD, 0, NULL, 512), BLK_IOERR);
	assert_int_equal(one(&r, BLK_ZERO, 0, NULL, 512), BLK_IOERR);
	assert_int_equal(one(&r, BLK_FLUSH, 0, NULL, 0), BLK_OK);
	rig_close(&r);
}

static void zeros(const char *dir, unsigned int engine)
{
	static const uint8_t zero[65536];
	struct img_args a = { 0 };
	uint8_t look[65536];
	struct rig r;

	rig_open(&r, dir, &a, engine);
	assert_int_equal(one(&r, BLK_DISCARD, 65536, NULL, 65536), BLK_OK);
	assert_int_equal(one(&r, BLK_ZERO, 262144, NULL, 65536), BLK_OK);
	assert_int_equal(pread(r.fd, look, sizeof(look), 65536), sizeof(look));
	assert_memory_equal(look, zero, sizeof(look));
	assert_int_equal(pread(r.fd, look, sizeof(look), 262144), sizeof(look));
	assert_memory_equal(look, zero, sizeof(look));
	assert_int_equal(pread(r.fd, look, 512, 131072), 512);
	assert_int_equal(look[0], 32);
	rig_close(&r);
}

TEST(discarded_and_zeroed_ranges_read_as_zeros)
{
	zeros(disk_dir, BLKQ_URING);
	zeros(disk_dir, BLKQ_AIO);
	zeros(disk_dir, BLKQ_SYNC);
	zeros(ram_dir, BLKQ_SYNC);
}

TEST(pieces_are_filled_in_order)
{
	struct img_args a = { 0 };
	uint8_t buf[2048];
	struct req q = { .io = { .op = BLK_READ, .off = 512, .len = 2048, .done = req_done } };
	struct rig r;

	rig_open(&r, disk_dir, &a, BLKQ_AUTO);
	q.iov[0] = kiov_of(buf, 100);
	q.iov[1] = kiov_of(buf + 100, 1000);
	q.iov[2] = kiov_of(buf + 1100, 948);
	q.io.iov = q.iov;
	q.io.iovs = 3;
	blkq_submit(r.q, &q.io);
	blkq_drain(r.q);
	assert_int_equal(q.status, BLK_OK);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 1 + i / 512);
	q.io.iovs = 2; /* pieces and length disagree */
	q.iov[0] = kiov_of(buf, 100);
	blkq_submit(r.q, &q.io);
	blkq_drain(r.q);
	assert_int_equal(q.status, BLK_IOERR);
	rig_close(&r);
}

static struct loop *stops;
static void stop_done(struct blk_io *io, enum blk_status s)
{
	struct req *r = container_of(io, struct req, io);

	r->ended++;
	r->status = s;
	loop_stop(stops);
}

TEST(a_sleeping_loop_is_woken_by_the_engine)
{
	for (unsigned int engine = BLKQ_URING; engine <= BLKQ_SYNC; engine *= 2) {
		struct req q = { .io = { .op = BLK_FLUSH, .done = stop_done } };
		struct img_args a = { 0 };
		struct rig r;

		rig_open(&r, disk_dir, &a, engine);
		stops = r.loop;
		blkq_submit(r.q, &q.io);
		loop_run(r.loop);
		assert_int_equal(q.ended, 1);
		assert_int_equal(q.status, BLK_OK);
		rig_close(&r);
	}
}

TEST(no_lock_outlives_the_image)
{
	struct img_args a = { 0 };
	struct img *again = NULL;
	uint8_t buf[4096];
	struct err e = { 0 };
	struct rig r;

	for (int i = 0; i < 20; i++) {
		rig_open(&r, disk_dir, &a, BLKQ_URING);
		assert_int_equal(one(&r, BLK_READ, 0, buf, 4096), BLK_OK);
		blkq_free(r.q);
		img_free(r.img);
		assert_int_equal(img_open(&again, &a, &e), 0);
		img_free(again);
		loop_free(r.loop);
		fd_close(&r.fd);
		unlink(r.path);
	}
}

static int make_dirs(void **state)
{
	(void)state;
	/* /var/tmp outlives a boot, so it is hardly ever memory */
	strcpy(disk_dir, "/var/tmp/virga-blkq-XXXXXX");
	return mkdtemp(disk_dir) && mkdtemp(ram_dir) ? 0 : -1;
}

static int drop_dirs(void **state)
{
	(void)state;
	return rmdir(disk_dir) | rmdir(ram_dir);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(the_ring_reads_and_writes),
		T(plain_calls_read_and_write),
		T(aio_reads_and_writes),
		T(direct_io_reads_and_writes),
		T(an_end_is_seen_without_sleeping),
		T(the_ring_works_on_memory_too),
		T(memory_needs_no_ring),
		T(direct_io_bounces_what_is_not_aligned),
		T(more_than_the_engine_holds_waits_in_line),
		T(many_reads_of_the_page_cache_turn_after_turn),
		T(what_lies_outside_the_disk_is_refused),
		T(a_file_cut_short_is_an_error_not_a_hang),
		T(a_readonly_image_refuses_all_that_changes_it),
		T(discarded_and_zeroed_ranges_read_as_zeros),
		T(pieces_are_filled_in_order),
		T(a_sleeping_loop_is_woken_by_the_engine),
		T(no_lock_outlives_the_image),
	};
	return cmocka_run_group_tests(t, make_dirs, drop_dirs);
}
