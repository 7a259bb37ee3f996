/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of disk requests on a loop: it checks bounds, asks the format for extents, hands steps to
 * an engine, goes on after short ones, and tells the end of each request once, never from inside
 * submit. It knows no virtio. For the queue's loop; blkq_new and blkq_free for its maker, while the
 * loop does not run or is idle.
 *
 * With O_DIRECT, a request whose memory is not aligned goes through one aligned buffer of the
 * queue, a chunk at a time; those who find it taken wait in line. A write that is not in whole units
 * looks at them first and writes them back whole, alone behind the image's gate. Who needs both
 * passes the gate before he asks for the buffer, so that nobody holds the buffer and waits for one
 * who waits for it.
 *
 * One flush runs at a time. It keeps all that was written before it, so it serves every flush that
 * was asked for by then, and each of them hears how it ended; those that come later need the next
 * one. A driver without a write cache asks for as many flushes as writes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"
#include "block/eng.h"

#define SECTOR 512
#define BOUNCE_SIZE KIB(256)
#define BOUNCE_ALIGN 4096
#define TRIES_MAX 1000 /* EINTR and EAGAIN in a row */
#define GATE_LOOK_NS 50000
#define KEEP_MAX KIB(256)
#define KEEP_SLOW_NS 2000000ull /* what is saved by keeping a write here is nothing beside it */
#define KEEP_STALL_NS 10000000ull
#define STALL_REST 16 /* times as long as it took */

static bool op_moves(enum blk_op op)
{
	return op == BLK_READ || op == BLK_WRITE;
}

static bool op_changes(enum blk_op op)
{
	return op == BLK_WRITE || op == BLK_DISCARD || op == BLK_ZERO;
}

/* For those who came along. The next flush begins in blkq_turn. */
static void end_flush(struct blkq *q, const struct blk_io *io)
{
	q->flushing = NULL;
	for (struct link *l; (l = list_take_first(&q->flush_along));) {
		struct blk_io *along = container_of(l, struct blk_io, link);

		along->status = io->status;
		along->os = io->os;
		list_add_tail(&q->ended, l);
	}
}

static void end(struct blkq *q, struct blk_io *io, enum blk_status s)
{
	io->status = s;
	if (io->gate != GATE_OUT)
		gate_leave(&q->img->gate, io->gate);
	io->gate = GATE_OUT;
	list_add_tail(&q->ended, &io->link);
	if (q->bouncing == io)
		q->bouncing = NULL; /* the next in line starts in blkq_turn */
	if (q->flushing == io)
		end_flush(q, io);
}

static enum blk_status refuse(const struct blkq *q, const struct blk_io *io)
{
	const struct img *i = q->img;
	uint64_t last;

	if (io->op == BLK_FLUSH)
		return BLK_OK;
	if (!io->len || add_overflows(&last, io->off, io->len) ||
	    last > __atomic_load_n(&i->size, __ATOMIC_RELAXED) || (io->off | io->len) % SECTOR)
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
	uint64_t done;

	if (q->bouncing && q->bouncing != io) {
		list_add_tail(&q->bounce_wait, &io->link);
		return false;
	}
	q->bouncing = io;
	if (io->leg == LEG_WHOLE && s->op == BLK_WRITE && span != part) {
		io->leg = LEG_LOOK;
		io->looked = 0;
	}
	done = io->leg == LEG_LOOK ? io->looked : 0;
	io->bounce = kiov_of((char *)q->bounce + done, span - done);
	*s = (struct blk_step){
		.op = io->leg == LEG_LOOK ? BLK_READ : s->op,
		.off = low + done,
		.len = span - done,
		.iov = &io->bounce,
		.iovs = 1,
	};
	if (s->op == BLK_WRITE && io->op == BLK_ZERO)
		memset((char *)q->bounce + skip, 0, part);
	else if (s->op == BLK_WRITE)
		kiov_get(io->iov, io->iovs, 0, (char *)q->bounce + skip, part);
	return true;
}

