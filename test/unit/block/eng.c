/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a queue makes of its engine's answers. The engine here is a piece of memory that checks every
 * step it is given, and answers as the test says: all of it, less, an error, at once, later. Within
 * a small scope every case is gone through: offsets, lengths, cuts of the payload, short answers,
 * and the orders in which the requests of two queues can end.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "block/eng.h"

#define SECTOR 512
#define SECTORS 8
#define SIZE (SECTORS * SECTOR)
#define QUEUES 2
#define LATER_MAX 8

struct world;

struct host {
	struct world *w;
	struct blk_io *later[LATER_MAX]; /* begun, oldest first */
	unsigned int laters;
};

struct world {
	struct img img;
	struct loop *loop;
	struct blkq *q[QUEUES];
	struct host host[QUEUES];
	uint8_t disk[SIZE];
	bool later;    /* steps end when the test says */
	uint64_t most; /* bytes that one step moves, 0: all */
	int64_t error; /* answers of steps that are of the kind below, */
	int errors;    /* so many times */
	enum blk_op failing;
	unsigned int steps;
};

/* The fake engine's own half of a queue is found by the queue. */
static struct world *the_world;

static struct host *host_of(struct blkq *q)
{
	for (int i = 0; i < QUEUES; i++)
		if (the_world->q[i] == q)
			return &the_world->host[i];
	fail_msg("a step of a queue that nobody made");
	return NULL;
}

/* Everything that an engine may count on. */
static void inspect(const struct img *i, const struct blk_io *io)
{
	const struct blk_step *s = &io->step;

	if (s->op == BLK_FLUSH)
		return;
	assert_true(s->len > 0 && s->off + s->len >= s->off && s->off + s->len <= i->size);
	if (s->op != BLK_READ && s->op != BLK_WRITE) {
		if (i->device)
			assert_int_equal((s->off | s->len) % i->logical, 0);
		return;
	}
	assert_int_equal(kiov_total(s->iov, s->iovs), s->len);
	for (unsigned int k = 0; k < s->iovs; k++)
		assert_true(kiov_len(&s->iov[k]) > 0);
	if (i->direct) {
		assert_int_equal((s->off | s->len) % i->direct_off, 0);
		assert_true(step_aligned(s->iov, s->iovs, i->direct_mem, i->direct_off));
	}
}

static int64_t effect(struct world *w, const struct blk_io *io)
{
	const struct blk_step *s = &io->step;
	uint64_t n = s->len;

	if (w->errors && s->op == w->failing) {
		w->errors--;
		return w->error;
	}
	if (s->op == BLK_FLUSH)
		return 0;
	if (s->op == BLK_DISCARD || s->op == BLK_ZERO) {
		memset(w->disk + s->off, 0, s->len);
		return 0;
	}
	if (w->most && n > w->most)
		n = w->most;
	if (s->op == BLK_READ)
		kiov_put(s->iov, s->iovs, 0, w->disk + s->off, n);
	else
		kiov_get(s->iov, s->iovs, 0, w->disk + s->off, n);
	return (int64_t)n;
}

static int64_t fake_start(struct blkq *q, struct blk_io *io)
{
	struct host *h = host_of(q);

	inspect(q->img, io);
	h->w->steps++;
	if (!h->w->later)
		return effect(h->w, io);
	assert_true(h->laters < LATER_MAX);
	h->later[h->laters++] = io;
	return STEP_LATER;
}

/* Ends the nth step that the queue has begun. */
static void fake_end(struct blkq *q, unsigned int nth)
{
	struct host *h = host_of(q);
	struct blk_io *io = h->later[nth];

	h->laters--;
	memmove(h->later + nth, h->later + nth + 1, (h->laters - nth) * sizeof(h->later[0]));
	blkq_stepped(q, io, effect(h->w, io));
}

static void fake_none(struct blkq *q)
{
	(void)q;
}

static bool fake_ended(const struct blkq *q)
{
	(void)q;
	return false;
}

static void fake_wait(struct blkq *q)
{
	if (host_of(q)->laters)
		fake_end(q, 0);
}

static int fake_open(struct blkq *q, struct err *e)
{
	(void)q;
	(void)e;
	return 0;
}

static const struct img_eng fake = {
	.name = "fake",
	.open = fake_open,
	.close = fake_none,
	.start = fake_start,
	.turn = fake_none,
	.ended = fake_ended,
	.wait = fake_wait,
};

