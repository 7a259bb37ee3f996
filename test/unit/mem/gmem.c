/* SPDX-License-Identifier: Apache-2.0 */
/* The door into guest memory refuses what is not RAM, for every border of every region. */
#include "mem/gmem.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "mem/backing.h"
#include "test.h"

/* [0, 8K) and [8K, 16K) adjoin; then a hole; then [1M, 1M+4K). */
static struct gmem *three_pieces(void)
{
	struct err e = { 0 };
	struct backing_args b = { .thp = false };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(KIB(8)), KIB(8), &b, &e), 0);
	assert_int_equal(gmem_add(m, GPA(MIB(1)), KIB(4), &b, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), KIB(8), &b, &e), 0);
	return m;
}

/* What lies in RAM, byte by byte, for the exhaustive comparison. */
static bool is_ram(uint64_t a)
{
	return a < KIB(16) || (a >= MIB(1) && a < MIB(1) + KIB(4));
}

TEST(ok_says_exactly_what_lies_in_ram)
{
	static const uint64_t borders[] = { 0,	    KIB(4),	     KIB(8),	    KIB(16),
					    MIB(1), MIB(1) + KIB(4), UINT64_MAX - 1 };
	struct gmem *m = three_pieces();

	for (size_t i = 0; i < sizeof(borders) / sizeof(borders[0]); i++) {
		for (int d = -3; d <= 3; d++) {
			for (uint64_t len = 1; len <= 6; len++) {
				uint64_t a = borders[i] + (uint64_t)d;
				bool want = true;

				for (uint64_t k = 0; k < len; k++)
					want = want && is_ram(a + k) && a + k >= a;
				assert_int_equal(gmem_ok(m, GPA(a), len), want);
			}
		}
	}
	assert_false(gmem_ok(m, GPA(0), 0));
	assert_true(gmem_ok(m, GPA(0), KIB(16)));
	assert_false(gmem_ok(m, GPA(0), KIB(16) + 1));
	assert_false(gmem_ok(m, GPA(4), UINT64_MAX));
	gmem_free(m);
}

TEST(copies_span_adjoining_regions)
{
	struct gmem *m = three_pieces();
	uint8_t in[64], out[64] = { 0 };

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i + 1);
	assert_int_equal(gmem_write(m, GPA(KIB(8) - 30), in, sizeof(in)), 0);
	assert_int_equal(gmem_read(m, GPA(KIB(8) - 30), out, sizeof(out)), 0);
	assert_memory_equal(in, out, sizeof(in));
	gmem_free(m);
}

