/* SPDX-License-Identifier: Apache-2.0 */
/* See pagemap.h. */
#include "mem/pagemap.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"

#define PAGE KIB(4)
#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define OF_FILE (1ull << 61)

void pagemap_open(struct pagemap *p)
{
	p->fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	p->has = 0;
}

void pagemap_close(struct pagemap *p)
{
	fd_close(&p->fd);
}

void pagemap_forget(struct pagemap *p)
{
	p->has = 0;
}

static bool is_of(uint64_t entry, enum pagemap_kind kind)
{
	if (kind == PAGEMAP_OWN && entry & OF_FILE)
		return false;
	return entry & (PRESENT | SWAPPED);
}

static bool has(const struct pagemap *p, uint64_t page)
{
	return page >= p->at && page - p->at < p->has;
}

/* Asks about this page and those behind it; what cannot be read ends the asking for good. */
static void look(struct pagemap *p, uint64_t page, uint64_t count)
{
	uint64_t size = min_u64(count, PAGEMAP_ENTRIES) * sizeof(p->entry[0]);
	ssize_t n = pread(p->fd, p->entry, size, (off_t)(page * sizeof(p->entry[0])));

	p->at = page;
	p->has = n > 0 ? (uint32_t)n / sizeof(p->entry[0]) : 0;
	if (!p->has)
		fd_close(&p->fd);
}

bool pagemap_is(struct pagemap *p, uintptr_t host, uint64_t size, enum pagemap_kind kind,
		uint64_t *n)
{
	uint64_t page = host / PAGE, end = (host + size) / PAGE, at = page;
	bool is;

	if (p->fd >= 0 && !has(p, page))
		look(p, page, end - page);
	*n = size;
	if (p->fd < 0)
		return true;
	is = is_of(p->entry[page - p->at], kind);
	while (at < end && has(p, at) && is_of(p->entry[at - p->at], kind) == is)
		at++;
	*n = (at - page) * PAGE;
	return is;
}