/* unit 0: through the page cache. */
static void world_begin(struct world *w, uint32_t unit)
{
	struct err e = { 0 };

	*w = (struct world){ 0 };
	w->img = (struct img){
		.path = (char *)(uintptr_t) "the image",
		.fd = -1,
		.lock_fd = -1,
		.fmt = &img_raw,
		.size = SIZE,
		.direct = unit,
		.direct_off = unit ? unit : SECTOR,
		.direct_mem = 4,
		.gated = unit > SECTOR,
		.can_punch = true,
		.can_zero = true,
	};
	gate_init(&w->img.gate);
	assert_int_equal(loop_new(&w->loop, "test", &e), 0);
	for (int i = 0; i < QUEUES; i++) {
		assert_int_equal(blkq_new(&w->q[i], &w->img, w->loop, 8, BLKQ_SYNC, &e), 0);
		w->q[i]->eng = &fake;
		w->host[i].w = w;
	}
	for (size_t i = 0; i < SIZE; i++)
		w->disk[i] = (uint8_t)(i / SECTOR + 1);
	the_world = w;
}

static void world_end(struct world *w)
{
	for (int i = 0; i < QUEUES; i++) {
		assert_false(blkq_busy(w->q[i]));
		blkq_free(w->q[i]);
	}
	assert_false(w->img.gate.alone);
	assert_int_equal(w->img.gate.together, 0);
	gate_fini(&w->img.gate);
	loop_free(w->loop);
}

struct ask {
	struct blk_io io;
	struct kiov iov[4];
	int ended;
	enum blk_status status;
};

static void ask_done(struct blk_io *io, enum blk_status s)
{
	struct ask *a = container_of(io, struct ask, io);

	a->ended++;
	a->status = s;
}

static void ask_go(struct blkq *q, struct ask *a, enum blk_op op, uint64_t off, uint64_t len)
{
	a->io.op = op;
	a->io.off = off;
	a->io.len = len;
	a->io.done = ask_done;
	a->ended = 0;
	blkq_submit(q, &a->io);
	assert_int_equal(a->ended, 0);
}

/* buf in up to three pieces, cut at a and b. */
static void ask_cut(struct ask *k, uint8_t *buf, size_t a, size_t b, size_t len)
{
	size_t cut[] = { 0, a, b, len };

	*k = (struct ask){ .io.iov = k->iov };
	for (int i = 0; i < 3; i++)
		if (cut[i + 1] > cut[i])
			k->iov[k->io.iovs++] = kiov_of(buf + cut[i], cut[i + 1] - cut[i]);
}

static enum blk_status ask_one(struct world *w, struct ask *a, enum blk_op op, uint64_t off,
			       uint64_t len)
{
	ask_go(w->q[0], a, op, off, len);
	blkq_drain(w->q[0]);
	assert_int_equal(a->ended, 1);
	return a->status;
}

struct shape {
	uint32_t unit; /* of direct I/O, 0 = none */
	size_t shift;  /* of the payload in memory */
	uint64_t most; /* bytes a step moves */
	size_t off, len, a, b;
};

static void transfer(struct world *w, const struct shape *s, uint8_t *buf)
{
	uint8_t want[SIZE], *at = buf + s->shift;
	struct ask k;

	w->most = s->most;
	memcpy(want, w->disk, SIZE);
	memset(at, 0xee, s->len);
	ask_cut(&k, at, s->a, s->b, s->len);
	assert_int_equal(ask_one(w, &k, BLK_READ, s->off, s->len), BLK_OK);
	assert_memory_equal(at, want + s->off, s->len);
	for (size_t i = 0; i < s->len; i++)
		at[i] = (uint8_t)(0x80 | (i * 7 + s->off));
	memcpy(want + s->off, at, s->len);
	ask_cut(&k, at, s->a, s->b, s->len);
	assert_int_equal(ask_one(w, &k, BLK_WRITE, s->off, s->len), BLK_OK);
	assert_memory_equal(w->disk, want, SIZE);
}

/* Cuts at and beside each border of a sector. */
static void all_cuts(struct world *w, struct shape s, uint8_t *buf)
{
	static const size_t near[] = { 0, 1, 511, 512, 513, 1024 };

	for (size_t i = 0; i < ARRAY_LEN(near); i++)
		for (size_t k = i; k < ARRAY_LEN(near); k++) {
			s.a = min_u64(near[i], s.len);
			s.b = min_u64(near[k], s.len);
			transfer(w, &s, buf);
		}
}