TEST(a_copy_that_leaves_ram_writes_nothing)
{
	struct gmem *m = three_pieces();
	uint8_t b[16] = { [0 ... 15] = 0xee }, back[8];

	assert_int_equal(gmem_write(m, GPA(KIB(16) - 8), b, sizeof(b)), -1);
	assert_int_equal(gmem_read(m, GPA(KIB(16) - 8), back, 8), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(back[i], 0);
	assert_int_equal(gmem_read(m, GPA(UINT64_MAX - 3), b, 8), -1);
	gmem_free(m);
}

TEST(regions_do_not_overlap)
{
	struct gmem *m = three_pieces();
	struct backing_args b = { 0 };
	struct err e = { 0 };

	assert_int_equal(gmem_add(m, GPA(KIB(12)), KIB(8), &b, &e), -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	assert_int_equal(gmem_add(m, GPA(UINT64_MAX - 4095), KIB(8), &b, &e), -1);
	assert_int_equal(gmem_add(m, GPA(MIB(2) + 1), KIB(4), &b, &e), -1);
	assert_int_equal(gmem_regions(m), 3);
	assert_int_equal(gmem_total(m), KIB(20));
	gmem_free(m);
}

TEST(a_window_lies_in_one_region_and_is_aligned)
{
	struct gmem *m = three_pieces();
	struct gwin w;

	assert_int_equal(gmem_win(&w, m, GPA(KIB(8) - 16), 16, 16), 0);
	assert_int_equal(gmem_win(&w, m, GPA(KIB(8) - 16), 17, 16), -1);
	assert_int_equal(gmem_win(&w, m, GPA(8), 16, 16), -1);
	assert_int_equal(gmem_win(&w, m, GPA(KIB(20)), 16, 2), -1);
	gmem_free(m);
}

TEST(a_window_never_reaches_past_its_end)
{
	struct gmem *m = three_pieces();
	struct gwin w;
	uint8_t b[4];

	assert_int_equal(gmem_win(&w, m, GPA(0), 8, 2), 0);
	gwin_st16(&w, 6, 0x1234);
	gwin_st16(&w, 8, 0x5678);
	gwin_st32(&w, 6, 0x11111111);
	assert_int_equal(gwin_ld16(&w, 6), 0x1234);
	assert_int_equal(gwin_ld16(&w, 8), 0);
	assert_int_equal(gwin_ld32(&w, SIZE_MAX - 3), 0);
	assert_int_equal(gwin_ld64(&w, 8), 0);
	assert_int_equal(gwin_copy(&w, 5, b, 4), -1);
	assert_int_equal(gwin_copy(&w, 4, b, 4), 0);
	gmem_free(m);
}

TEST(payload_splits_at_region_borders_and_is_bounded)
{
	struct gmem *m = three_pieces();
	struct kiov k[3];
	unsigned int n = 0;

	assert_int_equal(gmem_iov(m, k, &n, 3, GPA(KIB(8) - 4), 8), 0);
	assert_int_equal(n, 2);
	assert_int_equal(kiov_total(k, n), 8);
	assert_int_equal(gmem_iov(m, k, &n, 3, GPA(KIB(8) - 4), 8), -1);
	n = 0;
	assert_int_equal(gmem_iov(m, k, &n, 3, GPA(KIB(16) - 4), 8), -1);
	n = 0;
	assert_int_equal(gmem_iov(m, k, &n, 3, GPA(KIB(64)), 0), 0);
	assert_int_equal(n, 0);
	gmem_free(m);
}

TEST(slices_and_copies_agree_for_every_offset_and_length)
{
	uint8_t buf[24], out[24];
	struct kiov k[3] = { kiov_of(buf, 5), kiov_of(buf + 5, 0), kiov_of(buf + 5, 19) }, s[3];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	for (size_t off = 0; off <= 24; off++) {
		for (size_t len = 0; len <= 26; len++) {
			size_t want = off >= 24 ? 0 : min_u64(len, 24 - off);
			int n = kiov_slice(k, 3, off, len, s, 3);

			assert_int_equal(kiov_get(k, 3, off, out, min_u64(len, 24)),
					 min_u64(want, 24));
			for (size_t i = 0; i < want; i++)
				assert_int_equal(out[i], off + i);
			assert_int_equal(n >= 0, want == len);
			if (n >= 0)
				assert_int_equal(kiov_total(s, (unsigned int)n), len);
		}
	}
}

/* One buffer cut into three pieces in every way, and every part of it: what is copied out, copied in
 * and sliced off (in place too) is what one piece would give, and no byte beside it changes. */
TEST(every_cut_moves_what_one_piece_would)
{
	for (uint32_t n = 0; n < 5 * 5 * 5 * 16 * 16; n++) {
		size_t cut[3] = { n % 5, n / 5 % 5, n / 25 % 5 }, off = n / 125 % 16;
		size_t len = n / 125 / 16, all = cut[0] + cut[1] + cut[2];
		size_t want = off < all ? min_u64(len, all - off) : 0;
		uint8_t buf[16], out[16] = { 0 }, in[16];
		struct kiov k[3];
		int slices;

		for (uint8_t i = 0; i < 16; i++) {
			buf[i] = i;
			in[i] = (uint8_t)(0x80 + i);
		}
		k[0] = kiov_of(buf, cut[0]);
		k[1] = kiov_of(buf + cut[0], cut[1]);
		k[2] = kiov_of(buf + cut[0] + cut[1], cut[2]);
		assert_int_equal(kiov_total(k, 3), all);
		assert_int_equal(kiov_get(k, 3, off, out, len), want);
		for (size_t i = 0; i < 16; i++)
			assert_int_equal(out[i], i < want ? off + i : 0);
		assert_int_equal(kiov_put(k, 3, off, in, len), want);
		for (size_t i = 0; i < 16; i++)
			assert_int_equal(buf[i], i >= off && i < off + want ? 0x80 + i - off : i);
		slices = kiov_slice(k, 3, off, len, k, 3);
		assert_int_equal(slices >= 0, want == len);
		if (slices < 0)
			continue;
		assert_int_equal(kiov_total(k, (unsigned int)slices), len);
		kiov_get(k, (unsigned int)slices, 0, out, len);
		assert_memory_equal(out, in, len);
	}
}

/*
 * Every small memory. Eight places of a page from an odd address on; each place is no RAM, or RAM
 * that begins a zone of its own, or RAM that goes on with the zone before: all 3^8 of them, or those
 * that can be. Each byte of RAM tells its own address. Then every range whose ends are at, or one
 * beside, a border of a page is judged against the model, byte by byte.
 */
#define PLACES 8
#define FIRST (GIB(4) - KIB(4) * 3) /* so that a range crosses 32 bits too */

enum place { NONE, NEW, ON };

struct small {
	enum place place[PLACES];
	struct gmem *m;
	struct gmem_plan plan;
};

static bool small_is_ram(const struct small *s, uint64_t a)
{
	return a >= FIRST && a - FIRST < PLACES * KIB(4) && s->place[(a - FIRST) / KIB(4)];
}

static bool small_all_ram(const struct small *s, uint64_t a, uint64_t len)
{
	/* borders are what matters; between two of them all bytes are alike */
	for (uint64_t at = a; at - a < len; at = align_down(at, KIB(4)) + KIB(4))
		if (at < a || !small_is_ram(s, at))
			return false;
	return len;
}

static bool small_plan(struct small *s, unsigned int n)
{
	const struct backing_args how = { 0 };
	struct gmem_plan *p = &s->plan;
	struct err e = { 0 };
	uint64_t zone[PLACES] = { 0 };

	*p = (struct gmem_plan){ 0 };
	for (unsigned int i = 0; i < PLACES; i++, n /= 3) {
		s->place[i] = n % 3;
		if (s->place[i] == ON && (i == 0 || s->place[i - 1] == NONE))
			return false;
		if (s->place[i] == NEW)
			p->part[p->parts++] =
				(struct gmem_part){ GPA(FIRST + i * KIB(4)), 0, p->zones++, 0 };
		if (s->place[i] == NONE)
			continue;
		p->part[p->parts - 1].size += KIB(4);
		zone[p->zones - 1] += KIB(4);
	}
	for (unsigned int i = 0; i < p->zones; i++)
		assert_int_equal(backing_open(&p->zone[i], zone[i], &how, &e), 0);
	return p->zones;
}

static void small_new(struct small *s)
{
	struct err e = { 0 };

	assert_int_equal(gmem_new(&s->m, &e), 0);
	assert_int_equal(gmem_lay(s->m, &s->plan, &e), 0);
	assert_int_equal(s->plan.zones, 0);
	for (uint64_t i = 0; i < PLACES * KIB(4); i += 2) {
		uint16_t word = (uint16_t)(i * 40503u >> 1);

		assert_int_equal(gmem_write(s->m, GPA(FIRST + i), &word, 2),
				 small_is_ram(s, FIRST + i) ? 0 : -1);
	}
}

static uint8_t small_byte(uint64_t a)
{
	uint16_t word = (uint16_t)((a - FIRST) / 2 * 2 * 40503u >> 1);

	return (uint8_t)((a & 1) ? word >> 8 : word);
}

static void judge_range(const struct small *s, uint64_t a, uint64_t len)
{
	static uint8_t buf[PLACES * KIB(4) + 8];
	bool want = small_all_ram(s, a, len);
	struct kiov k[PLACES];
	unsigned int n = 0;
	struct gwin w;

	assert_int_equal(gmem_ok(s->m, GPA(a), len), want);
	memset(buf, 0xa5, sizeof(buf));
	assert_int_equal(gmem_read(s->m, GPA(a), buf, len), want || !len ? 0 : -1);
	/* both ends of each page are enough */
	for (uint64_t i = 0; i < len; i += i % KIB(4) == 2 && i + 4 < len ? KIB(4) - 4 : 1)
		assert_int_equal(buf[i], want ? small_byte(a + i) : 0xa5);
	/* what adjoins in the guest is one piece in the host, whatever zones it is of */
	assert_int_equal(gmem_iov(s->m, k, &n, PLACES, GPA(a), (uint32_t)len),
			 want || !len ? 0 : -1);
	if (want)
		assert_int_equal(n, 1);
	assert_int_equal(gmem_win(&w, s->m, GPA(a), len, 1), want ? 0 : -1);
	if (want && len >= 2 && a % 2 == 0)
		assert_int_equal(gwin_ld16(&w, 0), small_byte(a) | small_byte(a + 1) << 8);
	if (len)
		assert_true((gmem_run(s->m, GPA(a)) >= len) == want);
}

TEST(every_small_memory_is_what_its_model_says)
{
	static struct small s;
	unsigned int memories = 0;

	for (unsigned int n = 0; n < 6561; n++) { /* 3^8 */
		if (!small_plan(&s, n))
			continue;
		small_new(&s);
		memories++;
		for (unsigned int from = 0; from < 3 * PLACES; from++) {
			for (unsigned int to = from; to < 3 * (PLACES + 1); to++) {
				uint64_t a = FIRST + from / 3 * KIB(4) + from % 3 - 1;
				uint64_t end = FIRST + to / 3 * KIB(4) + to % 3 - 1;

				judge_range(&s, a, end - a);
			}
		}
		gmem_free(s.m);
	}
	assert_int_equal(memories, 1596); /* a Fibonacci number less the one without RAM */
}

TEST(ranges_that_wrap_are_no_ram)
{
	const struct backing_args how = { 0 };
	struct err e = { 0 };
	struct gmem *m;
	uint8_t b[16];

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_end(m), 0);
	assert_int_equal(gmem_run(m, GPA(0)), 0);
	assert_int_equal(gmem_add(m, GPA(0), KIB(8), &how, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0 - KIB(8)), KIB(4), &how, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0 - KIB(4)), KIB(4), &how, &e), -1);
	for (uint64_t a = 0 - KIB(4) - 8; a != 8; a++) {
		for (uint64_t len = 9; len <= 16; len++) {
			bool want = a < 8 || a + len <= 0 - KIB(4);

			if (a + len < a)
				want = false;
			assert_int_equal(gmem_ok(m, GPA(a), len), want);
			assert_int_equal(gmem_read(m, GPA(a), b, len), want ? 0 : -1);
		}
		if (a == 0 - KIB(4) + 8)
			a = 0 - 9ull;
	}
	assert_false(gmem_ok(m, GPA(0 - KIB(8)), UINT64_MAX));
	assert_false(gmem_ok(m, GPA(1), UINT64_MAX));
	gmem_free(m);
}

