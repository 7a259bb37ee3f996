/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory: the one checked door. Everyone else holds an address of the guest (gpa_t), a
 * length and one of the accessors below; only gmem.c looks through pointers into the guest. Payload
 * leaves as kiov, which may be handed to the kernel (readv, io_uring) and is never read by us.
 *
 * A region with blocks is RAM only where it is plugged: every accessor refuses the rest of it.
 *
 * The guest runs while we look: a value is fetched once, copied to a local, then judged, then used.
 * All accessors may be called by any thread, and wait for nobody. RAM is laid before vCPUs run; what
 * comes and goes later are blocks of it (gmem_plug), and memory of devices (gmem_grow), which
 * accessors take like RAM and which is none: it is neither counted nor among the regions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "mem/backing.h"
#include "mem/prefault.h"
#include "mem/source.h"

typedef struct {
	uint64_t v;
} gpa_t;
#define GPA(x) ((gpa_t){ (uint64_t)(x) })
static inline gpa_t gpa_add(gpa_t a, uint64_t n)
{
	return GPA(a.v + n);
}

struct gmem;
struct pagemap; /* mem/pagemap.h */

/* One piece of RAM as the hypervisor and other processes see it. */
struct gmem_region {
	gpa_t base;
	uint64_t size;
	uintptr_t host; /* for the hypervisor's slot only; never dereferenced outside gmem.c */
	int fd;		/* of the backing, or -1 */
	uint64_t fd_off;
	uint32_t zone;	/* that it is a part of: the plan's number */
	uint64_t block; /* see gmem_part */
	uint64_t page;	/* of the host: 4 KiB, or a huge one */
};

/* How RAM lies: zones, and what part of each is where. A zone that meets a hole has two parts; what
 * may be plugged of it later is one more. */
#define GMEM_ZONES_MAX 64
#define GMEM_PARTS_MAX (3 * GMEM_ZONES_MAX)
struct gmem_part {
	gpa_t base;
	uint64_t size;
	uint32_t zone;
	uint64_t off; /* in the zone */
	uint64_t
		block; /* 0, or it comes and goes in blocks of so many bytes, and none is there yet */
};
/* What comes from gmem_set_source's file without being touched. */
enum gmem_prefetch { GMEM_PREFETCH_NONE, GMEM_PREFETCH_RECORDED, GMEM_PREFETCH_ALL };

struct gmem_plan {
	uint32_t zones, parts;
	struct backing zone[GMEM_ZONES_MAX];   /* open */
	struct gmem_part part[GMEM_PARTS_MAX]; /* by address, not meeting each other */
};

MUST int gmem_new(struct gmem **out, struct err *e);
/* Makes RAM as planned, in an empty map. Parts that adjoin in the guest adjoin in the host, so that
 * a window may lie across their border. The zones are the map's from here on, and none are left in
 * the plan, also on failure. */
MUST int gmem_lay(struct gmem *m, struct gmem_plan *p, struct err *e);
/* Adds RAM at [base, base+size), a zone of its own. Regions do not overlap; base and size are
 * multiples of 4 KiB. */
MUST int gmem_add(struct gmem *m, gpa_t base, uint64_t size, const struct backing_args *b,
		  struct err *e);
void gmem_free(struct gmem *m);
/* Who is told of gmem_load's work from now on, borrowed; NULL: nobody. Before threads load. */
void gmem_tell(struct gmem *m, struct work *w);
/* Touches the pages of the zones that ask for it; see mem/prefault. */
MUST int gmem_prefault(const struct gmem *m, struct work *w, struct err *e);
/* Touches those of [a, a+len), which is RAM. */
MUST int gmem_prefault_range(const struct gmem *m, gpa_t a, uint64_t len, struct work *w,
			     struct err *e);

unsigned int gmem_regions(const struct gmem *m);
const struct gmem_region *gmem_region(const struct gmem *m, unsigned int i);
/* Bytes of RAM; of regions with blocks, those that are plugged. */
uint64_t gmem_total(const struct gmem *m);
/* Bytes of RAM from a to the next hole, whatever regions they are in. */
uint64_t gmem_run(const struct gmem *m, gpa_t a);
/* First address behind all RAM, and behind all that may be plugged. */
uint64_t gmem_end(const struct gmem *m);

/* True when [a, a+len) lies in RAM (it may span adjoining regions). len 0 is false. */
bool gmem_ok(const struct gmem *m, gpa_t a, uint64_t len);

