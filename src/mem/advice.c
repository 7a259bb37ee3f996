/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wishes for pages, and the notes of those that last. The kernel is told where; nothing here looks
 * into the memory. See advice.h.
 */
#include "mem/advice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/bits.h"
#include "base/mem.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { MERGE_MAY = 1, MERGE_MUST_NOT };

/* --- the kernel --- */

static int set_name(void *host, uint64_t size, uint64_t name)
{
	char text[40] = BACKING_NAME;

	if (name)
		snprintf(text, sizeof(text), "pvmemcontrol-%" PRIu64, name);
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, host, size, text);
}

static int tell_kernel(void *host, uint64_t size, enum advice what, uint64_t arg)
{
	switch (what) {
	case ADVICE_PAGEOUT:
		return madvise(host, size, MADV_PAGEOUT);
	case ADVICE_LOCK:
		return mlock2(host, size, MLOCK_ONFAULT);
	case ADVICE_UNLOCK:
		return munlock(host, size);
	case ADVICE_MERGE:
		return madvise(host, size, MADV_MERGEABLE);
	case ADVICE_UNMERGE:
		return madvise(host, size, MADV_UNMERGEABLE);
	case ADVICE_NAME:
		return set_name(host, size, arg);
	}
	errno = EINVAL;
	return -1;
}

/* Of what is RAM in [a, a+len); the first failure ends it. */
static int tell_regions(const struct gmem *m, gpa_t a, uint64_t len, enum advice what, uint64_t arg)
{
	for (unsigned int i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = gmem_region(m, i);
		uint64_t from = max_u64(a.v, r->base.v);
		uint64_t to = min_u64(a.v + len, r->base.v + r->size);

		if (from < to &&
		    tell_kernel((void *)(r->host + (from - r->base.v)), to - from, what, arg) < 0)
			return errno;
	}
	return 0;
}

bool advice_fits(const struct gmem *m, gpa_t a, uint64_t len)
{
	uint64_t sum = 0;

	if (!gmem_ok(m, a, len))
		return false;
	for (unsigned int i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = gmem_region(m, i);
		uint64_t from = max_u64(a.v, r->base.v);
		uint64_t to = min_u64(a.v + len, r->base.v + r->size);

		if (from >= to)
			continue;
		if (from % r->page || to % r->page)
			return false;
		sum += to - from;
	}
	return sum == len;
}

/* --- marks --- */

/* The first that begins at or behind an address. */
static uint32_t mark_at(const struct advice_marks *s, uint64_t at)
{
	uint32_t i = 0;

	while (i < s->marks.count && s->marks.items[i].from < at)
		i++;
	return i;
}

static bool begins_at(const struct advice_marks *s, uint64_t at)
{
	uint32_t i = mark_at(s, at);

	return i < s->marks.count && s->marks.items[i].from == at;
}

/* Makes one begin there, like what is before it. */
static uint32_t cut_at(struct advice_marks *s, uint64_t at)
{
	uint32_t i = mark_at(s, at), n = s->marks.count;
	struct advice_mark *items, new = { 0 };

	if (begins_at(s, at))
		return i;
	if (i)
		new = s->marks.items[i - 1];
	new.from = at;
	items = s->marks.items = mem_resize(s->marks.items, n, n + 1, sizeof(items[0]));
	memmove(&items[i + 1], &items[i], (n - i) * sizeof(items[0]));
	items[i] = new;
	s->marks.count = n + 1;
	return i;
}

static bool is_like(const struct advice_mark *a, const struct advice_mark *b)
{
	return a->name == b->name && a->locked == b->locked && a->merge == b->merge;
}

/* Those that are like what is before them go. */
static void join(struct advice_marks *s)
{
	struct advice_mark *items = s->marks.items, last = { 0 };
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->marks.count; i++) {
		if (is_like(&items[i], &last))
			continue;
		last = items[i];
		items[n++] = last;
	}
	s->marks.count = n;
}

