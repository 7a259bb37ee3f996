/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of disk requests on a loop: it checks bounds, asks the format for extents, hands steps to
 * an engine, goes on after short ones, and tells the end of each request once, never from inside
 * submit. It knows no virtio. For the queue's loop; blkq_new and blkq_free for its maker, while the
 * loop does not run or is idle.
 *
 * With O_DIRECT, a request whose memory is not aligned goes through one aligned buffer of the
 * queue, a chunk at a time; those who find it taken wait in line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "block/eng.h"

#define SECTOR 512
#define BOUNCE_SIZE KIB(256)
#define BOUNCE_ALIGN 4096
#define TRIES_MAX 1000 /* EINTR and EAGAIN in a row */

static bool op_moves(enum blk_op op)
{
	return op == BLK_READ || op == BLK_WRITE;
}

static void end(struct blkq *q, struct blk_io *io, enum blk_status s)
{
	io->status = s;
	list_add_tail(&q->ended, &io->link);
	if (q->bouncing == io)
		q->bouncing = NULL; /* the next in line starts in blkq_turn */
}

static enum blk_status refuse(const struct blkq *q, const struct blk_io *io)
{
	const struct img *i = q->img;
	uint64_t last;

	if (io->op == BLK_FLUSH)
		return BLK_OK;
	if (!io->len || add_overflows(&last, io->off, io->len) || last > i->size ||
	    (io->off | io->len) % SECTOR)
		return BLK_IOERR;
	if (i->readonly && io->op != BLK_READ)
		return BLK_IOERR;
	if ((io->op == BLK_DISCARD && !i->can_punch) || (io->op == BLK_ZERO && !i->can_zero))
		return BLK_UNSUPP;
	if (op_moves(io->op) && kiov_total(io->iov, io->iovs) != io->len)
		return BLK_IOERR;
	return BLK_OK;
}

/* Makes the step go through the aligned buffer. False when the buffer is taken (io waits) or io has
 * ended. */
static bool bounce(struct blkq *q, struct blk_io *io)
{
	struct blk_step *s = &io->step;
	uint32_t align = q->img->direct_off;
	uint64_t low = align_down(s->off, align);
	uint64_t skip = s->off - low;
	uint64_t part = min_u64(s->len, BOUNCE_SIZE - skip);
	uint64_t span = align_up(skip + part, align);

	if (q->bouncing && q->bouncing != io) {
		list_add_tail(&q->bounce_wait, &io->link);
		return false;
	}
	if (io->op == BLK_WRITE && span != part) {
		/* Reading the block first and writing it back whole could undo a neighbour's write
		 * in flight. */
		log_guest(
			"%s: a write of %llu bytes at %llu is not in whole blocks of %u, as direct=on needs",
			q->img->path, (unsigned long long)s->len, (unsigned long long)s->off,
			align);
		end(q, io, BLK_IOERR);
		return false;
	}
	q->bouncing = io;
	if (io->op == BLK_WRITE)
		kiov_get(io->iov, io->iovs, 0, q->bounce, part);
	io->bounce = kiov_of(q->bounce, span);
	*s = (struct blk_step){ .off = low, .len = span, .iov = &io->bounce, .iovs = 1 };
	return true;
}

/* Chooses the next step. False when there is none to start now. */
static bool next_step(struct blkq *q, struct blk_io *io)
{
	const struct img *i = q->img;
	struct extent x;

	if (io->op == BLK_FLUSH) {
		io->step = (struct blk_step){ 0 };
		return true;
	}
	x = i->fmt->map(i, io->off + io->moved, io->len - io->moved);
	io->step = (struct blk_step){ .off = x.off, .len = x.len };
	if (!op_moves(io->op))
		return true;
	io->step.iov = io->iov;
	io->step.iovs = io->iovs;
	if (i->direct &&
	    ((x.off | x.len) % i->direct_off || !step_aligned(io->iov, io->iovs, i->direct_mem)))
		return bounce(q, io);
	return true;
}

static void host_error(struct blkq *q, struct blk_io *io, int os)
{
	if (os == EOPNOTSUPP && (io->op == BLK_DISCARD || io->op == BLK_ZERO)) {
		end(q, io, BLK_UNSUPP);
		return;
	}
	log_guest("%s: request %d of %llu bytes at %llu: %s", q->img->path, io->op,
		  (unsigned long long)io->len, (unsigned long long)(io->off + io->moved),
		  os ? strerror(os) : "the file ends early");
	end(q, io, BLK_IOERR);
}

/* A step moved n bytes: those of the disk among them, and the pieces still to fill. */
static void advance(struct blkq *q, struct blk_io *io, uint64_t n)
{
	uint64_t at = io->off + io->moved, left = io->len - io->moved;
	int pieces;

	if (io->step.iov == &io->bounce) {
		uint64_t skip = q->img->fmt->map(q->img, at, left).off - io->step.off;

		n = n > skip ? min_u64(n - skip, left) : 0;
		if (io->op == BLK_READ)
			kiov_put(io->iov, io->iovs, 0, (char *)q->bounce + skip, n);
	}
	if (!n || n > left) {
		host_error(q, io, 0);
		return;
	}
	io->moved += n;
	io->tries = 0;
	if (io->moved == io->len) {
		end(q, io, BLK_OK);
		return;
	}
	pieces = kiov_slice(io->iov, io->iovs, n, io->len - io->moved, io->iov, io->iovs);
	if (pieces < 0)
		end(q, io, BLK_IOERR);
	else
		io->iovs = (unsigned int)pieces;
}

