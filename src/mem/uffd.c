/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving. Each range has a bit for a page that is the file's no more: it was served, or given back
 * since. Whoever gives pages back sets their bits first, and the thread puts a page in place only
 * while it holds the lock under which it saw the bit clear, so that nothing old comes after. A page
 * that is touched and whose bit is set was given back: it is zeros. See uffd.h.
 */
#include "mem/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "mem/touched.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#define DEVICE "/dev/userfaultfd"
#define PAGE KIB(4)
/* What is read and put in place at a time around a page that somebody waits for: more is read for
 * nothing, less makes more faults. */
#define CLUSTER ((uint64_t)TOUCHED_PIECE)
#define AHEAD MIB(1) /* the same, while nobody waits: about the time of a fault */
/* Holes of this size and more are left to the kernel, which gives zeros faster and in huge pages; but
 * each makes the process's map longer, which the kernel limits. */
#define HOLE MIB(2)
#define HOLES_MAX 8192
#define MESSAGES 16
#define IDLE_MS 1000 /* then what was recorded is written */
/* What was told is to be heard: a thread of ours that meets a page that is gone ends the process. */
#define LOST_MS 100

struct range {
	uintptr_t host;
	uint64_t size, page, off;
	bool can_zero; /* the kernel makes zeros of this kind of memory by itself */
	uint64_t *done;
};

struct uffd {
	int fd, stop, gone; /* gone: an empty file, whose pages fail who touches them */
	const struct source *source;
	struct source_run run;
	enum uffd_prefetch prefetch;
	void (*lost)(void *arg, const char *why);
	void *arg;
	struct range *range; /* by host address */
	unsigned int ranges;
	unsigned int at; /* of prefetching: the range, and where in it */
	uint64_t at_off;
	unsigned int holes; /* left to the kernel */
	int touched_fd;	    /* borrowed */
	struct touched touched;
	uint32_t fetched; /* of those that were recorded */
	bool records;
	uint32_t written; /* of those that are recorded now */
	bool told;
	unsigned char *buf;
	uint64_t buf_size;
	pthread_mutex_t lock; /* of done and left */
	uint64_t left;	      /* bytes */
	struct thread thread;
	bool started;
};

/* --- making --- */

int uffd_open(struct err *e)
{
	int dev = open(DEVICE, O_RDWR | O_CLOEXEC), fd = -1;
	struct uffdio_api api = { .api = UFFD_API };

	if (dev >= 0) {
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		close(dev);
	}
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOSYS)
		return err_set(e, ERR_DENIED, "this host's kernel has no userfaultfd");
	if (fd < 0)
		return err_os(e, ERR_DENIED,
			      "userfaultfd (it takes the right to read and write " DEVICE
			      ", or CAP_SYS_PTRACE, or vm.unprivileged_userfaultfd=1)");
	if (ioctl(fd, UFFDIO_API, &api) == 0)
		return fd;
	err_os(e, ERR_IO, "userfaultfd");
	close(fd);
	return -1;
}

int uffd_new(struct uffd **out, const struct uffd_args *a, struct err *e)
{
	struct uffd *u = NEW(struct uffd);

	*u = (struct uffd){ .fd = a->fd,
			    .source = a->source,
			    .prefetch = a->prefetch,
			    .touched_fd = a->touched,
			    .lost = a->lost,
			    .arg = a->arg };
	pthread_mutex_init(&u->lock, NULL);
	u->stop = fd_event(e);
	u->gone = memfd_create("gone", MFD_CLOEXEC);
	if (u->stop < 0 || u->gone < 0) {
		if (u->stop >= 0)
			err_os(e, ERR_IO, "create a memory file");
		uffd_free(u);
		return -1;
	}
	*out = u;
	return 0;
}

static void insert(struct uffd *u, const struct range *r)
{
	unsigned int at = u->ranges;

	u->range = mem_resize(u->range, u->ranges, u->ranges + 1, sizeof(u->range[0]));
	for (u->ranges++; at > 0 && u->range[at - 1].host > r->host; at--)
		u->range[at] = u->range[at - 1];
	u->range[at] = *r;
}

