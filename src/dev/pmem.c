/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent memory. See pmem.h.
 *
 *	config	le64 start, le64 size
 *	request	le32 type, 0 = flush; answer: le32, 0 = all is in the file, 1 = not
 *
 * A flush that has failed once fails for good: the host tells of what it could not write once, and
 * does not say which of it was lost.
 */
#include "dev/pmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "dev/turn.h"
#include "hv/hv.h"
#include "mem/gmem.h"
#include "pci/pci.h"
#include "virtio/vpci.h"

#define QUEUE_SIZE 256
#define ALIGN MIB(2)
#define CONFIG_LEN 16

#define REQ_FLUSH 0
#define REQ_LEN 4
#define RESP_OK 0
#define RESP_EIO 1
#define RESP_LEN 4

struct pmem_state {
	uint64_t start;
	uint64_t size;	/* bytes that the guest sees; 0 = saved by who did not say */
	uint8_t failed; /* a flush has */
	uint8_t pad[7];
};

/* What has passed so far. */
struct pmem_counters {
	uint64_t flush_ops, failed_ops, syncs;
};

struct pmem {
	struct vdev v; /* first member */
	struct pmem_state s;
	struct pci_area area;
	struct gmem_region mem; /* once it is there: size is not 0 */
	uint32_t slot;		/* the hypervisor's */
	bool has_slot;
	bool keeps; /* what is written is for the file */
	struct turn turn;
	struct pmem_counters n;
};

static struct pmem *pmem_of(struct vdev *v)
{
	return container_of(v, struct pmem, v);
}

/* --- the queue --- */

/* Requests that one fsync answers. */
struct batch {
	struct chain c[TURN_CHAINS];
	uint32_t count;
	bool flushes;
	enum turn_end end; /* what is behind them */
};

static bool is_flush(const struct chain *c)
{
	uint8_t req[REQ_LEN];

	return chain_get(c, 0, req, sizeof(req)) == sizeof(req) && le32_get(req) == REQ_FLUSH;
}

static void take_batch(struct batch *b, struct vq *q)
{
	b->count = 0;
	b->flushes = false;
	b->end = TURN_MORE;
	while (b->count < TURN_CHAINS) {
		struct chain *c = &b->c[b->count];
		enum vq_result r = vq_pop(q, c);

		if (r == VQ_EMPTY) {
			b->end = TURN_EMPTY;
			return;
		}
		if (r == VQ_BAD || c->wlen < RESP_LEN) {
			b->end = TURN_BAD;
			return;
		}
		b->flushes |= is_flush(c);
		b->count++;
	}
}

/* All that the guest has written before it asked is in the file, or not. */
static void flush(struct pmem *p)
{
	counter_add(&p->n.syncs, 1);
	if (!fsync(p->mem.fd))
		return;
	log_warn("%s: what the guest has written did not reach the file: %s; from now on it is "
		 "told so at each flush",
		 p->v.dev.id, strerror(errno));
	p->s.failed = 1;
}

/* What a request is, is read once more, and may have changed: then it is the driver's loss. */
static void answer(struct pmem *p, struct vq *q, const struct chain *c)
{
	bool good = is_flush(c) && !p->s.failed;
	uint8_t resp[RESP_LEN];

	le32_put(resp, good ? RESP_OK : RESP_EIO);
	counter_add(good ? &p->n.flush_ops : &p->n.failed_ops, 1);
	vq_push(q, c->head, (uint32_t)chain_put(c, 0, resp, sizeof(resp)));
}

static enum turn_end pmem_serve(struct vdev *v, struct vq *q)
{
	struct pmem *p = pmem_of(v);
	struct batch b;

	take_batch(&b, q);
	if (b.flushes && p->keeps && !p->s.failed)
		flush(p);
	for (uint32_t i = 0; i < b.count; i++)
		answer(p, q, &b.c[i]);
	return b.end;
}

static void pmem_kick(struct vqueue *q)
{
	turn_kick(&pmem_of(q->vdev)->turn);
}

