/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains and mappings: what is refused, what is found, and when something that was taken away is
 * settled. A long random run is held against an array of pages.
 */
#include "test.h"

#include <stdlib.h>

#include "base/bits.h"
#include "core/iommu.h"

static const struct iommu_args args = {
	.last = (1ull << 40) - 1,
	.msi = { 0xfee00000, 0xfeefffff },
};

struct ear {
	unsigned int revoked, let_go, faults;
	struct iommu_fault fault;
};

static void on_fault(void *arg, const struct iommu_fault *f)
{
	struct ear *e = arg;

	e->faults++;
	e->fault = *f;
}
static void on_let_go(void *arg)
{
	((struct ear *)arg)->let_go++;
}
static void on_revoked(void *arg)
{
	((struct ear *)arg)->revoked++;
}

struct bed {
	struct iommu *m;
	struct iommu_ep ep[3];
	struct ear ear;
};

static void bed_init(struct bed *b)
{
	*b = (struct bed){ .m = iommu_new(&args) };
	iommu_hear(b->m, &(struct iommu_ears){ on_fault, on_let_go, &b->ear });
	for (uint32_t i = 0; i < 3; i++) {
		b->ep[i] = (struct iommu_ep){ .id = 8 + i, .revoked = on_revoked, .arg = &b->ear };
		iommu_ep_add(b->m, &b->ep[i]);
	}
}

static void bed_fini(struct bed *b)
{
	for (int i = 0; i < 3; i++)
		iommu_ep_drop(&b->ep[i]);
	iommu_free(b->m);
}

static enum iommu_result map(struct bed *b, uint64_t first, uint64_t pages, uint64_t to)
{
	return iommu_map(b->m, 1, (struct iommu_range){ first, first + pages * 4096 - 1 }, GPA(to),
			 IOMMU_READ | IOMMU_WRITE);
}
static enum iommu_result unmap(struct bed *b, uint64_t first, uint64_t last)
{
	return iommu_unmap(b->m, 1, (struct iommu_range){ first, last });
}
static bool walk(struct bed *b, int ep, uint64_t addr, struct iommu_way *w)
{
	bool r;

	iommu_enter(&b->ep[ep]);
	r = iommu_walk(w, &b->ep[ep], addr, IOMMU_READ);
	if (r)
		iommu_pin(&b->ep[ep], w->map);
	iommu_leave(&b->ep[ep]);
	return r;
}
/* Found, and let go at once. */
static bool reaches(struct bed *b, int ep, uint64_t addr, uint64_t to)
{
	struct iommu_way w;

	if (!walk(b, ep, addr, &w))
		return false;
	iommu_unpin(&b->ep[ep], w.map);
	return w.to.v == to;
}

TEST(who_has_no_domain_passes_until_that_is_forbidden)
{
	struct bed b;

	bed_init(&b);
	assert_true(reaches(&b, 0, 0x1234, 0x1234));
	assert_true(reaches(&b, 0, UINT64_MAX, UINT64_MAX));
	iommu_set_pass(b.m, false);
	assert_false(reaches(&b, 0, 0x1234, 0x1234));
	assert_int_equal(b.ear.faults, 1);
	assert_false(b.ear.fault.attached);
	assert_int_equal(b.ear.fault.endpoint, 8);
	assert_int_equal(iommu_attach(b.m, 8, 5, true), IOMMU_OK);
	assert_true(reaches(&b, 0, 0x1234, 0x1234));
	bed_fini(&b);
}

TEST(a_mapping_is_found_by_all_of_its_addresses_and_no_others)
{
	struct bed b;
	struct iommu_way w;

	bed_init(&b);
	iommu_attach(b.m, 8, 1, false);
	assert_int_equal(map(&b, 0x10000, 2, 0x400000), IOMMU_OK);
	assert_true(reaches(&b, 0, 0x10000, 0x400000));
	assert_true(reaches(&b, 0, 0x11fff, 0x401fff));
	assert_false(reaches(&b, 0, 0xffff, 0));
	assert_false(reaches(&b, 0, 0x12000, 0));
	assert_true(b.ear.fault.attached);
	assert_true(walk(&b, 0, 0x10ff0, &w));
	assert_int_equal(w.room, 0x1010);
	iommu_unpin(&b.ep[0], w.map);
	assert_true(reaches(&b, 1, 0x10000, 0x10000));
	bed_fini(&b);
}