static void note(struct advice_marks *s, uint64_t from, uint64_t to, enum advice what, uint64_t arg)
{
	uint32_t first = cut_at(s, from), end = cut_at(s, to);

	for (struct advice_mark *k = s->marks.items + first; k < s->marks.items + end; k++) {
		if (what == ADVICE_NAME)
			k->name = arg;
		else if (what == ADVICE_MERGE || what == ADVICE_UNMERGE)
			k->merge = what == ADVICE_MERGE ? MERGE_MAY : MERGE_MUST_NOT;
		else
			k->locked = what == ADVICE_LOCK;
	}
	join(s);
}

/* Where there is hardly any left it is tried out: what is set may also make marks fewer. */
static bool has_room(const struct advice_marks *s, uint64_t from, uint64_t to, enum advice what,
		     uint64_t arg)
{
	struct advice_marks trial;
	bool fits;

	if (s->marks.count + 2 <= ADVICE_MARKS_MAX)
		return true;
	desc_copy(&advice_desc, &trial, s);
	note(&trial, from, to, what, arg);
	fits = trial.marks.count <= ADVICE_MARKS_MAX;
	desc_free(&advice_desc, &trial);
	return fits;
}

int advice_give(struct advice_marks *s, const struct gmem *m, gpa_t a, uint64_t len,
		enum advice what, uint64_t arg)
{
	int r;

	if (!advice_fits(m, a, len))
		return EINVAL;
	if (what == ADVICE_PAGEOUT)
		return tell_regions(m, a, len, what, arg);
	if (!has_room(s, a.v, a.v + len, what, arg))
		return ENOMEM;
	r = tell_regions(m, a, len, what, arg);
	if (r && what == ADVICE_LOCK) {
		what = ADVICE_UNLOCK;
		tell_regions(m, a, len, what, 0);
	}
	/* what was done before the kernel gave up has split mappings, too */
	if (r != EINVAL)
		note(s, a.v, a.v + len, what, arg);
	return r;
}

bool advice_sound(const struct advice_marks *s)
{
	uint64_t last = 0;

	if (s->marks.count > ADVICE_MARKS_MAX)
		return false;
	for (uint32_t i = 0; i < s->marks.count; i++) {
		const struct advice_mark *k = &s->marks.items[i];

		if (k->from % KIB(4) || (i && k->from <= last))
			return false;
		last = k->from;
	}
	return true;
}

unsigned int advice_again(const struct advice_marks *s, const struct gmem *m, gpa_t a, uint64_t len)
{
	unsigned int failed = 0;

	for (uint32_t i = 0; i < s->marks.count; i++) {
		const struct advice_mark *k = &s->marks.items[i];
		uint64_t end = i + 1 < s->marks.count ? k[1].from : gmem_end(m);
		gpa_t from = GPA(max_u64(k->from, a.v));
		enum advice merge = k->merge == MERGE_MAY ? ADVICE_MERGE : ADVICE_UNMERGE;

		end = min_u64(end, a.v + len);
		if (from.v >= end)
			continue;
		if (k->name)
			failed += tell_regions(m, from, end - from.v, ADVICE_NAME, k->name) != 0;
		if (k->merge)
			failed += tell_regions(m, from, end - from.v, merge, 0) != 0;
		if (k->locked)
			failed += tell_regions(m, from, end - from.v, ADVICE_LOCK, 0) != 0;
	}
	return failed;
}

static const struct field mark_fields[] = {
	S(struct advice_mark, from),
	S(struct advice_mark, name),
	S(struct advice_mark, locked, .max = 1),
	S(struct advice_mark, merge, .max = MERGE_MUST_NOT),
};
static const struct desc mark_desc = DESC_OF(struct advice_mark, mark_fields, "mark");

static const struct field fields[] = { S_LIST(struct advice_marks, marks, &mark_desc) };
const struct desc advice_desc = DESC_OF(struct advice_marks, fields, "advice");