TEST(every_request_of_a_small_disk_moves_its_own_bytes_and_no_others)
{
	static const uint32_t units[] = { 0, 512, 1024, 2048, 4096 };
	static const uint64_t most[] = { 0, 512, 1024 };
	uint8_t *buf = aligned_alloc(4096, 2 * SIZE);
	struct world w;

	for (size_t u = 0; u < ARRAY_LEN(units); u++)
		for (size_t m = 0; m < ARRAY_LEN(most); m++) {
			world_begin(&w, units[u]);
			for (size_t off = 0; off < SECTORS; off++)
				for (size_t n = 1; n <= SECTORS - off; n++)
					for (size_t shift = 0; shift <= 8; shift += 8) {
						struct shape s = { units[u], shift };

						/* half a unit is what no host moves */
						s.most = most[m] < units[u] ? 0 : most[m];
						s.off = off * SECTOR;
						s.len = n * SECTOR;
						all_cuts(&w, s, buf);
					}
			world_end(&w);
		}
	free(buf);
}

static void ask_flush(struct blk_io *io, enum blk_status s)
{
	struct ask *a = container_of(io, struct ask, io);

	ask_done(io, s);
	io->op = BLK_FLUSH;
	io->done = ask_done;
	blkq_submit(io->priv, &a->io);
}

/* The engine has had its turn before the done functions: it must get another one before any sleep. */
TEST(what_a_done_function_begins_is_not_slept_over)
{
	uint8_t buf[512] = { 0 };
	struct world w;
	struct ask k;

	world_begin(&w, 0);
	ask_cut(&k, buf, 0, 0, 512);
	k.io.op = BLK_WRITE;
	k.io.len = 512;
	k.io.done = ask_flush;
	k.io.priv = w.q[0];
	blkq_submit(w.q[0], &k.io);
	w.later = true;
	assert_true(blkq_turn(w.q[0]));
	assert_int_equal(k.ended, 1);
	assert_true(blkq_ready(w.q[0]));
	assert_false(blkq_turn(w.q[0]));
	assert_false(blkq_ready(w.q[0]));
	blkq_drain(w.q[0]);
	assert_int_equal(k.ended, 2);
	world_end(&w);
}

TEST(nothing_ends_soon_while_a_flush_is_in_flight)
{
	uint8_t *buf = aligned_alloc(4096, SIZE);
	struct ask read, write, flush;
	struct world w;

	for (uint32_t unit = 0; unit <= 512; unit += 512) {
		world_begin(&w, unit);
		w.later = true;
		ask_cut(&read, buf, 0, 0, 512);
		ask_go(w.q[0], &read, BLK_READ, 0, 512);
		assert_true(blkq_soon(w.q[0]));
		ask_cut(&write, buf, 0, 0, 512);
		ask_go(w.q[0], &write, BLK_WRITE, 0, 512);
		assert_int_equal(blkq_soon(w.q[0]), unit != 0);
		flush = (struct ask){ 0 };
		ask_go(w.q[0], &flush, BLK_FLUSH, 0, 0);
		assert_false(blkq_soon(w.q[0]));
		assert_false(blkq_turn(w.q[0]));
		assert_false(blkq_soon(w.q[0]));
		fake_end(w.q[0], 2);
		assert_int_equal(blkq_soon(w.q[0]), unit != 0);
		fake_end(w.q[0], 1);
		assert_true(blkq_soon(w.q[0]));
		blkq_drain(w.q[0]);
		world_end(&w);
	}
	free(buf);
}

/* Taken from the C library: writes that are kept by one call, and how long they take. */
static unsigned int kept_writes, kept_ms;
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t off, int flags)
{
	struct timespec t = { .tv_nsec = kept_ms * 1000000l };

	assert_int_equal(flags, RWF_DSYNC);
	nanosleep(&t, NULL);
	kept_writes++;
	return pwritev(fd, v, n, off);
}

static void ask_keep(struct blkq *q, struct ask *a, uint8_t *buf, uint64_t off)
{
	ask_cut(a, buf, 0, 0, 512);
	a->io.keep = true;
	ask_go(q, a, BLK_WRITE, off, 512);
}