TEST(a_part_that_meets_another_is_refused)
{
	const struct backing_args how = { 0 };
	struct gmem_plan p = { .zones = 1, .parts = 2 };
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(backing_open(&p.zone[0], KIB(16), &how, &e), 0);
	p.part[0] = (struct gmem_part){ GPA(0), KIB(8), 0, 0 };
	p.part[1] = (struct gmem_part){ GPA(KIB(4)), KIB(8), 0, KIB(8) };
	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_lay(m, &p, &e), -1);
	assert_int_equal(e.kind, ERR_TAKEN);
	assert_int_equal(gmem_regions(m), 0);
	gmem_free(m);
}

/* A file of two pages of 0x11 as RAM at 0 and 1 MiB, between pages that are no file's. */
static struct gmem *with_file(const char *path, bool shared)
{
	const struct backing_args file = { .file = path, .shared = shared }, plain = { 0 };
	struct gmem_plan p = { .zones = 2, .parts = 4 };
	struct err e = { 0 };
	struct gmem *m;

	assert_int_equal(backing_open(&p.zone[0], KIB(8), &file, &e), 0);
	assert_int_equal(backing_open(&p.zone[1], KIB(8), &plain, &e), 0);
	p.part[0] = (struct gmem_part){ GPA(0), KIB(4), 0, 0 };
	p.part[1] = (struct gmem_part){ GPA(KIB(4)), KIB(4), 1, 0 };
	p.part[2] = (struct gmem_part){ GPA(KIB(8)), KIB(4), 1, KIB(4) };
	p.part[3] = (struct gmem_part){ GPA(MIB(1)), KIB(4), 0, KIB(4) };
	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_lay(m, &p, &e), 0);
	return m;
}