int uffd_add(struct uffd *u, void *host, uint64_t size, uint64_t page, uint64_t off, struct err *e)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)host, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct range r = { .host = (uintptr_t)host, .size = size, .page = page, .off = off };

	if (r.host % page || size % page)
		return err_set(e, ERR_BAD, "it does not consist of pages of %" PRIu64 " KiB",
			       page >> 10);
	if (ioctl(u->fd, UFFDIO_REGISTER, &reg) < 0)
		return errno == EINVAL ? err_set(e, ERR_BAD,
						 "this kind of memory cannot be served as it is "
						 "touched")
				       : err_os(e, ERR_IO, "userfaultfd");
	r.can_zero = page == PAGE && reg.ioctls >> _UFFDIO_ZEROPAGE & 1;
	r.done = mem_array(BITMAP_WORDS(size / page), sizeof(uint64_t));
	insert(u, &r);
	u->left += size;
	u->buf_size = max_u64(u->buf_size, max_u64(page, AHEAD));
	return 0;
}

/* --- what has been done; under the lock --- */

static bool is_done(const struct range *r, uint64_t off)
{
	uint64_t n = off / r->page;

	return r->done[n / 64] >> n % 64 & 1;
}

static void mark(struct uffd *u, struct range *r, uint64_t from, uint64_t to)
{
	for (; from < to; from += r->page) {
		uint64_t n = from / r->page;

		if (is_done(r, from))
			continue;
		r->done[n / 64] |= 1ull << n % 64;
		u->left -= r->page;
	}
}

/* Where the pages that are like the one that off lies in end. */
static uint64_t run_end(const struct range *r, uint64_t off, uint64_t end)
{
	bool done = is_done(r, off);

	while (off < end && is_done(r, off) == done)
		off = align_down(off, r->page) + r->page;
	return min_u64(off, end);
}

static struct range *range_at(struct uffd *u, uintptr_t host)
{
	unsigned int from = 0, to = u->ranges;

	while (from < to) {
		unsigned int mid = from + (to - from) / 2;

		if (host - u->range[mid].host < u->range[mid].size)
			return &u->range[mid];
		if (host < u->range[mid].host)
			to = mid;
		else
			from = mid + 1;
	}
	return NULL;
}

/* --- putting pages in place --- */

static void wake(const struct uffd *u, const struct range *r, uint64_t off, uint64_t len)
{
	struct uffdio_range w = { .start = r->host + off, .len = len };

	ioctl(u->fd, UFFDIO_WAKE, &w);
}

/* One call for [off, off+len), from bytes or, where there are none, with zeros; how many bytes are
 * in place, or -errno. */
static int64_t put_once(const struct uffd *u, const struct range *r, uint64_t off, uint64_t len,
			const unsigned char *bytes)
{
	struct uffdio_zeropage z = { .range = { .start = r->host + off, .len = len } };
	struct uffdio_copy c = { .dst = r->host + off, .src = (uintptr_t)bytes, .len = len };

	if (bytes)
		return ioctl(u->fd, UFFDIO_COPY, &c) == 0 || c.copy ? c.copy : -errno;
	return ioctl(u->fd, UFFDIO_ZEROPAGE, &z) == 0 || z.zeropage ? z.zeropage : -errno;
}

/* Those that are there stay as they are, and who waits for them goes on. 0, or an errno. */
static int put_run(struct uffd *u, struct range *r, uint64_t off, uint64_t end,
		   const unsigned char *bytes)
{
	while (off < end) {
		int64_t n = put_once(u, r, off, end - off, bytes);

		if (n == -EAGAIN)
			continue;
		if (n == -EEXIST || n == -ENOENT) {
			wake(u, r, off, r->page);
			n = (int64_t)r->page;
		}
		if (n < 0)
			return (int)-n;
		mark(u, r, off, off + (uint64_t)n);
		off += (uint64_t)n;
		if (bytes)
			bytes += n;
	}
	return 0;
}

/* Puts those of [from, to) in place that are the file's still. 0, or an errno. */
static int put(struct uffd *u, struct range *r, uint64_t from, uint64_t to,
	       const unsigned char *bytes)
{
	int error = 0;

	pthread_mutex_lock(&u->lock);
	for (uint64_t at = from, end; at < to && !error; at = end) {
		end = run_end(r, at, to);
		if (!is_done(r, at))
			error = put_run(u, r, at, end, bytes ? bytes + (at - from) : NULL);
	}
	pthread_mutex_unlock(&u->lock);
	return error;
}

/* A page that was given back. */
static int put_nothing(struct uffd *u, struct range *r, uint64_t off)
{
	const unsigned char *bytes = r->can_zero ? NULL : u->buf;

	if (bytes)
		memset(u->buf, 0, r->page);
	return put_run(u, r, off, off + r->page, bytes);
}

