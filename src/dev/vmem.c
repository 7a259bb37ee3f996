/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mem, virtio 1.3 §5.15. One queue; a request plugs or unplugs blocks, or asks for their
 * state, and is answered by the io loop: some MiB a turn, so that a guest that unplugs a terabyte
 * keeps nobody else on that loop waiting. Requests are judged whole before anything is done.
 *
 * What the host cannot give now is answered BUSY, and the driver tries again later. Blocks keep
 * their state over a reset of the device; a reboot makes a new machine, where nothing is plugged
 * and as much is asked for. See vmem.h.
 */
#include "dev/vmem.h"

#include <inttypes.h>

#include "base/bits.h"
#include "base/counter.h"
#include "dev/turn.h"
#include "virtio/vpci.h"

#define QUEUE_SIZE 128
#define TURN_BYTES MIB(64)

/* §5.15.3; the last is of virtio 1.4 */
#define F_ACPI_PXM (1ull << 0)
#define F_UNPLUGGED_INACCESSIBLE (1ull << 1)
#define F_PERSISTENT_SUSPEND (1ull << 2)

/* §5.15.4 */
enum {
	CONFIG_BLOCK = 0,
	CONFIG_NODE = 8,
	CONFIG_ADDR = 16,
	CONFIG_REGION = 24,
	CONFIG_USABLE = 32,
	CONFIG_PLUGGED = 40,
	CONFIG_REQUESTED = 48,
	CONFIG_LEN = 56,
};

/* §5.15.6 */
enum { REQ_PLUG, REQ_UNPLUG, REQ_UNPLUG_ALL, REQ_STATE };
enum { RESP_ACK, RESP_NACK, RESP_BUSY, RESP_ERROR };
enum { STATE_PLUGGED, STATE_UNPLUGGED, STATE_MIXED };
#define REQ_BYTES 24
#define RESP_BYTES 10

struct vmem_counters {
	uint64_t region_bytes, requested_bytes, plugged_bytes, plug_ops, unplug_ops, refused_ops,
		failures;
};

struct vmem_state {
	uint64_t requested;	/* bytes */
	LIST(uint64_t) plugged; /* a bit for each block */
};

/* A request whose turns are not over; blocks [at, end) are still to be done. */
struct vmem_job {
	bool busy;
	bool plugs;
	struct chain c;
	uint64_t first, at, end;
};

struct vmem {
	struct vdev v; /* first member */
	struct vmem_state s;
	uint64_t base, block, blocks; /* block in bytes */
	struct vmem_job job;
	struct turn turn;
	struct vmem_counters n;
};

static struct vmem *vmem_of(const struct vdev *v)
{
	return (struct vmem *)(uintptr_t)v;
}

static struct vmem *vmem_of_dev(const struct dev *d)
{
	return (struct vmem *)(uintptr_t)d;
}

/* --- blocks --- */

static bool is_plugged(const struct vmem *m, uint64_t block)
{
	return bit_get(m->s.plugged.items, block);
}

/* The first of [at, end) that is not as said; end if all are. */
static uint64_t run_end(const struct vmem *m, uint64_t at, uint64_t end, bool plugged)
{
	while (at < end && is_plugged(m, at) == plugged)
		at++;
	return at;
}

static void count_plugged(struct vmem *m, uint64_t bytes)
{
	uint8_t b[8];

	counter_set(&m->n.plugged_bytes, bytes);
	le64_put(b, bytes);
	vdev_config_put(&m->v, CONFIG_PLUGGED, b, sizeof(b));
}

static void mark(struct vmem *m, uint64_t at, uint64_t end, bool plugged)
{
	uint64_t bytes = (end - at) * m->block;

	for (; at < end; at++)
		plugged ? bit_set(m->s.plugged.items, at) : bit_clear(m->s.plugged.items, at);
	count_plugged(m, plugged ? m->n.plugged_bytes + bytes : m->n.plugged_bytes - bytes);
}

static void failed(struct vmem *m, const struct err *e)
{
	char line[256];

	counter_add(&m->n.failures, 1);
	log_guest("%s: %s", m->v.dev.id, err_line(e, line, sizeof(line)));
}

