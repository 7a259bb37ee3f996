/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints, domains, mappings. Those of a domain lie in a skip list, sorted and not meeting each
 * other. One read-write lock for all: translating takes it shared, once a chain; changes take it
 * alone and are short. Pins are counted without it. See iommu.h.
 */
#include "core/iommu.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/bits.h"
#include "base/mem.h"

#define LEVELS 12 /* each has a quarter of the one below: enough for IOMMU_MAPS_MAX */

/* Beside the count of pins: taken away, or to be let go. Who drops the last pin of such a one tells,
 * and touches it no more; who took it away frees it when it sees the bit alone. */
#define GONE (1u << 31)

struct iommu_map {
	uint64_t first, last, to;
	uint32_t access;
	_Atomic uint32_t pins;
	struct link gone;
	struct iommu_map *next[]; /* as many as its levels */
};

struct iommu_domain {
	struct link link;
	uint32_t id;
	bool passes;
	uint32_t endpoints; /* attached, and those of a saved state that are still to come */
	uint32_t maps;
	struct iommu_map *head[LEVELS];
};

struct iommu {
	pthread_rwlock_t lock;
	struct iommu_args args;
	bool passes;
	uint32_t maps, domain_count;
	uint32_t dice; /* for the levels */
	struct link endpoints, domains;
	struct link gone; /* mappings taken away while pinned */
	struct iommu_ears ears;
	/* attachments of a saved state, until their endpoints come */
	struct iommu_ep_state *promised;
	uint32_t promises;
};

struct iommu *iommu_new(const struct iommu_args *a)
{
	struct iommu *m = NEW(struct iommu);
	pthread_rwlockattr_t how;

	/* or queues that are never at rest would keep the driver waiting */
	pthread_rwlockattr_init(&how);
	pthread_rwlockattr_setkind_np(&how, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&m->lock, &how);
	pthread_rwlockattr_destroy(&how);
	m->args = *a;
	m->passes = true;
	m->dice = 0x9e3779b9;
	list_init(&m->endpoints);
	list_init(&m->domains);
	list_init(&m->gone);
	return m;
}

static void lock(struct iommu *m)
{
	pthread_rwlock_wrlock(&m->lock);
}

static void unlock(struct iommu *m)
{
	pthread_rwlock_unlock(&m->lock);
}

void iommu_hear(struct iommu *m, const struct iommu_ears *ears)
{
	lock(m);
	m->ears = ears ? *ears : (struct iommu_ears){ 0 };
	unlock(m);
}

const struct iommu_args *iommu_args(const struct iommu *m)
{
	return &m->args;
}

/* --- mappings of a domain --- */

/* The first mapping that ends at addr or behind it, or NULL; before[], unless NULL, gets the links
 * that lead there. */
static struct iommu_map *seek(struct iommu_domain *d, uint64_t addr, struct iommu_map ***before)
{
	struct iommu_map **row = d->head;

	for (unsigned int level = LEVELS; level--;) {
		while (row[level] && row[level]->last < addr)
			row = row[level]->next;
		if (before)
			before[level] = &row[level];
	}
	return row[0];
}

static unsigned int throw_levels(struct iommu *m)
{
	m->dice ^= m->dice << 13;
	m->dice ^= m->dice >> 17;
	m->dice ^= m->dice << 5;
	return 1 + (unsigned int)__builtin_ctz(m->dice | 1u << (2 * (LEVELS - 1))) / 2;
}

static void insert(struct iommu *m, struct iommu_domain *d, const struct iommu_map *map)
{
	struct iommu_map **before[LEVELS], *new;
	unsigned int levels = throw_levels(m);

	new = mem_new(sizeof(*new) + levels * sizeof(new->next[0]));
	new->first = map->first;
	new->last = map->last;
	new->to = map->to;
	new->access = map->access;
	seek(d, map->first, before);
	for (unsigned int i = 0; i < levels; i++) {
		new->next[i] = *before[i];
		*before[i] = new;
	}
	d->maps++;
	m->maps++;
}

