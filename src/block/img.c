/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk image on the host: opening with a sentence for everything that can be wrong, the kind of
 * file, the lock, what direct I/O demands, what the file can give back. It moves no data
 * (block/blkq.c). Control thread.
 *
 * The lock is an open-file-description lock, fcntl(2) F_OFD_SETLK: shared for readers, exclusive
 * for a writer, over the bytes of the disk or over the whole file. It has a description of its own:
 * a ring that has the other one registered is taken down by the kernel some time after it was
 * closed, and a lock must not linger.
 */
#include "block/img.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "block/eng.h"

#define SECTOR 512
#define BLOCK_MAX 4096
#define PROBE_BYTES 4096

/* Marks of formats that would be taken for raw bytes by mistake. at < 0: from the end of the
 * file. */
static const struct mark {
	const char *name;
	int64_t at;
	const char *bytes;
} marks[] = {
	{ "a qcow2", 0, "QFI\xfb" },	  { "a vhdx", 0, "vhdxfile" },
	{ "a vmdk", 0, "KDMV" },	  { "a vmdk", 0, "# Disk DescriptorFile" },
	{ "a vhd", -SECTOR, "conectix" },
};

static void auto_img(struct img **i)
{
	img_free(*i);
}

void img_free(struct img *i)
{
	struct flock none = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (!i)
		return;
	/* a passed description may live on with its owner */
	if (i->lock_fd >= 0)
		fcntl(i->lock_fd, F_OFD_SETLK, &none);
	fd_close(&i->lock_fd);
	fd_close(&i->fd);
	gate_fini(&i->gate);
	free(i->path);
	free(i);
}

static int refuse_open(const struct img *i, int os, struct err *e)
{
	const char *wish = i->readonly ? "read" : "read and write";

	errno = os;
	switch (os) {
	case ENOENT:
	case ENOTDIR:
		return err_set(
			e, ERR_ABSENT,
			"there is no disk image %s; make it (truncate -s 10G %s) or correct the path",
			i->path, i->path);
	case EACCES:
	case EPERM:
		return err_set(e, ERR_DENIED, "no right to %s %s; change its owner or mode%s", wish,
			       i->path, i->readonly ? "" : ", or say readonly=on");
	case EROFS:
		return err_set(e, ERR_DENIED, "%s cannot be written (%s); say readonly=on", i->path,
			       strerror(os));
	case EINVAL:
		if (i->direct)
			return err_set(
				e, ERR_BAD,
				"the file system of %s does no direct I/O; leave out direct=on",
				i->path);
		break;
	default:
		break;
	}
	return err_os(e, ERR_IO, "open %s to %s it", i->path, wish);
}

/* Regular file or block device, asked before opening: opening a FIFO would wait, opening a tape
 * would wind it. */
static int check_kind(const struct img *i, const struct stat *st, struct err *e)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	return err_set(e, ERR_BAD, "%s is %s; give an image file or a block device", i->path,
		       S_ISDIR(st->st_mode) ? "a directory" : "neither a file nor a block device");
}

static int way_of(const struct img *i)
{
	return (i->readonly || i->only_looks ? O_RDONLY : O_RDWR) | O_CLOEXEC;
}

static int open_file(struct img *i, const struct img_args *a, struct err *e)
{
	int flags = way_of(i) | (i->direct ? O_DIRECT : 0);
	struct stat st;

	if (a->fd < 0) {
		if (stat(i->path, &st))
			return refuse_open(i, errno, e);
		if (check_kind(i, &st, e))
			return -1;
		if (i->only_looks && !i->readonly && access(i->path, W_OK))
			return refuse_open(i, errno, e);
		i->fd = open(i->path, flags);
	} else {
		i->fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 3);
	}
	if (i->fd < 0)
		return refuse_open(i, errno, e);
	if (fstat(i->fd, &st))
		return err_os(e, ERR_IO, "look at %s", i->path);
	i->device = S_ISBLK(st.st_mode);
	i->dev = st.st_dev;
	i->rdev = st.st_rdev;
	i->ino = st.st_ino;
	return check_kind(i, &st, e);
}

