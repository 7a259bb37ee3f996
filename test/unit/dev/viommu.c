/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual IOMMU as its driver meets it: requests and their answers, a request that waits for a
 * device to let go, and reports of faults. virtio 1.3 §5.13.
 */
#include "test.h"

#include "base/json.h"
#include "base/mem.h"
#include "dev/viommu.h"
#include "virtio/drive.h"

#define TAIL_AT (BUF + 0x1000)
#define EVENT_AT (BUF + 0x2000)

struct bed {
	struct rig r;
	struct iommu_ep ep;
	unsigned int told;
};

static void on_revoked(void *arg)
{
	((struct bed *)arg)->told++;
}

static void bed_init(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	rig_init(&b->r);
	rig_add(&b->r, &viommu_class, NULL);
	b->ep = (struct iommu_ep){ .id = 40, .revoked = on_revoked, .arg = b };
	iommu_ep_add(b->r.b.iommu, &b->ep);
	drv_start(&b->r, ~0ull);
}

static void bed_fini(struct bed *b)
{
	iommu_ep_drop(&b->ep);
	rig_fini(&b->r);
}

/* Sends what lies at BUF. */
static void send(struct bed *b, uint32_t len, uint32_t room)
{
	mem_wr(&b->r, TAIL_AT + room, 4, 0xee);
	drv_desc(&b->r, 0, 0, BUF, len, F_NEXT, 1);
	drv_desc(&b->r, 0, 1, TAIL_AT, room + 4, F_WRITE, 0);
	drv_offer(&b->r, 0, 0);
	drv_kick(&b->r, 0);
	rig_turn(&b->r, 3);
}

static uint64_t status(struct bed *b)
{
	return mem_rd(&b->r, TAIL_AT, 1);
}

static void fill(struct bed *b, uint8_t type, uint32_t domain, uint64_t second, uint64_t third)
{
	mem_wr(&b->r, BUF, 8, type | (uint64_t)domain << 32);
	mem_wr(&b->r, BUF + 8, 8, second);
	mem_wr(&b->r, BUF + 16, 8, third);
	mem_wr(&b->r, BUF + 24, 8, 0);
	mem_wr(&b->r, BUF + 32, 8, 3);
}

static void attach(struct bed *b)
{
	fill(b, 1, 1, 40, 0);
	send(b, 20, 0);
	assert_int_equal(status(b), 0);
}

TEST(attach_map_unmap_detach_are_answered)
{
	struct bed b;

	bed_init(&b);
	attach(&b);
	fill(&b, 3, 1, 0x1000, 0x1fff);
	send(&b, 36, 0);
	assert_int_equal(status(&b), 0);
	assert_int_equal(iommu_maps(b.r.b.iommu), 1);
	fill(&b, 4, 1, 0, UINT64_MAX);
	send(&b, 28, 0);
	assert_int_equal(status(&b), 0);
	assert_int_equal(iommu_maps(b.r.b.iommu), 0);
	fill(&b, 2, 1, 40, 0);
	send(&b, 20, 0);
	assert_int_equal(status(&b), 0);
	assert_int_equal(drv_used(&b.r, 0), 4);
	assert_int_equal(drv_used_len(&b.r, 0, 3), 4);
	bed_fini(&b);
}

TEST(a_request_too_short_or_unknown_is_answered)
{
	struct bed b;

	bed_init(&b);
	fill(&b, 1, 1, 40, 0);
	send(&b, 19, 0);
	assert_int_equal(status(&b), 4);
	fill(&b, 9, 0, 0, 0);
	send(&b, 20, 0);
	assert_int_equal(status(&b), 2);
	drv_desc(&b.r, 0, 0, BUF, 20, 0, 0);
	drv_offer(&b.r, 0, 0);
	drv_kick(&b.r, 0);
	rig_turn(&b.r, 3);
	assert_int_equal(drv_used_len(&b.r, 0, 2), 0);
	assert_int_equal(drv_status(&b.r), 15);
	bed_fini(&b);
}

TEST(probe_tells_where_messages_are)
{
	struct bed b;

	bed_init(&b);
	fill(&b, 5, 40, 0, 0);
	for (uint64_t at = BUF + 8; at < BUF + 72; at += 8)
		mem_wr(&b.r, at, 8, 0);
	send(&b, 72, (uint32_t)rd(&b.r, AT_CONFIG + 32, 4));
	assert_int_equal(mem_rd(&b.r, TAIL_AT + 64, 1), 0);
	assert_int_equal(mem_rd(&b.r, TAIL_AT, 8), 1 | 20 << 16 | 1ull << 32);
	assert_int_equal(mem_rd(&b.r, TAIL_AT + 8, 8), RIG_MSI);
	bed_fini(&b);
}