static int plug(struct vmem *m, uint64_t at, uint64_t end, struct err *e)
{
	if (gmem_plug(m->v.dev.board->mem, GPA(m->base + at * m->block), (end - at) * m->block, e) <
	    0)
		return -1;
	mark(m, at, end, true);
	return 0;
}

/* It is no RAM any more, even where the host would not take it. */
static void unplug(struct vmem *m, uint64_t at, uint64_t end)
{
	struct err e = { 0 };

	if (gmem_unplug(m->v.dev.board->mem, GPA(m->base + at * m->block), (end - at) * m->block,
			&e) < 0)
		failed(m, &e);
	mark(m, at, end, false);
}

/* --- requests --- */

static void answer(struct vmem *m, const struct chain *c, uint16_t type, uint16_t state)
{
	uint8_t resp[RESP_BYTES] = { 0 };

	if (type != RESP_ACK)
		counter_add(&m->n.refused_ops, 1);
	le16_put(resp, type);
	le16_put(resp + 8, state);
	chain_put(c, 0, resp, sizeof(resp));
	vq_push(&m->v.queues[0].q, c->head, sizeof(resp));
}

/* Some of the job, at least a block, at most so many bytes; returns what was done. It is not busy
 * any more when it was answered. */
static uint64_t job_step(struct vmem *m, uint64_t bytes)
{
	struct vmem_job *j = &m->job;
	uint64_t start = j->at = run_end(m, j->at, j->end, j->plugs);
	uint64_t end = run_end(m, start, min_u64(j->end, start + bytes / m->block + 1), !j->plugs);
	struct err e = { 0 };

	if (start < end && j->plugs && plug(m, start, end, &e) < 0) {
		failed(m, &e);
		if (j->first < start)
			unplug(m, j->first, start);
		answer(m, &j->c, RESP_BUSY, 0);
		j->busy = false;
		return bytes;
	}
	if (start < end && !j->plugs)
		unplug(m, start, end);
	j->at = end;
	if (end == j->end) {
		counter_add(j->plugs ? &m->n.plug_ops : &m->n.unplug_ops, 1);
		answer(m, &j->c, RESP_ACK, 0);
		j->busy = false;
	}
	return (end - start) * m->block;
}

static void job_begin(struct vmem *m, const struct chain *c, bool plugs, uint64_t at, uint64_t end)
{
	m->job = (struct vmem_job){ true, plugs, *c, at, at, end };
}

/* The blocks that a request names, or false. */
static bool blocks_of(const struct vmem *m, const uint8_t *req, uint64_t *at, uint64_t *end)
{
	uint64_t addr = le64_get(req + 8), n = le16_get(req + 16);

	if (addr < m->base || (addr - m->base) % m->block)
		return false;
	*at = (addr - m->base) / m->block;
	*end = *at + n;
	return n && *at < m->blocks && n <= m->blocks - *at;
}

static void judge_plug(struct vmem *m, const struct chain *c, uint64_t at, uint64_t end)
{
	uint64_t requested = __atomic_load_n(&m->s.requested, __ATOMIC_RELAXED);

	if (run_end(m, at, end, false) < end)
		answer(m, c, RESP_ERROR, 0);
	else if (m->n.plugged_bytes + (end - at) * m->block > requested)
		answer(m, c, RESP_NACK, 0);
	else
		job_begin(m, c, true, at, end);
}

static void judge_unplug(struct vmem *m, const struct chain *c, uint64_t at, uint64_t end)
{
	if (run_end(m, at, end, true) < end)
		answer(m, c, RESP_ERROR, 0);
	else
		job_begin(m, c, false, at, end);
}

static void tell_state(struct vmem *m, const struct chain *c, uint64_t at, uint64_t end)
{
	bool first = is_plugged(m, at);
	bool same = run_end(m, at, end, first) == end;

	answer(m, c, RESP_ACK, !same ? STATE_MIXED : first ? STATE_PLUGGED : STATE_UNPLUGGED);
}

