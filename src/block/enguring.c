/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine: what the page cache can answer or take is done at once by one system call;
 * the rest, and reads that come in numbers, goes on a ring, which is handed over once per turn of
 * the loop. The loop watches an eventfd that the kernel signals when something has ended;
 * edge-triggered, so it is never read. It only wakes: what has ended is seen in the ring's own
 * words, which a queue may look at without it.
 *
 * System-call filters do not see what a ring carries. So the maker of the queue makes the ring, on
 * its own thread, and binds it first: four kinds of operations, on the one file registered, and no
 * further registering. The queue's thread only switches it on and enters it; it has no right to
 * make another. io_uring_register(2), IORING_REGISTER_RESTRICTIONS.
 */
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "block/eng.h"

/* Entries handed over at a time; more requests than this wait here, in order. */
#define RING_MAX 128

/* Reads in a turn from which on one call that hands them all over costs less than a call for each, though
 * the ring has its own price for each. */
#define READS_MANY 8

#define WRITE_HERE_MAX KIB(256)
#define WRITE_SLOW_NS 5000000ull /* no copy takes that long */
#define SUSPECT_NS 1000000000ull
#define SLOW_MIN_NS 100000000ull
#define SLOW_MAX_NS 2000000000ull

/* Younger than the headers of some build hosts. Linux 5.19, 6.1. */
#ifndef IORING_SETUP_TASKRUN_FLAG
#define IORING_SETUP_TASKRUN_FLAG (1U << 9)
#define IORING_SQ_TASKRUN (1U << 2)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

struct uring {
	struct io_uring ring;
	int bell; /* eventfd */
	struct loop_fd watch;
	struct link waiting;		  /* no entry free */
	unsigned int room;		  /* entries free */
	unsigned int fresh;		  /* filled, not handed over */
	bool on;			  /* the ring has been switched on */
	bool read_at_once, write_at_once; /* the file system knows RWF_NOWAIT */
	unsigned int reads;		  /* asked for in this turn */
	bool many_reads;		  /* in the one before */
	bool device_keeps;		  /* a device that makes no holes, but may discard */
	uint64_t suspect_until;		  /* slow writes are looked at more closely until then */
	uint64_t slow_until, slow_ns;	  /* writes take the ring until then; for so long */
};

