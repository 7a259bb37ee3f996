/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine over Linux's own asynchronous I/O, io_submit(2), for hosts that have no io_uring or
 * forbid it. The kernel does only direct I/O and flushes of files behind the caller's back; reads
 * and writes of the page cache it would do during io_submit, so they are done by plain calls here,
 * which cost less. What is begun is handed over once per turn of the loop; an eventfd wakes the loop
 * for its end, which is seen in the ring that the kernel maps for us.
 *
 * The control thread makes the context; the queue's thread only uses it. linux/aio_abi.h.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "block/eng.h"

/* Requests with the kernel at a time; more wait here, in order. The host counts them over all
 * programs (fs.aio-max-nr). */
#define FLYING_MAX 128
#define EVENTS 32 /* taken by one call */

/* What a context's id points to, the same in every kernel since 2002: its ring of events. */
struct aio_ring {
	unsigned int id, count, head, tail, magic;
};
#define RING_MAGIC 0xa10a10a1

struct aio_slot {
	struct iocb cb;
	struct blk_io *io;
};

struct aio {
	aio_context_t context;
	int bell; /* eventfd */
	struct loop_fd watch;
	struct link waiting; /* no slot free */
	unsigned int slots_all;
	unsigned int room;  /* slots free, the first of the list below */
	unsigned int fresh; /* filled, not handed over, in order in batch */
	struct aio_slot *slots;
	uint16_t *free_slots;
	struct iocb **batch;
};

static long io_setup(unsigned int n, aio_context_t *c)
{
	return syscall(SYS_io_setup, n, c);
}

static long io_destroy(aio_context_t c)
{
	return syscall(SYS_io_destroy, c);
}

static long io_submit(aio_context_t c, long n, struct iocb **cbs)
{
	return syscall(SYS_io_submit, c, n, cbs);
}

static long io_getevents(aio_context_t c, long least, long most, struct io_event *e,
			 struct timespec *limit)
{
	return syscall(SYS_io_getevents, c, least, most, e, limit);
}

static void aio_ready(void *arg, uint32_t events)
{
	(void)arg; /* blkq_turn collects at the end of this turn */
	(void)events;
}

static void aio_close(struct blkq *q)
{
	struct aio *a = q->aio;

	loop_unwatch(&a->watch);
	if (a->context)
		io_destroy(a->context);
	fd_close(&a->bell);
	free(a->slots);
	free(a->free_slots);
	free(a->batch);
	free(a);
	q->aio = NULL;
}

static int aio_make(struct blkq *q, struct err *e)
{
	struct aio *a = q->aio;

	a->bell = fd_event(e);
	if (a->bell < 0)
		return -1;
	if (io_setup(a->slots_all, &a->context) < 0)
		return err_os(e, ERR_IO, "io_setup");
	return loop_watch(q->loop, &a->watch, a->bell, EPOLLIN | EPOLLET, aio_ready, q, e);
}

static int aio_open(struct blkq *q, struct err *e)
{
	struct aio *a = NEW(struct aio);

	q->aio = a;
	a->bell = -1;
	list_init(&a->waiting);
	a->slots_all = q->depth < FLYING_MAX ? q->depth : FLYING_MAX;
	a->slots = mem_array(a->slots_all, sizeof(a->slots[0]));
	a->free_slots = mem_array(a->slots_all, sizeof(a->free_slots[0]));
	a->batch = mem_array(a->slots_all, sizeof(struct iocb *));
	for (a->room = 0; a->room < a->slots_all; a->room++)
		a->free_slots[a->room] = (uint16_t)a->room;
	if (aio_make(q, e)) {
		aio_close(q);
		return -1;
	}
	return 0;
}

