/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images: a format maps (offset, length, intent) to extents of a host file, an engine moves
 * extents. blk_io.done is called exactly once, always from the queue's loop, never from inside
 * submit: what ends at once (page cache, error) goes on a list that the loop drains before it
 * sleeps.
 *
 * img_* is for the control thread; blkq_* for the loop that owns the queue. One image serves
 * several queues.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "mem/gmem.h"

struct img;
struct loop;

struct img_args {
	const char *path;
	bool readonly;
	bool direct;	 /* O_DIRECT */
	bool lock_whole; /* lock_granularity=full; else the byte range [0, size) */
	bool allocate;	 /* takes all its space now, and keeps it */
	bool raw;	 /* said to be raw: do not look for another format's mark */
	bool only_looks; /* whether it could be opened: only read, and not locked */
	int fd; /* an open descriptor (borrowed) instead of path, or -1; path names it in sentences */
};
/* Opens, looks at the kind (regular file or block device), takes an OFD lock. Sentences: missing,
 * no right, a directory, locked by another, empty, no space for all of it. */
MUST int img_open(struct img **out, const struct img_args *a, struct err *e);
void img_free(struct img *i);
/* Could both be open? For those who only look, and lock nothing. */
MUST int img_judge_beside(const struct img *i, const struct img *other, struct err *e);

struct img_info {
	uint64_t size;		/* bytes, whole 512-byte sectors; a tail is hidden with a warning */
	uint32_t logical_block; /* 512 or 4096 */
	uint32_t physical_block;
	uint32_t min_io, opt_io; /* bytes, 0 = unknown */
	bool can_discard, can_zero;
	char default_serial[21]; /* from the file's device and inode */
};
void img_info(const struct img *i, struct img_info *out);

/* Requests behind so many bytes fail from now on; at most the size of the disk, and whole blocks. */
void img_bound(struct img *i, uint64_t size);
/* Another size for the disk, in whole blocks: a file grows or is cut, a block device must have it
 * already. What is cut off, nobody asks for any more: img_bound, and the queues drained. After a
 * failure it is as before. */
MUST int img_resize(struct img *i, uint64_t size, struct err *e);

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_ZERO };
enum blk_status { BLK_OK, BLK_IOERR, BLK_UNSUPP };

/* One request; embedded in the device's slot. Bounds were checked by the device; blkq checks them
 * again. */
struct blk_io {
	enum blk_op op;
	uint64_t off, len; /* bytes */
	struct kiov *iov;  /* stays valid until done; used up on the way */
	unsigned int iovs;
	bool unmap; /* BLK_ZERO: the host may take the space back, if the image gives any */
	bool keep;  /* BLK_WRITE: a flush follows when it has ended, unless it was kept already */
	void (*done)(struct blk_io *io, enum blk_status s);
	void *priv;
	/* The queue's, from submit until done. */
	struct link link;
	enum blk_status status;
	int os;		   /* at BLK_IOERR: the host's errno; 0 when the request itself is wrong */
	bool kept;	   /* at BLK_OK: what it wrote needs no flush any more */
	uint32_t tries;	   /* how often the host said "again" */
	uint64_t moved;	   /* short reads and writes go on */
	unsigned int gate; /* enum gate_way: how it went in */
	bool lengthy;	   /* its step waits for a flush or for a worker of the kernel */
	uint32_t looked;   /* bytes that LEG_LOOK has read */
	uint64_t covers;   /* bytes of the disk that a step without payload is for */
	enum blk_leg { LEG_WHOLE, LEG_LOOK, LEG_BACK } leg;
	struct blk_step { /* what the engine is to do next, in bytes of the host file */
		enum blk_op op;
		uint64_t off, len;
		struct kiov *iov;
		unsigned int iovs;
	} step;
	struct kiov bounce; /* when step goes through the queue's aligned buffer */
};

/* A queue: an engine on a loop. depth bounds the requests in flight. */
struct blkq;
/* Engines as a set: the first of them that the host has, in this order. 0: the quickest for the
 * file. */
enum blkq_engine { BLKQ_AUTO = 0, BLKQ_URING = 1, BLKQ_AIO = 2, BLKQ_SYNC = 4 };
MUST int blkq_new(struct blkq **out, struct img *i, struct loop *l, unsigned int depth,
		  unsigned int engines, struct err *e);
/* All requests must have ended. */
void blkq_free(struct blkq *q);
void blkq_submit(struct blkq *q, struct blk_io *io);
/* Hands the batch to the kernel and runs the done functions of what has ended. The loop does it
 * before it sleeps; a device may do it earlier. True when there is more to do at once. */
bool blkq_turn(struct blkq *q);
/* Waits until nothing is in flight; done functions run meanwhile. For stop and pause. */
void blkq_drain(struct blkq *q);
/* Is a request in flight, or its end not told yet? */
bool blkq_busy(const struct blkq *q);
/* May what is in flight end very soon? Not when one of them is a flush, say: whoever looks for its
 * end may keep the processor from the kernel's worker that does it. */
bool blkq_soon(const struct blkq *q);
/* Would blkq_turn get on with something now? A glance at memory: for who looks before he sleeps. */
bool blkq_ready(const struct blkq *q);
const char *blkq_engine_name(const struct blkq *q);