TEST(a_write_that_is_to_be_kept_is_so_by_one_call_while_it_is_alone)
{
	uint8_t buf[512], got[512];
	struct ask one, two;
	struct world w;

	memset(buf, 0xa5, sizeof(buf));
	world_begin(&w, 0);
	w.img.dsync = true;
	w.img.fd = memfd_create("test", MFD_CLOEXEC);
	kept_writes = kept_ms = 0;
	ask_keep(w.q[0], &one, buf, 512);
	assert_int_equal(kept_writes, 1);
	assert_int_equal(pread(w.img.fd, got, 512, 512), 512);
	assert_memory_equal(got, buf, 512);
	/* its end is not told yet, so a second one is not alone */
	ask_keep(w.q[0], &two, buf, 1024);
	assert_int_equal(w.steps, 1);
	blkq_drain(w.q[0]);
	assert_true(one.status == BLK_OK && one.io.kept);
	assert_true(two.status == BLK_OK && !two.io.kept);
	w.img.dsync = false;
	ask_keep(w.q[0], &one, buf, 512);
	assert_int_equal(w.steps, 2);
	blkq_drain(w.q[0]);
	assert_false(one.io.kept);
	assert_int_equal(kept_writes, 1);
	close(w.img.fd);
	world_end(&w);
}

/* Does the queue keep a lone write itself? */
static bool keeps_here(struct world *w)
{
	uint8_t buf[512] = { 0 };
	struct ask k;

	ask_keep(w->q[0], &k, buf, 0);
	blkq_drain(w->q[0]);
	assert_int_equal(k.status, BLK_OK);
	return k.io.kept;
}

TEST(a_disk_that_is_slow_to_keep_writes_does_not_hold_the_queue_for_long)
{
	struct world w;

	world_begin(&w, 0);
	w.img.dsync = true;
	w.img.fd = memfd_create("test", MFD_CLOEXEC);
	kept_ms = 4;
	for (int i = 0; i < 4; i++) {
		/* one is no reason */
		w.q[0]->stalled_until_ns = 0; /* nor that this machine is busy */
		assert_int_equal(w.q[0]->keep.rest_until_ns, 0);
		assert_true(keeps_here(&w));
	}
	assert_int_not_equal(w.q[0]->keep.rest_until_ns, 0);
	w.q[0]->keep.rest_until_ns = UINT64_MAX; /* however slow this test is */
	assert_false(keeps_here(&w));
	w.q[0]->keep = (struct look){ 0 };
	w.q[0]->stalled_until_ns = 0;
	kept_ms = 20;
	assert_true(keeps_here(&w));
	assert_int_not_equal(w.q[0]->stalled_until_ns, 0);
	w.q[0]->stalled_until_ns = UINT64_MAX;
	assert_false(keeps_here(&w));
	close(w.img.fd);
	world_end(&w);
}

static int flushes_ended(const struct ask *f, int n, enum blk_status s)
{
	int ended = 0;

	for (int i = 0; i < n; i++)
		ended += f[i].ended && f[i].status == s;
	return ended;
}

TEST(one_flush_serves_all_that_were_asked_for_before_it)
{
	struct ask f[5] = { 0 };
	struct world w;

	world_begin(&w, 0);
	w.later = true;
	for (int i = 0; i < 3; i++)
		ask_go(w.q[0], &f[i], BLK_FLUSH, 0, 0);
	assert_int_equal(w.steps, 0);
	assert_false(blkq_turn(w.q[0]));
	assert_int_equal(w.steps, 1);
	/* what these two are to keep may be younger than the flush that runs */
	ask_go(w.q[0], &f[3], BLK_FLUSH, 0, 0);
	ask_go(w.q[0], &f[4], BLK_FLUSH, 0, 0);
	assert_false(blkq_turn(w.q[0]));
	assert_int_equal(w.steps, 1);
	fake_end(w.q[0], 0);
	blkq_turn(w.q[0]);
	assert_int_equal(flushes_ended(f, 5, BLK_OK), 3);
	assert_int_equal(flushes_ended(f + 3, 2, BLK_OK), 0);
	blkq_drain(w.q[0]);
	assert_int_equal(flushes_ended(f, 5, BLK_OK), 5);
	assert_int_equal(w.steps, 2);
	world_end(&w);
}