static void file_of(char *path, uint8_t byte, size_t len)
{
	uint8_t b[KIB(8)];
	int fd = mkstemp(path);

	memset(b, byte, sizeof(b));
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b, len), len);
	close(fd);
}

TEST(a_file_is_ram_at_its_parts_and_keeps_what_is_shared)
{
	for (int shared = 0; shared < 2; shared++) {
		char path[] = "/tmp/unit-gmem-XXXXXX";
		uint8_t b[2] = { 0 }, in_file[KIB(8)];
		struct gmem *m;
		int fd;

		file_of(path, 0x11, KIB(8));
		m = with_file(path, shared);
		assert_int_equal(gmem_read(m, GPA(KIB(4) - 1), b, 2), 0);
		assert_int_equal(b[0], 0x11);
		assert_int_equal(b[1], 0);
		b[0] = b[1] = 0x22;
		assert_int_equal(gmem_write(m, GPA(KIB(4) - 1), b, 2), 0);
		assert_int_equal(gmem_write(m, GPA(MIB(1)), b, 1), 0);
		assert_int_equal(gmem_region(m, 3)->fd_off, KIB(4));
		gmem_free(m);
		fd = open(path, O_RDONLY);
		assert_int_equal(read(fd, in_file, sizeof(in_file)), sizeof(in_file));
		close(fd);
		unlink(path);
		assert_int_equal(in_file[KIB(4) - 1], shared ? 0x22 : 0x11);
		assert_int_equal(in_file[KIB(4)], shared ? 0x22 : 0x11);
		assert_int_equal(in_file[KIB(4) + 1], 0x11);
	}
}

TEST(clearing_touches_only_what_a_file_holds)
{
	char path[] = "/tmp/unit-gmem-XXXXXX";
	uint8_t b[4] = { 7, 7, 7, 7 };
	struct gmem *m;

	file_of(path, 0x11, KIB(8));
	m = with_file(path, false);
	assert_int_equal(gmem_write(m, GPA(KIB(4)), b, 4), 0);
	assert_int_equal(gmem_clear(m, GPA(KIB(4) - 2), 4), 0);
	assert_int_equal(gmem_read(m, GPA(KIB(4) - 3), b, 4), 0);
	assert_int_equal(b[0], 0x11);
	assert_int_equal(b[1], 0);
	assert_int_equal(b[2], 0);
	assert_int_equal(b[3], 7);
	assert_int_equal(gmem_clear(m, GPA(KIB(12) - 2), 4), -1);
	assert_int_equal(gmem_clear(m, GPA(KIB(64)), 0), 0);
	gmem_free(m);
	unlink(path);
}