/* Takes the mapping out; true when somebody works with it. */
static bool take_out(struct iommu *m, struct iommu_domain *d, struct iommu_map *map)
{
	struct iommu_map **before[LEVELS];

	seek(d, map->first, before);
	for (unsigned int i = 0; i < LEVELS && *before[i] == map; i++)
		*before[i] = map->next[i];
	d->maps--;
	m->maps--;
	if (!atomic_fetch_or(&map->pins, GONE)) {
		free(map);
		return false;
	}
	list_add_tail(&m->gone, &map->gone);
	return true;
}

static void tell_revoked(struct iommu_ep *ep)
{
	if (ep->revoked)
		ep->revoked(ep->arg);
}

/* --- domains and endpoints --- */

static struct iommu_domain *domain_find(struct iommu *m, uint32_t id)
{
	list_each (l, &m->domains) {
		struct iommu_domain *d = container_of(l, struct iommu_domain, link);

		if (d->id == id)
			return d;
	}
	return NULL;
}

static struct iommu_domain *domain_new(struct iommu *m, uint32_t id, bool passes)
{
	struct iommu_domain *d = NEW(struct iommu_domain);

	d->id = id;
	d->passes = passes;
	list_add_tail(&m->domains, &d->link);
	m->domain_count++;
	return d;
}

/* One endpoint less; the last takes the domain with it. Whoever worked with its mappings was
 * attached, and is told as that. */
static void domain_leave(struct iommu *m, struct iommu_domain *d)
{
	if (--d->endpoints)
		return;
	while (d->head[0])
		take_out(m, d, d->head[0]);
	list_drop(&d->link);
	m->domain_count--;
	free(d);
}

static struct iommu_ep *ep_find(struct iommu *m, uint32_t id)
{
	list_each (l, &m->endpoints) {
		struct iommu_ep *ep = container_of(l, struct iommu_ep, link);

		if (ep->id == id)
			return ep;
	}
	return NULL;
}

/* What it reached it reaches no more. */
static void ep_revoke(struct iommu_ep *ep)
{
	/* one without pins has nothing to let go: the bit goes as it came */
	if (atomic_fetch_or(&ep->pins, GONE))
		tell_revoked(ep);
	else
		atomic_fetch_and(&ep->pins, ~GONE);
}

static void ep_leave(struct iommu *m, struct iommu_ep *ep)
{
	struct iommu_domain *d = ep->domain;

	ep_revoke(ep);
	ep->domain = NULL;
	domain_leave(m, d);
}

void iommu_ep_add(struct iommu *m, struct iommu_ep *ep)
{
	ep->iommu = m;
	lock(m);
	list_add_tail(&m->endpoints, &ep->link);
	for (uint32_t i = 0; i < m->promises; i++) {
		if (m->promised[i].endpoint != ep->id)
			continue;
		ep->domain = domain_find(m, m->promised[i].domain);
		m->promised[i] = m->promised[--m->promises];
		break;
	}
	unlock(m);
}

void iommu_ep_hush(struct iommu_ep *ep)
{
	lock(ep->iommu);
	ep->revoked = NULL;
	unlock(ep->iommu);
}

void iommu_ep_drop(struct iommu_ep *ep)
{
	struct iommu *m = ep->iommu;

	lock(m);
	if (ep->domain)
		ep_leave(m, ep);
	list_drop(&ep->link);
	unlock(m);
}

bool iommu_has(struct iommu *m, uint32_t endpoint)
{
	bool has;

	lock(m);
	has = ep_find(m, endpoint);
	unlock(m);
	return has;
}

/* --- changes --- */

static enum iommu_result attach(struct iommu *m, uint32_t endpoint, uint32_t domain, bool passes)
{
	struct iommu_ep *ep = ep_find(m, endpoint);
	struct iommu_domain *d = domain_find(m, domain);

