/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of data between memory and a file, in steps between which it can be broken off. See
 * ramfile.h. pwritev(2), lseek(2) SEEK_DATA.
 */
#include "mem/ramfile.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"

#define STEP MIB(4)

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

int ramfile_save(const struct gmem *m, gpa_t base, uint64_t size, int fd, uint64_t off,
		 struct work *w, struct err *e)
{
	/* a part at a time, so that it can be broken off among zeros too */
	for (uint64_t part = 0, n; part < size; part += n) {
		gpa_t a = gpa_add(base, part), end;

		n = min_u64(size - part, STEP);
		end = gpa_add(a, n);
		for (uint64_t len; (len = gmem_find_data(m, &a, end.v - a.v, STEP));
		     a = gpa_add(a, len))
			if (write_run(m, a, len, fd, off + (a.v - base.v), e) < 0)
				return -1;
		work_did(w, n);
		if (work_ask(w))
			return stopped(e);
	}
	return 0;
}

/* Where the next data of [off, end) begins and ends; both are end when there is none. A file system
 * that knows no holes has data everywhere. */
static int next_data(int fd, uint64_t off, uint64_t end, uint64_t *from, uint64_t *to,
		     struct err *e)
{
	off_t data = lseek(fd, (off_t)off, SEEK_DATA), hole;

	*from = *to = end;
	if (data < 0 && errno == ENXIO)
		return 0;
	if (data < 0)
		return err_os(e, ERR_IO, "look for guest memory in the file");
	*from = min_u64((uint64_t)data, end);
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole < 0)
		return err_os(e, ERR_IO, "look for guest memory in the file");
	*to = min_u64((uint64_t)hole, end);
	return 0;
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

	if (__builtin_add_overflow(off, size, &end) || end > INT64_MAX)
		return err_set(e, ERR_BAD, "guest memory lies past the end of any file");
	if (check_size(fd, end, e) < 0)
		return -1;
	for (uint64_t at = off; at < end; at = to) {
		if (next_data(fd, at, end, &from, &to, e) < 0)
			return -1;
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