TEST(shared_memory_has_a_descriptor)
{
	struct err e = { 0 };
	struct backing_args b = { .shared = true, .prefault = true };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), MIB(4), &b, &e), 0);
	assert_true(gmem_region(m, 0)->fd >= 0);
	assert_null(gmem_region(m, 1));
	gmem_free(m);
}

TEST(huge_pages_that_the_host_has_not_are_refused_at_once)
{
	struct err e = { 0 };
	struct backing_args b = { .hugepages = true };
	struct gmem *m;

	assert_int_equal(gmem_new(&m, &e), 0);
	/* more than any test host keeps in its pool */
	assert_int_equal(gmem_add(m, GPA(0), GIB(4096), &b, &e), -1);
	assert_int_equal(gmem_regions(m), 0);
	gmem_free(m);
}

TEST(loading_tells_its_bytes_and_can_be_broken_off)
{
	int fd = memfd_create("file", 0);
	struct gmem *m = three_pieces();
	struct work w = { 0 };
	struct err e = { 0 };
	uint8_t last = 0;

	assert_int_equal(pwrite(fd, "x", 1, KIB(12) - 1), 1);
	gmem_tell(m, &w);
	assert_int_equal(gmem_load(m, GPA(0), KIB(12), fd, 0, &e), 0);
	assert_int_equal(gmem_read(m, GPA(KIB(12) - 1), &last, 1), 0);
	assert_int_equal(last, 'x');
	assert_int_equal(w.total, KIB(12));
	assert_int_equal(w.done, KIB(12));
	work_stop(&w);
	assert_int_equal(gmem_load(m, GPA(0), KIB(4), fd, 0, &e), -1);
	assert_int_equal(e.kind, ERR_STATE);
	assert_int_equal(w.done, KIB(12));
	gmem_tell(m, NULL);
	assert_int_equal(gmem_load(m, GPA(0), KIB(4), fd, 0, &e), 0);
	gmem_free(m);
	close(fd);
}

/* Every arrangement of zero and other pages in two regions side by side. */
static void all_patterns(const struct backing_args *b)
{
	for (unsigned int bits = 0; bits < 64; bits++) {
		struct err e = { 0 };
		struct gmem *m;
		uint64_t n, seen = 0;
		struct gmem_place where = { 0 };
		gpa_t a = GPA(0);

		assert_int_equal(gmem_new(&m, &e), 0);
		assert_int_equal(gmem_add(m, GPA(0), KIB(12), b, &e), 0);
		assert_int_equal(gmem_add(m, GPA(KIB(12)), KIB(12), b, &e), 0);
		for (unsigned int i = 0; i < 6; i++)
			if (bits & 1u << i)
				assert_int_equal(
					gmem_write(m, GPA(KIB(4) * (i + 1) - 1 - 600 * i), "x", 1),
					0);
		while ((n = gmem_find_data(m, &a, KIB(24) - a.v, KIB(8), &where))) {
			assert_true(n % KIB(4) == 0 && a.v % KIB(4) == 0 && n <= KIB(8));
			for (uint64_t p = a.v; p < a.v + n; p += KIB(4))
				seen |= 1u << p / KIB(4);
			a = gpa_add(a, n);
		}
		assert_int_equal(seen, bits);
		gmem_free(m);
	}
}

TEST(pages_that_are_not_zero_are_found_and_no_others)
{
	all_patterns(&(struct backing_args){ .thp = false });
	all_patterns(&(struct backing_args){ .shared = true });
}

TEST(looking_for_data_makes_no_pages_of_a_shared_memory)
{
	const struct backing_args b = { .shared = true };
	struct err e = { 0 };
	struct gmem *m;
	struct stat st;
	struct gmem_place where = { 0 };
	gpa_t a = GPA(0);

	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_add(m, GPA(0), MIB(64), &b, &e), 0);
	assert_int_equal(gmem_write(m, GPA(MIB(40) + 5), "x", 1), 0);
	assert_int_equal(gmem_find_data(m, &a, MIB(64), MIB(4), &where), KIB(4));
	assert_int_equal(a.v, MIB(40));
	a = gpa_add(a, KIB(4));
	assert_int_equal(gmem_find_data(m, &a, MIB(64) - a.v, MIB(4), &where), 0);
	assert_int_equal(fstat(gmem_region(m, 0)->fd, &st), 0);
	assert_true(st.st_blocks <= 8192); /* one huge page, where the host has them for files */
	gmem_free(m);
}

