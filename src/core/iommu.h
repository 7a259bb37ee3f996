/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a virtual IOMMU translates: endpoints (functions that stand behind it), domains that they are
 * attached to, and the mappings of each domain. The guest's driver changes them through dev/iommu,
 * in one thread; devices ask through core/dma, in theirs, under a lock that only readers share.
 *
 * A mapping that a device works with is pinned. What is taken away while pinned is translated no
 * more from that moment, its holders are told (iommu_ep.revoked) to stop and let go, and whoever took
 * it away answers the driver only when nothing is left to settle: once the driver knows that memory
 * is no longer mapped, nothing is written there any more.
 *
 *	endpoint -> domain -> mapping [first, last] -> guest-physical address
 *	         \-> none: all of memory while the IOMMU lets pass, else nothing
 *
 * It knows no device and no ring. virtio 1.3 §5.13.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/desc.h"
#include "base/list.h"
#include "mem/gmem.h"

#define IOMMU_PAGE 4096u /* the smallest; mappings begin and end at multiples of it */
#define IOMMU_MAPS_MAX (1u << 18)

struct iommu;
struct iommu_map;

enum iommu_access { IOMMU_READ = 1, IOMMU_WRITE = 2 };

/* How a change came out. */
enum iommu_result {
	IOMMU_OK,
	IOMMU_NO_SUCH, /* endpoint or domain */
	IOMMU_INVALID, /* against what is there already */
	IOMMU_RANGE,   /* not whole pages, outside the range, or a part of a mapping */
	IOMMU_FULL,
};

/* An access that leads nowhere. */
struct iommu_fault {
	uint32_t endpoint;
	bool attached; /* else it has no domain */
	enum iommu_access access;
	uint64_t addr;
};

/* Who is told. Any thread; both post and return. */
struct iommu_ears {
	void (*fault)(void *arg, const struct iommu_fault *f);
	/* something was let go that iommu_settle may wait for */
	void (*let_go)(void *arg);
	void *arg;
};

/* A function behind the IOMMU; embedded by its plug, zeroed before first use. */
struct iommu_ep {
	struct iommu *iommu;
	struct link link;
	uint32_t id;
	struct iommu_domain *domain;
	_Atomic uint32_t pins;
	/* pins were taken away: post to those who may hold them. Under the IOMMU's lock. NULL: nobody
	 * is left to be told. */
	void (*revoked)(void *arg);
	void *arg;
};

struct iommu_range {
	uint64_t first, last;
};
struct iommu_args {
	uint64_t last;		/* the highest address that can be translated */
	struct iommu_range msi; /* addresses that are no memory but interrupts; never mapped */
};
/* It begins with everything let pass. */
struct iommu *iommu_new(const struct iommu_args *a);
/* Endpoints are gone. */
void iommu_free(struct iommu *m);
/* Before devices work; NULL when it ends. */
void iommu_hear(struct iommu *m, const struct iommu_ears *ears);
const struct iommu_args *iommu_args(const struct iommu *m);

/* Control thread. id, revoked and arg are set. */
void iommu_ep_add(struct iommu *m, struct iommu_ep *ep);
/* Tells it nothing any more. */
void iommu_ep_hush(struct iommu_ep *ep);
/* It holds no pins. */
void iommu_ep_drop(struct iommu_ep *ep);

/* Changes; one thread at a time. Those that take away may leave something to settle. */
bool iommu_has(struct iommu *m, uint32_t endpoint);
enum iommu_result iommu_attach(struct iommu *m, uint32_t endpoint, uint32_t domain, bool passes);
enum iommu_result iommu_detach(struct iommu *m, uint32_t endpoint, uint32_t domain);
enum iommu_result iommu_map(struct iommu *m, uint32_t domain, struct iommu_range r, gpa_t to,
			    uint32_t access);
enum iommu_result iommu_unmap(struct iommu *m, uint32_t domain, struct iommu_range r);
/* Does an endpoint without a domain reach all of memory? */
void iommu_set_pass(struct iommu *m, bool passes);
bool iommu_passes(struct iommu *m);
/* Detaches all of them. */
void iommu_clear(struct iommu *m);
/* Has everything that was taken away been let go? */
bool iommu_settle(struct iommu *m);

/* Numbers of now. */
uint32_t iommu_domains(struct iommu *m);
uint32_t iommu_maps(struct iommu *m);

/* Asking, for core/dma: between enter and leave nothing changes. */
void iommu_enter(struct iommu_ep *ep);
void iommu_leave(struct iommu_ep *ep);
struct iommu_way {
	gpa_t to;
	uint64_t room;	       /* bytes that lie one after another from there */
	struct iommu_map *map; /* NULL: not by a mapping */
};
/* Where an access of the endpoint leads; false: nowhere, and the driver hears of it. */
bool iommu_walk(struct iommu_way *w, struct iommu_ep *ep, uint64_t addr, enum iommu_access access);
/* Still between enter and leave. Unpinning may be done whenever. */
void iommu_pin(struct iommu_ep *ep, struct iommu_map *map);
void iommu_unpin(struct iommu_ep *ep, struct iommu_map *map);
/* Was what this pin holds taken away? */
bool iommu_is_revoked(const struct iommu_ep *ep, const struct iommu_map *map);

/* Saved, when nothing is left to settle. */
struct iommu_map_state {
	uint32_t domain, access;
	uint64_t first, last, to;
};
struct iommu_ep_state {
	uint32_t endpoint, domain, passes;
};
struct iommu_state {
	uint32_t passes, pad;
	LIST(struct iommu_ep_state) endpoints;
	LIST(struct iommu_map_state) maps;
};
/* s holds nothing yet; freed by the table that has it. */
void iommu_save(struct iommu *m, struct iommu_state *s);
/* Endpoints that are not there yet are attached when they come. -1: the state fits together with
 * nothing that can be. */
MUST int iommu_load(struct iommu *m, const struct iommu_state *s, struct err *e);
extern const struct desc iommu_map_state_desc, iommu_ep_state_desc;