/* Those who are told have stopped the guest when the page is replaced by one that fails: nobody goes
 * on with other contents. */
static void lose(struct uffd *u, struct range *r, uint64_t off, const char *why)
{
	void *host = (void *)(r->host + off);

	if (!u->told && u->lost) {
		u->lost(u->arg, why);
		poll(NULL, 0, LOST_MS);
	}
	u->told = true;
	pthread_mutex_lock(&u->lock);
	mark(u, r, off, off + r->page);
	if (mmap(host, r->page, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, u->gone, 0) ==
	    MAP_FAILED) {
		log_error("a page of guest memory cannot be replaced: %s", strerror(errno));
		abort();
	}
	pthread_mutex_unlock(&u->lock);
	wake(u, r, off, r->page);
}

static void lose_by_errno(struct uffd *u, struct range *r, uint64_t off, int error)
{
	char text[64];
	AUTO_FREE char *why = mem_fmt("the host has no page for guest memory: %s",
				      strerror_r(error, text, sizeof(text)));

	lose(u, r, off, why);
}

/* --- from the file --- */

/* Leaves the hole around off, which ends at hole_end, to the kernel; false when it is too small for
 * that. What is before off is of the hole only where the file was found unchanged after it was asked. */
static bool leave_hole(struct uffd *u, struct range *r, uint64_t off, uint64_t hole_end)
{
	uint64_t from = align_down(off, max_u64(HOLE, r->page)), data, none;
	struct err changed = { 0 };
	struct uffdio_range x;

	source_data(u->source->fd, &u->run, r->off + from, r->off + hole_end, &data, &none);
	if (data < r->off + hole_end || source_check(u->source, &changed) < 0)
		from = off;
	hole_end = align_down(hole_end, r->page);
	if (u->holes >= HOLES_MAX || hole_end < from + HOLE)
		return false;
	x = (struct uffdio_range){ .start = r->host + from, .len = hole_end - from };
	pthread_mutex_lock(&u->lock);
	mark(u, r, from, hole_end);
	pthread_mutex_unlock(&u->lock);
	if (ioctl(u->fd, UFFDIO_UNREGISTER, &x) == 0) {
		u->holes++;
		return true;
	}
	/* as pages that were given back: zeros, when they are touched */
	u->holes = HOLES_MAX;
	wake(u, r, from, hole_end - from);
	return true;
}

/* Reads [from, to) of a range and puts it in place. */
static int fetch(struct uffd *u, struct range *r, uint64_t from, uint64_t to, struct err *e)
{
	int error;

	if (source_read(u->source, u->buf, to - from, r->off + from, e) < 0)
		return -1;
	error = put(u, r, from, to, u->buf);
	if (!error)
		return 0;
	errno = error;
	return err_os(e, ERR_IO, "the host has no page for guest memory");
}

/* Where the file has a hole from off to data: 0 zeros are in place, -1 it is none. */
static int fetch_hole(struct uffd *u, struct range *r, uint64_t off, uint64_t data)
{
	struct err changed = { 0 };

	if (data < off + r->page || source_check(u->source, &changed) < 0)
		return -1;
	if (leave_hole(u, r, off, data))
		return 0;
	if (!r->can_zero)
		return -1;
	data = min_u64(align_down(off, CLUSTER) + CLUSTER, align_down(data, r->page));
	return put(u, r, off, data, NULL) ? -1 : 0;
}

static void serve_from_file(struct uffd *u, struct range *r, uint64_t off)
{
	uint64_t span = max_u64(CLUSTER, r->page), from = align_down(off, span);
	uint64_t to = min_u64(from + span, r->size), data, end;
	char line[ERR_TEXT];
	struct err e = { 0 };

	source_data(u->source->fd, &u->run, r->off + off, r->off + r->size, &data, &end);
	to = min_u64(to, align_up(end - r->off, r->page));
	if (fetch_hole(u, r, off, data - r->off) == 0)
		return;
	if (u->records)
		touched_add(&u->touched, (r->off + off) / CLUSTER);
	if (fetch(u, r, from, to, &e) == 0)
		return;
	/* it may be only its neighbours that cannot be read */
	err_clear(&e);
	if (fetch(u, r, off, off + r->page, &e) < 0)
		lose(u, r, off, err_line(&e, line, sizeof(line)));
}