/* 8 MiB of RAM and behind it, side by side, 8 MiB in blocks of 2 MiB. */
static struct gmem *with_blocks(const struct backing_args *how)
{
	struct backing_args a = *how;
	struct gmem_plan p = {
		.zones = 1,
		.parts = 2,
		.part = { { GPA(0), MIB(8), 0, 0, 0 }, { GPA(MIB(8)), MIB(8), 0, MIB(8), MIB(2) } },
	};
	struct err e = { 0 };
	struct gmem *m;

	a.later = MIB(8);
	assert_int_equal(backing_open(&p.zone[0], MIB(8), &a, &e), 0);
	assert_int_equal(gmem_new(&m, &e), 0);
	assert_int_equal(gmem_lay(m, &p, &e), 0);
	return m;
}

TEST(a_block_is_ram_exactly_while_it_is_plugged)
{
	struct gmem *m = with_blocks(&(struct backing_args){ 0 });
	struct err e = { 0 };

	assert_int_equal(gmem_end(m), MIB(16));
	for (uint32_t bits = 0; bits < 16; bits++) {
		for (uint32_t i = 0; i < 4; i++)
			if (bits >> i & 1)
				assert_int_equal(gmem_plug(m, GPA(MIB(8 + 2 * i)), MIB(2), &e), 0);
		assert_int_equal(gmem_total(m),
				 MIB(8) + MIB(2) * (uint64_t)__builtin_popcount(bits));
		for (uint32_t i = 0; i < 8; i++)
			for (uint32_t n = 1; i + n <= 8; n++) {
				uint32_t need = ((1u << n) - 1) << i, have = bits << 4 | 0xf;
				gpa_t a = GPA(MIB(2) * i);
				uint64_t len = MIB(2) * n;
				struct kiov k[8];
				unsigned int pieces = 0;
				bool is_ram = (need & ~have) == 0;

				assert_int_equal(gmem_ok(m, a, len), is_ram);
				assert_int_equal(gmem_ok(m, gpa_add(a, len - 1), 1),
						 have >> (i + n - 1) & 1);
				assert_int_equal(gmem_iov(m, k, &pieces, 8, a, (uint32_t)len),
						 is_ram ? 0 : -1);
				assert_true(!is_ram || pieces <= 2);
			}
		for (uint32_t i = 0; i < 4; i++)
			if (bits >> i & 1)
				assert_int_equal(gmem_unplug(m, GPA(MIB(8 + 2 * i)), MIB(2), &e),
						 0);
	}
	assert_int_equal(gmem_run(m, GPA(0)), MIB(8));
	gmem_free(m);
}

TEST(rings_and_copies_keep_out_of_what_is_not_plugged)
{
	struct gmem *m = with_blocks(&(struct backing_args){ .shared = true });
	struct err e = { 0 };
	struct gwin w;
	struct gmem_place where = { 0 };
	gpa_t a;

	assert_int_equal(gmem_plug(m, GPA(MIB(10)), MIB(2), &e), 0);
	assert_int_equal(gmem_win(&w, m, GPA(MIB(10)), MIB(2), 16), 0);
	assert_int_equal(gmem_win(&w, m, GPA(MIB(10)), MIB(2) + 16, 16), -1);
	assert_int_equal(gmem_win(&w, m, GPA(MIB(12)), 16, 16), -1);
	assert_int_equal(gmem_write(m, GPA(MIB(12) - 1), "xy", 2), -1);
	assert_int_equal(gmem_write(m, GPA(MIB(12) - 1), "x", 1), 0);
	a = GPA(MIB(8));
	assert_int_equal(gmem_find_data(m, &a, MIB(8), MIB(8), &where), KIB(4));
	assert_int_equal(a.v, MIB(12) - KIB(4));
	assert_int_equal(gmem_unplug(m, GPA(MIB(10)), MIB(2), &e), 0);
	a = GPA(MIB(8));
	assert_int_equal(gmem_find_data(m, &a, MIB(8), MIB(8), &where), 0);
	gmem_free(m);
}

/* Bytes of [a, a+len) of this process that the host holds. */
static size_t resident(uintptr_t host, size_t len)
{
	static unsigned char vec[MIB(8) / KIB(4)];
	size_t n = 0;

	assert_int_equal(mincore((void *)host, len, vec), 0);
	for (size_t i = 0; i < len / KIB(4); i++)
		n += vec[i] & 1;
	return n * KIB(4);
}

