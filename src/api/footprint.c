/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the process by the kernel's own text. See footprint.h.
 */
#include "api/footprint.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"

#define AGAIN_NS 1000000000u
#define TEXT_MAX KIB(16) /* of one read */
#define PAGE KIB(4)
#define LOOK_PAGES 256 /* at a time */
/* A larger mapping is none of ours but a sanitizer's shadow, and would take for ever. */
#define MAPPING_MAX MIB(256)

void footprint_init(struct footprint *f)
{
	*f = (struct footprint){
		.status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC),
		.maps_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC),
	};
}

void footprint_fini(struct footprint *f)
{
	fd_close(&f->status_fd);
	fd_close(&f->maps_fd);
}

/* --- the sums --- */

/* A row "name: <n> kB", in bytes. */
static uint64_t row(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

/* --- our own mappings --- */

struct own {
	uint64_t anonymous, files; /* bytes: in memory; mapped */
};

static bool is_guests(const struct report *r, uintptr_t at)
{
	for (uint32_t i = 0; i < r->spans; i++)
		if (at >= r->span[i].host && at - r->span[i].host < r->span[i].size)
			return true;
	return false;
}

static uint64_t in_memory(uintptr_t from, uintptr_t to)
{
	unsigned char there[LOOK_PAGES];
	uint64_t bytes = 0;

	for (; from < to; from += LOOK_PAGES * PAGE) {
		size_t len = min_u64(LOOK_PAGES * PAGE, to - from);

		/* a thread that ends takes its stack along */
		if (mincore((void *)from, len, there) < 0)
			continue;
		for (size_t i = 0; i < len / PAGE; i++)
			bytes += there[i] & 1 ? PAGE : 0;
	}
	return bytes;
}

/* One line: "from-to rwxp offset device inode path" */
static void look_at_mapping(struct own *o, const struct report *r, const char *line)
{
	char *at;
	uint64_t from = strtoull(line, &at, 16), to = *at == '-' ? strtoull(at + 1, &at, 16) : 0;
	const char *may = at + 1, *device = *at == ' ' ? strchr(may, ' ') : NULL;
	uint64_t inode;

	/* past what it may, past the offset */
	device = device ? strchr(device + 1, ' ') : NULL;
	at = device ? strchr(device + 1, ' ') : NULL;
	if (!at || is_guests(r, from) || may[0] != 'r')
		return;
	inode = strtoull(at, NULL, 10);
	if (inode)
		o->files += to - from;
	else if (may[3] == 'p' && to - from <= MAPPING_MAX)
		o->anonymous += in_memory(from, to);
}

static bool look_at_mappings(struct own *o, int fd, const struct report *r)
{
	char text[TEXT_MAX + 1];
	size_t held = 0;
	off_t at = 0;
	ssize_t n;

	if (fd < 0)
		return false;
	while ((n = pread(fd, text + held, TEXT_MAX - held, at)) > 0) {
		char *line = text, *end;

		at += n;
		held += (size_t)n;
		text[held] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			look_at_mapping(o, r, line);
		}
		held -= (size_t)(line - text);
		memmove(text, line, held);
	}
	return n == 0 && at;
}

void footprint_look(struct footprint *f, const struct report *r)
{
	char text[TEXT_MAX + 1];
	ssize_t n = f->status_fd < 0 ? -1 : pread(f->status_fd, text, TEXT_MAX, 0);
	uint64_t now = loop_now_ns(), files;
	struct own o = { 0 };

	if (n <= 0)
		return;
	text[n] = '\0';
	files = row(text, "RssFile:");
	f->resident = row(text, "VmRSS:") + row(text, "HugetlbPages:");
	f->shared = files + row(text, "RssShmem:");
	if (!r->spans || (f->looked_ns && now - f->looked_ns < AGAIN_NS) ||
	    !look_at_mappings(&o, f->maps_fd, r))
		return;
	f->looked_ns = now;
	f->overhead = o.anonymous + min_u64(files, o.files);
}