/* Answers a request, or begins a job; -1 of one that is none. */
static int request(struct vmem *m, const struct chain *c)
{
	uint8_t req[REQ_BYTES];
	uint64_t at, end;
	uint16_t type;

	if (chain_get(c, 0, req, sizeof(req)) < sizeof(req) || c->wlen < RESP_BYTES)
		return -1;
	type = le16_get(req);
	if (type == REQ_UNPLUG_ALL)
		job_begin(m, c, false, 0, m->blocks);
	else if (type > REQ_STATE || !blocks_of(m, req, &at, &end))
		answer(m, c, RESP_ERROR, 0);
	else if (type == REQ_PLUG)
		judge_plug(m, c, at, end);
	else if (type == REQ_UNPLUG)
		judge_unplug(m, c, at, end);
	else
		tell_state(m, c, at, end);
	return 0;
}

static enum turn_end vmem_serve(struct vdev *v, struct vq *q)
{
	struct vmem *m = vmem_of(v);
	uint64_t left = TURN_BYTES;

	for (unsigned int i = 0; i < TURN_CHAINS && left; i++) {
		struct chain c;

		if (!m->job.busy) {
			enum vq_result r = vq_pop(q, &c);

			if (r != VQ_CHAIN)
				return r == VQ_BAD ? TURN_BAD : TURN_EMPTY;
			if (request(m, &c) < 0)
				return TURN_BAD;
		}
		if (m->job.busy)
			left -= min_u64(left, job_step(m, left));
	}
	return TURN_MORE;
}

/* --- life --- */

static void vmem_kick(struct vqueue *q)
{
	turn_kick(&vmem_of(q->vdev)->turn);
}

/* What was begun is ended: the driver was promised nothing else. */
static void vmem_stop(struct vqueue *q)
{
	struct vmem *m = vmem_of(q->vdev);

	while (m->job.busy)
		job_step(m, TURN_BYTES);
}

static int judge(const struct vmem *m, uint64_t bytes, struct err *e)
{
	if (bytes % m->block)
		return err_set(e, ERR_BAD,
			       "%" PRIu64 " bytes are no multiple of its blocks of %" PRIu64
			       " MiB: round the size",
			       bytes, m->block >> 20);
	if (bytes > m->blocks * m->block)
		return err_set(e, ERR_BAD,
			       "%" PRIu64 " MiB are more than its hotplug_size of %" PRIu64
			       " MiB: lower the size",
			       bytes >> 20, (m->blocks * m->block) >> 20);
	return 0;
}

static void set_requested(struct vmem *m, uint64_t bytes)
{
	uint8_t b[8];

	__atomic_store_n(&m->s.requested, bytes, __ATOMIC_RELAXED);
	counter_set(&m->n.requested_bytes, bytes);
	le64_put(b, bytes);
	vdev_config_put(&m->v, CONFIG_REQUESTED, b, sizeof(b));
}

int vmem_resize(struct dev *d, uint64_t bytes, struct err *e)
{
	struct vmem *m = vmem_of_dev(d);

	if (judge(m, bytes, e) < 0)
		return err_in(e, "memory %s", d->id);
	set_requested(m, bytes);
	vdev_config_changed(&m->v);
	return 0;
}

uint64_t vmem_plugged(const struct dev *d)
{
	return counter_get(&vmem_of_dev(d)->n.plugged_bytes);
}

static int find_region(struct vmem *m, uint64_t base, struct err *e)
{
	const struct gmem *mem = m->v.dev.board->mem;

	for (unsigned int i = 0; i < gmem_regions(mem); i++) {
		const struct gmem_region *r = gmem_region(mem, i);

		if (r->base.v != base || !r->block)
			continue;
		m->base = base;
		m->block = r->block;
		m->blocks = r->size / r->block;
		return 0;
	}
	return err_set(e, ERR_BAD, "there is no memory to plug at 0x%" PRIx64, base);
}

/* What a saved machine had plugged. */
static int plug_saved(struct vmem *m, struct err *e)
{
	uint64_t words = BITMAP_WORDS(m->blocks), at = 0;

	if (m->s.plugged.count != words ||
	    (m->blocks % 64 && m->s.plugged.items[words - 1] >> m->blocks % 64))
		return err_set(e, ERR_BAD, "the saved memory has other blocks than %" PRIu64,
			       m->blocks);
	while ((at = run_end(m, at, m->blocks, false)) < m->blocks) {
		uint64_t end = run_end(m, at, m->blocks, true);

		if (plug(m, at, end, e) < 0)
			return -1;
		at = end;
	}
	return judge(m, m->s.requested, e);
}