TEST(an_access_needs_the_right_that_was_given)
{
	struct iommu_way w;
	struct bed b;

	bed_init(&b);
	iommu_attach(b.m, 8, 1, false);
	iommu_map(b.m, 1, (struct iommu_range){ 0, 4095 }, GPA(0), IOMMU_READ);
	iommu_enter(&b.ep[0]);
	assert_true(iommu_walk(&w, &b.ep[0], 0, IOMMU_READ));
	assert_false(iommu_walk(&w, &b.ep[0], 0, IOMMU_WRITE));
	iommu_leave(&b.ep[0]);
	assert_int_equal(b.ear.fault.access, IOMMU_WRITE);
	bed_fini(&b);
}

TEST(mappings_that_cannot_be_are_refused)
{
	struct bed b;

	bed_init(&b);
	assert_int_equal(map(&b, 0, 1, 0), IOMMU_NO_SUCH);
	assert_int_equal(iommu_attach(b.m, 99, 1, false), IOMMU_NO_SUCH);
	iommu_attach(b.m, 8, 1, false);
	assert_int_equal(iommu_attach(b.m, 9, 1, true), IOMMU_INVALID);
	assert_int_equal(map(&b, 0x1000, 2, 0), IOMMU_OK);
	assert_int_equal(map(&b, 0x0000, 2, 0), IOMMU_INVALID);
	assert_int_equal(map(&b, 0x2000, 2, 0), IOMMU_INVALID);
	assert_int_equal(map(&b, 0x0000, 9, 0), IOMMU_INVALID);
	assert_int_equal(map(&b, 0x8001, 1, 0), IOMMU_RANGE);
	assert_int_equal(map(&b, 0x8000, 1, 1), IOMMU_RANGE);
	assert_int_equal(map(&b, 0x8000, 0, 0), IOMMU_RANGE);
	assert_int_equal(map(&b, 1ull << 40, 1, 0), IOMMU_RANGE);
	assert_int_equal(map(&b, 0xfee00000, 1, 0), IOMMU_INVALID);
	assert_int_equal(map(&b, 0xfedff000, 2, 0), IOMMU_INVALID);
	assert_int_equal(map(&b, 0x8000, 2, UINT64_MAX - 4095), IOMMU_INVALID);
	assert_int_equal(unmap(&b, 0x1000, 0x1fff), IOMMU_RANGE);
	assert_int_equal(unmap(&b, 0x2000, 0x2fff), IOMMU_RANGE);
	assert_int_equal(unmap(&b, 0x2000, UINT64_MAX), IOMMU_RANGE);
	assert_int_equal(unmap(&b, 1, 0), IOMMU_RANGE);
	assert_int_equal(iommu_maps(b.m), 1);
	assert_int_equal(unmap(&b, 0, UINT64_MAX), IOMMU_OK);
	assert_int_equal(unmap(&b, 0, UINT64_MAX), IOMMU_OK);
	assert_int_equal(iommu_maps(b.m), 0);
	assert_int_equal(iommu_detach(b.m, 9, 1), IOMMU_INVALID);
	assert_int_equal(iommu_detach(b.m, 8, 1), IOMMU_OK);
	assert_int_equal(iommu_domains(b.m), 0);
	bed_fini(&b);
}

TEST(what_is_pinned_is_settled_only_when_let_go)
{
	struct iommu_way w;
	struct bed b;

	bed_init(&b);
	iommu_attach(b.m, 8, 1, false);
	iommu_attach(b.m, 9, 1, false);
	map(&b, 0, 1, 0x5000);
	assert_true(walk(&b, 0, 0, &w));
	assert_int_equal(unmap(&b, 0, 4095), IOMMU_OK);
	assert_int_equal(b.ear.revoked, 2);
	assert_true(iommu_is_revoked(&b.ep[0], w.map));
	assert_false(iommu_settle(b.m));
	assert_false(reaches(&b, 1, 0, 0x5000));
	assert_int_equal(map(&b, 0, 1, 0x6000), IOMMU_OK);
	assert_true(reaches(&b, 1, 0, 0x6000));
	assert_int_equal(b.ear.let_go, 0);
	iommu_unpin(&b.ep[0], w.map);
	assert_int_equal(b.ear.let_go, 1);
	assert_true(iommu_settle(b.m));
	bed_fini(&b);
}

