/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of data between memory and a file, in steps between which it can be broken off. See
 * ramfile.h. pwritev(2).
 */
#include "mem/ramfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "mem/pagemap.h"
#include "mem/source.h"

/* Written at once: what was looked at for zeros is in the processor's cache still, and file systems ask
 * for no larger pages than a host finds that has been up for a while. */
#define PIECE KIB(256)
#define STEP MIB(4)  /* read at once */
#define PART MIB(64) /* of which the kernel is asked at once what is there */
#define BEGUN MIB(8) /* from so many bytes on the disk begins to write them */

static int stopped(struct err *e)
{
	return err_set(e, ERR_STATE, "cancelled");
}

static int write_run(const struct gmem *m, gpa_t a, uint64_t len, int fd, uint64_t off,
		     struct err *e)
{
	struct kiov k[GMEM_PARTS_MAX];

	while (len) {
		unsigned int n = 0;
		ssize_t done;

		if (gmem_iov(m, k, &n, GMEM_PARTS_MAX, a, (uint32_t)len) < 0)
			return err_set(e, ERR_IO, "guest memory at 0x%llx is not there",
				       (unsigned long long)a.v);
		done = pwritev(fd, &k[0].v, (int)n, (off_t)off);
		if (done < 0 && errno != EINTR)
			return err_os(e, ERR_IO, "write guest memory");
		if (done > 0) {
			a = gpa_add(a, (uint64_t)done);
			off += (uint64_t)done;
			len -= (uint64_t)done;
		}
	}
	return 0;
}

/* What waits in another file goes from there to here: nobody need have it in memory for that. */
static int copy_run(const struct gmem_place *from, uint64_t len, int fd, uint64_t off,
		    unsigned char *buf, struct err *e)
{
	if (source_read(from->source, buf, len, from->off, e) < 0)
		return -1;
	for (uint64_t done = 0; done < len;) {
		struct iovec v = { buf + done, len - done };
		ssize_t n = pwritev(fd, &v, 1, (off_t)(off + done));

		if (n < 0 && errno != EINTR)
			return err_os(e, ERR_IO, "write guest memory");
		done += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

struct save {
	const struct gmem *m;
	int fd;
	struct work *work;
	struct gmem_place where;
	unsigned char *buf; /* made when it is needed */
	uint64_t begun;	    /* of the file, up to where its disk has been told to write */
};

/* The disk writes what it has while the rest is copied, and not all of it when somebody waits for that
 * (fsync). No more than a wish. */
static void begin_writing(struct save *s, uint64_t to)
{
	if (to < s->begun + BEGUN)
		return;
	sync_file_range(s->fd, (off_t)s->begun, (off_t)(to - s->begun), SYNC_FILE_RANGE_WRITE);
	s->begun = to;
}

/* [a, end), which is a part of the whole that is asked about at once. */
static int save_part(struct save *s, gpa_t a, gpa_t end, uint64_t off, struct err *e)
{
	struct gmem_place *where = &s->where;
	gpa_t begin = a;
	int r = 0;

	for (uint64_t len; !r && (len = gmem_find_data(s->m, &a, end.v - a.v, PIECE, where));
	     a = gpa_add(a, len)) {
		if (where->source && !s->buf)
			s->buf = mem_new(PIECE);
		r = where->source ? copy_run(where, len, s->fd, off + (a.v - begin.v), s->buf, e)
				  : write_run(s->m, a, len, s->fd, off + (a.v - begin.v), e);
		if (!r && work_ask(s->work))
			r = stopped(e);
		begin_writing(s, off + (a.v - begin.v) + len);
	}
	return r;
}

static int save_all(struct save *s, gpa_t base, uint64_t size, uint64_t off, struct err *e)
{
	for (uint64_t part = 0, n; part < size; part += n) {
		gpa_t a = gpa_add(base, part);

		n = min_u64(size - part, PART);
		if (save_part(s, a, gpa_add(a, n), off + part, e) < 0)
			return -1;
		work_did(s->work, n);
		if (work_ask(s->work))
			return stopped(e);
	}
	/* holes of another file are of that file too */
	return gmem_check_source(s->m, e);
}

int ramfile_save(const struct gmem *m, gpa_t base, uint64_t size, int fd, uint64_t off,
		 struct work *w, struct err *e)
{
	struct save s = { .m = m, .fd = fd, .work = w, .begun = off };
	int r;

	s.where.pages = NEW(struct pagemap);
	pagemap_open(s.where.pages);
	r = save_all(&s, base, size, off, e);
	pagemap_close(s.where.pages);
	free(s.where.pages);
	free(s.buf);
	return r;
}

static int check_size(int fd, uint64_t end, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_os(e, ERR_IO, "look at the file of guest memory");
	if ((uint64_t)st.st_size < end)
		return err_set(e, ERR_BAD, "the file of guest memory ends at %llu, before %llu",
			       (unsigned long long)st.st_size, (unsigned long long)end);
	return 0;
}

int ramfile_load(const struct gmem *m, gpa_t base, uint64_t size, int fd, uint64_t off,
		 struct work *w, struct err *e)
{
	uint64_t end, from, to, shift = base.v - off;
	struct source_run run = { 0 };

	if (__builtin_add_overflow(off, size, &end) || end > INT64_MAX)
		return err_set(e, ERR_BAD, "guest memory lies past the end of any file");
	if (check_size(fd, end, e) < 0)
		return -1;
	for (uint64_t at = off; at < end; at = to) {
		source_data(fd, &run, at, end, &from, &to);
		if (from > at && gmem_clear(m, GPA(at + shift), from - at) < 0)
			return err_set(e, ERR_BAD, "guest memory at 0x%llx is not there",
				       (unsigned long long)(at + shift));
		to = min_u64(to, from + STEP);
		if (to > from && gmem_load(m, GPA(from + shift), to - from, fd, from, e) < 0)
			return -1;
		work_did(w, to - at);
		if (work_ask(w))
			return stopped(e);
	}
	return 0;
}