/* Fills RAM, gives the middle back, and looks what it is then. */
static void give_back(const struct backing_args *how, char then)
{
	struct gmem *m = with_blocks(how);
	uintptr_t host = gmem_region(m, 0)->host;
	struct err e = { 0 };
	char c;

	for (uint64_t a = 0; a < MIB(8); a += KIB(4))
		assert_int_equal(gmem_write(m, GPA(a), "new", 3), 0);
	assert_int_equal(resident(host, MIB(8)), MIB(8));
	/* whole pages only */
	assert_int_equal(gmem_discard(m, GPA(MIB(1) + 1), MIB(6), &e), 0);
	if (!how->file)
		assert_int_equal(resident(host, MIB(8)), MIB(2) + KIB(4));
	assert_int_equal(gmem_read(m, GPA(MIB(1) + KIB(4)), &c, 1), 0);
	assert_int_equal(c, then);
	assert_int_equal(gmem_read(m, GPA(MIB(1)), &c, 1), 0);
	assert_int_equal(c, 'n');
	assert_int_equal(gmem_discard(m, GPA(MIB(7)), MIB(2), &e), -1);
	gmem_free(m);
}

TEST(what_is_given_back_is_gone_and_new_when_touched)
{
	static const char path[] = "/tmp/virga-gmem-given";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct stat st;

	give_back(&(struct backing_args){ 0 }, 0);
	give_back(&(struct backing_args){ .shared = true }, 0);
	assert_int_equal(ftruncate(fd, MIB(16)), 0);
	give_back(&(struct backing_args){ .file = path, .shared = true }, 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 < MIB(2) + KIB(64));
	assert_int_equal(pwrite(fd, "old", 3, MIB(1) + KIB(4)), 3);
	give_back(&(struct backing_args){ .file = path }, 'o');
	close(fd);
	unlink(path);
}

TEST(a_file_too_short_for_what_comes_later_is_refused)
{
	static const char path[] = "/tmp/virga-gmem-later";
	const struct backing_args a = { .file = path, .later = MIB(2) };
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct backing b;
	struct err e = { 0 };
	char line[256];

	assert_int_equal(ftruncate(fd, MIB(3)), 0);
	assert_int_equal(backing_open(&b, MIB(2), &a, &e), -1);
	assert_non_null(strstr(err_line(&e, line, sizeof(line)), "with its hotplug_size"));
	close(fd);
	unlink(path);
}

/* A memory of a device, filled with one byte. */
static void grow(struct gmem *m, uint64_t base, uint64_t size, uint8_t fill)
{
	AUTO_FREE uint8_t *page = mem_new(KIB(4));
	struct backing_args how = { .shared = true };
	struct gmem_region r;
	struct backing b;
	struct err e = { 0 };

	assert_int_equal(backing_open(&b, size, &how, &e), 0);
	assert_int_equal(gmem_grow(m, GPA(base), &b, &r, &e), 0);
	assert_int_equal(b.fd, -1);
	assert_int_equal(r.base.v, base);
	assert_int_equal(r.size, size);
	assert_true(r.fd >= 0 && r.host);
	memset(page, fill, KIB(4));
	assert_int_equal(gmem_write(m, GPA(base), page, KIB(4)), 0);
}

TEST(memory_of_a_device_is_there_for_accessors_and_no_ram)
{
	struct gmem *m = three_pieces();
	uint8_t byte = 0;

	grow(m, GIB(8), MIB(2), 7);
	assert_int_equal(gmem_regions(m), 3);
	assert_int_equal(gmem_total(m), KIB(20));
	assert_int_equal(gmem_end(m), MIB(1) + KIB(4));
	assert_int_equal(gmem_run(m, GPA(GIB(8))), 0);
	assert_true(gmem_ok(m, GPA(GIB(8)), MIB(2)));
	assert_false(gmem_ok(m, GPA(GIB(8)), MIB(2) + 1));
	assert_int_equal(gmem_read(m, GPA(GIB(8) + 4095), &byte, 1), 0);
	assert_int_equal(byte, 7);
	gmem_shrink(m, GPA(GIB(8)));
	assert_false(gmem_ok(m, GPA(GIB(8)), 1));
	assert_true(gmem_ok(m, GPA(0), KIB(16)));
	gmem_free(m);
}

TEST(memory_of_a_device_meets_nothing_that_is_there)
{
	struct backing_args how = { .shared = true };
	struct gmem *m = three_pieces();
	struct gmem_region r;
	struct backing b;
	struct err e = { 0 };

	grow(m, GIB(8), MIB(2), 1);
	for (int i = 0; i < 3; i++) {
		static const uint64_t at[] = { KIB(8), GIB(8) - MIB(1), 17 };

		assert_int_equal(backing_open(&b, MIB(2), &how, &e), 0);
		assert_int_equal(gmem_grow(m, GPA(at[i]), &b, &r, &e), -1);
		assert_int_equal(b.fd, -1);
	}
	gmem_free(m);
}