/* --- the memory --- */

/* A nameless file in the directory, which goes when the machine does. */
static int open_nameless(const struct pmem_conf *c, struct err *e)
{
	AUTO_FD int fd = -1;

	if (!conf_said(pmem, c, size))
		return err_set(e, ERR_BAD, "a directory needs a size: say size=");
	fd = fd_open(c->file, O_RDWR | O_TMPFILE, 0600, e);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)c->size) < 0)
		return err_os(e, ERR_IO, "make it as large as %" PRIu64 " MiB", c->size >> 20);
	return fd_take(&fd);
}

/* Not waiting for the other end of a FIFO, which is refused with all that is no file. */
static int open_file(const struct pmem_conf *c, struct err *e)
{
	int access = c->discard_writes ? O_RDONLY : O_RDWR, fd;
	struct stat st;

	if (!stat(c->file, &st) && S_ISDIR(st.st_mode))
		return open_nameless(c, e);
	fd = fd_open(c->file, access | O_NONBLOCK | O_NOCTTY, 0, e);
	if (fd < 0 && e->os == ENOENT)
		return err_set(e, ERR_ABSENT,
			       "there is no such file: make it (truncate -s 1G %s) or correct the "
			       "path",
			       c->file);
	return fd;
}

/* Several may read; who writes is alone, for a file system that two mount is lost. It is for all of
 * the file, and goes with its descriptor. */