static void serve(struct uffd *u, uintptr_t host)
{
	struct range *r = range_at(u, host);
	uint64_t off;
	bool done;
	int error;

	if (!r)
		return;
	off = align_down(host - r->host, r->page);
	pthread_mutex_lock(&u->lock);
	done = is_done(r, off);
	error = done ? put_nothing(u, r, off) : 0;
	pthread_mutex_unlock(&u->lock);
	if (error)
		lose_by_errno(u, r, off, error);
	if (!done)
		serve_from_file(u, r, off);
}

/* --- ahead --- */

static void stop_fetching(struct uffd *u, const struct err *e)
{
	char line[ERR_TEXT];

	log_warn("guest memory is not fetched beforehand any more: %s",
		 err_line(e, line, sizeof(line)));
	u->prefetch = UFFD_PREFETCH_NONE;
}

/* The next piece that is the file's still; what cannot be read now may not be touched ever. */
static void fetch_ahead(struct uffd *u)
{
	struct range *r = &u->range[u->at];
	uint64_t data, end, n, off;
	struct err e = { 0 };

	if (u->at_off >= r->size) {
		u->at++;
		u->at_off = 0;
		if (u->at == u->ranges)
			u->prefetch = UFFD_PREFETCH_NONE;
		return;
	}
	if (!uffd_is_in_file(u, (void *)(r->host + u->at_off), r->size - u->at_off, &n, &off)) {
		u->at_off += n;
		return;
	}
	n = align_up(min_u64(n, AHEAD), r->page);
	source_data(u->source->fd, &u->run, off, r->off + r->size, &data, &end);
	if (data >= off + r->page && source_check(u->source, &e) == 0) {
		uint64_t to = align_down(data - r->off, r->page);

		if (!leave_hole(u, r, u->at_off, data - r->off) && r->can_zero &&
		    put(u, r, u->at_off, min_u64(to, u->at_off + AHEAD), NULL) == 0)
			to = min_u64(to, u->at_off + AHEAD);
		u->at_off = to;
		return;
	}
	if (fetch(u, r, u->at_off, min_u64(u->at_off + n, r->size), &e) < 0)
		stop_fetching(u, &e);
	u->at_off += n;
}

static struct range *range_in_file(struct uffd *u, uint64_t off)
{
	for (unsigned int i = 0; i < u->ranges; i++)
		if (off - u->range[i].off < u->range[i].size)
			return &u->range[i];
	return NULL;
}

/* The next piece of the record. It may begin in one range and end in another; what is of the other is
 * then left to be touched. It may be of two huge pages, and there is room for one of them. */
static void fetch_recorded(struct uffd *u)
{
	uint64_t at, from, to, data, end, n;
	struct err e = { 0 };
	struct range *r;

	if (u->fetched == u->touched.count) {
		log_info("what was recorded of the guest's memory is there");
		u->prefetch = UFFD_PREFETCH_NONE;
		return;
	}
	at = (uint64_t)u->touched.piece[u->fetched++] * CLUSTER;
	source_data(u->source->fd, &u->run, at, at + CLUSTER, &data, &end);
	r = range_in_file(u, data);
	if (data >= at + CLUSTER || !r)
		return;
	from = align_down(data - r->off, r->page);
	to = min_u64(align_up(end - r->off, r->page), r->size);
	for (; from < to; from += n) {
		n = min_u64(to - from, u->buf_size);
		if (fetch(u, r, from, from + n, &e) < 0) {
			stop_fetching(u, &e);
			return;
		}
	}
}

/* --- the record --- */

static void open_record(struct uffd *u)
{
	struct err e = { 0 };

	if (u->prefetch != UFFD_PREFETCH_RECORDED)
		return;
	if (u->touched_fd < 0 ||
	    touched_read(&u->touched, u->touched_fd, u->source->size, &e) < 0) {
		u->prefetch = UFFD_PREFETCH_NONE;
		u->records = u->touched_fd >= 0;
	}
}

static bool has_news(const struct uffd *u)
{
	return u->records && u->written < u->touched.count;
}

static void write_record(struct uffd *u)
{
	char line[ERR_TEXT];
	struct err e = { 0 };

	u->written = u->touched.count;
	if (touched_write(&u->touched, u->touched_fd, u->source->size, &e) == 0)
		return;
	log_warn("what the guest touches is not recorded: %s", err_line(&e, line, sizeof(line)));
	u->records = false;
}

/* --- the thread --- */