TEST(a_window_into_memory_that_has_gone_reaches_nobody)
{
	struct gmem *m = three_pieces();
	struct gwin w;

	grow(m, GIB(8), MIB(2), 7);
	assert_int_equal(gmem_win(&w, m, GPA(GIB(8)), 64, 8), 0);
	assert_int_equal(gwin_ld16(&w, 0), 0x0707);
	gmem_shrink(m, GPA(GIB(8)));
	assert_int_equal(gwin_ld16(&w, 0), 0);
	gwin_st16(&w, 0, 5);
	gmem_free(m);
}

/* Lines of /proc/self/maps. */
static int mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	int n = 0;

	for (int c; (c = fgetc(f)) != EOF;)
		n += c == '\n';
	fclose(f);
	return n;
}

TEST(what_comes_and_goes_many_times_leaves_nothing_behind)
{
	struct gmem *m = three_pieces();
	int before;

	grow(m, GIB(8), MIB(2), 1);
	gmem_shrink(m, GPA(GIB(8)));
	before = mappings();
	for (int i = 0; i < 500; i++) {
		grow(m, GIB(8), MIB(2), 1);
		gmem_shrink(m, GPA(GIB(8)));
	}
	assert_true(mappings() <= before + 2);
	gmem_free(m);
}

struct reader {
	struct gmem *m;
	_Atomic bool end;
};

/* RAM is always there; a device's memory is there as a whole or not. */
static void *read_on(void *arg)
{
	struct reader *r = arg;
	uint8_t b[64];

	while (!r->end) {
		struct kiov k[2];
		unsigned int n = 0;
		struct gwin w;

		if (gmem_read(r->m, GPA(KIB(8) - 32), b, sizeof(b)) < 0)
			return "RAM is gone";
		if (gmem_ok(r->m, GPA(GIB(8)), MIB(2) + 1))
			return "more is there than came";
		if (gmem_win(&w, r->m, GPA(GIB(9)), 64, 8) == 0)
			(void)gwin_ld16(&w, 0);
		if (gmem_iov(r->m, k, &n, 2, GPA(GIB(9) + 4096), 512) == 0 && n != 1)
			return "a piece is in parts";
	}
	return NULL;
}

TEST(memory_comes_and_goes_beside_threads_that_read)
{
	struct reader r = { .m = three_pieces() };
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, read_on, &r), 0);
	for (int i = 0; i < 200; i++) {
		struct backing_args how = { .shared = true };
		struct gmem_region out;
		struct backing b;
		struct err e = { 0 };

		for (int k = 0; k < 2; k++) {
			assert_int_equal(backing_open(&b, MIB(2), &how, &e), 0);
			assert_int_equal(
				gmem_grow(r.m, GPA(GIB(8) + (uint64_t)k * GIB(1)), &b, &out, &e),
				0);
		}
		gmem_shrink(r.m, GPA(GIB(8)));
		gmem_shrink(r.m, GPA(GIB(9)));
	}
	r.end = true;
	for (int i = 0; i < 2; i++) {
		void *why;

		pthread_join(t[i], &why);
		assert_null(why);
	}
	gmem_free(r.m);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(ok_says_exactly_what_lies_in_ram),
		T(loading_tells_its_bytes_and_can_be_broken_off),
		T(copies_span_adjoining_regions),
		T(a_copy_that_leaves_ram_writes_nothing),
		T(regions_do_not_overlap),
		T(a_window_lies_in_one_region_and_is_aligned),
		T(a_window_never_reaches_past_its_end),
		T(payload_splits_at_region_borders_and_is_bounded),
		T(slices_and_copies_agree_for_every_offset_and_length),
		T(every_cut_moves_what_one_piece_would),
		T(every_small_memory_is_what_its_model_says),
		T(ranges_that_wrap_are_no_ram),
		T(a_part_that_meets_another_is_refused),
		T(a_file_is_ram_at_its_parts_and_keeps_what_is_shared),
		T(clearing_touches_only_what_a_file_holds),
		T(shared_memory_has_a_descriptor),
		T(huge_pages_that_the_host_has_not_are_refused_at_once),
		T(pages_that_are_not_zero_are_found_and_no_others),
		T(looking_for_data_makes_no_pages_of_a_shared_memory),
		T(a_block_is_ram_exactly_while_it_is_plugged),
		T(rings_and_copies_keep_out_of_what_is_not_plugged),
		T(what_is_given_back_is_gone_and_new_when_touched),
		T(a_file_too_short_for_what_comes_later_is_refused),
		T(memory_of_a_device_is_there_for_accessors_and_no_ram),
		T(memory_of_a_device_meets_nothing_that_is_there),
		T(a_window_into_memory_that_has_gone_reaches_nobody),
		T(what_comes_and_goes_many_times_leaves_nothing_behind),
		T(memory_comes_and_goes_beside_threads_that_read),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