	if (!ep)
		return IOMMU_NO_SUCH;
	if (d && d->passes != passes)
		return IOMMU_INVALID;
	if (d && ep->domain == d)
		return IOMMU_OK;
	if (!d)
		d = domain_new(m, domain, passes);
	d->endpoints++;
	if (ep->domain)
		ep_leave(m, ep);
	else
		ep_revoke(ep);
	ep->domain = d;
	return IOMMU_OK;
}

enum iommu_result iommu_attach(struct iommu *m, uint32_t endpoint, uint32_t domain, bool passes)
{
	enum iommu_result r;

	lock(m);
	r = attach(m, endpoint, domain, passes);
	unlock(m);
	return r;
}

enum iommu_result iommu_detach(struct iommu *m, uint32_t endpoint, uint32_t domain)
{
	enum iommu_result r = IOMMU_OK;
	struct iommu_ep *ep;

	lock(m);
	ep = ep_find(m, endpoint);
	if (!ep)
		r = IOMMU_NO_SUCH;
	else if (!ep->domain || ep->domain->id != domain)
		r = IOMMU_INVALID;
	else
		ep_leave(m, ep);
	unlock(m);
	return r;
}

static enum iommu_result map_check(struct iommu *m, struct iommu_domain *d,
				   const struct iommu_map *map)
{
	const struct iommu_map *near;
	uint64_t end;

	if (!d)
		return IOMMU_NO_SUCH;
	if (map->first > map->last || (map->first | map->to | (map->last + 1)) % IOMMU_PAGE ||
	    map->last > m->args.last)
		return IOMMU_RANGE;
	if (d->passes || !map->access ||
	    (map->first <= m->args.msi.last && map->last >= m->args.msi.first) ||
	    add_overflows(&end, map->to, map->last - map->first))
		return IOMMU_INVALID;
	near = seek(d, map->first, NULL);
	if (near && near->first <= map->last)
		return IOMMU_INVALID;
	return m->maps < IOMMU_MAPS_MAX ? IOMMU_OK : IOMMU_FULL;
}

enum iommu_result iommu_map(struct iommu *m, uint32_t domain, struct iommu_range r, gpa_t to,
			    uint32_t access)
{
	const struct iommu_map map = {
		.first = r.first, .last = r.last, .to = to.v, .access = access
	};
	struct iommu_domain *d;
	enum iommu_result result;

	lock(m);
	d = domain_find(m, domain);
	result = map_check(m, d, &map);
	if (result == IOMMU_OK)
		insert(m, d, &map);
	unlock(m);
	return result;
}

/* All or nothing: a range that would cut a mapping takes none away. */
static enum iommu_result unmap(struct iommu *m, struct iommu_domain *d, struct iommu_range r)
{
	struct iommu_map *map = seek(d, r.first, NULL);
	bool pinned = false;

	if (map && map->first < r.first)
		return IOMMU_RANGE;
	map = seek(d, r.last, NULL);
	if (map && map->first <= r.last && map->last > r.last)
		return IOMMU_RANGE;
	while ((map = seek(d, r.first, NULL)) && map->first <= r.last)
		pinned |= take_out(m, d, map);
	list_each (l, &m->endpoints) {
		struct iommu_ep *ep = container_of(l, struct iommu_ep, link);

		if (pinned && ep->domain == d)
			tell_revoked(ep);
	}
	return IOMMU_OK;
}

enum iommu_result iommu_unmap(struct iommu *m, uint32_t domain, struct iommu_range r)
{
	struct iommu_domain *d;
	enum iommu_result result;

	lock(m);
	d = domain_find(m, domain);
	if (!d)
		result = IOMMU_NO_SUCH;
	else if (d->passes)
		result = IOMMU_INVALID;
	else
		result = r.first > r.last ? IOMMU_RANGE : unmap(m, d, r);
	unlock(m);
	return result;
}

