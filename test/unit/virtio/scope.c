/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings in a small scope, exhaustively: every index, every size, every alignment, every short
 * chain, each against a model that is written the other way round. docs/testing.md tells which
 * property is proven where. virtio 1.3 §2.7.
 */
#include "test.h"

#include "virtio/drive.h"
#include "virtio/vq.h"

#define HOLE (RAM_SIZE + 0x1000)
#define TABLE (BUF + 0x100)

struct bed {
	struct rig r; /* only its memory */
	struct vq q;
	struct vq_conf conf;
	struct dma dma;
};

static void bed_init(struct bed *b)
{
	const struct backing_args how = { 0 };
	struct err e = { 0 };

	*b = (struct bed){ 0 };
	rig_ok(gmem_new(&b->r.mem, &e));
	rig_ok(gmem_add(b->r.mem, GPA(0), RAM_SIZE, &how, &e));
	b->dma.mem = b->r.mem;
	b->conf = (struct vq_conf){
		.enabled = 1, .desc = Q_AT(0), .avail = Q_AVAIL(0), .used = Q_USED(0)
	};
}

/* A fresh queue that has got to index `at` in both rings. */
static void bed_set(struct bed *b, uint16_t size, uint16_t at, uint64_t features)
{
	vq_fini(&b->q);
	b->r.size = b->conf.size = size;
	b->q.next_avail = b->q.next_used = at;
	rig_ok(vq_setup(&b->q, &b->dma, &b->conf, features));
	b->q.owes = false;
	mem_wr(&b->r, Q_AVAIL(0), 4, (uint32_t)at << 16);
	mem_wr(&b->r, Q_USED(0), 4, (uint32_t)at << 16);
}

static void bed_fini(struct bed *b)
{
	vq_fini(&b->q);
	gmem_free(b->r.mem);
}

static const uint16_t starts[] = { 0, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff };
static const uint16_t sizes[] = { 1, 2, 4, 8 };

#define each(i, of) for (size_t i = 0; i < ARRAY_LEN(of); i++)

/* §2.7.7.2: an interrupt exactly when one of those used since the last decision is the one that the
 * driver named. */
TEST(an_interrupt_comes_exactly_when_the_event_is_crossed)
{
	struct bed b;

	bed_init(&b);
	each(s, starts)
	{
		bed_set(&b, 8, starts[s], VF_EVENT_IDX);
		for (uint16_t added = 0; added <= 8; added++) {
			for (uint32_t event = 0; event < 0x10000; event += added < 2 ? 1 : 7) {
				bool crossed = false;

				for (uint16_t i = 0; i < added; i++)
					crossed |= (uint16_t)(starts[s] + i) == event;
				mem_wr(&b.r, Q_AVAIL(0) + 4 + 2 * 8, 2, event);
				b.q.signalled = starts[s];
				b.q.next_used = (uint16_t)(starts[s] + added);
				if (vq_wants_interrupt(&b.q) != crossed)
					fail_msg("start %u, %u added, event %u", starts[s], added,
						 event);
				assert_false(vq_wants_interrupt(&b.q));
			}
		}
	}
	bed_fini(&b);
}

TEST(without_events_the_flag_alone_decides)
{
	struct bed b;

	bed_init(&b);
	each(s, starts)
	{
		bed_set(&b, 4, starts[s], 0);
		for (uint16_t added = 0; added <= 4; added++) {
			for (uint16_t flags = 0; flags < 16; flags++) {
				mem_wr(&b.r, Q_AVAIL(0), 2, flags);
				b.q.signalled = starts[s];
				b.q.next_used = (uint16_t)(starts[s] + added);
				assert_int_equal(vq_wants_interrupt(&b.q), added && !(flags & 1));
			}
		}
	}
	bed_fini(&b);
}

/* The element is where the index says, nothing else of the ring changes, and the index is one more. */
TEST(a_push_writes_one_element_and_one_index)
{
	struct bed b;

	bed_init(&b);
	each(s, starts) each(z, sizes)
	{
		uint16_t size = sizes[z];

		for (uint16_t head = 0; head < size; head++) {
			bed_set(&b, size, starts[s], 0);
			for (uint32_t i = 0; i <= size; i++)
				mem_wr(&b.r, Q_USED(0) + 4 + 8 * i, 8, 0xa5a5a5a5a5a5a5a5);
			bit_set(b.q.in_flight, head);
			b.q.flying = 1;
			vq_push(&b.q, head, 0x12340000u + head);
			assert_int_equal(b.q.next_used, (uint16_t)(starts[s] + 1));
			assert_int_equal(mem_rd(&b.r, Q_USED(0) + 2, 2), b.q.next_used);
			for (uint32_t i = 0; i <= size; i++) {
				uint64_t is = mem_rd(&b.r, Q_USED(0) + 4 + 8 * i, 8);

				assert_true(is == (i == (starts[s] & (size - 1u)) && i < size
							   ? (0x12340000ull + head) << 32 | head
							   : 0xa5a5a5a5a5a5a5a5));
			}
			assert_int_equal(b.q.flying, 0);
			assert_false(bit_get(b.q.in_flight, head));
		}
	}
	bed_fini(&b);
}

