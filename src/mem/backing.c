/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zones of guest RAM, by the host's system calls. One function opens each kind; one maps them all.
 * See backing.h.
 */
#include "mem/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#define PAGE KIB(4)
#define GUARD MIB(2)   /* around a span; one transparent huge page */
#define NODES_MAX 1024 /* of any Linux host */

/* --- what the host can promise --- */

/* Bytes that a file of this size still lacks of its host's pages. */
static uint64_t missing(const struct stat *st, uint64_t size)
{
	uint64_t have = (uint64_t)st->st_blocks * 512;

	return have < size ? size - have : 0;
}

/* No more than a look: what is free now may be gone when it is needed. Not every file system knows
 * its size. */
static int look_for_room(int fd, uint64_t need, struct err *e)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0 || !fs.f_blocks)
		return 0;
	uint64_t free = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;

	if (free >= need)
		return 0;
	return err_set(e, ERR_IO,
		       "the file system has %" PRIu64
		       " MiB left and the file is to grow by %" PRIu64 " MiB",
		       free >> 20, need >> 20);
}

/* A write of the guest into a hole of a shared file takes a page of its file system, and is SIGBUS
 * when there is none. On a disk the room is taken here, which writes nothing. On a tmpfs it would
 * be the memory itself: there it is taken when all is to be reserved. */