TEST(who_is_detached_reaches_nothing_until_he_let_go)
{
	struct iommu_way w;
	struct bed b;

	bed_init(&b);
	assert_true(walk(&b, 0, 0x1000, &w));
	iommu_attach(b.m, 8, 1, false);
	assert_int_equal(b.ear.revoked, 1);
	assert_true(iommu_is_revoked(&b.ep[0], w.map));
	map(&b, 0, 1, 0);
	assert_false(reaches(&b, 0, 0, 0));
	assert_false(iommu_settle(b.m));
	iommu_unpin(&b.ep[0], w.map);
	assert_true(iommu_settle(b.m));
	assert_true(reaches(&b, 0, 0, 0));
	bed_fini(&b);
}

TEST(one_who_is_hushed_hears_nothing)
{
	struct iommu_way w;
	struct bed b;

	bed_init(&b);
	assert_true(walk(&b, 0, 0x1000, &w));
	iommu_ep_hush(&b.ep[0]);
	iommu_set_pass(b.m, false);
	assert_int_equal(b.ear.revoked, 0);
	iommu_unpin(&b.ep[0], w.map);
	bed_fini(&b);
}

TEST(there_is_an_end_to_mappings)
{
	struct bed b;

	bed_init(&b);
	iommu_attach(b.m, 8, 1, false);
	for (uint64_t i = 0; i < IOMMU_MAPS_MAX; i++)
		assert_int_equal(map(&b, 0x100000000 + i * 8192, 1, 0), IOMMU_OK);
	assert_int_equal(map(&b, 0, 1, 0), IOMMU_FULL);
	bed_fini(&b);
}

#define PAGES 64

TEST(a_long_random_run_agrees_with_an_array_of_pages)
{
	uint64_t model[PAGES] = { 0 }, x = 88172645463325252ull; /* address + 1 */
	struct bed b;

	bed_init(&b);
	iommu_attach(b.m, 8, 1, false);
	for (int i = 0; i < 20000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		uint64_t at = x % PAGES, n = 1 + (x >> 8) % 4, to = (x >> 16) % 1000 * 4096;

		if (at + n > PAGES)
			continue;
		if (x >> 60 & 1) {
			bool free = true;

			for (uint64_t p = at; p < at + n; p++)
				free &= !model[p];
			assert_int_equal(map(&b, at * 4096, n, to) == IOMMU_OK, free);
			for (uint64_t p = at; free && p < at + n; p++)
				model[p] = to + (p - at) * 4096 + 1;
		} else if (unmap(&b, at * 4096, (at + n) * 4096 - 1) == IOMMU_OK) {
			memset(model + at, 0, n * sizeof(model[0]));
		}
		for (uint64_t p = 0; p < PAGES; p++)
			assert_int_equal(reaches(&b, 0, p * 4096, model[p] - 1), model[p] != 0);
	}
	bed_fini(&b);
}

TEST(a_saved_state_comes_back_when_its_endpoints_do)
{
	struct iommu_state s = { 0 };
	struct iommu *m = iommu_new(&args);
	struct iommu_ep ep = { .id = 8 };
	struct err e = { 0 };
	struct bed b;

	bed_init(&b);
	iommu_attach(b.m, 8, 1, false);
	iommu_attach(b.m, 9, 2, true);
	map(&b, 0, 2, 0x7000);
	iommu_set_pass(b.m, false);
	iommu_save(b.m, &s);
	assert_int_equal(s.endpoints.count, 2);
	assert_int_equal(s.maps.count, 1);
	assert_int_equal(iommu_load(m, &s, &e), 0);
	assert_false(iommu_passes(m));
	iommu_ep_add(m, &ep);
	free(s.endpoints.items);
	free(s.maps.items);
	s = (struct iommu_state){ 0 };
	iommu_save(m, &s);
	assert_int_equal(s.endpoints.count, 2);
	assert_int_equal(s.maps.items[0].to, 0x7000);
	s.maps.items[0].domain = 77;
	struct iommu *other = iommu_new(&args);

	assert_int_equal(iommu_load(other, &s, &e), -1);
	iommu_free(other);
	free(s.endpoints.items);
	free(s.maps.items);
	iommu_ep_drop(&ep);
	iommu_free(m);
	bed_fini(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(who_has_no_domain_passes_until_that_is_forbidden),
		T(a_mapping_is_found_by_all_of_its_addresses_and_no_others),
		T(an_access_needs_the_right_that_was_given),
		T(mappings_that_cannot_be_are_refused),
		T(what_is_pinned_is_settled_only_when_let_go),
		T(who_is_detached_reaches_nothing_until_he_let_go),
		T(one_who_is_hushed_hears_nothing),
		T(there_is_an_end_to_mappings),
		T(a_long_random_run_agrees_with_an_array_of_pages),
		T(a_saved_state_comes_back_when_its_endpoints_do),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
