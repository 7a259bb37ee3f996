/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine that does each step at once, by system calls in the queue's own thread. It serves
 * images whose file system is memory, where that is the quickest way, and hosts without io_uring,
 * where it is the only one. Its steps also answer from the page cache for the other engine
 * (RWF_NOWAIT). For the queue's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bits.h"
#include "block/eng.h"

#define PIECES_MAX 1024 /* UIO_MAXIOV */

int step_hole_mode(const struct blk_io *io)
{
	bool punch = io->op == BLK_DISCARD || io->unmap;

	return FALLOC_FL_KEEP_SIZE | (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

unsigned int step_pieces(const struct blk_io *io)
{
	return io->step.iovs < PIECES_MAX ? io->step.iovs : PIECES_MAX;
}

bool step_aligned(const struct kiov *k, unsigned int n, uint32_t mem, uint32_t len)
{
	for (unsigned int i = 0; i < n; i++)
		if ((uintptr_t)k[i].v.iov_base & (mem - 1) || k[i].v.iov_len & (len - 1))
			return false;
	return true;
}

/* Only a device knows discarding apart from zeroing: no promise of what is read afterwards. */
static int64_t discard(const struct img *i, const struct blk_io *io)
{
	uint64_t range[2] = { io->step.off, io->step.len };

	if (i->device)
		return ioctl(i->fd, BLKDISCARD, range);
	return fallocate(i->fd, step_hole_mode(io), (off_t)range[0], (off_t)range[1]);
}

int64_t sync_step(const struct img *i, const struct blk_io *io, int rwf)
{
	const struct iovec *v = io->step.iov ? &io->step.iov->v : NULL;
	int n = (int)step_pieces(io);
	off_t off = (off_t)io->step.off;
	int64_t r = -1;

	switch (io->step.op) {
	case BLK_READ:
		r = preadv2(i->fd, v, n, off, rwf);
		break;
	case BLK_WRITE:
		r = pwritev2(i->fd, v, n, off, rwf);
		break;
	case BLK_FLUSH:
		r = fdatasync(i->fd);
		break;
	case BLK_DISCARD:
		r = discard(i, io);
		break;
	case BLK_ZERO:
		r = fallocate(i->fd, step_hole_mode(io), off, (off_t)io->step.len);
		break;
	}
	return r < 0 ? -errno : r;
}

static int sync_open(struct blkq *q, struct err *e)
{
	(void)q;
	(void)e;
	return 0;
}

static void sync_none(struct blkq *q)
{
	(void)q;
}

static bool sync_ended(const struct blkq *q)
{
	(void)q;
	return false;
}

static int64_t sync_start(struct blkq *q, struct blk_io *io)
{
	return sync_step(q->img, io, 0);
}

const struct img_eng img_sync = {
	.name = "sync",
	.open = sync_open,
	.close = sync_none,
	.start = sync_start,
	.turn = sync_none,
	.ended = sync_ended,
	.wait = sync_none,
};
