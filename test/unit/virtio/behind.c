/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue behind an IOMMU: rings and payload whose pages lie anywhere, what is pinned while a chain
 * is in flight, and a queue whose rings are taken away. No device. The queue's addresses are those
 * of drive.h plus SHIFT, and each page of them lies in another place of RAM.
 */
#include "test.h"

#include "core/dma.h"
#include "virtio/drive.h"
#include "virtio/vq.h"

#define SHIFT 0x7000000000ull
#define PAGES (RAM_SIZE / 4096)

struct bed {
	struct gmem *mem;
	struct iommu *iommu;
	struct iommu_ep ep;
	struct dma dma;
	struct vq q;
	struct vq_conf conf;
	uint16_t offered;
};

/* Where page i of the driver's space lies: no two that adjoin do so in RAM. */
static uint64_t place(uint64_t at)
{
	return (at / 4096 * 617 % PAGES) * 4096 + at % 4096;
}

static void put(struct bed *b, uint64_t at, unsigned int n, uint64_t v)
{
	uint8_t bytes[8];

	le64_put(bytes, v);
	for (unsigned int i = 0; i < n; i++)
		rig_ok(gmem_write(b->mem, GPA(place(at + i)), bytes + i, 1));
}

static uint64_t got(struct bed *b, uint64_t at, unsigned int n)
{
	uint8_t bytes[8] = { 0 };

	for (unsigned int i = 0; i < n; i++)
		rig_ok(gmem_read(b->mem, GPA(place(at + i)), bytes + i, 1));
	return le64_get(bytes);
}

static void map_all(struct bed *b)
{
	for (uint64_t at = 0; at < RAM_SIZE; at += 4096)
		assert_int_equal(iommu_map(b->iommu, 1,
					   (struct iommu_range){ SHIFT + at, SHIFT + at + 4095 },
					   GPA(place(at)), IOMMU_READ | IOMMU_WRITE),
				 IOMMU_OK);
}

static enum iommu_result unmap(struct bed *b, uint64_t at, uint64_t n)
{
	return iommu_unmap(b->iommu, 1, (struct iommu_range){ SHIFT + at, SHIFT + at + n - 1 });
}

static void bed_init(struct bed *b)
{
	static const struct iommu_args args = { .last = UINT64_MAX, .msi = { 1, 0 } };
	const struct backing_args how = { 0 };
	struct err e = { 0 };

	*b = (struct bed){ .iommu = iommu_new(&args), .ep.id = 8 };
	rig_ok(gmem_new(&b->mem, &e));
	rig_ok(gmem_add(b->mem, GPA(0), RAM_SIZE, &how, &e));
	iommu_ep_add(b->iommu, &b->ep);
	assert_int_equal(iommu_attach(b->iommu, 8, 1, false), IOMMU_OK);
	map_all(b);
	b->dma = (struct dma){ b->mem, &b->ep };
	b->conf = (struct vq_conf){
		.size = 1024,
		.enabled = 1,
		.desc = SHIFT + Q_AT(0),
		.avail = SHIFT + Q_AVAIL(0) + 0xffe, /* across pages, as used is */
		.used = SHIFT + Q_USED(0) + 0xff4,
	};
	rig_ok(vq_setup(&b->q, &b->dma, &b->conf, VF_INDIRECT_DESC | VF_EVENT_IDX));
}

static void bed_fini(struct bed *b)
{
	vq_fini(&b->q);
	assert_true(iommu_settle(b->iommu));
	assert_int_equal(b->ep.pins, 0);
	iommu_ep_drop(&b->ep);
	iommu_free(b->iommu);
	gmem_free(b->mem);
}

static void desc_at(struct bed *b, uint64_t at, uint64_t addr, uint32_t len, uint16_t flags,
		    uint16_t next)
{
	put(b, at, 8, addr);
	put(b, at + 8, 4, len);
	put(b, at + 12, 2, flags);
	put(b, at + 14, 2, next);
}