static int lock(const struct dev *d, int fd, struct err *e)
{
	const struct pmem_conf *c = d->conf;
	struct flock l = {
		.l_type = c->discard_writes ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if ((d->board->refused ? fd_may_lock : fd_lock)(fd, &l) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err_set(
			e, ERR_TAKEN,
			"it is in use by another program or another device of this VM (locked); "
			"end that one first, or say discard_writes=on in both");
	log_warn("%s: its file system has no locks (%s); take care that nobody else writes it",
		 c->file, strerror(errno));
	return 0;
}

static int judge_size(uint64_t *size, const struct pmem_conf *c, uint64_t have, struct err *e)
{
	*size = conf_said(pmem, c, size) ? c->size : have;
	if (!*size || *size % ALIGN)
		return err_set(e, ERR_BAD,
			       "its size, %" PRIu64 " bytes, is no multiple of 2M: round it",
			       *size);
	if (*size > have)
		return err_set(e, ERR_BAD,
			       "it has %" PRIu64 " bytes, and size is %" PRIu64
			       ": make it larger, or size smaller",
			       have, *size);
	return 0;
}

/* Whoever holds it closes it, also on failure. */
static int open_backing(struct backing *b, const struct dev *d, struct err *e)
{
	const struct pmem_conf *c = d->conf;
	uint64_t have;

	*b = (struct backing){
		.how = { .zone = d->id,
			 .file = c->file,
			 .shared = !c->discard_writes,
			 .thp = true },
		.page = KIB(4),
		.fd = open_file(c, e),
		.has_past = true,
	};
	if (b->fd < 0 || fd_size(b->fd, &have, e) || lock(d, b->fd, e))
		return -1;
	return judge_size(&b->size, c, have, e);
}

static int place(struct pmem *p, struct backing *b, struct err *e)
{
	struct dev *d = &p->v.dev;
	struct board *board = d->board;

	if (p->s.size && p->s.size != b->size)
		return err_set(e, ERR_BAD,
			       "it has %" PRIu64 " bytes, and had %" PRIu64 " when it was saved",
			       b->size, p->s.size);
	p->s.size = b->size;
	p->area.base = p->s.start;
	p->area.size = b->size;
	if (pci_area_claim(board->pci, &p->area, vpci_fn(d)->segment, ALIGN, e))
		return -1;
	p->s.start = p->area.base;
	if (gmem_grow(board->mem, GPA(p->s.start), b, &p->mem, e))
		return -1;
	if (board->hv &&
	    hv_slot_add(board->hv, &p->slot, p->s.start, p->mem.size, p->mem.host, false, e))
		return -1;
	p->has_slot = board->hv != NULL;
	return 0;
}

/* The guest sees it no more, then nobody finds it. */
static void unplace(struct pmem *p)
{
	struct flock none = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	struct board *board = p->v.dev.board;
	struct err e = { 0 };
	char line[ERR_TEXT];

	if (p->has_slot && hv_slot_drop(board->hv, p->slot, &e))
		log_warn("%s: %s", p->v.dev.id, err_line(&e, line, sizeof(line)));
	if (p->mem.size) {
		/* whoever still has the old list of memory keeps the descriptor a moment longer */
		if (fd_lock(p->mem.fd, &none) < 0)
			log_debug("%s: unlock: %s", p->v.dev.id, strerror(errno));
		gmem_shrink(board->mem, p->mem.base);
	}
	pci_area_release(&p->area);
}

static int make_queue(struct pmem *p, struct err *e)
{
	char name[64];

	snprintf(name, sizeof(name), "%.48s_q0", p->v.dev.id);
	if (vdev_queues(&p->v, 1, QUEUE_SIZE, e))
		return -1;
	p->turn = (struct turn){ .q = &p->v.queues[0], .serve = pmem_serve };
	if (p->v.dev.board->refused)
		return 0;
	return loop_new(&p->v.queues[0].loop, name, e) ||
			       loop_start(p->v.queues[0].loop, pmem_class.dev.profile, e)
		       ? -1
		       : 0;
}

/* Freed with what it was told. */
static void pmem_fini(struct dev *d)
{
	struct pmem *p = pmem_of(vdev_of(d));

	if (p->v.queues)
		loop_free(p->v.queues[0].loop);
	vdev_fini(&p->v);
	unplace(p);
}

static int pmem_init(struct dev *d, struct err *e)
{
	const struct pmem_conf *c = d->conf;
	struct pmem *p = pmem_of(vdev_of(d));
	struct backing b;

	p->keeps = !c->discard_writes;
	if (open_backing(&b, d, e) || place(p, &b, e) || make_queue(p, e)) {
		backing_close(&b);
		pmem_fini(d);
		return err_in(e, "%s", c->file);
	}
	le64_put(p->v.config, p->s.start);
	le64_put(p->v.config + 8, p->mem.size);
	p->v.config_len = CONFIG_LEN;
	log_info("%s: %s, %" PRIu64 " MiB at 0x%" PRIx64, d->id, c->file, p->mem.size >> 20,
		 p->s.start);
	return 0;
}

static const struct field state_fields[] = {
	S(struct pmem_state, start),
	S(struct pmem_state, size, .since = 2),
	S(struct pmem_state, failed, .max = 1),
	S_PAD(struct pmem_state, pad),
};
static const struct desc state_rows = DESC_OF_V(struct pmem_state, state_fields, "PmemState", 2);

static const struct field counter_fields[] = {
	S(struct pmem_counters, flush_ops, .doc = "flushes that have ended well"),
	S(struct pmem_counters, failed_ops, .doc = "requests that were answered with an error"),
	S(struct pmem_counters, syncs,
	  .doc = "times that the file was written for them; one serves all that wait"),
};
static const struct desc counter_rows =
	DESC_OF(struct pmem_counters, counter_fields, "pmem counters");

const struct virtio_class pmem_class = {
	.dev = {
		.name = "pmem",
		.conf = &pmem_desc,
		.state = &state_rows,
		.size = sizeof(struct pmem),
		.state_off = offsetof(struct pmem, s),
		.counters = &counter_rows,
		.counters_off = offsetof(struct pmem, n),
		.init = pmem_init,
		.quiesce = vdev_quiesce,
		.resume = vdev_resume,
		.fini = pmem_fini,
		.plug = &vpci_plug,
		.profile = "pmem",
	},
	.type = 27,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.kick = pmem_kick,
};