/* Takes in the result of a step; true when the request has ended. */
static bool settle(struct blkq *q, struct blk_io *io, int64_t res)
{
	if ((res == -EINTR || res == -EAGAIN) && io->tries++ < TRIES_MAX)
		return false;
	if (res == -EOPNOTSUPP && io->op == BLK_ZERO && !io->tries) {
		/* This file system knows only one of the two ways (tmpfs: holes). Either reads as
		 * zeros. */
		io->unmap = !io->unmap;
		io->tries = 1;
		return false;
	}
	if (res < 0) {
		host_error(q, io, (int)-res);
		return true;
	}
	if (!op_moves(io->op)) {
		io->moved += io->step.len;
		if (io->moved < io->len && io->op != BLK_FLUSH)
			return false;
		end(q, io, BLK_OK);
		return true;
	}
	advance(q, io, (uint64_t)res);
	return io->moved == io->len || io->status != BLK_OK;
}

static void run(struct blkq *q, struct blk_io *io)
{
	int64_t res;

	do {
		if (!next_step(q, io))
			return;
		res = q->eng->start(q, io);
		if (res == STEP_LATER)
			return;
	} while (!settle(q, io, res));
}

void blkq_stepped(struct blkq *q, struct blk_io *io, int64_t res)
{
	if (!settle(q, io, res))
		run(q, io);
}

void blkq_submit(struct blkq *q, struct blk_io *io)
{
	enum blk_status s = refuse(q, io);

	list_init(&io->link);
	io->status = BLK_OK;
	io->tries = 0;
	io->moved = 0;
	q->flying++;
	if (s != BLK_OK)
		end(q, io, s);
	else
		run(q, io);
}

bool blkq_turn(struct blkq *q)
{
	struct link now;

	if (!q->flying)
		return false;
	q->again = false;
	q->eng->turn(q);
	while (!q->bouncing && !list_empty(&q->bounce_wait)) {
		struct link *l = list_take_first(&q->bounce_wait);

		run(q, container_of(l, struct blk_io, link));
	}
	/* Only what has ended by now: a done function may submit again. */
	list_init(&now);
	while (!list_empty(&q->ended))
		list_add_tail(&now, list_take_first(&q->ended));
	for (struct link *l; (l = list_take_first(&now));) {
		struct blk_io *io = container_of(l, struct blk_io, link);

		q->flying--;
		io->done(io, io->status);
	}
	return q->again || !list_empty(&q->ended);
}

static bool turn_hook(void *arg)
{
	return blkq_turn(arg);
}

void blkq_drain(struct blkq *q)
{
	while (q->flying) {
		blkq_turn(q);
		if (q->flying && list_empty(&q->ended))
			q->eng->wait(q);
	}
}

bool blkq_busy(const struct blkq *q)
{
	return q->flying;
}

const char *blkq_engine_name(const struct blkq *q)
{
	return q->eng->name;
}

/* The engine: as asked, else the quickest that the host has. */
static int open_engine(struct blkq *q, enum blkq_engine engine, struct err *e)
{
	struct err why = { 0 };

	if (engine == BLKQ_URING || (engine == BLKQ_AUTO && !q->img->in_ram)) {
		q->eng = &img_uring;
		if (!q->eng->open(q, engine == BLKQ_URING ? e : &why))
			return 0;
		if (engine == BLKQ_URING)
			return -1;
		log_warn("%s: no io_uring (%s); the queue's thread waits for each request",
			 q->img->path, err_frame(&why, 0));
	}
	q->eng = &img_sync;
	return q->eng->open(q, e);
}

int blkq_new(struct blkq **out, struct img *i, struct loop *l, unsigned int depth,
	     enum blkq_engine engine, struct err *e)
{
	struct blkq *q = NEW(struct blkq);

	q->img = i;
	q->loop = l;
	q->depth = depth;
	list_init(&q->ended);
	list_init(&q->bounce_wait);
	if (open_engine(q, engine, e)) {
		free(q);
		return err_in(e, "disk %s", i->path);
	}
	if (i->direct) {
		q->bounce = aligned_alloc(BOUNCE_ALIGN, BOUNCE_SIZE);
		if (!q->bounce) {
			q->eng->close(q);
			free(q);
			return err_set(e, ERR_IO, "no memory for an aligned buffer");
		}
	}
	loop_hook_add(l, &q->hook, turn_hook, q);
	*out = q;
	return 0;
}

void blkq_free(struct blkq *q)
{
	if (!q)
		return;
	loop_hook_drop(&q->hook);
	q->eng->close(q);
	free(q->bounce);
	free(q);
}