/* For a free slot. */
static void fill(struct blkq *q, struct blk_io *io)
{
	static const uint16_t code[] = {
		[BLK_READ] = IOCB_CMD_PREADV,
		[BLK_WRITE] = IOCB_CMD_PWRITEV,
		[BLK_FLUSH] = IOCB_CMD_FDSYNC,
	};
	struct aio *a = q->aio;
	uint16_t n = a->free_slots[--a->room];
	struct aio_slot *s = &a->slots[n];

	s->io = io;
	s->cb = (struct iocb){
		.aio_data = n,
		.aio_lio_opcode = code[io->step.op],
		.aio_fildes = (uint32_t)q->img->fd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)a->bell,
	};
	if (io->step.iov) {
		s->cb.aio_buf = (uintptr_t)&io->step.iov->v;
		s->cb.aio_nbytes = step_pieces(io);
		s->cb.aio_offset = (int64_t)io->step.off;
	}
	a->batch[a->fresh++] = &s->cb;
}

static int64_t aio_start(struct blkq *q, struct blk_io *io)
{
	enum blk_op op = io->step.op;

	if (op != BLK_FLUSH && (!q->img->direct || (op != BLK_READ && op != BLK_WRITE)))
		return sync_step(q->img, io, 0);
	if (q->aio->room)
		fill(q, io);
	else
		list_add_tail(&q->aio->waiting, &io->link);
	return STEP_LATER;
}

static void slot_ended(struct blkq *q, uint64_t n, int64_t res)
{
	struct aio *a = q->aio;
	struct blk_io *io = a->slots[n].io;

	a->free_slots[a->room++] = (uint16_t)n;
	blkq_stepped(q, io, res);
}

/* Waits for the first, if asked to. */
static void collect(struct blkq *q, bool wait)
{
	struct io_event ev[EVENTS];
	struct timespec now = { 0 };
	long n;

	do {
		n = io_getevents(q->aio->context, wait, EVENTS, ev, wait ? NULL : &now);
		for (long i = 0; i < n; i++)
			slot_ended(q, ev[i].data, ev[i].res);
		wait = false;
	} while (n == EVENTS);
}

static void refill(struct blkq *q)
{
	while (q->aio->room && !list_empty(&q->aio->waiting)) {
		struct link *l = list_take_first(&q->aio->waiting);

		fill(q, container_of(l, struct blk_io, link));
	}
}

/* Hands over what is fresh. False when the kernel can take no more now. */
static bool submit(struct blkq *q)
{
	struct aio *a = q->aio;
	long n = io_submit(a->context, (long)a->fresh, a->batch);
	int64_t res = n < 0 ? -errno : 0;
	uint64_t slot;

	if (n < 0 && (res == -EAGAIN || res == -EINTR))
		return false;
	slot = a->batch[0]->aio_data;
	if (n <= 0)
		n = 1; /* the first one is refused, and the rest not looked at */
	a->fresh -= (unsigned int)n;
	memmove(a->batch, a->batch + n, a->fresh * sizeof(a->batch[0]));
	if (res < 0)
		slot_ended(q, slot, res);
	return true;
}

static bool aio_ended(const struct blkq *q)
{
	const struct aio_ring *r = (const struct aio_ring *)(uintptr_t)q->aio->context;

	return r->magic != RING_MAGIC || __atomic_load_n(&r->head, __ATOMIC_RELAXED) !=
						 __atomic_load_n(&r->tail, __ATOMIC_RELAXED);
}

static void aio_turn(struct blkq *q)
{
	struct aio *a = q->aio;

	if (aio_ended(q))
		collect(q, false);
	refill(q);
	while (a->fresh && submit(q))
		refill(q);
	q->again = a->fresh > 0;
}

static void aio_wait(struct blkq *q)
{
	struct aio *a = q->aio;

	if (a->room + a->fresh < a->slots_all)
		collect(q, true);
}

const struct img_eng img_aio = {
	.name = "aio",
	.open = aio_open,
	.close = aio_close,
	.start = aio_start,
	.turn = aio_turn,
	.ended = aio_ended,
	.wait = aio_wait,
};
