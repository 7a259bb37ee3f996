/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of where memory lies in a snapshot's file, as foreign JSON, against a small machine: refused
 * with a sentence, or every page of every range is what the file has, in each mode. For the fuzzer and
 * for the unit test of the same.
 */
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/bits.h"
#include "base/json.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "core/snap.h"
#include "mem/gmem.h"
#include "mem/uffd.h"
#include "vm/saved.h"
#include "vm/snapshot.h"

#define MT_PAGE KIB(4)
#define MT_LOW MIB(2)	/* RAM from 0 on, in two zones */
#define MT_HIGH MIB(16) /* and from here on */
#define MT_BYTES MIB(3)

/* 1 for a table that was filled in, 0 for one that was refused; anything that is neither ends us. */
enum { MT_REFUSED, MT_FILLED };

static inline struct gmem *mt_memory(void)
{
	const struct backing_args b = { 0 };
	struct err e = { 0 };
	struct gmem *m;

	if (gmem_new(&m, &e) < 0 || gmem_add(m, GPA(0), MIB(1), &b, &e) < 0 ||
	    gmem_add(m, GPA(MIB(1)), MT_LOW - MIB(1), &b, &e) < 0 ||
	    gmem_add(m, GPA(MT_HIGH), MT_BYTES - MT_LOW, &b, &e) < 0)
		abort();
	return m;
}

/* As long as the table says. Page n begins with n + 1, but each third is a hole. */
static inline int mt_file(uint64_t bytes)
{
	int fd = memfd_create("ranges", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	for (uint64_t n = 0; n < MT_BYTES / MT_PAGE; n++) {
		uint64_t word = n + 1;

		if (n % 3 && pwrite(fd, &word, sizeof(word), (off_t)(n * MT_PAGE)) != sizeof(word))
			abort();
	}
	if (ftruncate(fd, (off_t)bytes) < 0)
		abort();
	return fd;
}

static inline void mt_compare(const struct gmem *m, const struct saved *s)
{
	for (uint32_t i = 0; i < s->machine.ranges.count; i++) {
		const struct saved_range *r = &s->machine.ranges.items[i];

		for (uint64_t at = 0; at < r->size; at += MT_PAGE) {
			uint64_t n = (r->off + at) / MT_PAGE, word;

			if (gmem_read(m, GPA(r->base + at), &word, sizeof(word)) < 0 ||
			    word != (n % 3 ? n + 1 : 0))
				abort();
		}
	}
}

/* Takes root. why: room for the sentence, or NULL. */
static inline int mt_try(struct json *root, enum restore_mode mode, char *why, size_t size)
{
	const struct memory_lost nobody = { 0 };
	struct restore_conf how = { .memory_restore_mode = mode };
	struct snapshot s = { .uffd = -1, .touched = -1, .memory = -1, .how = &how };
	struct err e = { 0 };
	struct gmem *m = NULL;
	int r = MT_REFUSED;

	how.set = 1ull << ROW_restore_memory_restore_mode;
	if (saved_read(&s.saved, root, &e) == 0) {
		s.memory = mt_file(s.saved.bytes);
		m = mt_memory();
		if (snapshot_prepare(&s, -1, &e) == 0 && snapshot_show(&s, m, &nobody, &e) == 0 &&
		    snapshot_fill(&s, m, NULL, &e) == 0)
			r = MT_FILLED;
		if (r == MT_FILLED)
			mt_compare(m, &s.saved);
		gmem_free(m);
		close(s.memory);
		if (s.uffd >= 0)
			close(s.uffd);
		saved_free(&s.saved);
	}
	if (r == MT_REFUSED && !e.count)
		abort(); /* without a word */
	if (why)
		err_line(&e, why, size);
	return r;
}

/* Whether this host lets us serve memory. */
static inline bool mt_may_serve(void)
{
	struct err e = { 0 };
	int fd = uffd_open(&e);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* A saved machine with these ranges and nothing else. */
static inline struct json *mt_root(const struct saved_range *r, uint32_t count)
{
	struct saved_machine s = { .ranges = { .count = count } };
	struct json *root = json_obj();

	s.ranges.items = (struct saved_range *)(uintptr_t)r;
	json_set_int(root, "virga", 1);
	json_set_str(root, "arch", ARCH_NAME);
	json_set(root, "machine", snap_save(&saved_machine_desc, &s));
	json_set(root, "vcpus", json_arr());
	json_set(root, "devices", json_arr());
	return root;
}