/* Checked copies; 0, or -1 with nothing written when any byte is outside RAM. */
MUST int gmem_read(const struct gmem *m, gpa_t a, void *to, size_t len);
MUST int gmem_write(const struct gmem *m, gpa_t a, const void *from, size_t len);
MUST int gmem_zero(const struct gmem *m, gpa_t a, uint64_t len);
/* The same, which leaves out pages that nobody can have written to: new RAM that is no file's. */
MUST int gmem_clear(const struct gmem *m, gpa_t a, uint64_t len);
/* Makes RAM of blocks, and takes it away again with what the host gave for it. Of one region with
 * blocks, whole ones, all of them without or with RAM; one thread at a time for a region. Plugging
 * fails when the host has not what is needed (ERR_IO); nothing is plugged then. */
MUST int gmem_plug(const struct gmem *m, gpa_t a, uint64_t len, struct err *e);
MUST int gmem_unplug(const struct gmem *m, gpa_t a, uint64_t len, struct err *e);
/* Memory of a device at [base, base + b->size), where nothing is: a file that the guest shall see, and
 * that other devices may be told to read and write. b is open and the map's from here on, also on
 * failure. *out: where it is, for the hypervisor's slot. While all go on; one thread at a time. */
MUST int gmem_grow(struct gmem *m, gpa_t base, struct backing *b, struct gmem_region *out,
		   struct err *e);
/* Takes it away: nobody finds it any more, and who has a window or payload there still touches
 * memory that is nobody's. The hypervisor's slot is gone already. */
void gmem_shrink(struct gmem *m, gpa_t base);
/* Gives back to the host what whole pages of RAM there are in [a, a+len): of 4 KiB, or huge ones.
 * The guest finds them new when it touches them: zeros, or what a private file holds. */
MUST int gmem_discard(const struct gmem *m, gpa_t a, uint64_t len, struct err *e);
/* The page of the host by which a is given back; 0 outside RAM. */
uint64_t gmem_page(const struct gmem *m, gpa_t a);
/* Reads [off, off+len) of a file straight into RAM. The work of gmem_tell hears of the bytes, and
 * can break it off (ERR_STATE). */
MUST int gmem_load(const struct gmem *m, gpa_t a, uint64_t len, int fd, uint64_t off,
		   struct err *e);

/* Whether [a, a+len) can be shown from a file: its pages until the guest writes to them, then the
 * guest's own. Says why not: shared memory, huge pages, a file of the zone's own. */
MUST int gmem_may_map(const struct gmem *m, gpa_t a, uint64_t len, struct err *e);
/* Whether it can come from a file when it is touched: not where a zone lies in a file of its own, but in one
 * of the host's memory that others share. */
MUST int gmem_may_serve(const struct gmem *m, gpa_t a, uint64_t len, struct err *e);
/* Shows [off, off+len) of gmem_set_source's file so. Of RAM that may, in whole pages, by address,
 * before vCPUs run; what is no RAM is left out, blocks need not be plugged yet. What the guest gives
 * back of it is zeros when it is touched again. */
MUST int gmem_map_file(struct gmem *m, gpa_t a, uint64_t len, uint64_t off, struct err *e);
bool gmem_is_shown(const struct gmem *m, gpa_t a);
bool gmem_shows(const struct gmem *m); /* anything of it, ever */
/* A descriptor of the map's that is readable when somebody may have changed the file that is shown
 * (gmem_check_source finds out); -1 where none is, or the host cannot watch it. Once. */
int gmem_watch_source(struct gmem *m);

/* The file that RAM comes from while the guest runs; fd is the caller's. lost: guest memory cannot be
 * had any more, and the guest must end; any thread. */
MUST int gmem_set_source(struct gmem *m, int fd, void (*lost)(void *arg, const char *why),
			 void *arg, struct err *e);
/* Its pages come when they are touched: what gmem_serve names after this, from gmem_serve_start on.
 * fd is uffd_open's, and the map's from here on, also on failure; touched, the record's file
 * (mem/touched.h) or -1, too. */
MUST int gmem_serve_with(struct gmem *m, int fd, enum gmem_prefetch prefetch, int touched,
			 struct err *e);
/* [a, a+len) is [off, off+len) of it. Nobody has touched it, or what was there is lost. Says why not:
 * private memory that lies in a file of its own. */
MUST int gmem_serve(struct gmem *m, gpa_t a, uint64_t len, uint64_t off, struct err *e);
MUST int gmem_serve_start(struct gmem *m, struct err *e);