static const struct io_uring_restriction bounds[] = {
	{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
	{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
	{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
	{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
	{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
	{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE },
	{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
	{ .opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_ENABLE_RINGS },
};

/* The best ring first; older kernels refuse flags they do not know. All of them start switched
 * off. */
static const unsigned int kinds[] = {
	IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG,
	IORING_SETUP_R_DISABLED,
};

static int make_ring(struct uring *u, unsigned int entries)
{
	int r = -EINVAL;

	for (unsigned int i = 0; i < ARRAY_LEN(kinds) && r == -EINVAL; i++) {
		struct io_uring_params p = { .flags = kinds[i] };

		r = io_uring_queue_init_params(entries, &u->ring, &p);
	}
	return r;
}

/* Registers the one file and the bell, and closes the ring to everything but our operations on
 * that file. */
static int bind_ring(struct uring *u, int fd)
{
	struct io_uring_restriction rows[ARRAY_LEN(bounds)];
	int r = io_uring_register_files(&u->ring, &fd, 1);

	if (r >= 0)
		r = io_uring_register_eventfd(&u->ring, u->bell);
	if (r < 0)
		return r;
	memcpy(rows, bounds, sizeof(rows));
	return io_uring_register((unsigned int)u->ring.ring_fd, IORING_REGISTER_RESTRICTIONS, rows,
				 ARRAY_LEN(rows));
}

static void ring_ready(void *arg, uint32_t events)
{
	(void)arg; /* blkq_turn collects at the end of this turn */
	(void)events;
}

static void uring_close(struct blkq *q)
{
	struct uring *u = q->uring;

	loop_unwatch(&u->watch);
	if (u->ring.ring_fd >= 0)
		io_uring_queue_exit(&u->ring);
	fd_close(&u->bell);
	free(u);
	q->uring = NULL;
}

static int uring_make(struct blkq *q, struct err *e)
{
	struct uring *u = q->uring;
	int r;

	u->bell = fd_event(e);
	if (u->bell < 0)
		return -1;
	r = make_ring(u, q->depth < RING_MAX ? q->depth : RING_MAX);
	if (r < 0) {
		u->ring.ring_fd = -1;
		errno = -r;
		return err_os(e, ERR_IO, "io_uring_setup");
	}
	r = bind_ring(u, q->img->fd);
	if (r < 0) {
		errno = -r;
		return err_os(e, ERR_IO, "io_uring_register");
	}
	return loop_watch(q->loop, &u->watch, u->bell, EPOLLIN | EPOLLET, ring_ready, q, e);
}

static int uring_open(struct blkq *q, struct err *e)
{
	struct uring *u = NEW(struct uring);

	q->uring = u;
	u->ring.ring_fd = -1;
	list_init(&u->waiting);
	u->read_at_once = u->write_at_once = true;
	if (uring_make(q, e)) {
		uring_close(q);
		return -1;
	}
	u->room = u->ring.sq.ring_entries; /* rounded up to a power of two */
	return 0;
}

/* A single piece has an operation of its own, which spares the kernel the reading of a list. */
static void fill_move(struct io_uring_sqe *s, const struct blk_step *step, unsigned int n)
{
	const struct iovec *v = &step->iov->v;
	bool write = step->op == BLK_WRITE;

	if (n == 1 && write)
		io_uring_prep_write(s, 0, v->iov_base, (unsigned int)v->iov_len, step->off);
	else if (n == 1)
		io_uring_prep_read(s, 0, v->iov_base, (unsigned int)v->iov_len, step->off);
	else if (write)
		io_uring_prep_writev(s, 0, v, n, step->off);
	else
		io_uring_prep_readv(s, 0, v, n, step->off);
}

/* Fills an entry; there is room. */
static void fill(struct uring *u, struct blk_io *io)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&u->ring);

	switch (io->step.op) {
	case BLK_READ:
	case BLK_WRITE:
		fill_move(s, &io->step, step_pieces(io));
		break;
	case BLK_FLUSH:
		io_uring_prep_fsync(s, 0, IORING_FSYNC_DATASYNC);
		break;
	case BLK_DISCARD:
	case BLK_ZERO:
		io_uring_prep_fallocate(s, 0, step_hole_mode(io), (off_t)io->step.off,
					(off_t)io->step.len);
		break;
	}
	s->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(s, io);
	u->room--;
	u->fresh++;
}

/* How often this thread has slept of its own accord, which being preempted is not. */
static long sleeps(void)
{
	struct rusage r;

	return getrusage(RUSAGE_THREAD, &r) ? 0 : r.ru_nvcsw;
}

/* Writes into the page cache in this thread, where the file system cannot say whether it would
 * wait. Mostly that is a copy; handing it to a worker of the kernel costs many times as much. But a
 * writer that has run ahead of its disk is held up for as long as 200 ms: then writes take the ring
 * for a while, and longer each time it happens again. On a busy host a copy is slow too when the
 * thread loses its processor; so one slow write only makes us ask whether the next one slept. */
static int64_t write_here(struct blkq *q, struct blk_io *io)
{
	struct uring *u = q->uring;
	uint64_t start = loop_now_ns(), took;
	bool suspect = start < u->suspect_until;
	long slept;
	int64_t r;

	if (io->step.len > WRITE_HERE_MAX || start < u->slow_until)
		return STEP_LATER;
	slept = suspect ? sleeps() : 0;
	r = sync_step(q->img, io, 0);
	took = loop_now_ns() - start;
	if (took > WRITE_SLOW_NS && !suspect) {
		u->suspect_until = start + took + SUSPECT_NS;
	} else if (took > WRITE_SLOW_NS && sleeps() > slept) {
		u->slow_ns = min_u64(max_u64(u->slow_ns * 2, SLOW_MIN_NS), SLOW_MAX_NS);
		u->slow_until = start + took + u->slow_ns;
	} else if (start > u->slow_until + SLOW_MAX_NS) {
		u->slow_ns = 0;
	}
	return r;
}

/* Tries without waiting; STEP_LATER when it would wait. */
static int64_t at_once(struct blkq *q, struct blk_io *io)
{
	struct uring *u = q->uring;
	enum blk_op op = io->step.op;
	bool *known = op == BLK_READ ? &u->read_at_once : &u->write_at_once;
	int64_t r;

	if (op == BLK_DISCARD && u->device_keeps)
		return sync_step(q->img, io, 0); /* the ring has no operation for it */
	if ((op != BLK_READ && op != BLK_WRITE) || q->img->direct)
		return STEP_LATER;
	if (op == BLK_READ) {
		u->reads++;
		if (u->many_reads)
			return STEP_LATER;
	}
	if (*known) {
		r = sync_step(q->img, io, RWF_NOWAIT);
		if (r != -EOPNOTSUPP)
			return r >= 0 ? r : STEP_LATER;
		*known = false;
	}
	return op == BLK_WRITE ? write_here(q, io) : STEP_LATER;
}

static int64_t uring_start(struct blkq *q, struct blk_io *io)
{
	struct uring *u = q->uring;
	int64_t r = at_once(q, io);

	if (r != STEP_LATER)
		return r;
	if (u->room)
		fill(u, io);
	else
		list_add_tail(&u->waiting, &io->link);
	return STEP_LATER;
}

static void switch_on(struct uring *u)
{
	u->on = true;
	/* Here, because the thread that switches it on becomes the one that may enter it. */
	if (io_uring_register((unsigned int)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
			      0) < 0)
		log_error("io_uring cannot be switched on: %s", strerror(errno));
}

/* A hole is a discard and more, and may take seconds, so it is asked for first. A device that makes
 * none is told by a plain call what it may forget, and the queue waits. */
static int64_t judged(struct blkq *q, const struct blk_io *io, int64_t res)
{
	if (res != -EOPNOTSUPP || io->step.op != BLK_DISCARD || !q->img->device)
		return res;
	q->uring->device_keeps = true;
	return -EAGAIN;
}

static void collect(struct blkq *q)
{
	struct uring *u = q->uring;
	struct io_uring_cqe *c;

	while (io_uring_peek_cqe(&u->ring, &c) == 0 && c) {
		struct blk_io *io = io_uring_cqe_get_data(c);
		int64_t res = c->res;

		io_uring_cqe_seen(&u->ring, c);
		u->room++;
		blkq_stepped(q, io, judged(q, io, res));
	}
}

static void refill(struct uring *u)
{
	while (u->room && !list_empty(&u->waiting)) {
		struct link *l = list_take_first(&u->waiting);

		fill(u, container_of(l, struct blk_io, link));
	}
}

/* While we are in the kernel the bell need not ring: what ends then is seen on the way out, and a bell
 * rung for it would only spoil the next sleep. */
static void hush(struct uring *u, bool hushed)
{
	if (io_uring_cq_eventfd_enabled(&u->ring) == hushed)
		io_uring_cq_eventfd_toggle(&u->ring, !hushed);
	atomic_thread_fence(memory_order_seq_cst);
}

/* Nothing in the ring: waiting for it would never end. */
static bool ring_idle(const struct blkq *q)
{
	const struct uring *u = q->uring;

	return u->room == u->ring.sq.ring_entries && list_empty(&u->waiting);
}

/* Hands over what is fresh, collects what has ended. True when the kernel took something. */
static bool enter(struct blkq *q, unsigned int wait)
{
	struct uring *u = q->uring;
	int r;

	if (!u->on)
		switch_on(u);
	hush(u, true);
	r = wait ? io_uring_submit_and_wait(&u->ring, wait)
		 : io_uring_submit_and_get_events(&u->ring);
	hush(u, false);
	if (r > 0)
		u->fresh -= (unsigned int)r;
	if (r < 0 && r != -EINTR && r != -EAGAIN && r != -EBUSY)
		log_guest("io_uring_enter: %s", strerror(-r));
	collect(q);
	refill(u);
	return r > 0;
}

/* Either it is in the ring, or it waits for our next entering to be put there. */
static bool uring_ended(const struct blkq *q)
{
	const struct io_uring *r = &q->uring->ring;

	return io_uring_cq_ready(r) ||
	       __atomic_load_n(r->sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN;
}

static void uring_turn(struct blkq *q)
{
	struct uring *u = q->uring;

	if (u->reads)
		u->many_reads = u->reads >= READS_MANY;
	u->reads = 0;
	/* Entering without a reason is a system call for nothing. */
	if (!u->fresh && !uring_ended(q))
		return;
	/* An entry that the kernel refuses ends the batch before those behind it. */
	while (enter(q, 0) && u->fresh)
		;
	/* what came while the bell was hushed has not rung it */
	q->again = u->fresh > 0 || uring_ended(q);
}

static void uring_wait(struct blkq *q)
{
	if (!ring_idle(q))
		enter(q, 1);
}

const struct img_eng img_uring = {
	.name = "io_uring",
	.open = uring_open,
	.close = uring_close,
	.start = uring_start,
	.turn = uring_turn,
	.ended = uring_ended,
	.wait = uring_wait,
};
