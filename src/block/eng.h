/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside block/: what an image, a format and an engine owe each other. A format maps an offset of
 * the disk to an extent of the host file; an engine moves one step of a request between the file
 * and memory. Neither knows the other: N formats + M engines. Nobody outside block/ includes this.
 *
 *	submit -> [map -> engine: one step] -> done        short steps and further extents go round again
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/look.h"
#include "base/loop.h"
#include "block/gate.h"
#include "block/img.h"

/* A piece of the host file that answers for a piece of the disk, from its first byte on. */
struct extent {
	uint64_t off, len;
};

struct img_fmt {
	const char *name;
	/* Sets img->size from the file's size. */
	int (*open)(struct img *i, uint64_t file_size, struct err *e);
	/* The extent at off, at most len bytes and at least one. The range lies within the disk. */
	struct extent (*map)(const struct img *i, uint64_t off, uint64_t len);
};
extern const struct img_fmt img_raw;

struct img {
	char *path;
	int fd;
	int lock_fd; /* the lock's own description of the file */
	const struct img_fmt *fmt;
	uint64_t size; /* of the disk as the guest sees it; read by the queues, so atomically */
	bool readonly, device; /* device: a block device */
	bool direct;	       /* O_DIRECT: offsets, lengths and memory in units of the two below */
	bool lock_whole;       /* the lock is on all of the file */
	bool allocated;	       /* the file has all its space, and shall keep it */
	bool in_ram;	       /* the file system is memory: nothing ever waits for a disk */
	bool dsync;	       /* a single write can be kept, as by a flush: RWF_DSYNC */
	bool only_looks;
	uint32_t direct_off, direct_mem;
	bool gated;	  /* direct units are larger than sectors: changes pass the gate */
	struct gate gate; /* between the queues */
	uint32_t logical, physical, min_io, opt_io;
	bool can_punch, can_zero;
	uint64_t dev, rdev, ino;
};

/* What start returns when the result comes later, by blkq_stepped. */
#define STEP_LATER INT64_MIN

struct img_eng {
	const char *name;
	/* By the maker of the queue; start and the others by the loop. */
	int (*open)(struct blkq *q, struct err *e);
	void (*close)(struct blkq *q);
	/* Does io->step, or begins it: bytes moved (0 for what moves none), -errno, or
	 * STEP_LATER. */
	int64_t (*start)(struct blkq *q, struct blk_io *io);
	/* Hands over what was begun and collects what has ended. */
	void (*turn)(struct blkq *q);
	/* Would turn collect something now? Asked in a circle, so without a system call. */
	bool (*ended)(const struct blkq *q);
	/* The same, and waits for at least one. */
	void (*wait)(struct blkq *q);
};
extern const struct img_eng img_uring, img_aio, img_sync;

struct uring;
struct aio;

struct blkq {
	struct img *img;
	struct loop *loop;
	struct loop_hook hook;
	const struct img_eng *eng;
	unsigned int depth;
	unsigned int flying;  /* submitted, done not yet called */
	unsigned int lengthy; /* steps begun that will not end soon */
	bool begun;	      /* a step was begun that the engine may not have handed over */
	bool again;	      /* the engine could not hand over everything */
	struct link ended;    /* their done is to be called */
	void *bounce;	      /* O_DIRECT: one aligned buffer, for one request at a time */
	struct blk_io *bouncing;
	struct link bounce_wait;
	struct gate_place place; /* at the image's gate */
	struct link gate_wait;
	struct blk_io *flushing;   /* the one flush that runs, for those of flush_along too */
	struct link flush_along;   /* came before it was begun */
	struct link flush_wait;	   /* need the next one */
	struct look keep;	   /* whether it pays to keep writes in this thread */
	uint64_t stalled_until_ns; /* it took so long that none are until then */
	struct uring *uring;	   /* enguring's */
	struct aio *aio;	   /* engaio's */
};

/* A step that was begun has ended: bytes moved or -errno. */
void blkq_stepped(struct blkq *q, struct blk_io *io, int64_t res);

/* One step done by plain system calls in this thread; rwf: RWF_NOWAIT, RWF_DSYNC or 0. Bytes, 0 or
 * -errno. */
int64_t sync_step(const struct img *i, const struct blk_io *io, int rwf);
/* fallocate(2) mode of a discard or zero request. */
int step_hole_mode(const struct blk_io *io);
/* Pieces that one system call takes; the rest goes on as after a short transfer. */
unsigned int step_pieces(const struct blk_io *io);
/* Do all pieces begin at multiples of mem, and are they multiples of len long? Hosts ask for both. */
bool step_aligned(const struct kiov *k, unsigned int n, uint32_t mem, uint32_t len);