/* May io change the image now? If not, it stands in line. */
static bool pass_gate(struct blkq *q, struct blk_io *io)
{
	struct img *i = q->img;
	bool part = (io->off | io->len) % i->direct_off;
	enum gate_way way = part ? GATE_ALONE : GATE_TOGETHER;

	if (!list_empty(&q->gate_wait) || !gate_enter(&i->gate, &q->place, way)) {
		list_add_tail(&q->gate_wait, &io->link);
		return false;
	}
	io->gate = way;
	return true;
}

/* Devices discard and zero whole blocks only. Parts at either end are written, or left as they are:
 * a discard is a hint. */
static bool device_step(struct blkq *q, struct blk_io *io)
{
	static const uint8_t zeros[BOUNCE_ALIGN];
	struct blk_step *s = &io->step;
	uint64_t unit = q->img->logical, ahead = align_up(s->off, unit) - s->off;
	uint64_t whole = s->len > ahead ? align_down(s->len - ahead, unit) : 0;

	if (io->op == BLK_DISCARD) {
		if (!whole)
			end(q, io, BLK_OK);
		s->off += ahead;
		s->len = whole;
		return whole;
	}
	if (!ahead && whole) {
		io->covers = s->len = whole;
		return true;
	}
	io->covers = s->len = min_u64(whole ? ahead : s->len, sizeof(zeros));
	io->bounce = kiov_of((void *)(uintptr_t)zeros, s->len);
	s->op = BLK_WRITE;
	s->iov = &io->bounce;
	s->iovs = 1;
	return !q->img->direct || bounce(q, io);
}

/* Chooses the next step. False when there is none to start now. */
static bool next_step(struct blkq *q, struct blk_io *io)
{
	const struct img *i = q->img;
	struct extent x;

	if (io->op == BLK_FLUSH) {
		io->step = (struct blk_step){ .op = BLK_FLUSH };
		io->covers = 0;
		return true;
	}
	if (i->gated && op_changes(io->op) && io->gate == GATE_OUT && !pass_gate(q, io))
		return false;
	x = i->fmt->map(i, io->off + io->moved, io->len - io->moved);
	io->step = (struct blk_step){ .op = io->op, .off = x.off, .len = x.len };
	io->covers = x.len;
	if (!op_moves(io->op))
		return !i->device || i->logical == SECTOR || device_step(q, io);
	io->step.iov = io->iov;
	io->step.iovs = io->iovs;
	if (i->direct && ((x.off | x.len) % i->direct_off ||
			  !step_aligned(io->iov, io->iovs, i->direct_mem, i->direct_off)))
		return bounce(q, io);
	return true;
}

static const char *const op_name[] = {
	[BLK_READ] = "read",	   [BLK_WRITE] = "write",	   [BLK_FLUSH] = "flush",
	[BLK_DISCARD] = "discard", [BLK_ZERO] = "write of zeroes",
};

static void host_error(struct blkq *q, struct blk_io *io, int os)
{
	if (os == EOPNOTSUPP && (io->op == BLK_DISCARD || io->op == BLK_ZERO)) {
		end(q, io, BLK_UNSUPP);
		return;
	}
	log_guest("%s: %s of %llu bytes at %llu: %s", q->img->path, op_name[io->op],
		  (unsigned long long)io->len, (unsigned long long)(io->off + io->moved),
		  os ? strerror(os) : "the file ends early");
	io->os = os ? os : EIO;
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
	io->leg = LEG_WHOLE;
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
	if (io->leg == LEG_LOOK) {
		io->looked += (uint32_t)res;
		if ((uint64_t)res == io->step.len)
			io->leg = LEG_BACK;
		if (!res)
			host_error(q, io, 0);
		return !res;
	}
	if (io->step.op == BLK_WRITE && (uint64_t)res != io->step.len && !op_moves(io->op)) {
		host_error(q, io, 0);
		return true;
	}
	if (!op_moves(io->op)) {
		io->moved += io->covers;
		io->leg = LEG_WHOLE;
		if (io->moved < io->len && io->op != BLK_FLUSH)
			return false;
		end(q, io, BLK_OK);
		return true;
	}
	advance(q, io, (uint64_t)res);
	return io->moved == io->len || io->status != BLK_OK;
}