/* Everything about a pop of one-descriptor chains: the distance of the indices and the head. */
TEST(a_pop_takes_one_head_of_those_that_are_there)
{
	static const uint16_t wild[] = { 0x7fff, 0x8000, 0xffff };
	struct bed b;

	bed_init(&b);
	for (uint32_t i = 0; i < 8; i++)
		drv_desc(&b.r, 0, i, BUF, 16, F_WRITE, 0);
	each(s, starts) each(z, sizes)
	{
		uint16_t size = sizes[z];
		uint64_t ring = Q_AVAIL(0) + 4 + 2ull * (starts[s] & (size - 1u));

		for (uint32_t h = 0; h < size + 2u + ARRAY_LEN(wild); h++) {
			uint16_t head = h < size + 2u ? (uint16_t)h : wild[h - size - 2u];

			for (uint32_t n = 0; n < 0x10000; n += n < 20 || n > 0xfff0 ? 1 : 0x1ff) {
				enum vq_result want = !n	     ? VQ_EMPTY
						      : n > size     ? VQ_BAD
						      : head >= size ? VQ_BAD
								     : VQ_CHAIN;
				struct chain c;

				bed_set(&b, size, starts[s], 0);
				mem_wr(&b.r, ring, 2, head);
				mem_wr(&b.r, Q_AVAIL(0) + 2, 2, (uint16_t)(starts[s] + n));
				if (vq_pop(&b.q, &c) != want)
					fail_msg("size %u, head %u, %u there", size, head, n);
				assert_int_equal(b.q.next_avail,
						 (uint16_t)(starts[s] + (want == VQ_CHAIN)));
				assert_int_equal(b.q.flying, want == VQ_CHAIN);
				if (want == VQ_CHAIN)
					assert_int_equal(c.head, head);
			}
		}
	}
	bed_fini(&b);
}

/* Put back, a chain leaves the queue as it was, and comes again the same. */
TEST(a_pop_put_back_never_was)
{
	struct bed b;

	bed_init(&b);
	for (uint32_t i = 0; i < 8; i++)
		drv_desc(&b.r, 0, i, BUF, 16, F_WRITE, 0);
	each(s, starts) each(z, sizes)
	{
		uint16_t size = sizes[z];

		for (uint16_t n = 1; n <= size; n++) {
			struct chain c[8], again;

			bed_set(&b, size, starts[s], 0);
			for (uint16_t i = 0; i < n; i++)
				mem_wr(&b.r,
				       Q_AVAIL(0) + 4 +
					       2ull * ((uint32_t)(starts[s] + i) & (size - 1u)),
				       2, i);
			mem_wr(&b.r, Q_AVAIL(0) + 2, 2, (uint16_t)(starts[s] + n));
			for (uint16_t i = 0; i < n; i++)
				assert_int_equal(vq_pop(&b.q, &c[i]), VQ_CHAIN);
			for (uint16_t i = n; i--;)
				vq_unpop(&b.q, c[i].head);
			assert_int_equal(b.q.next_avail, starts[s]);
			assert_int_equal(b.q.next_used, starts[s]);
			assert_int_equal(b.q.flying, 0);
			assert_true(!b.q.in_flight[0]);
			assert_int_equal(mem_rd(&b.r, Q_USED(0) + 2, 2), starts[s]);
			assert_int_equal(vq_pop(&b.q, &again), VQ_CHAIN);
			assert_int_equal(again.head, c[0].head);
			assert_int_equal(again.wlen, c[0].wlen);
		}
	}
	bed_fini(&b);
}

/* §2.7.10: what is asked for is a kick from the next one on, and who listens learns of those that
 * came meanwhile. */
TEST(listening_names_the_next_and_sees_what_came)
{
	struct bed b;

	bed_init(&b);
	each(s, starts) for (int events = 0; events < 2; events++)
	{
		bed_set(&b, 4, starts[s], events ? VF_EVENT_IDX : 0);
		for (uint32_t idx = 0; idx < 0x10000; idx++) {
			mem_wr(&b.r, Q_AVAIL(0) + 2, 2, idx);
			vq_mute(&b.q);
			assert_int_equal(mem_rd(&b.r, Q_USED(0), 2), !events);
			assert_int_equal(vq_listen(&b.q), idx != starts[s]);
			assert_int_equal(mem_rd(&b.r, Q_USED(0), 2), 0);
			if (events)
				assert_int_equal(mem_rd(&b.r, Q_USED(0) + 4 + 8 * 4, 2), starts[s]);
		}
	}
	bed_fini(&b);
}