static void serve_all(struct uffd *u)
{
	struct uffd_msg msg[MESSAGES];
	ssize_t n = read(u->fd, msg, sizeof(msg));

	for (ssize_t i = 0; i < n / (ssize_t)sizeof(msg[0]); i++)
		if (msg[i].event == UFFD_EVENT_PAGEFAULT)
			serve(u, (uintptr_t)msg[i].arg.pagefault.address);
}

/* All is there: the memory is like any other from here on. */
static void let_go(struct uffd *u)
{
	for (unsigned int i = 0; i < u->ranges; i++) {
		struct uffdio_range x = { .start = u->range[i].host, .len = u->range[i].size };

		if (ioctl(u->fd, UFFDIO_UNREGISTER, &x) < 0)
			log_debug("guest memory stays watched: %s", strerror(errno));
	}
	log_info("all of the guest's memory is there: the snapshot's file is not needed any more");
}

static void uffd_main(void *arg)
{
	struct uffd *u = arg;
	struct pollfd p[] = { { .fd = u->fd, .events = POLLIN },
			      { .fd = u->stop, .events = POLLIN } };

	open_record(u);
	for (;;) {
		int n = poll(p, ARRAY_LEN(p),
			     u->prefetch != UFFD_PREFETCH_NONE ? 0
			     : has_news(u)		       ? IDLE_MS
							       : -1);

		if (n > 0 && p[1].revents)
			break;
		if (n > 0)
			serve_all(u);
		else if (u->prefetch == UFFD_PREFETCH_ALL)
			fetch_ahead(u);
		else if (u->prefetch == UFFD_PREFETCH_RECORDED)
			fetch_recorded(u);
		else if (has_news(u))
			write_record(u);
		if (!uffd_left(u) && !u->told) {
			let_go(u);
			break;
		}
	}
	if (has_news(u))
		write_record(u);
}

int uffd_start(struct uffd *u, struct err *e)
{
	if (!u->ranges)
		return 0;
	u->buf = mmap(NULL, u->buf_size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (u->buf == MAP_FAILED) {
		u->buf = NULL;
		return err_os(e, ERR_IO, "take memory to read into");
	}
	if (thread_start(&u->thread, "uffd", "uffd", uffd_main, u, e) < 0)
		return -1;
	u->started = true;
	return 0;
}

void uffd_free(struct uffd *u)
{
	if (!u)
		return;
	if (u->started) {
		fd_signal(u->stop);
		thread_join(&u->thread);
	}
	if (u->buf)
		munmap(u->buf, u->buf_size);
	for (unsigned int i = 0; i < u->ranges; i++)
		free(u->range[i].done);
	free(u->range);
	touched_fini(&u->touched);
	fd_close(&u->fd);
	fd_close(&u->stop);
	fd_close(&u->gone);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

/* --- what others ask --- */

/* The first that ends behind host; NULL when none does. */
static struct range *first_behind(struct uffd *u, uintptr_t host)
{
	for (unsigned int i = 0; i < u->ranges; i++)
		if (host < u->range[i].host + u->range[i].size)
			return &u->range[i];
	return NULL;
}

void uffd_forget(struct uffd *u, const void *host, uint64_t size)
{
	uintptr_t at = (uintptr_t)host, end = at + size;
	struct range *r = first_behind(u, at);

	pthread_mutex_lock(&u->lock);
	for (; r && r < u->range + u->ranges && r->host < end; r++) {
		uint64_t from = align_up(max_u64(at, r->host) - r->host, r->page);
		uint64_t to = align_down(min_u64(end - r->host, r->size), r->page);

		mark(u, r, from, to);
	}
	pthread_mutex_unlock(&u->lock);
}

bool uffd_is_in_file(struct uffd *u, const void *host, uint64_t size, uint64_t *n, uint64_t *off)
{
	uintptr_t at = (uintptr_t)host;
	struct range *r = first_behind(u, at);
	bool in_file;

	*n = size;
	if (!r || at < r->host) {
		*n = r ? min_u64(size, r->host - at) : size;
		return false;
	}
	*off = r->off + (at - r->host);
	pthread_mutex_lock(&u->lock);
	in_file = !is_done(r, at - r->host);
	*n = run_end(r, at - r->host, min_u64(r->size, at - r->host + size)) - (at - r->host);
	pthread_mutex_unlock(&u->lock);
	return in_file;
}

uint64_t uffd_left(struct uffd *u)
{
	uint64_t left;

	pthread_mutex_lock(&u->lock);
	left = u->left;
	pthread_mutex_unlock(&u->lock);
	return left;
}