/* Reads of the page cache's are not: the disk's answer ends them without a worker. */
static bool takes_long(const struct blkq *q, const struct blk_step *s)
{
	return !op_moves(s->op) || (s->op == BLK_WRITE && !q->img->direct);
}

/* May io be kept by one call in this thread? A write, and a flush by a worker of the kernel when it has
 * ended, take several wakes. While nothing else is under way nobody waits for us but the guest. */
static bool keep_here(const struct blkq *q, const struct blk_io *io)
{
	uint64_t now;

	if (!io->keep || io->op != BLK_WRITE || !q->img->dsync || q->flying != 1 ||
	    io->len > KEEP_MAX)
		return false;
	now = loop_now_ns();
	return now >= q->stalled_until_ns && look_pays(&q->keep, now);
}

/* Where the disk is slow, what the guest asks for meanwhile waits for little gain: then writes take the
 * engine for a while. A slow one now and then is in the nature of flushes. */
static int64_t step_here(struct blkq *q, const struct blk_io *io)
{
	uint64_t start = loop_now_ns(), end, took;
	int64_t r = sync_step(q->img, io, io->step.op == BLK_WRITE ? RWF_DSYNC : 0);

	end = loop_now_ns();
	took = end - start;
	if (took > KEEP_STALL_NS)
		q->stalled_until_ns = end + STALL_REST * took;
	if (took > KEEP_SLOW_NS)
		look_missed(&q->keep, end);
	else
		look_found(&q->keep);
	return r;
}

static void run(struct blkq *q, struct blk_io *io)
{
	int64_t res;

	do {
		if (!next_step(q, io))
			return;
		res = io->kept ? step_here(q, io) : q->eng->start(q, io);
		if (res == STEP_LATER) {
			io->lengthy = takes_long(q, &io->step);
			q->lengthy += io->lengthy;
			q->begun = true;
			return;
		}
	} while (!settle(q, io, res));
}

void blkq_stepped(struct blkq *q, struct blk_io *io, int64_t res)
{
	q->lengthy -= io->lengthy;
	if (!settle(q, io, res))
		run(q, io);
}

void blkq_submit(struct blkq *q, struct blk_io *io)
{
	enum blk_status s = refuse(q, io);

	list_init(&io->link);
	io->status = BLK_OK;
	io->os = 0;
	io->tries = 0;
	io->moved = 0;
	io->gate = GATE_OUT;
	io->leg = LEG_WHOLE;
	io->unmap = io->unmap && q->img->can_punch;
	q->flying++;
	io->kept = keep_here(q, io);
	if (s != BLK_OK)
		end(q, io, s);
	else if (io->op == BLK_FLUSH)
		list_add_tail(&q->flush_wait, &io->link); /* more may come in this turn */
	else
		run(q, io);
}

static void take_all(struct link *to, struct link *from)
{
	list_init(to);
	while (!list_empty(from))
		list_add_tail(to, list_take_first(from));
}

static bool may_flush(const struct blkq *q)
{
	return !q->flushing && !list_empty(&q->flush_wait);
}

static void begin_flush(struct blkq *q)
{
	struct link *l = list_take_first(&q->flush_wait);

	q->flushing = container_of(l, struct blk_io, link);
	while ((l = list_take_first(&q->flush_wait)))
		list_add_tail(&q->flush_along, l);
	run(q, q->flushing);
}

