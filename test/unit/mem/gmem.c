/* SPDX-License-Identifier: Apache-2.0 */
/* The door into guest memory refuses what is not RAM, for every border of every region. */
#include "mem/gmem.h"

#include "base/bits.h"
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

int main(void)
{
	const struct CMUnitTest t[] = {
		T(ok_says_exactly_what_lies_in_ram),
		T(copies_span_adjoining_regions),
		T(a_copy_that_leaves_ram_writes_nothing),
		T(regions_do_not_overlap),
		T(a_window_lies_in_one_region_and_is_aligned),
		T(a_window_never_reaches_past_its_end),
		T(payload_splits_at_region_borders_and_is_bounded),
		T(slices_and_copies_agree_for_every_offset_and_length),
		T(shared_memory_has_a_descriptor),
		T(huge_pages_that_the_host_has_not_are_refused_at_once),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