/* Is what waits in the file still what it was? True of all that was found in it before. */
MUST int gmem_check_source(const struct gmem *m, struct err *e);

/* Where data of RAM is: at source's off, or, where source is NULL, in RAM. */
struct gmem_place {
	const struct source *source; /* the map's */
	uint64_t off;
	/* of who looks, open: pages that are not there are zeros, or a file's, and nobody touches them;
	 * NULL: he touches them */
	struct pagemap *pages;
	struct source_run run; /* gmem.c's, of the file */
};
/* The next pages of [*a, *a+len) that are not all zeros, in steps of 4 KiB and of one region: where
 * they begin in *a, and how many bytes, at most max; 0 when there are none. All of the range is RAM
 * and begins at a page. Pages that were never there are not made by looking, unless huge, and those
 * that wait in a file are left there. While nobody changes RAM. */
uint64_t gmem_find_data(const struct gmem *m, gpa_t *a, uint64_t len, uint64_t max,
			struct gmem_place *where);

/* A window: a range without a seam in the host, checked once, then accessed by offset. Rings live
 * in windows. One over pages that lie anywhere knows each of them. */
struct gwin {
	unsigned char *host; /* gmem.c and the inlines below */
	size_t len;
	gpa_t base;
	unsigned char **page; /* of 4 KiB, the first with base in it; NULL: no seam */
};
/* 0, or -1 when not wholly in RAM, across a seam (see gmem_lay), or not aligned. */
MUST int gmem_win(struct gwin *w, const struct gmem *m, gpa_t a, size_t len, size_t align);
/* A window over pages, which gwin_page puts in one by one: -1 where no RAM is. base says only where in
 * the first page it begins. Whoever made it ends it by gwin_fini, which leaves one of no bytes; that
 * is harmless for any window. */
void gwin_paged(struct gwin *w, gpa_t base, size_t len);
MUST int gwin_page(struct gwin *w, const struct gmem *m, size_t i, gpa_t a);
void gwin_fini(struct gwin *w);
/* Little-endian, single-copy atomic, never past the end: a load there gives 0, a store does
 * nothing. off is aligned. */
uint16_t gwin_ld16(const struct gwin *w, size_t off);
uint32_t gwin_ld32(const struct gwin *w, size_t off);
uint64_t gwin_ld64(const struct gwin *w, size_t off);
void gwin_st16(const struct gwin *w, size_t off, uint16_t v);
void gwin_st32(const struct gwin *w, size_t off, uint32_t v);
uint16_t gwin_ld16_acquire(const struct gwin *w, size_t off);
void gwin_st16_release(const struct gwin *w, size_t off, uint16_t v);
/* Copies out once; 0 or -1. */
MUST int gwin_copy(const struct gwin *w, size_t off, void *to, size_t len);

/* A piece of payload for the kernel. Same layout as struct iovec. */
struct kiov {
	struct iovec v;
};
static inline size_t kiov_len(const struct kiov *k)
{
	return k->v.iov_len;
}
/* gmem_discard of payload; pieces side by side are taken as one. */
MUST int gmem_discard_iov(const struct gmem *m, const struct kiov *k, unsigned int n,
			  struct err *e);
/* Appends the pieces of [a, a+len) to out[*n..max). 0, or -1 when outside RAM or more pieces than
 * room; len 0 adds nothing. */
MUST int gmem_iov(const struct gmem *m, struct kiov *out, unsigned int *n, unsigned int max,
		  gpa_t a, uint32_t len);
/* Makes b the end of a, if it lies right behind it in the host. */
bool kiov_join(struct kiov *a, const struct kiov *b);
/* Copies between payload and our own buffer, from byte off of the whole; returns the bytes
 * copied. */
size_t kiov_get(const struct kiov *k, unsigned int n, size_t off, void *to, size_t len);
size_t kiov_put(const struct kiov *k, unsigned int n, size_t off, const void *from, size_t len);
/* Total bytes. */
size_t kiov_total(const struct kiov *k, unsigned int n);
/* Makes out[0..) the part [off, off+len) of k; returns its count, or -1 when it needs more than max
 * pieces or k is shorter. out may be k itself. */
int kiov_slice(const struct kiov *k, unsigned int n, size_t off, size_t len, struct kiov *out,
	       unsigned int max);
/* A buffer of ours as payload, for bounce buffers and headers. */
struct kiov kiov_of(void *buf, size_t len);