TEST(an_unmap_under_a_device_waits_until_it_let_go)
{
	struct iommu_way w;
	struct bed b;

	bed_init(&b);
	attach(&b);
	fill(&b, 3, 1, 0x1000, 0x1fff);
	send(&b, 36, 0);
	iommu_enter(&b.ep);
	assert_true(iommu_walk(&w, &b.ep, 0x1000, IOMMU_WRITE));
	iommu_pin(&b.ep, w.map);
	iommu_leave(&b.ep);
	fill(&b, 4, 1, 0x1000, 0x1fff);
	send(&b, 28, 0);
	assert_int_equal(status(&b), 0xee);
	assert_int_equal(b.told, 1);
	vdev_stop(vdev_of(b.r.d));
	vdev_start(vdev_of(b.r.d));
	rig_turn(&b.r, 3);
	assert_int_equal(status(&b), 0xee);
	iommu_unpin(&b.ep, w.map);
	rig_turn(&b.r, 3);
	assert_int_equal(status(&b), 0);
	assert_int_equal(drv_used(&b.r, 0), 3);
	bed_fini(&b);
}

TEST(a_fault_is_reported_when_there_is_a_buffer)
{
	struct iommu_way w;
	struct bed b;

	bed_init(&b);
	attach(&b);
	for (uint64_t i = 0; i < 100; i++) {
		iommu_enter(&b.ep);
		assert_false(iommu_walk(&w, &b.ep, 0x1000 + i, IOMMU_WRITE));
		iommu_leave(&b.ep);
	}
	rig_turn(&b.r, 3);
	assert_int_equal(drv_used(&b.r, 1), 0);
	drv_desc(&b.r, 1, 0, EVENT_AT, 24, F_WRITE, 0);
	drv_desc(&b.r, 1, 1, EVENT_AT, 23, F_WRITE, 0);
	drv_offer(&b.r, 1, 1);
	drv_offer(&b.r, 1, 0);
	drv_kick(&b.r, 1);
	rig_turn(&b.r, 3);
	assert_int_equal(drv_used(&b.r, 1), 2);
	assert_int_equal(drv_used_len(&b.r, 1, 0), 0);
	assert_int_equal(drv_used_len(&b.r, 1, 1), 24);
	assert_int_equal(mem_rd(&b.r, EVENT_AT, 1), 2);
	assert_int_equal(mem_rd(&b.r, EVENT_AT + 4, 4), 0x102);
	assert_int_equal(mem_rd(&b.r, EVENT_AT + 8, 4), 40);
	assert_int_equal(mem_rd(&b.r, EVENT_AT + 16, 8), 0x1000);
	bed_fini(&b);
}

TEST(a_reset_detaches_and_leaves_bypass_as_it_is)
{
	struct bed b;

	bed_init(&b);
	attach(&b);
	wr(&b.r, AT_CONFIG + 36, 1, 0);
	assert_false(iommu_passes(b.r.b.iommu));
	drv_reset(&b.r);
	assert_int_equal(iommu_domains(b.r.b.iommu), 0);
	assert_false(iommu_passes(b.r.b.iommu));
	assert_int_equal(rd(&b.r, AT_CONFIG + 36, 1), 0);
	bed_fini(&b);
}

/* A list of a saved state has a limit where its row says nothing. */
TEST(more_mappings_come_back_than_a_list_has_by_itself)
{
	const struct desc *d = viommu_class.dev.state;
	const uint32_t n = 20000;
	struct iommu_state s = { .maps = { .items = mem_array(n, sizeof(s.maps.items[0])),
					   .count = n } };
	struct iommu_state back = { 0 };
	struct err e = { 0 };
	struct json *j;

	for (uint32_t i = 0; i < n; i++)
		s.maps.items[i] = (struct iommu_map_state){ .access = 3,
							    .first = i * 4096ull,
							    .last = i * 4096ull + 4095 };
	j = desc_to_json(d, &s);
	assert_int_equal(desc_from_saved(d, &back, j, d->version, &e), 0);
	assert_int_equal(back.maps.count, n);
	assert_int_equal(back.maps.items[n - 1].last, n * 4096ull - 1);
	json_put(j);
	desc_free(d, &s);
	desc_free(d, &back);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(attach_map_unmap_detach_are_answered),
		T(a_request_too_short_or_unknown_is_answered),
		T(probe_tells_where_messages_are),
		T(an_unmap_under_a_device_waits_until_it_let_go),
		T(a_fault_is_reported_when_there_is_a_buffer),
		T(a_reset_detaches_and_leaves_bypass_as_it_is),
		T(more_mappings_come_back_than_a_list_has_by_itself),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