static int promise_file(const struct backing *b, struct err *e)
{
	struct statfs fs;
	struct stat st;

	if (fstat(b->fd, &st) < 0 || fstatfs(b->fd, &fs) < 0)
		return err_os(e, ERR_IO, "look at the file");
	uint64_t need = missing(&st, b->size);

	if (!S_ISREG(st.st_mode) || !need)
		return 0;
	/* first: what is too much would be taken as far as it goes, and the disk be full for all */
	if (look_for_room(b->fd, need, e) < 0)
		return -1;
	if (b->how.only_looks || ((fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC) &&
				  b->how.reserve != BACKING_RESERVE_ALL))
		return 0;
	if (fallocate(b->fd, 0, 0, (off_t)b->size) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return err_os(e, ERR_IO, "take room for %" PRIu64 " MiB", b->size >> 20);
}

/* Shared memory is not counted when it is mapped; private memory of the same size is, and tells
 * whether the host would ever give so much. */
static int promise_shared(const struct backing *b, struct err *e)
{
	void *p = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_os(e, ERR_IO, "reserve %" PRIu64 " MiB", b->size >> 20);
	munmap(p, b->size);
	return 0;
}

/* The pool of huge pages is counted for all nodes together when they are reserved; one node may
 * have fewer. */
static int promise_node_pool(const struct backing *b, struct err *e)
{
	AUTO_FREE char *path = mem_fmt("/sys/devices/system/node/node%" PRIu32
				       "/hugepages/hugepages-%" PRIu64 "kB/free_hugepages",
				       b->how.host_node, b->page >> 10);
	AUTO_FREE char *text = NULL;
	uint64_t free;
	struct err ignored = { 0 };
	size_t len;

	if (fd_slurp(path, 64, &text, &len, &ignored) < 0)
		return 0; /* the binding itself finds out whether there is such a node */
	text[strcspn(text, "\n")] = '\0';
	if (str_to_uint(&free, text, &ignored) < 0 || free >= b->size / b->page)
		return 0;
	return err_set(e, ERR_IO,
		       "host NUMA node %" PRIu32 " has %" PRIu64 " free huge pages of %" PRIu64
		       " KiB and %" PRIu64 " are needed: raise its pool (%s)",
		       b->how.host_node, free, b->page >> 10, b->size / b->page, path);
}

static int promise(const struct backing *b, struct err *e)
{
	bool huge = b->page > PAGE;

	if (b->how.reserve == BACKING_RESERVE_NOTHING)
		return 0;
	if (huge && b->how.has_host_node)
		return promise_node_pool(b, e);
	if (b->how.file && b->how.shared && !huge)
		return promise_file(b, e);
	if (b->fd >= 0 && !b->how.file && !huge && b->how.reserve == BACKING_RESERVE_ALL)
		return promise_shared(b, e);
	return 0;
}

/* --- opening --- */

/* The page of the file system of huge pages that fd lies on, or 0 on any other. */
static uint64_t huge_page_of(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0 || (uint32_t)fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	return (uint64_t)fs.f_bsize;
}

static int no_such_pages(const struct backing *b, struct err *e)
{
	AUTO_STR struct str size = { 0 };

	str_size(&size, b->how.hugepage_size);
	if (errno == EACCES || errno == EPERM)
		return err_os(e, ERR_IO, "take huge pages");
	return err_set(e, ERR_IO, "this host has no huge pages%s%s: see /sys/kernel/mm/hugepages",
		       b->how.hugepage_size ? " of " : "",
		       b->how.hugepage_size ? str_text(&size) : "");
}

/* Nobody whom the descriptor is given can make the file shorter: the pages cut off would be SIGBUS
 * for the guest. */
static int open_memfd(struct backing *b, struct err *e)
{
	const struct backing_args *a = &b->how;
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	if (b->how.hugepages)
		flags |= MFD_HUGETLB;
	if (b->how.hugepages && b->how.hugepage_size)
		flags |= (unsigned int)__builtin_ctzll(b->how.hugepage_size) << MFD_HUGE_SHIFT;
	b->fd = memfd_create(BACKING_NAME, flags);
	if (b->fd < 0)
		return b->how.hugepages ? no_such_pages(b, e)
					: err_os(e, ERR_IO, "create a memory file");
	if (b->how.hugepages)
		b->page = huge_page_of(b->fd);
	if (b->page && b->size % b->page)
		return 0; /* backing_open says so */
	if (ftruncate(b->fd, (off_t)(b->size + a->later)) < 0)
		return err_os(e, ERR_IO, "set the memory file's size to %" PRIu64 " MiB",
			      b->size >> 20);
	if (fcntl(b->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		log_debug("the memory file is not sealed: %s", strerror(errno));
	return 0;
}

/* Not waiting for the other end of a FIFO, which is refused with all that is no file. */
static int open_file(struct backing *b, struct err *e)
{
	const struct backing_args *a = &b->how;
	struct stat st;
	uint64_t have, huge;

	b->fd = fd_open(a->file, (a->shared ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY, 0, e);
	if (b->fd < 0 && e->os == EISDIR)
		return err_set(e, ERR_BAD, "%s is a directory: name a file in it", a->file);
	if (b->fd < 0)
		return -1;
	if (fstat(b->fd, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(e, ERR_BAD, "%s is a directory: name a file in it", a->file);
	if (fd_size(b->fd, &have, e) < 0)
		return err_in(e, "%s", a->file);
	if (have < b->size + a->later)
		return err_set(e, ERR_BAD,
			       "%s has %" PRIu64 " bytes and the zone %" PRIu64
			       "%s: make it larger, or the zone smaller",
			       a->file, have, b->size + a->later,
			       a->later ? " with its hotplug_size" : "");
	huge = huge_page_of(b->fd);
	if (a->hugepages && (!huge || (a->hugepage_size && a->hugepage_size != huge)))
		return err_set(e, ERR_BAD,
			       "%s does not consist of such huge pages: leave out hugepages",
			       a->file);
	b->page = huge;
	b->has_past = true;
	return 0;
}

bool backing_is_memory(const struct backing *b)
{
	struct statfs fs;

	return b->fd >= 0 && !fstatfs(b->fd, &fs) &&
	       (b->page > PAGE || fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Names the zone that a sentence is of. */
static int in_zone(const struct backing *b, struct err *e)
{
	return b->how.zone ? err_in(e, "memory zone %s", b->how.zone) : err_in(e, "memory");
}

/* Only what is missing on a disk or in a pool is SIGBUS; a tmpfs is the host's memory. */
static bool is_scarce(const struct backing *b)
{
	if (b->fd < 0 || b->how.reserve == BACKING_RESERVE_NOTHING)
		return false;
	return b->page > PAGE || (b->how.file && b->how.shared && !backing_is_memory(b));
}

int backing_open(struct backing *b, uint64_t size, const struct backing_args *a, struct err *e)
{
	int r = 0;

	*b = (struct backing){ .how = *a, .size = size, .fd = -1 };
	if (a->file)
		r = open_file(b, e);
	else if (a->shared || a->hugepages)
		r = open_memfd(b, e);
	if (!b->page)
		b->page = PAGE;
	if (r == 0 && (!size || (size | a->later) % b->page || size + a->later > INT64_MAX))
		r = err_set(e, ERR_BAD,
			    "a size of %" PRIu64 " bytes is no multiple of the page size, %" PRIu64
			    " KiB: round it",
			    size, b->page >> 10);
	b->scarce = r == 0 && a->later && !a->only_looks && is_scarce(b);
	if (r == 0 && promise(b, e) < 0)
		r = a->file ? err_in(e, "%s", a->file) : -1;
	if (r == 0)
		return 0;
	in_zone(b, e);
	backing_close(b);
	return -1;
}

void backing_close(struct backing *b)
{
	if (b->page)
		fd_close(&b->fd);
	*b = (struct backing){ .fd = -1 };
}

/* --- mapping --- */

static int bind_to_node(const struct backing *b, void *host, uint64_t size, struct err *e)
{
	uint32_t node = b->how.host_node;
	unsigned long mask[NODES_MAX / (8 * sizeof(long))] = { 0 };
	unsigned int bits = 8 * sizeof(long);
	long r = -1;

	errno = EINVAL;
	if (node < NODES_MAX) {
		mask[node / bits] = 1ul << node % bits;
		/* the kernel leaves the last bit that it is told of out */
		r = syscall(SYS_mbind, host, size, MPOL_BIND, mask, (unsigned long)NODES_MAX + 1,
			    MPOL_MF_STRICT | MPOL_MF_MOVE);
	}
	if (r == 0)
		return 0;
	if (errno == EINVAL)
		return err_set(e, ERR_BAD,
			       "host_numa_node=%" PRIu32
			       ": this host has no such node with memory (see "
			       "/sys/devices/system/node/has_memory)",
			       node);
	return err_os(e, ERR_IO, "take memory of host NUMA node %" PRIu32, node);
}

/* What a guest boots from is a few pages at the start of its memory. A page that is there already
 * keeps those around it small, so that not 2 MiB are cleared before its first instruction; the host
 * joins them later. Reading leaves them as they are. */
static void keep_start_small(const struct backing *b, void *host, uint64_t off, uint64_t size)
{
	if (b->fd >= 0 || off || !b->size || b->how.prefault)
		return;
	madvise(host, size, MADV_NOHUGEPAGE); /* hosts may give huge pages unasked */
	(void)*(const volatile char *)host;
}

static void let_merge(const struct backing *b, void *host, uint64_t size)
{
	if (b->how.mergeable && madvise(host, size, MADV_MERGEABLE) < 0)
		log_warn("memory is not mergeable: this kernel has no KSM");
}

static void advise(const struct backing *b, void *host, uint64_t off, uint64_t size)
{
	/* a core dump of ours is not one of the guest */
	madvise(host, size, MADV_DONTDUMP);
	/* a kernel that gives no names gives none */
	if (b->fd < 0)
		prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, host, size, BACKING_NAME);
	if (b->how.thp && b->page == PAGE) {
		keep_start_small(b, host, off, size);
		if (madvise(host, size, MADV_HUGEPAGE) < 0)
			log_debug("no transparent huge pages here");
	} else if (b->page == PAGE) {
		/* where hosts give them unasked, they also fill up again what a guest gave back */
		madvise(host, size, MADV_NOHUGEPAGE);
	}
	let_merge(b, host, size);
}

static int map_failed(const struct backing *b, uint64_t size, struct err *e)
{
	AUTO_STR struct str page = { 0 };

	if (b->page == PAGE || errno != ENOMEM)
		return err_os(e, ERR_IO, "map %" PRIu64 " MiB of guest memory", size >> 20);
	str_size(&page, b->page);
	return err_set(e, ERR_IO,
		       "not so many huge pages of %s are free as %" PRIu64
		       " MiB take: raise the pool (vm.nr_hugepages, or /sys/kernel/mm/hugepages)",
		       str_text(&page), size >> 20);
}

/* Do others that map the same see what is written? */
static bool is_shared(const struct backing *b)
{
	return b->fd >= 0 && !b->how.only_looks && (!b->how.file || b->how.shared);
}

/* Whether the host promises what is mapped from off on. */
static int promise_flag(const struct backing *b, uint64_t off)
{
	bool reserve =
		off < b->size && (b->how.reserve == BACKING_RESERVE_ALL ||
				  (b->how.reserve == BACKING_RESERVE_NEEDED && b->page > PAGE));

	return reserve ? 0 : MAP_NORESERVE;
}

static int map_pages(const struct backing *b, void *host, uint64_t off, uint64_t size,
		     struct err *e)
{
	int flags = MAP_FIXED | (is_shared(b) ? MAP_SHARED : MAP_PRIVATE) |
		    (b->fd < 0 ? MAP_ANONYMOUS : 0) | promise_flag(b, off);

	if (mmap(host, size, PROT_READ | PROT_WRITE, flags, b->fd, (off_t)off) != MAP_FAILED)
		return 0;
	map_failed(b, size, e);
	return in_zone(b, e);
}

int backing_map(const struct backing *b, void *host, uint64_t off, uint64_t size, struct err *e)
{
	if (map_pages(b, host, off, size, e) < 0)
		return -1;
	if (b->how.has_host_node && bind_to_node(b, host, size, e) < 0)
		return in_zone(b, e);
	advise(b, host, off, size);
	return 0;
}

int backing_show(const struct backing *b, void *host, uint64_t size, int fd, uint64_t off,
		 struct err *e)
{
	int flags = MAP_FIXED | MAP_PRIVATE | promise_flag(b, 0);

	if (mmap(host, size, PROT_READ | PROT_WRITE, flags, fd, (off_t)off) == MAP_FAILED) {
		err_os(e, ERR_IO, "show guest memory from a file");
		return in_zone(b, e);
	}
	if (b->how.has_host_node && bind_to_node(b, host, size, e) < 0)
		return in_zone(b, e);
	madvise(host, size, MADV_DONTDUMP); /* a core dump of ours is not one of the guest */
	let_merge(b, host, size);
	return 0;
}

int backing_renew(const struct backing *b, void *host, uint64_t off, uint64_t size, struct err *e)
{
	struct err why = { 0 };

	/* new mappings are not locked */
	if (madvise(host, size, MADV_DONTNEED) < 0) {
		err_os(e, ERR_IO, "give %" PRIu64 " KiB back", size >> 10);
		return in_zone(b, e);
	}
	if (map_pages(b, host, off, size, e) < 0)
		return -1;
	if (b->how.has_host_node && bind_to_node(b, host, size, &why) < 0)
		log_guest("%s", err_frame(&why, 0));
	advise(b, host, off, size);
	return 0;
}

int backing_take(const struct backing *b, uint64_t off, uint64_t size, struct err *e)
{
	if (!b->scarce || !fallocate(b->fd, 0, (off_t)off, (off_t)size) || errno == EOPNOTSUPP)
		return 0;
	err_os(e, ERR_IO, "take %" PRIu64 " MiB", size >> 20);
	return in_zone(b, e);
}

/* A file system without holes keeps its pages, and only our part of them is given back. */
int backing_discard(const struct backing *b, void *host, uint64_t off, uint64_t size, struct err *e)
{
	if (is_shared(b)) {
		if (!fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			       (off_t)size))
			return 0;
		if (errno != EOPNOTSUPP) {
			err_os(e, ERR_IO, "give %" PRIu64 " KiB back", size >> 10);
			return in_zone(b, e);
		}
	}
	/* what the guest has locked it may give, too (mem/advice) */
	if (!madvise(host, size, MADV_DONTNEED) ||
	    (errno == EINVAL && !madvise(host, size, MADV_DONTNEED_LOCKED)))
		return 0;
	err_os(e, ERR_IO, "give %" PRIu64 " KiB back", size >> 10);
	return in_zone(b, e);
}

int backing_span(struct backing_span *s, uint64_t size, uint64_t align, uint64_t like,
		 struct err *e)
{
	uint64_t all;

	*s = (struct backing_span){ .size = size };
	if (!size || size % PAGE || add_overflows(&all, size, 4 * align))
		return err_set(e, ERR_BAD, "guest memory of %" PRIu64 " bytes is not whole pages",
			       size);
	s->all = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->all == MAP_FAILED)
		return err_os(e, ERR_IO, "reserve %" PRIu64 " MiB of address space", size >> 20);
	s->all_size = all;
	s->host = (unsigned char *)align_up((uintptr_t)s->all + GUARD, align) + like % align;
	return 0;
}

void backing_blank(const struct backing_span *s)
{
	if (mmap(s->host, s->size, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		log_warn("memory of a device that has gone stays mapped: %s", strerror(errno));
}

void backing_span_drop(struct backing_span *s)
{
	if (s->all_size)
		munmap(s->all, s->all_size);
	*s = (struct backing_span){ 0 };
}