TEST(all_that_one_flush_serves_hear_that_it_failed)
{
	struct ask f[4] = { 0 };
	struct world w;

	for (int later = 0; later < 2; later++) {
		world_begin(&w, 0);
		w.later = later;
		w.error = -EIO;
		w.errors = 1;
		w.failing = BLK_FLUSH;
		for (int i = 0; i < 3; i++)
			ask_go(w.q[0], &f[i], BLK_FLUSH, 0, 0);
		blkq_turn(w.q[0]);
		ask_go(w.q[0], &f[3], BLK_FLUSH, 0, 0);
		blkq_drain(w.q[0]);
		assert_int_equal(flushes_ended(f, 4, BLK_IOERR), 3);
		assert_int_equal(f[2].io.os, EIO);
		assert_int_equal(f[3].status, BLK_OK);
		world_end(&w);
	}
}

TEST(whatever_reaches_past_the_disk_never_reaches_the_engine)
{
	static const uint64_t edge[] = { 0,
					 1,
					 511,
					 512,
					 SIZE - 512,
					 SIZE - 1,
					 SIZE,
					 SIZE + 512,
					 INT64_MAX,
					 UINT64_MAX - 512,
					 UINT64_MAX - 511,
					 UINT64_MAX };
	static const enum blk_op ops[] = { BLK_READ, BLK_WRITE, BLK_DISCARD, BLK_ZERO };
	uint8_t buf[SIZE];
	struct world w;

	world_begin(&w, 0);
	for (size_t o = 0; o < ARRAY_LEN(ops); o++)
		for (size_t i = 0; i < ARRAY_LEN(edge); i++)
			for (size_t k = 0; k < ARRAY_LEN(edge); k++) {
				bool inside = edge[i] % SECTOR == 0 && edge[k] % SECTOR == 0 &&
					      edge[k] && edge[i] < SIZE &&
					      edge[k] <= SIZE - edge[i];
				struct ask a;

				ask_cut(&a, buf, 0, 0, min_u64(edge[k], SIZE));
				w.steps = 0;
				assert_int_equal(ask_one(&w, &a, ops[o], edge[i], edge[k]),
						 inside ? BLK_OK : BLK_IOERR);
				assert_int_equal(w.steps > 0, inside);
			}
	world_end(&w);
}

TEST(payload_that_is_not_as_long_as_the_request_is_refused)
{
	uint8_t buf[SIZE];
	struct world w;

	world_begin(&w, 0);
	for (size_t have = 0; have <= 4; have++)
		for (size_t want = 1; want <= 4; want++) {
			struct ask a;

			ask_cut(&a, buf, 0, 0, have * SECTOR);
			assert_int_equal(ask_one(&w, &a, BLK_READ, 0, want * SECTOR),
					 have == want ? BLK_OK : BLK_IOERR);
		}
	world_end(&w);
}

TEST(every_zeroing_of_a_small_disk_zeroes_its_own_bytes_and_no_others)
{
	static const uint32_t blocks[] = { 512, 1024, 2048, 4096 };
	struct world w;
	struct ask a;

	for (size_t i = 0; i < 2 * ARRAY_LEN(blocks); i++) {
		uint32_t block = blocks[i / 2];

		world_begin(&w, i % 2 ? block : 0);
		w.img.device = true;
		w.img.logical = block;
		for (size_t off = 0; off < SECTORS; off++)
			for (size_t n = 1; n <= SECTORS - off; n++) {
				uint8_t want[SIZE];

				memset(w.disk, 0xaa, SIZE);
				memset(want, 0xaa, SIZE);
				ask_cut(&a, NULL, 0, 0, 0);
				assert_int_equal(
					ask_one(&w, &a, BLK_DISCARD, off * SECTOR, n * SECTOR),
					BLK_OK);
				for (size_t k = 0; k < SIZE; k++)
					assert_true(w.disk[k] == 0xaa ||
						    (k >= off * SECTOR && k < (off + n) * SECTOR));
				memset(w.disk, 0xaa, SIZE);
				memset(want + off * SECTOR, 0, n * SECTOR);
				assert_int_equal(
					ask_one(&w, &a, BLK_ZERO, off * SECTOR, n * SECTOR),
					BLK_OK);
				assert_memory_equal(w.disk, want, SIZE);
			}
		world_end(&w);
	}
}

/* An error of the host at any step of any kind of request ends it once, with the status that says
 * so, and the queue serves on. */
