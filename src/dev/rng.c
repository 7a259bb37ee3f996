/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-rng, virtio 1.3 §5.4. The io loop reads the source into a buffer of ours and from there
 * into the guest: a random byte is dear enough that the copy does not count.
 *
 * A request is answered with what the source has, at most REQUEST_MAX bytes: the driver asks again
 * for more. A turn of the loop gives TURN_BYTES, so that a greedy guest does not keep consoles and
 * clocks waiting. When the source has nothing, the request goes back to the ring until epoll or a
 * timer says that there may be something. Only a regular file on a slow disk can hold the loop up,
 * for the time of one read of CHUNK bytes at a time.
 */
#include "dev/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/conf.h"
#include "dev/turn.h"
#include "virtio/vpci.h"

#define QUEUE_SIZE 256
#define REQUEST_MAX 65536u
#define TURN_BYTES 65536u
#define CHUNK 4096
#define RETRY_NS                                                                                   \
	200000000ull /* a source that epoll does not take, or one that ended, is asked this often */

/* What has passed so far. */
struct rng_counters {
	uint64_t read_bytes, read_ops;
};

struct rng {
	struct vdev v; /* first member */
	int fd;
	struct loop_fd source; /* watched while it is dry */
	struct loop_timer retry;
	struct turn turn;
	bool ended; /* was said once */
	struct rng_counters n;
};

static struct rng *rng_of(struct vdev *v)
{
	return container_of(v, struct rng, v);
}

static struct rng *rng_of_dev(struct dev *d)
{
	return rng_of(vdev_of(d));
}

/* Up to len bytes of the source into the chain; fewer when it has no more for now. */
static uint32_t rng_fill(struct rng *r, const struct chain *c, uint32_t len)
{
	uint8_t buf[CHUNK];
	uint32_t done = 0;

	while (done < len) {
		ssize_t n = read(r->fd, buf, min_u64(sizeof(buf), len - done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0 || errno != EAGAIN) {
				if (!r->ended)
					log_warn("%s: the random source %s: the guest waits",
						 r->v.dev.id, n ? strerror(errno) : "has ended");
				r->ended = true;
			}
			break;
		}
		done += (uint32_t)chain_put(c, done, buf, (size_t)n);
	}
	explicit_bzero(buf, sizeof(buf));
	return done;
}

static void rng_due(void *arg)
{
	struct rng *r = arg;

	turn_kick(&r->turn);
}

static void rng_source_ready(void *arg, uint32_t events)
{
	struct rng *r = arg;

	(void)events;
	loop_unwatch(&r->source);
	turn_kick(&r->turn);
}

/* A file is always ready for epoll and one at its end too: those wait for the clock. */
static void rng_wait(struct rng *r)
{
	struct vqueue *q = &r->v.queues[0];
	struct err e = { 0 };

	if (!r->ended && (r->source.loop || !loop_watch(q->loop, &r->source, r->fd, EPOLLIN,
							rng_source_ready, r, &e)))
		return;
	loop_timer_set(q->loop, &r->retry, loop_now_ns() + RETRY_NS, rng_due, r);
}

/* One turn's worth of requests. */
static enum turn_end rng_serve(struct vdev *v, struct vq *q)
{
	struct rng *r = rng_of(v);
	uint32_t given = 0;

	for (unsigned int i = 0; i < TURN_CHAINS && given < TURN_BYTES; i++) {
		uint32_t want, got;
		struct chain c;

		switch (vq_pop(q, &c)) {
		case VQ_BAD:
			return TURN_BAD;
		case VQ_EMPTY:
			return TURN_EMPTY;
		case VQ_CHAIN:
			break;
		}
		want = (uint32_t)min_u64(c.wlen, REQUEST_MAX);
		got = want ? rng_fill(r, &c, want) : 0;
		if (want && !got) {
			vq_unpop(q, c.head);
			rng_wait(r);
			return TURN_LATER;
		}
		vq_push(q, c.head, got);
		given += got;
		counter_add(&r->n.read_bytes, got);
		counter_add(&r->n.read_ops, 1);
	}
	return TURN_MORE;
}

static void rng_kick(struct vqueue *q)
{
	turn_kick(&rng_of(q->vdev)->turn);
}

static void rng_stop(struct vqueue *q)
{
	struct rng *r = rng_of(q->vdev);

	loop_unwatch(&r->source);
	loop_timer_stop(&r->retry);
}

static int rng_open(struct rng *r, const char *src, struct err *e)
{
	struct stat s;

	r->fd = fd_open(src, O_RDONLY | O_NONBLOCK, 0, e);
	if (r->fd < 0)
		return -1;
	if (!fstat(r->fd, &s) && S_ISDIR(s.st_mode)) {
		fd_close(&r->fd);
		return err_set(e, ERR_BAD, "%s is a directory", src);
	}
	return 0;
}

static int rng_init(struct dev *d, struct err *e)
{
	const struct rng_conf *c = d->conf;
	struct rng *r = rng_of_dev(d);

	if (rng_open(r, c->src, e))
		return err_in(e, "random source");
	r->v.offered = VF_INDIRECT_DESC | VF_EVENT_IDX;
	if (vdev_queues(&r->v, 1, QUEUE_SIZE, e)) {
		fd_close(&r->fd);
		return -1;
	}
	r->v.queues[0].loop = d->board->io;
	r->turn = (struct turn){ .q = &r->v.queues[0], .serve = rng_serve };
	return 0;
}

static void rng_fini(struct dev *d)
{
	struct rng *r = rng_of_dev(d);

	turn_fini(&r->turn);
	vdev_fini(&r->v);
	fd_close(&r->fd);
}

static const struct field counter_fields[] = {
	S(struct rng_counters, read_bytes, .unit = "bytes",
	  .doc = "random bytes that the guest has been given"),
	S(struct rng_counters, read_ops, .doc = "requests that were answered"),
};
static const struct desc counter_rows =
	DESC_OF(struct rng_counters, counter_fields, "rng counters");

const struct virtio_class rng_class = {
	.dev = {
		.name = "rng",
		.size = sizeof(struct rng),
		.counters = &counter_rows,
		.counters_off = offsetof(struct rng, n),
		.conf = &rng_desc,
		.init = rng_init,
		.quiesce = vdev_quiesce,
		.resume = vdev_resume,
		.fini = rng_fini,
		.plug = &vpci_plug,
		.profile = "io",
	},
	.type = 4,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.stop = rng_stop,
	.kick = rng_kick,
};