static void offer(struct bed *b, uint16_t head)
{
	uint64_t avail = b->conf.avail - SHIFT;

	put(b, avail + 4 + 2ull * (b->offered % b->conf.size), 2, head);
	put(b, avail + 2, 2, ++b->offered);
}

TEST(a_chain_over_scattered_pages_is_whole)
{
	uint8_t out[10000], in[10000];
	struct chain c;
	struct bed b;

	bed_init(&b);
	for (uint64_t i = 0; i < sizeof(out); i++) {
		put(&b, BUF + 100 + i, 1, i * 7);
		out[i] = (uint8_t)(i * 11);
	}
	/* the last of the ring's pages, too */
	desc_at(&b, Q_AT(0) + 16 * 1000, SHIFT + BUF + 100, sizeof(in), F_NEXT, 1001);
	desc_at(&b, Q_AT(0) + 16 * 1001, SHIFT + BUF + 0x10010, sizeof(out), F_WRITE, 0);
	offer(&b, 1000);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.rlen, sizeof(in));
	assert_true(c.readable > 1);
	assert_int_equal(chain_get(&c, 0, in, sizeof(in)), sizeof(in));
	assert_int_equal(chain_put(&c, 0, out, sizeof(out)), sizeof(out));
	for (uint64_t i = 0; i < sizeof(in); i++) {
		assert_int_equal(in[i], (uint8_t)(i * 7));
		assert_int_equal(got(&b, BUF + 0x10010 + i, 1), out[i]);
	}
	vq_push(&b.q, c.head, sizeof(out));
	assert_int_equal(got(&b, Q_USED(0) + 0xff4 + 2, 2), 1);
	assert_int_equal(got(&b, Q_USED(0) + 0xff4 + 4, 4), 1000);
	bed_fini(&b);
}

TEST(rings_go_round_over_their_pages)
{
	struct chain c;
	struct bed b;

	bed_init(&b);
	for (uint32_t i = 0; i < 5000; i++) {
		uint16_t head = (uint16_t)(i * 37 % 1024);

		desc_at(&b, Q_AT(0) + 16ull * head, SHIFT + BUF, 8, F_WRITE, 0);
		offer(&b, head);
		assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
		assert_int_equal(c.head, head);
		vq_push(&b.q, head, i);
		assert_int_equal(got(&b, Q_USED(0) + 0xff4 + 4 + 8 * (i % 1024) + 4, 4), i);
	}
	bed_fini(&b);
}

TEST(a_table_across_pages_is_followed)
{
	struct chain c;
	struct bed b;

	bed_init(&b);
	for (uint16_t i = 0; i < 40; i++)
		desc_at(&b, BUF + 0xf08 + 16ull * i, SHIFT + BUF + 0x4000 + 64 * i, 16,
			(uint16_t)(F_WRITE | (i < 39 ? F_NEXT : 0)), (uint16_t)(i + 1));
	desc_at(&b, Q_AT(0), SHIFT + BUF + 0xf08, 40 * 16, F_INDIRECT, 0);
	offer(&b, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.wlen, 40 * 16);
	vq_unpop(&b.q, c.head);
	unmap(&b, BUF + 0x1000, 0x1000);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	bed_fini(&b);
}