void iommu_set_pass(struct iommu *m, bool passes)
{
	lock(m);
	m->passes = passes;
	list_each (l, &m->endpoints) {
		struct iommu_ep *ep = container_of(l, struct iommu_ep, link);

		if (!passes && !ep->domain)
			ep_revoke(ep);
	}
	unlock(m);
}

bool iommu_passes(struct iommu *m)
{
	bool passes;

	lock(m);
	passes = m->passes;
	unlock(m);
	return passes;
}

void iommu_clear(struct iommu *m)
{
	lock(m);
	list_each (l, &m->endpoints) {
		struct iommu_ep *ep = container_of(l, struct iommu_ep, link);

		if (ep->domain)
			ep_leave(m, ep);
	}
	/* those that a saved state promised and that never came */
	for (; m->promises; m->promises--)
		domain_leave(m, domain_find(m, m->promised[m->promises - 1].domain));
	unlock(m);
}

bool iommu_settle(struct iommu *m)
{
	bool settled;

	lock(m);
	list_each (l, &m->gone) {
		struct iommu_map *map = container_of(l, struct iommu_map, gone);

		if (map->pins != GONE)
			continue;
		list_drop(&map->gone);
		free(map);
	}
	settled = list_empty(&m->gone);
	list_each (l, &m->endpoints) {
		struct iommu_ep *ep = container_of(l, struct iommu_ep, link);
		uint32_t let_go = GONE;

		atomic_compare_exchange_strong(&ep->pins, &let_go, 0);
		settled &= !(ep->pins & GONE);
	}
	unlock(m);
	return settled;
}

void iommu_free(struct iommu *m)
{
	if (!m)
		return;
	iommu_clear(m);
	iommu_settle(m);
	free(m->promised);
	pthread_rwlock_destroy(&m->lock);
	free(m);
}

static uint32_t read_count(struct iommu *m, const uint32_t *at)
{
	uint32_t n;

	pthread_rwlock_rdlock(&m->lock);
	n = *at;
	unlock(m);
	return n;
}

uint32_t iommu_domains(struct iommu *m)
{
	return read_count(m, &m->domain_count);
}

uint32_t iommu_maps(struct iommu *m)
{
	return read_count(m, &m->maps);
}

/* --- asking --- */

void iommu_enter(struct iommu_ep *ep)
{
	pthread_rwlock_rdlock(&ep->iommu->lock);
}

void iommu_leave(struct iommu_ep *ep)
{
	pthread_rwlock_unlock(&ep->iommu->lock);
}

static bool nowhere(struct iommu_ep *ep, uint64_t addr, enum iommu_access access)
{
	const struct iommu_ears *ears = &ep->iommu->ears;
	const struct iommu_fault f = { ep->id, ep->domain, access, addr };

	if (ears->fault)
		ears->fault(ears->arg, &f);
	return false;
}

bool iommu_walk(struct iommu_way *w, struct iommu_ep *ep, uint64_t addr, enum iommu_access access)
{
	struct iommu_domain *d = ep->domain;
	struct iommu_map *map;

	if (atomic_load_explicit(&ep->pins, memory_order_relaxed) & GONE)
		return nowhere(ep, addr, access);
	if (d ? d->passes : ep->iommu->passes) {
		*w = (struct iommu_way){ .to = GPA(addr), .room = addr ? -addr : UINT64_MAX };
		return true;
	}
	map = d ? seek(d, addr, NULL) : NULL;
	if (!map || map->first > addr || !(map->access & access))
		return nowhere(ep, addr, access);
	/* a mapping of everything has one byte more than a number can say */
	*w = (struct iommu_way){
		.to = GPA(map->to + (addr - map->first)),
		.room = map->last - addr == UINT64_MAX ? UINT64_MAX : map->last - addr + 1,
		.map = map,
	};
	return true;
}

void iommu_pin(struct iommu_ep *ep, struct iommu_map *map)
{
	atomic_fetch_add_explicit(&ep->pins, 1, memory_order_relaxed);
	if (map)
		atomic_fetch_add_explicit(&map->pins, 1, memory_order_relaxed);
}

