/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-iommu, virtio 1.3 §5.13. Queue 0 brings requests: attach, detach, map, unmap, probe; queue 1
 * takes reports of faults. The tables are core/iommu's, this is the language spoken with the driver.
 * Everything but faults runs in the io loop; a fault is noted in the thread that met it and told
 * from the loop.
 */
#include "dev/viommu.h"

#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/counter.h"
#include "base/log.h"
#include "core/iommu.h"
#include "dev/turn.h"
#include "virtio/vpci.h"

#define F_INPUT_RANGE (1ull << 0)
#define F_MAP_UNMAP (1ull << 2)
#define F_PROBE (1ull << 4)
#define F_BYPASS_CONFIG (1ull << 6)

#define QUEUE_SIZE 256
#define FAULTS 64 /* that wait for buffers of the driver's */
#define PAGES (IOMMU_PAGE | 2u << 20)

/* §5.13.4 */
#define CFG_PAGES 0
#define CFG_INPUT 8
#define CFG_DOMAINS 24
#define CFG_PROBE 32
#define CFG_BYPASS 36
#define CFG_LEN 40

/* §5.13.6 */
enum { T_ATTACH = 1, T_DETACH, T_MAP, T_UNMAP, T_PROBE };
enum { S_OK = 0, S_UNSUPP = 2, S_INVAL = 4, S_RANGE = 5, S_NOENT = 6, S_NOMEM = 8 };
enum { ATTACH_BYPASS = 1 };
#define REQ_MAX 72 /* bytes of the longest request */
#define TAIL 4
#define PROBE_SIZE 64 /* room for properties; one is there */
#define PROP_RESV_MEM 1
#define PROP_RESV_LEN 20 /* behind type and length */
#define RESV_MSI 1
/* §5.13.6.8 */
#define FAULT_LEN 24
enum { FAULT_DOMAIN = 1, FAULT_MAPPING };
enum { FAULT_READ = 1, FAULT_WRITE = 2, FAULT_ADDRESS = 1 << 8 };

struct viommu_counters {
	uint64_t requests, refused_requests, faults, dropped_faults, domains, mappings;
};

struct viommu {
	struct vdev v; /* first member */
	struct iommu *iommu;
	struct iommu_state state; /* saved; gathered when quiet */
	bool waits;		  /* for devices to let go, before this is answered: */
	struct chain chain;
	struct turn turn; /* of the requests */
	struct loop_msg settles, told;
	pthread_mutex_t lock; /* of the faults */
	struct iommu_fault fault[FAULTS];
	uint32_t first_fault, fault_count;
	struct viommu_counters n;
};

static struct viommu *viommu_of(struct vdev *v)
{
	return container_of(v, struct viommu, v);
}

static struct viommu *viommu_of_dev(struct dev *d)
{
	return viommu_of(vdev_of(d));
}

/* --- requests --- */

static uint8_t status_of(enum iommu_result r)
{
	static const uint8_t status[] = {
		[IOMMU_OK] = S_OK,	 [IOMMU_NO_SUCH] = S_NOENT, [IOMMU_INVALID] = S_INVAL,
		[IOMMU_RANGE] = S_RANGE, [IOMMU_FULL] = S_NOMEM,
	};

	return status[r];
}

/* One request without its tail; out has PROBE_SIZE bytes, zeros. */
typedef uint8_t request_fn(struct viommu *m, const uint8_t *req, uint8_t *out);

static uint8_t do_attach(struct viommu *m, const uint8_t *req, uint8_t *out)
{
	uint32_t flags = le32_get(req + 12);

	(void)out;
	if (flags & ~(uint32_t)ATTACH_BYPASS || le32_get(req + 16))
		return S_INVAL;
	return status_of(iommu_attach(m->iommu, le32_get(req + 8), le32_get(req + 4),
				      flags & ATTACH_BYPASS));
}

static uint8_t do_detach(struct viommu *m, const uint8_t *req, uint8_t *out)
{
	(void)out;
	if (le64_get(req + 12))
		return S_INVAL;
	return status_of(iommu_detach(m->iommu, le32_get(req + 8), le32_get(req + 4)));
}

static struct iommu_range range_of(const uint8_t *req)
{
	return (struct iommu_range){ le64_get(req + 8), le64_get(req + 16) };
}

static uint8_t do_map(struct viommu *m, const uint8_t *req, uint8_t *out)
{
	uint32_t flags = le32_get(req + 32);

	(void)out;
	if (flags & ~(uint32_t)(IOMMU_READ | IOMMU_WRITE))
		return S_INVAL;
	return status_of(iommu_map(m->iommu, le32_get(req + 4), range_of(req),
				   GPA(le64_get(req + 24)), flags));
}