/* The descriptor for the lock: the same file, once more. */
static int open_lock(struct img *i, const struct img_args *a, struct err *e)
{
	struct stat st;

	if (a->fd >= 0)
		i->lock_fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 3);
	else
		i->lock_fd = open(i->path, way_of(i));
	if (i->lock_fd < 0)
		return refuse_open(i, errno, e);
	if (fstat(i->lock_fd, &st) || st.st_dev != i->dev || st.st_ino != i->ino)
		return err_set(e, ERR_BUSY, "%s was replaced while it was opened; try again",
			       i->path);
	return 0;
}

static int refuse_lock(const struct img *i, struct err *e)
{
	return err_set(e, ERR_TAKEN,
		       "%s is in use by another program or another disk of this VM (locked); "
		       "end that one first%s",
		       i->path, i->readonly ? "" : ", or open it with readonly=on in both");
}

static int lock(const struct img *i, uint64_t size, struct err *e)
{
	struct flock l = {
		.l_type = i->readonly ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
		.l_len = i->lock_whole ? 0 : (off_t)size,
	};

	if ((i->only_looks ? fd_may_lock : fd_lock)(i->lock_fd, &l) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return refuse_lock(i, e);
	log_warn("%s: its file system has no locks (%s); take care that nobody else writes it",
		 i->path, strerror(errno));
	return 0;
}

/* The smallest unit in which direct reads succeed, found by trying. */
static uint32_t try_direct(const struct img *i)
{
	AUTO_FREE void *buf = aligned_alloc(BLOCK_MAX, BLOCK_MAX);

	for (uint32_t n = SECTOR; buf && n <= BLOCK_MAX; n *= 2)
		if (pread(i->fd, buf, n, 0) >= 0)
			return n;
	return 0;
}

static int probe_direct(struct img *i, struct err *e)
{
	i->direct_off = i->direct_mem = 0;
#ifdef STATX_DIOALIGN
	struct statx x = { 0 };

	if (!statx(i->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) && (x.stx_mask & STATX_DIOALIGN)) {
		i->direct_off = x.stx_dio_offset_align;
		i->direct_mem = x.stx_dio_mem_align;
	}
#endif
	if (!i->direct_off)
		i->direct_off = i->direct_mem = try_direct(i);
	if (!is_pow2(i->direct_off) || !is_pow2(i->direct_mem) || i->direct_off > BLOCK_MAX ||
	    i->direct_mem > BLOCK_MAX)
		return err_set(e, ERR_BAD,
			       "the file system of %s does no direct I/O; leave out direct=on",
			       i->path);
	if (i->direct_off < SECTOR)
		i->direct_off = SECTOR;
	/* The guest's blocks are those of the host, so that its writes are whole ones. A device has
	 * said its own. */
	if (!i->device || i->logical < i->direct_off)
		i->logical = i->physical = i->min_io = i->direct_off;
	i->gated = i->direct_off > SECTOR;
	if (i->size % i->logical)
		log_warn(
			"%s: the last %llu bytes are no whole block of %u, as direct=on needs, and stay hidden from the guest",
			i->path, (unsigned long long)(i->size % i->logical), i->logical);
	i->size = align_down(i->size, i->logical);
	if (!i->size)
		return err_set(e, ERR_BAD,
			       "%s is smaller than one block of %u; leave out direct=on", i->path,
			       i->logical);
	return 0;
}

/* A number from /sys about a device's queue; 0 when there is none. Partitions have it in their
 * parent. */
static uint64_t queue_limit(const struct img *i, const char *name)
{
	static const char *const where[] = { "queue", "../queue" };
	uint64_t v = 0;

	for (size_t k = 0; k < ARRAY_LEN(where); k++) {
		AUTO_FREE char *path = mem_fmt("/sys/dev/block/%u:%u/%s/%s", major(i->rdev),
					       minor(i->rdev), where[k], name);
		AUTO_FREE char *text = NULL;
		struct err none = { 0 };
		size_t len;

		if (!fd_slurp(path, 64, &text, &len, &none)) {
			v = strtoull(text, NULL, 10);
			break;
		}
	}
	return v;
}

static void probe_device(struct img *i)
{
	unsigned int n = 0;
	int logical = 0;

	if (!ioctl(i->fd, BLKSSZGET, &logical) && is_pow2((uint64_t)logical) && logical >= SECTOR)
		i->logical = (uint32_t)logical;
	if (!ioctl(i->fd, BLKPBSZGET, &n) && is_pow2(n))
		i->physical = n;
	if (!ioctl(i->fd, BLKIOMIN, &n))
		i->min_io = n;
	if (!ioctl(i->fd, BLKIOOPT, &n))
		i->opt_io = n;
	if (i->readonly)
		return;
	i->dsync = true;
	i->can_zero = true; /* the kernel writes zeros where the device has no command for it */
	i->can_punch = queue_limit(i, "discard_max_bytes") > 0;
}

static void probe_file(struct img *i, uint64_t file_size)
{
	struct statfs fs;

	/* struct statfs has a signed type on some machines and an unsigned one on others */
	if (!fstatfs(i->fd, &fs)) {
		uint32_t kind = (uint32_t)fs.f_type;

		i->in_ram = kind == TMPFS_MAGIC || kind == RAMFS_MAGIC || kind == HUGETLBFS_MAGIC;
		/* Others hear of it per write too, but not all of them (9p, FUSE) heed it. */
		i->dsync = i->in_ram || kind == EXT4_SUPER_MAGIC || kind == XFS_SUPER_MAGIC;
	}
	if (i->readonly)
		return;
	/* A hole behind the end changes nothing, and tells whether the file system makes holes. */
	i->can_punch =
		i->only_looks || !fallocate(i->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    (off_t)align_up(file_size, BLOCK_MAX), BLOCK_MAX);
	i->can_zero = i->can_punch;
}

/* Takes the space that the file has not got yet. Asks first whether it is there: an attempt that
 * fails would leave a file system that is full. */
static int allocate(const struct img *i, uint64_t file_size, struct err *e)
{
	struct statvfs fs;
	struct stat st;
	uint64_t has, left;

	if (fstat(i->fd, &st) || fstatvfs(i->fd, &fs))
		return err_os(e, ERR_IO, "look at %s", i->path);
	has = (uint64_t)st.st_blocks * SECTOR;
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (has < file_size && file_size - has > left)
		errno = ENOSPC;
	else if (i->only_looks || !fallocate(i->fd, 0, 0, (off_t)file_size))
		return 0;
	if (errno == ENOSPC || errno == EDQUOT)
		return err_set(
			e, ERR_IO,
			"there is no space for all of %s: %llu MiB are missing, and %llu MiB left; make room, or leave out sparse=off",
			i->path, (unsigned long long)((file_size - min_u64(has, file_size)) >> 20),
			(unsigned long long)(left >> 20));
	log_warn(
		"%s: its file system does not give space in advance (%s); sparse=off has no effect",
		i->path, strerror(errno));
	return 0;
}

/* The mark that lies where it must in the block at `from`, or NULL. */
static const struct mark *find_mark(const char *buf, size_t len, uint64_t from, uint64_t file_size)
{
	for (size_t k = 0; k < ARRAY_LEN(marks); k++) {
		const struct mark *m = &marks[k];
		uint64_t at = m->at < 0 ? file_size - SECTOR : (uint64_t)m->at;
		size_t n = strlen(m->bytes);

		if (at >= from && at - from + n <= len && !memcmp(buf + (at - from), m->bytes, n))
			return m;
	}
	return NULL;
}

/* Refuses what carries another format's mark: as raw bytes it would be spoilt. Marks lie in the
 * first block and in the last. */
static int probe_format(const struct img *i, uint64_t file_size, struct err *e)
{
	AUTO_FREE char *buf = aligned_alloc(PROBE_BYTES, PROBE_BYTES);
	uint64_t from[] = { 0, align_down(file_size - SECTOR, PROBE_BYTES) };

	for (size_t k = 0; buf && k < (from[1] ? 2 : 1); k++) {
		ssize_t n = pread(i->fd, buf, PROBE_BYTES, (off_t)from[k]);
		const struct mark *m;

		if (n < 0)
			return err_os(e, ERR_IO, "read %s", i->path);
		m = find_mark(buf, (size_t)n, from[k], file_size);
		if (m)
			return err_set(
				e, ERR_UNBUILT,
				"%s is %s image, and this build reads raw ones only; convert it (qemu-img convert -O raw), or say image_type=raw when the guest is to see it as it is",
				i->path, m->name);
	}
	return 0;
}

/* Opens, locks and probes; who fails leaves what he has done to img_free. */
static int open_all(struct img *i, const struct img_args *a, struct err *e)
{
	uint64_t size;

	if (open_file(i, a, e) || fd_size(i->fd, &size, e) || i->fmt->open(i, size, e) ||
	    open_lock(i, a, e) || lock(i, size, e))
		return -1;
	if (i->device)
		probe_device(i);
	else
		probe_file(i, size);
	if (i->in_ram)
		i->direct = false; /* nothing to go around */
	if (i->direct && probe_direct(i, e))
		return -1;
	if (i->physical < i->logical)
		i->physical = i->logical;
	if (!a->raw && probe_format(i, size, e))
		return -1;
	if (!a->allocate || i->readonly)
		return 0;
	i->can_punch = false;
	i->allocated = !i->device;
	return i->device ? 0 : allocate(i, size, e);
}

int img_open(struct img **out, const struct img_args *a, struct err *e)
{
	__attribute__((cleanup(auto_img))) struct img *i = NEW(struct img);

	i->fd = i->lock_fd = -1;
	i->path = mem_str(a->path ? a->path : "the disk's descriptor");
	i->readonly = a->readonly;
	i->direct = a->direct;
	i->lock_whole = a->lock_whole;
	i->only_looks = a->only_looks;
	i->logical = i->physical = i->min_io = SECTOR;
	gate_init(&i->gate);
	i->fmt = &img_raw;
	if (open_all(i, a, e))
		return -1;
	*out = take(&i);
	return 0;
}

int img_judge_beside(const struct img *i, const struct img *other, struct err *e)
{
	bool same = i->dev == other->dev && i->ino == other->ino;

	return same && !(i->readonly && other->readonly) ? refuse_lock(i, e) : 0;
}

void img_info(const struct img *i, struct img_info *out)
{
	char serial[64];

	*out = (struct img_info){
		.size = i->size,
		.logical_block = i->logical,
		.physical_block = i->physical,
		.min_io = i->min_io,
		.opt_io = i->opt_io,
		.can_discard = i->can_punch,
		.can_zero = i->can_zero,
	};
	snprintf(serial, sizeof(serial), "%" PRIu64 "%" PRIu64 "%" PRIu64, i->dev, i->rdev, i->ino);
	snprintf(out->default_serial, sizeof(out->default_serial), "%.20s", serial);
}

/* --- another size --- */

void img_bound(struct img *i, uint64_t size)
{
	__atomic_store_n(&i->size, size, __ATOMIC_RELAXED);
}

static int judge_size(const struct img *i, uint64_t size, struct err *e)
{
	uint64_t has;

	if (i->readonly)
		return err_set(e, ERR_BAD, "%s is read-only", i->path);
	if (!size || size % i->logical || size > INT64_MAX)
		return err_set(e, ERR_BAD,
			       "a size of %" PRIu64 " bytes is no number of blocks of %u", size,
			       i->logical);
	if (!i->device)
		return 0;
	if (fd_size(i->fd, &has, e))
		return -1;
	if (has != size)
		return err_set(
			e, ERR_BAD,
			"the block device %s has %" PRIu64
			" bytes: change that first (lvextend and the like), then say the same here",
			i->path, has);
	return 0;
}

/* The tail of a file that was cut is free for others. */
static void unlock_behind(const struct img *i, uint64_t size)
{
	struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = (off_t)size };

	if (!i->lock_whole)
		fcntl(i->lock_fd, F_OFD_SETLK, &l);
}

static int set_size(const struct img *i, uint64_t has, uint64_t size, struct err *e)
{
	if (i->allocated && size > has && allocate(i, size, e))
		return -1;
	if (ftruncate(i->fd, (off_t)size))
		return err_os(e, ERR_IO, "give %s a size of %" PRIu64 " bytes", i->path, size);
	return 0;
}

static int size_file(const struct img *i, uint64_t size, struct err *e)
{
	uint64_t has;
	int r;

	if (fd_size(i->fd, &has, e) || lock(i, max_u64(size, has), e))
		return -1;
	r = set_size(i, has, size, e);
	unlock_behind(i, r ? has : size);
	return r;
}

int img_resize(struct img *i, uint64_t size, struct err *e)
{
	if (judge_size(i, size, e) || (!i->device && size_file(i, size, e)))
		return -1;
	img_bound(i, size);
	return 0;
}
