/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest RAM is mapped inside a larger reservation without access, so that a stray pointer of ours
 * past either end faults instead of reaching a neighbour. See backing.h.
 */
#include "mem/backing.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* One transparent huge page: the alignment of RAM, and the width of the guard on either side. */
#define GUARD MIB(2)

static int make_memfd(uint64_t size, const struct backing_args *a, struct err *e)
{
	unsigned int flags = MFD_CLOEXEC;

	if (a->hugepages) {
		flags |= MFD_HUGETLB;
		if (a->hugepage_size)
			flags |= (unsigned int)__builtin_ctzll(a->hugepage_size) << MFD_HUGE_SHIFT;
	}
	AUTO_FD int fd = memfd_create("virga_ram", flags);
	if (fd < 0 && a->hugepages)
		return err_os(e, ERR_IO, "the host has no huge pages of %" PRIu64 " KiB",
			      a->hugepage_size >> 10);
	if (fd < 0)
		return err_os(e, ERR_IO, "create a memory file");
	if (ftruncate(fd, (off_t)size) < 0)
		return err_os(e, ERR_IO, "set the memory file's size to %" PRIu64 " MiB",
			      size >> 20);
	return fd_take(&fd);
}

static void advise(const struct backing *b, const struct backing_args *a)
{
	/* a core dump of ours is not one of the guest */
	madvise(b->host, b->size, MADV_DONTDUMP);
	if (a->thp && !a->hugepages && madvise(b->host, b->size, MADV_HUGEPAGE) < 0)
		log_debug("no transparent huge pages here");
	if (a->mergeable && madvise(b->host, b->size, MADV_MERGEABLE) < 0)
		log_warn("memory is not mergeable: this kernel has no KSM");
}

static int map_inside(struct backing *b, const struct backing_args *a, struct err *e)
{
	/* Huge pages that were not reserved are missing when they are touched, and the touch is a
	 * SIGBUS. */
	int flags = MAP_FIXED | (a->reserve || a->hugepages ? 0 : MAP_NORESERVE);

	if (a->shared || a->hugepages) {
		b->fd = make_memfd(b->size, a, e);
		if (b->fd < 0)
			return -1;
		flags |= MAP_SHARED;
	} else {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	}
	if (mmap(b->host, b->size, PROT_READ | PROT_WRITE, flags, b->fd, 0) == MAP_FAILED) {
		if (a->hugepages && errno == ENOMEM)
			return err_set(e, ERR_IO,
				       "%" PRIu64
				       " MiB of guest memory: not so many huge pages are free "
				       "(see /proc/meminfo, raise vm.nr_hugepages)",
				       b->size >> 20);
		return err_os(e, ERR_IO, "map %" PRIu64 " MiB of guest memory", b->size >> 20);
	}
	advise(b, a);
	if (a->prefault && madvise(b->host, b->size, MADV_POPULATE_WRITE) < 0)
		return err_os(e, ERR_IO, "prefault %" PRIu64 " MiB of guest memory", b->size >> 20);
	return 0;
}

int backing_map(struct backing *b, uint64_t size, const struct backing_args *a, struct err *e)
{
	uint64_t align = a->hugepages ? max_u64(a->hugepage_size, GUARD) : GUARD;
	uint64_t span;

	*b = (struct backing){ .fd = -1, .size = size };
	if (!size || size % KIB(4) || add_overflows(&span, size, 2 * align))
		return err_set(e, ERR_BAD, "guest memory of %" PRIu64 " bytes is not whole pages",
			       size);
	b->span = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->span == MAP_FAILED)
		return err_os(e, ERR_IO, "reserve %" PRIu64 " MiB of address space", size >> 20);
	b->span_size = span;
	b->host = (void *)align_up((uintptr_t)b->span + KIB(4), align);
	if (map_inside(b, a, e) < 0) {
		backing_unmap(b);
		return -1;
	}
	return 0;
}

void backing_unmap(struct backing *b)
{
	if (b->span_size)
		munmap(b->span, b->span_size);
	fd_close(&b->fd);
	*b = (struct backing){ .fd = -1 };
}