static uint8_t do_unmap(struct viommu *m, const uint8_t *req, uint8_t *out)
{
	(void)out;
	return status_of(iommu_unmap(m->iommu, le32_get(req + 4), range_of(req)));
}

static uint8_t do_probe(struct viommu *m, const uint8_t *req, uint8_t *out)
{
	const struct iommu_range *msi = &iommu_args(m->iommu)->msi;

	if (!iommu_has(m->iommu, le32_get(req + 4)))
		return S_NOENT;
	le16_put(out, PROP_RESV_MEM);
	le16_put(out + 2, PROP_RESV_LEN);
	out[4] = RESV_MSI;
	le64_put(out + 8, msi->first);
	le64_put(out + 16, msi->last);
	return S_OK;
}

/* Bytes with the head, without the tail; what the driver gets before the tail. */
static const struct kind {
	request_fn *run;
	uint32_t in, out;
	bool takes_away;
} kinds[] = {
	[T_ATTACH] = { do_attach, 20, 0, true },
	[T_DETACH] = { do_detach, 20, 0, true },
	[T_MAP] = { do_map, 36, 0, false },
	[T_UNMAP] = { do_unmap, 28, 0, true },
	[T_PROBE] = { do_probe, REQ_MAX, PROBE_SIZE, false },
};

static void answer(struct viommu *m, const struct chain *c, uint32_t at, uint8_t status)
{
	const uint8_t tail[TAIL] = { status };

	counter_add(&m->n.requests, 1);
	if (status != S_OK)
		counter_add(&m->n.refused_requests, 1);
	vq_push(&m->v.queues[0].q, c->head, at + (uint32_t)chain_put(c, at, tail, TAIL));
}

/* False: it is answered later. */
static bool serve_one(struct viommu *m, const struct chain *c)
{
	uint8_t req[REQ_MAX] = { 0 }, out[PROBE_SIZE] = { 0 }, status;
	size_t have = chain_get(c, 0, req, sizeof(req));
	const struct kind *k = &kinds[0];

	if (req[0] < ARRAY_LEN(kinds))
		k = &kinds[req[0]];
	if (!k->run)
		status = S_UNSUPP;
	else if (have < k->in || c->wlen < k->out + TAIL)
		status = S_INVAL;
	else
		status = k->run(m, req, out);
	if (status == S_OK && k->takes_away && !iommu_settle(m->iommu)) {
		m->waits = true;
		m->chain = *c;
		return false;
	}
	/* a driver that left no room for properties finds the status where its room begins */
	if (c->wlen < k->out + TAIL)
		answer(m, c, 0, status);
	else
		answer(m, c, (uint32_t)chain_put(c, 0, out, k->out), status);
	return true;
}

/* Nothing new is begun before what was taken away is let go of. */
static enum turn_end serve(struct vdev *v, struct vq *q)
{
	struct viommu *m = viommu_of(v);

	if (!iommu_settle(m->iommu))
		return TURN_LATER;
	if (m->waits)
		answer(m, &m->chain, 0, S_OK);
	m->waits = false;
	for (unsigned int i = 0; i < TURN_CHAINS; i++) {
		struct chain c;

		switch (vq_pop(q, &c)) {
		case VQ_BAD:
			return TURN_BAD;
		case VQ_EMPTY:
			return TURN_EMPTY;
		case VQ_CHAIN:
			break;
		}
		if (!serve_one(m, &c))
			return TURN_LATER;
	}
	return TURN_MORE;
}

/* Settled even while no driver is there: endpoints that held something reach nothing until then. */
static void settle(void *arg)
{
	struct viommu *m = arg;

	if (iommu_settle(m->iommu))
		turn_kick(&m->turn);
}

/* From any thread: something that was taken away is held no more. */
static void let_go(void *arg)
{
	struct viommu *m = arg;

	loop_post(m->v.dev.board->io, &m->settles, settle, m);
}

/* --- faults --- */

static bool fault_take(struct viommu *m, struct iommu_fault *f)
{
	bool there;

	pthread_mutex_lock(&m->lock);
	there = m->fault_count;
	if (there) {
		*f = m->fault[m->first_fault];
		m->first_fault = (m->first_fault + 1) % FAULTS;
		m->fault_count--;
	}
	pthread_mutex_unlock(&m->lock);
	return there;
}