TEST(a_queue_is_set_up_exactly_with_a_lawful_size)
{
	struct bed b;

	bed_init(&b);
	b.conf.desc = 0;
	b.conf.avail = 0x100000;
	b.conf.used = 0x200000;
	for (uint32_t size = 0; size < 0x10000; size++) {
		b.conf.size = (uint16_t)size;
		assert_int_equal(vq_setup(&b.q, &b.dma, &b.conf, 0),
				 size && !(size & (size - 1)) && size <= 32768 ? 0 : -1);
		vq_fini(&b.q);
	}
	bed_fini(&b);
}

static bool apart(uint64_t a, uint64_t an, uint64_t b, uint64_t bn)
{
	return a + an <= b || b + bn <= a;
}

/* Alignment 16, 2, 4; whole in RAM; apart from each other: at every offset near each other and near
 * the end of RAM. */
TEST(rings_are_taken_exactly_where_they_may_lie)
{
	const uint64_t base = RAM_SIZE - 128, dn = 4 * 16, an = 4 + 4 * 2, un = 4 + 4 * 8;
	struct bed b;

	bed_init(&b);
	b.conf.size = 4;
	for (uint64_t d = 0; d < 128; d += 4)
		for (uint64_t a = 0; a < 128; a++)
			for (uint64_t u = 0; u < 128; u++) {
				bool good = !(d % 16) && !(a % 2) && !(u % 4) && d + dn <= 128 &&
					    a + an <= 128 && u + un <= 128 && apart(d, dn, a, an) &&
					    apart(d, dn, u, un) && apart(a, an, u, un);

				b.conf.desc = base + d;
				b.conf.avail = base + a;
				b.conf.used = base + u;
				if ((vq_setup(&b.q, &b.dma, &b.conf, 0) == 0) != good)
					fail_msg("desc +%u avail +%u used +%u", (unsigned int)d,
						 (unsigned int)a, (unsigned int)u);
			}
	bed_fini(&b);
}

/* --- every table of two descriptors --- */

struct row {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define ROWS (8 * 3 * 2 * 3)

static struct row row_of(uint32_t n)
{
	static const uint32_t len[] = { 0, 8, 16 };

	return (struct row){ .flags = (uint16_t)(n % 8),
			     .next = (uint16_t)(n / 8 % 3),
			     .addr = n / 24 % 2 ? HOLE : TABLE,
			     .len = len[n / 48] };
}

/* At TABLE lies one writable descriptor of four bytes. False: not a chain. */
static bool model(const struct row *t, uint32_t head, bool tables, uint32_t *r, uint32_t *w)
{
	bool writing = false;

	*r = *w = 0;
	for (uint32_t i = head, seen = 0;; i = t[i].next) {
		if (i > 1 || seen++ == 2)
			return false;
		if (t[i].flags & F_INDIRECT) {
			*w += 4;
			return tables && !(t[i].flags & F_NEXT) && t[i].len == 16 &&
			       t[i].addr == TABLE;
		}
		if (t[i].len && t[i].addr == HOLE)
			return false;
		if (writing && !(t[i].flags & F_WRITE))
			return false;
		writing |= t[i].flags & F_WRITE;
		*(writing ? w : r) += t[i].len;
		if (!(t[i].flags & F_NEXT))
			return true;
	}
}

TEST(every_table_of_two_is_what_its_model_says)
{
	struct row t[2];
	struct bed b;

	bed_init(&b);
	drv_desc_at(&b.r, TABLE, 0, BUF, 4, F_WRITE, 0);
	for (uint32_t n = 0; n < ROWS * ROWS * 4; n++) {
		uint32_t head = n & 1, r, w;
		bool tables = n & 2, good;
		struct chain c;

		t[0] = row_of(n / 4 % ROWS);
		t[1] = row_of(n / 4 / ROWS);
		bed_set(&b, 2, 0, tables ? VF_INDIRECT_DESC : 0);
		for (uint32_t i = 0; i < 2; i++)
			drv_desc(&b.r, 0, i, t[i].addr, t[i].len, t[i].flags, t[i].next);
		mem_wr(&b.r, Q_AVAIL(0), 8, 1u << 16 | (uint64_t)head << 32);
		good = model(t, head, tables, &r, &w);
		if (vq_pop(&b.q, &c) != (good ? VQ_CHAIN : VQ_BAD))
			fail_msg("table %u", n);
		if (good && (c.rlen != r || c.wlen != w))
			fail_msg("table %u: %u and %u bytes, not %u and %u", n, c.rlen, c.wlen, r,
				 w);
	}
	bed_fini(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(an_interrupt_comes_exactly_when_the_event_is_crossed),
		T(without_events_the_flag_alone_decides),
		T(a_push_writes_one_element_and_one_index),
		T(a_pop_takes_one_head_of_those_that_are_there),
		T(a_pop_put_back_never_was),
		T(listening_names_the_next_and_sees_what_came),
		T(a_queue_is_set_up_exactly_with_a_lawful_size),
		T(rings_are_taken_exactly_where_they_may_lie),
		T(every_table_of_two_is_what_its_model_says),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