TEST(errors_of_the_host_are_told_and_nothing_else_breaks)
{
	static const int errors[] = { EIO, ENOSPC, EDQUOT, EFBIG, ENOMEM, EBADF, EINVAL, ENXIO };
	static const enum blk_op ops[] = { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZERO };
	uint8_t *buf = aligned_alloc(4096, SIZE);

	for (uint32_t unit = 0; unit <= 2048; unit += 2048)
		for (size_t i = 0; i < ARRAY_LEN(errors); i++)
			for (size_t o = 0; o < ARRAY_LEN(ops); o++) {
				struct world w;
				struct ask a;

				world_begin(&w, unit);
				for (int later = 0; later < 2; later++) {
					w.later = later;
					w.error = -errors[i];
					w.errors = 1;
					w.failing = ops[o];
					ask_cut(&a, buf, 0, 0, SECTOR);
					assert_int_equal(ask_one(&w, &a, ops[o], SECTOR, SECTOR),
							 BLK_IOERR);
					ask_cut(&a, buf, 0, 0, SECTOR);
					assert_int_equal(ask_one(&w, &a, ops[o], SECTOR, SECTOR),
							 BLK_OK);
				}
				world_end(&w);
			}
	free(buf);
}

TEST(a_write_of_part_of_a_unit_fails_when_the_unit_cannot_be_read)
{
	uint8_t buf[SECTOR] = { 0 }, before[SIZE];
	struct world w;
	struct ask a;

	world_begin(&w, 2048);
	memcpy(before, w.disk, SIZE);
	w.error = -EIO;
	w.errors = 1;
	w.failing = BLK_READ;
	ask_cut(&a, buf, 0, 0, SECTOR);
	assert_int_equal(ask_one(&w, &a, BLK_WRITE, SECTOR, SECTOR), BLK_IOERR);
	assert_memory_equal(w.disk, before, SIZE);
	w.error = 0; /* the file ends */
	w.errors = 1;
	ask_cut(&a, buf, 0, 0, SECTOR);
	assert_int_equal(ask_one(&w, &a, BLK_WRITE, SECTOR, SECTOR), BLK_IOERR);
	assert_memory_equal(w.disk, before, SIZE);
	world_end(&w);
}

TEST(a_host_that_says_again_is_asked_again_but_not_for_ever)
{
	static const int again[] = { EINTR, EAGAIN };
	uint8_t buf[SECTOR];
	struct world w;
	struct ask a;

	world_begin(&w, 0);
	for (size_t i = 0; i < ARRAY_LEN(again); i++) {
		w.error = -again[i];
		w.errors = 500;
		w.failing = BLK_READ;
		ask_cut(&a, buf, 0, 0, SECTOR);
		assert_int_equal(ask_one(&w, &a, BLK_READ, 0, SECTOR), BLK_OK);
		w.errors = 5000;
		ask_cut(&a, buf, 0, 0, SECTOR);
		assert_int_equal(ask_one(&w, &a, BLK_READ, 0, SECTOR), BLK_IOERR);
		w.errors = 0;
	}
	world_end(&w);
}

TEST(a_host_that_cannot_make_holes_says_unsupported_and_zeros_come_the_other_way)
{
	struct world w;
	struct ask a;

	world_begin(&w, 0);
	w.error = -EOPNOTSUPP;
	w.failing = BLK_DISCARD;
	w.errors = 1;
	ask_cut(&a, NULL, 0, 0, 0);
	assert_int_equal(ask_one(&w, &a, BLK_DISCARD, 0, SECTOR), BLK_UNSUPP);
	w.failing = BLK_ZERO;
	w.errors = 1;
	a.io.unmap = true;
	assert_int_equal(ask_one(&w, &a, BLK_ZERO, 0, SECTOR), BLK_OK);
	assert_false(a.io.unmap);
	w.errors = 2;
	assert_int_equal(ask_one(&w, &a, BLK_ZERO, 0, SECTOR), BLK_UNSUPP);
	w.img.can_punch = false; /* sparse=off: zeros, but no holes */
	w.errors = 0;
	a.io.unmap = true;
	assert_int_equal(ask_one(&w, &a, BLK_ZERO, 0, SECTOR), BLK_OK);
	assert_false(a.io.unmap);
	assert_int_equal(ask_one(&w, &a, BLK_DISCARD, 0, SECTOR), BLK_UNSUPP);
	world_end(&w);
}