/* Those at the gate try again, in their order; who is refused stands in line again. */
static void try_gate(struct blkq *q)
{
	struct link now;

	take_all(&now, &q->gate_wait);
	for (struct link *l; (l = list_take_first(&now));)
		run(q, container_of(l, struct blk_io, link));
}

bool blkq_turn(struct blkq *q)
{
	struct link now;

	if (!q->flying)
		return false;
	q->again = false;
	if (!list_empty(&q->gate_wait))
		try_gate(q);
	if (may_flush(q))
		begin_flush(q);
	q->begun = false;
	q->eng->turn(q);
	while (!q->bouncing && !list_empty(&q->bounce_wait)) {
		struct link *l = list_take_first(&q->bounce_wait);

		run(q, container_of(l, struct blk_io, link));
	}
	/* Only what has ended by now: a done function may submit again. */
	take_all(&now, &q->ended);
	for (struct link *l; (l = list_take_first(&now));) {
		struct blk_io *io = container_of(l, struct blk_io, link);

		q->flying--;
		io->done(io, io->status);
	}
	/* What a done function has begun waits for the next turn of the engine. */
	return q->again || q->begun || may_flush(q) || !list_empty(&q->ended);
}

static bool turn_hook(void *arg)
{
	return blkq_turn(arg);
}

void blkq_drain(struct blkq *q)
{
	static const struct timespec look = { .tv_nsec = GATE_LOOK_NS };

	while (q->flying) {
		blkq_turn(q);
		if (!q->flying || may_flush(q) || !list_empty(&q->ended))
			continue;
		/* the loop's messages are not read meanwhile, the gate's among them */
		if (!list_empty(&q->gate_wait))
			nanosleep(&look, NULL);
		else
			q->eng->wait(q);
	}
}

bool blkq_busy(const struct blkq *q)
{
	return q->flying;
}

bool blkq_soon(const struct blkq *q)
{
	return !q->lengthy && list_empty(&q->flush_wait);
}

bool blkq_ready(const struct blkq *q)
{
	return q->flying &&
	       (q->again || q->begun || may_flush(q) || !list_empty(&q->ended) || q->eng->ended(q));
}

const char *blkq_engine_name(const struct blkq *q)
{
	return q->eng->name;
}

/* Tries one engine; why it is not to be had goes to e. */
static int try_engine(struct blkq *q, const struct img_eng *eng, struct err *e)
{
	q->eng = eng;
	err_clear(e);
	return eng->open(q, e);
}

static int open_engine(struct blkq *q, unsigned int engines, struct err *e)
{
	static const struct {
		unsigned int bit;
		const struct img_eng *eng;
	} order[] = {
		{ BLKQ_URING, &img_uring },
		{ BLKQ_AIO, &img_aio },
		{ BLKQ_SYNC, &img_sync },
	};

	if (engines == BLKQ_AUTO)
		engines = q->img->in_ram ? BLKQ_SYNC : BLKQ_URING | BLKQ_AIO | BLKQ_SYNC;
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		if (!(engines & order[i].bit))
			continue;
		if (!try_engine(q, order[i].eng, e))
			return 0;
		if (engines >> (i + 1))
			log_warn("%s: no %s here (%s); the next engine serves it", q->img->path,
				 order[i].eng->name, err_frame(e, 0));
	}
	return -1;
}

int blkq_new(struct blkq **out, struct img *i, struct loop *l, unsigned int depth,
	     unsigned int engines, struct err *e)
{
	struct blkq *q = NEW(struct blkq);

	q->img = i;
	q->loop = l;
	q->depth = depth;
	list_init(&q->ended);
	list_init(&q->bounce_wait);
	list_init(&q->gate_wait);
	list_init(&q->flush_along);
	list_init(&q->flush_wait);
	gate_place_init(&q->place, l);
	if (open_engine(q, engines, e)) {
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
	gate_forget(&q->img->gate, &q->place);
	q->eng->close(q);
	free(q->bounce);
	free(q);
}
