/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of guest memory (gmem*.c) share: the map, and the look-up of an address in it. For
 * them only; others include mem/gmem.h. Any thread looks; gmem_map.c alone changes the map.
 */
#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "mem/gmem.h"
#include "mem/source.h"
#include "mem/uffd.h"
#include "mem/views.h"

/* RAM without a seam: adjoining regions that lie side by side in the host too. */
struct run {
	uint64_t base, size;
	unsigned char *host;
	struct backing_span span;
	uint64_t block;	   /* of a part with blocks, which has a run of its own; or 0 */
	uint64_t *plugged; /* a bit for each block, atomic */
	bool is_device;	   /* came by gmem_grow */
};

/* All runs at one time. What is published does not change, and is kept: who found it may look at it
 * as long as he likes. */
struct map {
	struct map *older;
	unsigned int runs;
	struct run run[]; /* sorted by base */
};

struct gmem {
	unsigned int regions, zones;
	struct gmem_region region[GMEM_PARTS_MAX]; /* sorted by base */
	struct backing zone[GMEM_PARTS_MAX];	   /* gmem_add brings one for each region */
	struct map *_Atomic map;
	struct map *old; /* maps that were */
	struct link grown, spare;
	struct work *work;    /* of loading, or NULL */
	struct source source; /* that memory comes from while the guest runs, or fd -1 */
	struct uffd *uffd;    /* who serves it then, or NULL */
	struct views *views;  /* what shows it, or NULL */
	int touched;	      /* the file of what is touched first, or -1 */
	int watch;	      /* tells that it may have been changed, or -1 */
	void (*lost)(void *arg, const char *why);
	void *lost_arg;
};

static inline const struct map *gmem_map(const struct gmem *m)
{
	return atomic_load_explicit(&m->map, memory_order_acquire);
}

/* The run that holds a, or NULL. There are few. */
static inline const struct run *gmem_run_at(const struct gmem *m, gpa_t a)
{
	const struct map *map = gmem_map(m);

	for (unsigned int i = 0; i < map->runs; i++)
		if (a.v >= map->run[i].base && a.v - map->run[i].base < map->run[i].size)
			return &map->run[i];
	return NULL;
}

/* Writes zeros to pages that the host keeps though they were given back. gmem.c's. */
void gmem_wipe(void *host, uint64_t size);