TEST(adjoining_pages_make_one_piece_and_the_longest_buffer_fits)
{
	struct chain c;
	struct bed b;

	bed_init(&b);
	unmap(&b, 0x200000, 0x20000);
	for (uint64_t at = 0; at < 0x20000; at += 4096)
		iommu_map(b.iommu, 1,
			  (struct iommu_range){ SHIFT + 0x200000 + at, SHIFT + 0x200fff + at },
			  GPA(0x100000 + at), IOMMU_READ);
	desc_at(&b, Q_AT(0), SHIFT + 0x200010, 0x1fff0, 0, 0);
	offer(&b, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.readable, 1);
	vq_push(&b.q, 0, 0);
	desc_at(&b, Q_AT(0), SHIFT + BUF, RAM_SIZE - BUF, F_WRITE, 0);
	offer(&b, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(c.writable, (RAM_SIZE - BUF) / 4096);
	vq_push(&b.q, 0, 0);
	desc_at(&b, Q_AT(0), SHIFT + BUF, (uint32_t)(RAM_SIZE - BUF) + 1, F_WRITE, 0);
	offer(&b, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	bed_fini(&b);
}

TEST(memory_of_a_chain_in_flight_is_not_settled_before_its_end)
{
	struct chain c, d;
	struct bed b;

	bed_init(&b);
	desc_at(&b, Q_AT(0), SHIFT + BUF, 64, F_WRITE, 0);
	desc_at(&b, Q_AT(0) + 16, SHIFT + BUF + 0x1000, 64, F_WRITE, 0);
	offer(&b, 0);
	offer(&b, 1);
	assert_int_equal(vq_pop(&b.q, &c), VQ_CHAIN);
	assert_int_equal(vq_pop(&b.q, &d), VQ_CHAIN);
	vq_push(&b.q, 1, 0);
	assert_int_equal(unmap(&b, BUF + 0x1000, 0x1000), IOMMU_OK);
	assert_true(iommu_settle(b.iommu));
	assert_false(vq_is_revoked(&b.q));
	assert_int_equal(unmap(&b, BUF, 0x1000), IOMMU_OK);
	assert_false(iommu_settle(b.iommu));
	assert_true(vq_is_revoked(&b.q));
	assert_int_equal(chain_put(&c, 0, "late", 4), 4);
	vq_push(&b.q, 0, 4);
	assert_true(iommu_settle(b.iommu));
	assert_false(vq_is_revoked(&b.q));
	bed_fini(&b);
}

TEST(rings_that_are_unmapped_are_touched_no_more)
{
	struct chain c;
	struct bed b;

	bed_init(&b);
	desc_at(&b, Q_AT(0), SHIFT + BUF, 64, F_WRITE, 0);
	offer(&b, 0);
	assert_int_equal(unmap(&b, 0, RAM_SIZE), IOMMU_OK);
	assert_false(iommu_settle(b.iommu));
	assert_true(vq_is_revoked(&b.q));
	vq_revoke(&b.q);
	assert_true(iommu_settle(b.iommu));
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	vq_mute(&b.q);
	vq_listen(&b.q);
	vq_flush(&b.q);
	vq_wants_interrupt(&b.q);
	assert_int_equal(got(&b, Q_USED(0) + 0xff4, 4), 0);
	bed_fini(&b);
}

TEST(rings_where_nothing_is_mapped_are_refused_and_hold_nothing)
{
	struct bed b;

	bed_init(&b);
	vq_fini(&b.q);
	unmap(&b, Q_USED(0) + 0x1000, 0x1000);
	assert_int_equal(vq_setup(&b.q, &b.dma, &b.conf, 0), -1);
	assert_int_equal(b.ep.pins, 0);
	bed_fini(&b);
}

TEST(a_chain_that_is_refused_holds_nothing)
{
	uint32_t before;
	struct chain c;
	struct bed b;

	bed_init(&b);
	before = b.ep.pins;
	desc_at(&b, Q_AT(0), SHIFT + BUF, 64, F_NEXT, 1);
	desc_at(&b, Q_AT(0) + 16, BUF, 64, F_WRITE, 0);
	offer(&b, 0);
	assert_int_equal(vq_pop(&b.q, &c), VQ_BAD);
	assert_int_equal(b.ep.pins, before);
	bed_fini(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(a_chain_over_scattered_pages_is_whole),
		T(rings_go_round_over_their_pages),
		T(a_table_across_pages_is_followed),
		T(adjoining_pages_make_one_piece_and_the_longest_buffer_fits),
		T(memory_of_a_chain_in_flight_is_not_settled_before_its_end),
		T(rings_that_are_unmapped_are_touched_no_more),
		T(rings_where_nothing_is_mapped_are_refused_and_hold_nothing),
		T(a_chain_that_is_refused_holds_nothing),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