static bool fault_waits(struct viommu *m)
{
	bool waits;

	pthread_mutex_lock(&m->lock);
	waits = m->fault_count;
	pthread_mutex_unlock(&m->lock);
	return waits;
}

static void fault_put(const struct chain *c, const struct iommu_fault *f)
{
	uint8_t b[FAULT_LEN] = { f->attached ? FAULT_MAPPING : FAULT_DOMAIN };

	le32_put(b + 4, FAULT_ADDRESS | (f->access == IOMMU_WRITE ? FAULT_WRITE : FAULT_READ));
	le32_put(b + 8, f->endpoint);
	le64_put(b + 16, f->addr);
	chain_put(c, 0, b, FAULT_LEN);
}

/* One of them, if the driver left a buffer for it; a buffer that is too short goes back empty. */
static enum turn_end tell_one(struct viommu *m, struct vq *q)
{
	struct iommu_fault f;
	struct chain c;
	bool fits;

	switch (vq_pop(q, &c)) {
	case VQ_BAD:
		return TURN_BAD;
	case VQ_EMPTY:
		return vq_listen(q) ? TURN_MORE : TURN_EMPTY;
	case VQ_CHAIN:
		break;
	}
	fits = c.wlen >= FAULT_LEN && fault_take(m, &f);
	if (fits)
		fault_put(&c, &f);
	vq_push(q, c.head, fits ? FAULT_LEN : 0);
	return TURN_MORE;
}

static void tell_faults(void *arg)
{
	struct viommu *m = arg;
	struct vqueue *q = &m->v.queues[1];
	enum turn_end end = TURN_MORE;

	if (!q->running || vdev_is_broken(&m->v))
		return;
	for (unsigned int i = 0; i < TURN_CHAINS && end == TURN_MORE; i++)
		end = fault_waits(m) ? tell_one(m, &q->q) : TURN_EMPTY;
	vqueue_notify(q);
	if (end == TURN_BAD)
		vdev_broken(&m->v, "an event buffer that is none");
	else if (end == TURN_MORE)
		loop_post(q->loop, &m->told, tell_faults, m);
}

/* In the thread of the access. */
static void on_fault(void *arg, const struct iommu_fault *f)
{
	struct viommu *m = arg;

	log_guest("%s: endpoint 0x%" PRIx32 " %s 0x%" PRIx64 ", %s", m->v.dev.id, f->endpoint,
		  f->access == IOMMU_WRITE ? "writes to" : "reads", f->addr,
		  f->attached ? "where nothing is mapped so" : "attached to no domain");
	pthread_mutex_lock(&m->lock);
	counter_add(&m->n.faults, 1);
	if (m->fault_count < FAULTS)
		m->fault[(m->first_fault + m->fault_count++) % FAULTS] = *f;
	else
		counter_add(&m->n.dropped_faults, 1);
	pthread_mutex_unlock(&m->lock);
	loop_post(m->v.dev.board->io, &m->told, tell_faults, m);
}

/* --- the device --- */

static void viommu_kick(struct vqueue *q)
{
	if (q->index)
		tell_faults(viommu_of(q->vdev));
	else
		turn_kick(&viommu_of(q->vdev)->turn);
}

/* A request that waits goes back into the ring: its mappings are out, and asked again it waits for
 * the same. */
static void viommu_stop(struct vqueue *q)
{
	struct viommu *m = viommu_of(q->vdev);

	if (!q->index && m->waits)
		vq_unpop(&q->q, m->chain.head);
	if (!q->index)
		m->waits = false;
}

static void viommu_wrote(struct vdev *v, uint32_t off, uint32_t len)
{
	(void)off;
	(void)len;
	iommu_set_pass(viommu_of(v)->iommu, v->config[CFG_BYPASS] & 1);
}

/* §5.13.5: nobody is attached any more; whether those pass stays as it was. */
static void viommu_reset(struct vdev *v)
{
	struct viommu *m = viommu_of(v);

	iommu_clear(m->iommu);
	pthread_mutex_lock(&m->lock);
	m->fault_count = 0;
	pthread_mutex_unlock(&m->lock);
}

static void config_init(struct viommu *m)
{
	uint8_t *c = m->v.config;

	le64_put(c + CFG_PAGES, PAGES);
	le64_put(c + CFG_INPUT + 8, iommu_args(m->iommu)->last);
	le32_put(c + CFG_DOMAINS + 4, UINT32_MAX);
	le32_put(c + CFG_PROBE, PROBE_SIZE);
	c[CFG_BYPASS] = iommu_passes(m->iommu);
	m->v.config_mask[CFG_BYPASS] = 1;
	m->v.config_len = CFG_LEN;
}