static int make_blocks(struct vmem *m, const struct vmem_conf *c, struct err *e)
{
	if (m->v.dev.restored)
		return plug_saved(m, e);
	m->s.requested = c->requested;
	m->s.plugged.count = (uint32_t)BITMAP_WORDS(m->blocks);
	m->s.plugged.items = mem_array(m->s.plugged.count, sizeof(m->s.plugged.items[0]));
	return judge(m, c->requested, e);
}

static void make_config(struct vmem *m, const struct vmem_conf *c)
{
	uint8_t *b = m->v.config;

	le64_put(b + CONFIG_BLOCK, m->block);
	le16_put(b + CONFIG_NODE, (uint16_t)c->node);
	le64_put(b + CONFIG_ADDR, m->base);
	le64_put(b + CONFIG_REGION, m->blocks * m->block);
	le64_put(b + CONFIG_USABLE, m->blocks * m->block);
	m->v.config_len = CONFIG_LEN;
	counter_set(&m->n.region_bytes, m->blocks * m->block);
	set_requested(m, m->s.requested);
}

static int vmem_init(struct dev *d, struct err *e)
{
	const struct vmem_conf *c = d->conf;
	struct vmem *m = vmem_of_dev(d);

	if (find_region(m, c->base, e) < 0 || make_blocks(m, c, e) < 0)
		return -1;
	make_config(m, c);
	m->v.offered = VF_INDIRECT_DESC | VF_EVENT_IDX | F_UNPLUGGED_INACCESSIBLE |
		       F_PERSISTENT_SUSPEND | (c->has_node ? F_ACPI_PXM : 0);
	if (vdev_queues(&m->v, 1, QUEUE_SIZE, e) < 0)
		return -1;
	m->v.queues[0].loop = d->board->io;
	m->turn = (struct turn){ .q = &m->v.queues[0], .serve = vmem_serve };
	return 0;
}

static void vmem_fini(struct dev *d)
{
	struct vmem *m = vmem_of_dev(d);

	turn_fini(&m->turn);
	vdev_fini(&m->v);
}

static const struct field state_fields[] = {
	S(struct vmem_state, requested),
	S_LIST_NUM(struct vmem_state, plugged, .max_items = UINT32_MAX),
};
static const struct desc state_desc = DESC_OF(struct vmem_state, state_fields, "vmem");

#define COUNTER(member, ...) S(struct vmem_counters, member, __VA_ARGS__)
#define BYTES .unit = "bytes"
static const struct field counter_fields[] = {
	COUNTER(region_bytes, BYTES, .flags = F_GAUGE, .doc = "memory that can be plugged at most"),
	COUNTER(requested_bytes, BYTES, .flags = F_GAUGE,
		.doc = "memory that the guest is asked to plug"),
	COUNTER(plugged_bytes, BYTES, .flags = F_GAUGE, .doc = "memory that it has plugged"),
	COUNTER(plug_ops, .doc = "requests that plugged memory"),
	COUNTER(unplug_ops, .doc = "requests that unplugged memory"),
	COUNTER(refused_ops, .doc = "requests that were refused, or put off"),
	COUNTER(failures, .doc = "times that the host did not give or take memory"),
};
static const struct desc counter_rows =
	DESC_OF(struct vmem_counters, counter_fields, "vmem counters");

const struct virtio_class vmem_class = {
	.dev = {
		.name = "vmem",
		.size = sizeof(struct vmem),
		.state = &state_desc,
		.state_off = offsetof(struct vmem, s),
		.counters = &counter_rows,
		.counters_off = offsetof(struct vmem, n),
		.init = vmem_init,
		.quiesce = vdev_quiesce,
		.resume = vdev_resume,
		.fini = vmem_fini,
		.plug = &vpci_plug,
		.profile = "io",
	},
	.type = 24,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.stop = vmem_stop,
	.kick = vmem_kick,
};