/*
 * Four writes whose bytes do not overlap, three of them parts of one unit, over two queues. Whatever
 * the order in which their steps end, each must be in the disk when all have ended. An order is the
 * digits of a number: which queue ends its first or last step, or takes a turn.
 */
static void race(struct world *w, uint8_t *buf, unsigned int order, int digits)
{
	static const struct {
		int q;
		uint64_t off, len;
	} writes[] = {
		{ 0, 0, 512 },
		{ 1, 512, 512 },
		{ 0, 1024, 1024 },
		{ 1, 2048, 2048 },
	};
	struct ask a[ARRAY_LEN(writes)];

	for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
		ask_cut(&a[i], buf + writes[i].off, 0, 0, writes[i].len);
		ask_go(w->q[writes[i].q], &a[i], BLK_WRITE, writes[i].off, writes[i].len);
	}
	for (int d = 0; d < digits; d++, order /= 6) {
		struct blkq *q = w->q[order % 2];
		struct host *h = host_of(q);

		if (order % 6 < 2)
			blkq_turn(q);
		else if (h->laters)
			fake_end(q, order % 6 < 4 ? 0 : h->laters - 1);
	}
	for (int i = 0; i < 100 && (blkq_busy(w->q[0]) || blkq_busy(w->q[1])); i++)
		for (int k = 0; k < QUEUES; k++) {
			blkq_turn(w->q[k]);
			fake_wait(w->q[k]);
		}
	for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
		assert_int_equal(a[i].ended, 1);
		assert_int_equal(a[i].status, BLK_OK);
	}
	assert_memory_equal(w->disk, buf, 4096);
}

TEST(parts_of_one_unit_written_by_two_queues_are_all_kept_in_every_order)
{
	uint8_t *buf = aligned_alloc(4096, 4096);
	unsigned int orders = 6 * 6 * 6 * 6 * 6 * 6;
	struct world w;

	world_begin(&w, 2048);
	w.later = true;
	for (unsigned int order = 0; order < orders; order++) {
		for (size_t i = 0; i < 4096; i++)
			buf[i] = (uint8_t)(order + i / 256);
		memset(w.disk, 0, SIZE);
		race(&w, buf, order, 6);
	}
	world_end(&w);
	free(buf);
}

TEST(a_queue_is_drained_while_the_other_one_still_works)
{
	uint8_t *buf = aligned_alloc(4096, 4096);
	struct world w;
	struct ask a, b;

	world_begin(&w, 2048);
	ask_cut(&a, buf, 0, 0, 512);
	ask_cut(&b, buf, 0, 0, 512);
	w.later = true;
	ask_go(w.q[0], &a, BLK_WRITE, 0, 512);
	ask_go(w.q[1], &b, BLK_WRITE, 512, 512);
	assert_int_equal(w.host[1].laters, 0); /* at the gate */
	blkq_drain(w.q[0]);
	assert_int_equal(a.ended, 1);
	blkq_drain(w.q[1]);
	assert_int_equal(b.ended, 1);
	world_end(&w);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_request_of_a_small_disk_moves_its_own_bytes_and_no_others),
		T(what_a_done_function_begins_is_not_slept_over),
		T(nothing_ends_soon_while_a_flush_is_in_flight),
		T(a_write_that_is_to_be_kept_is_so_by_one_call_while_it_is_alone),
		T(a_disk_that_is_slow_to_keep_writes_does_not_hold_the_queue_for_long),
		T(one_flush_serves_all_that_were_asked_for_before_it),
		T(all_that_one_flush_serves_hear_that_it_failed),
		T(whatever_reaches_past_the_disk_never_reaches_the_engine),
		T(payload_that_is_not_as_long_as_the_request_is_refused),
		T(every_zeroing_of_a_small_disk_zeroes_its_own_bytes_and_no_others),
		T(errors_of_the_host_are_told_and_nothing_else_breaks),
		T(a_write_of_part_of_a_unit_fails_when_the_unit_cannot_be_read),
		T(a_host_that_says_again_is_asked_again_but_not_for_ever),
		T(a_host_that_cannot_make_holes_says_unsupported_and_zeros_come_the_other_way),
		T(parts_of_one_unit_written_by_two_queues_are_all_kept_in_every_order),
		T(a_queue_is_drained_while_the_other_one_still_works),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