/* What was written by the pin comes before its end. */
void iommu_unpin(struct iommu_ep *ep, struct iommu_map *map)
{
	struct iommu *m = ep->iommu;
	bool last = map && atomic_fetch_sub(&map->pins, 1) == (GONE | 1);

	last |= atomic_fetch_sub(&ep->pins, 1) == (GONE | 1);
	if (last && m->ears.let_go)
		m->ears.let_go(m->ears.arg);
}

bool iommu_is_revoked(const struct iommu_ep *ep, const struct iommu_map *map)
{
	return ep->pins & GONE || (map && map->pins & GONE);
}

/* --- saved state --- */

void iommu_save(struct iommu *m, struct iommu_state *s)
{
	uint32_t eps = m->promises;

	lock(m);
	s->passes = m->passes;
	list_each (l, &m->endpoints)
		eps += container_of(l, struct iommu_ep, link)->domain != NULL;
	s->endpoints.items = mem_array(eps, sizeof(s->endpoints.items[0]));
	s->maps.items = mem_array(m->maps, sizeof(s->maps.items[0]));
	list_each (l, &m->endpoints) {
		const struct iommu_ep *ep = container_of(l, struct iommu_ep, link);

		if (ep->domain)
			s->endpoints.items[s->endpoints.count++] =
				(struct iommu_ep_state){ ep->id, ep->domain->id,
							 ep->domain->passes };
	}
	for (uint32_t i = 0; i < m->promises; i++)
		s->endpoints.items[s->endpoints.count++] = m->promised[i];
	list_each (l, &m->domains) {
		const struct iommu_domain *d = container_of(l, struct iommu_domain, link);

		for (const struct iommu_map *map = d->head[0]; map; map = map->next[0])
			s->maps.items[s->maps.count++] =
				(struct iommu_map_state){ d->id, map->access, map->first, map->last,
							  map->to };
	}
	unlock(m);
}

static bool promise(struct iommu *m, const struct iommu_ep_state *s)
{
	struct iommu_domain *d = domain_find(m, s->domain);

	for (uint32_t i = 0; i < m->promises; i++)
		if (m->promised[i].endpoint == s->endpoint)
			return false;
	if (d && d->passes != (s->passes != 0))
		return false;
	if (!d)
		d = domain_new(m, s->domain, s->passes);
	d->endpoints++;
	m->promised[m->promises++] = *s;
	return true;
}

int iommu_load(struct iommu *m, const struct iommu_state *s, struct err *e)
{
	bool fits = true;

	lock(m);
	m->passes = s->passes;
	m->promised = mem_array(s->endpoints.count, sizeof(m->promised[0]));
	for (uint32_t i = 0; i < s->endpoints.count; i++)
		fits &= promise(m, &s->endpoints.items[i]);
	unlock(m);
	for (uint32_t i = 0; fits && i < s->maps.count; i++) {
		const struct iommu_map_state *map = &s->maps.items[i];

		fits = iommu_map(m, map->domain, (struct iommu_range){ map->first, map->last },
				 GPA(map->to), map->access) == IOMMU_OK;
	}
	if (fits)
		return 0;
	iommu_clear(m);
	return err_set(e, ERR_BAD, "the saved mappings do not fit together");
}

static const struct field ep_fields[] = {
	S(struct iommu_ep_state, endpoint),
	S(struct iommu_ep_state, domain),
	S(struct iommu_ep_state, passes, .max = 1),
};
const struct desc iommu_ep_state_desc = DESC_OF(struct iommu_ep_state, ep_fields, "iommu_ep");

static const struct field map_fields[] = {
	S(struct iommu_map_state, domain),
	S(struct iommu_map_state, access, .max = IOMMU_READ | IOMMU_WRITE),
	S(struct iommu_map_state, first),
	S(struct iommu_map_state, last),
	S(struct iommu_map_state, to),
};
const struct desc iommu_map_state_desc = DESC_OF(struct iommu_map_state, map_fields, "iommu_map");