static int viommu_init(struct dev *d, struct err *e)
{
	struct viommu *m = viommu_of_dev(d);
	const struct iommu_ears ears = { .fault = on_fault, .let_go = let_go, .arg = m };

	m->iommu = d->board->iommu;
	if (d->restored && iommu_load(m->iommu, &m->state, e))
		return -1;
	config_init(m);
	m->v.offered = F_MAP_UNMAP | F_PROBE | F_BYPASS_CONFIG | VF_INDIRECT_DESC | VF_EVENT_IDX;
	if (iommu_args(m->iommu)->last != UINT64_MAX)
		m->v.offered |= F_INPUT_RANGE;
	if (vdev_queues(&m->v, 2, QUEUE_SIZE, e))
		return -1;
	m->v.queues[0].loop = m->v.queues[1].loop = d->board->io;
	m->turn = (struct turn){ .q = &m->v.queues[0], .serve = serve };
	pthread_mutex_init(&m->lock, NULL);
	iommu_hear(m->iommu, &ears);
	return 0;
}

static void unpost(void *arg)
{
	struct viommu *m = arg;

	loop_unpost(m->v.dev.board->io, &m->settles);
	loop_unpost(m->v.dev.board->io, &m->told);
}

static void viommu_fini(struct dev *d)
{
	struct viommu *m = viommu_of_dev(d);

	iommu_hear(m->iommu, NULL);
	loop_call(d->board->io, unpost, m);
	turn_fini(&m->turn);
	vdev_fini(&m->v);
	pthread_mutex_destroy(&m->lock);
}

static const struct field state_fields[] = {
	S(struct iommu_state, passes, .max = 1),
	S_PAD(struct iommu_state, pad),
	S_LIST(struct iommu_state, endpoints, &iommu_ep_state_desc),
	S_LIST(struct iommu_state, maps, &iommu_map_state_desc, .max_items = IOMMU_MAPS_MAX),
};
static const struct desc state_desc = DESC_OF(struct iommu_state, state_fields, "iommu_state");

static int viommu_quiesce(struct dev *d, struct err *e)
{
	struct viommu *m = viommu_of_dev(d);

	if (vdev_quiesce(d, e))
		return -1;
	desc_free(&state_desc, &m->state);
	iommu_save(m->iommu, &m->state);
	return 0;
}

static void viommu_count(struct dev *d, void *out)
{
	struct viommu *m = viommu_of_dev(d);

	*(struct viommu_counters *)out = (struct viommu_counters){
		.requests = counter_get(&m->n.requests),
		.refused_requests = counter_get(&m->n.refused_requests),
		.faults = counter_get(&m->n.faults),
		.dropped_faults = counter_get(&m->n.dropped_faults),
		.domains = iommu_domains(m->iommu),
		.mappings = iommu_maps(m->iommu),
	};
}

static const struct field counter_fields[] = {
	S(struct viommu_counters, requests, .doc = "requests of the driver that were answered"),
	S(struct viommu_counters, refused_requests, .doc = "those of them that were refused"),
	S(struct viommu_counters, faults,
	  .doc = "accesses of devices to addresses that lead nowhere"),
	S(struct viommu_counters, dropped_faults,
	  .doc = "those of them that the driver was not told of, for want of buffers"),
	S(struct viommu_counters, domains, .flags = F_GAUGE,
	  .doc = "address spaces that devices are attached to"),
	S(struct viommu_counters, mappings, .flags = F_GAUGE, .doc = "mappings in all of them"),
};
static const struct desc counter_rows =
	DESC_OF(struct viommu_counters, counter_fields, "iommu counters");

const struct virtio_class viommu_class = {
	.dev = {
		.name = "iommu",
		.size = sizeof(struct viommu),
		.state = &state_desc,
		.state_off = offsetof(struct viommu, state),
		.counters = &counter_rows,
		.counters_off = offsetof(struct viommu, n),
		.count = viommu_count,
		.init = viommu_init,
		.quiesce = viommu_quiesce,
		.resume = vdev_resume,
		.fini = viommu_fini,
		.plug = &vpci_plug,
		.profile = "io",
	},
	.type = 23,
	.pci_class = 0xff,
	.pci_subclass = 0xff,
	.stop = viommu_stop,
	.kick = viommu_kick,
	.wrote = viommu_wrote,
	.reset = viommu_reset,
};
