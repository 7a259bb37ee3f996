/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving into mergeable buffers, exhaustively in a small scope: every sequence of up to four
 * buffers of a few telling sizes, each whole or in two pieces, with every number of them there
 * before the frame and the rest brought later, and frames of every length that lies at a border.
 * Then what headers may say, frames that are none, and the long way with real sizes.
 */
#include "test.h"

#include <linux/virtio_net.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "dev/netrx.h"
#include "mem/backing.h"
#include "net/frame.h"

#define RING 8
#define DESC_AT 0x0ull
#define AVAIL_AT 0x1000ull
#define USED_AT 0x2000ull
#define BUF_AT 0x10000ull
#define BUF_STRIDE 0x8000ull
#define MRG BIT(VIRTIO_NET_F_MRG_RXBUF)
#define GUARD 0xee

static struct fix {
	struct gmem *mem;
	struct vq q;
	struct netrx rx;
	uint16_t avail, descs;
} fix;

/* --- a link that has one frame --- */

static struct frames_source {
	uint8_t header[FRAME_HEADER];
	uint32_t len; /* of the frame, without header; 0: none */
	long says;    /* instead of a frame, when negative */
	unsigned int asked;
} source;

static uint8_t byte_at(uint32_t i)
{
	return (uint8_t)(1 + i % 233);
}

static long source_rx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	static uint8_t frame[FRAME_MAX + 100];
	size_t room = kiov_total(k, n);
	size_t total;

	(void)l;
	source.asked++;
	assert_true(n <= 1024);
	if (source.says < 0)
		return source.says;
	if (!source.len)
		return LINK_AGAIN;
	for (uint32_t i = 0; i < source.len; i++)
		frame[i] = byte_at(i);
	total = FRAME_HEADER + source.len;
	kiov_put(k, n, 0, source.header, FRAME_HEADER);
	kiov_put(k, n, FRAME_HEADER, frame, source.len);
	source.len = 0;
	return (long)(total < room ? total : room);
}

static struct nlink link = { .ops = &(const struct link_ops){ .name = "source", .rx = source_rx } };

/* --- the driver --- */

static void put(uint64_t at, unsigned int len, uint64_t v)
{
	uint8_t b[8];

	le64_put(b, v);
	assert_int_equal(gmem_write(fix.mem, GPA(at), b, len), 0);
}

static uint64_t get(uint64_t at, unsigned int len)
{
	uint8_t b[8] = { 0 };

	assert_int_equal(gmem_read(fix.mem, GPA(at), b, len), 0);
	return le64_get(b);
}

static void ring_new(uint64_t features, uint32_t mtu)
{
	const struct vq_conf c = {
		.size = RING, .enabled = 1, .desc = DESC_AT, .avail = AVAIL_AT, .used = USED_AT
	};
	const struct dma d = { .mem = fix.mem };

	netrx_stop(&fix.rx);
	vq_fini(&fix.q);
	put(AVAIL_AT, 4, 0);
	put(USED_AT, 4, 0);
	assert_int_equal(vq_setup(&fix.q, &d, &c, 0), 0);
	netrx_start(&fix.rx, &fix.q, features, mtu);
	fix.avail = fix.descs = 0;
	memset(&source, 0, sizeof(source));
}

static void desc_put(uint64_t addr, uint32_t len, uint16_t flags)
{
	uint64_t at = DESC_AT + 16ull * (fix.descs % RING);

	put(at, 8, addr);
	put(at + 8, 4, len);
	put(at + 12, 2, flags);
	put(at + 14, 2, (uint64_t)(fix.descs + 1) % RING);
	fix.descs++;
}

/* Buffer i, of len bytes, whole or with its first `split` bytes apart. */
static void bring(unsigned int i, uint32_t len, uint32_t split)
{
	uint64_t addr = BUF_AT + i * BUF_STRIDE;

	put(AVAIL_AT + 4 + 2ull * (fix.avail % RING), 2, fix.descs % RING);
	if (split)
		desc_put(addr, split, 2 | 1);
	desc_put(addr + split, len - split, 2);
	put(AVAIL_AT + 2, 2, ++fix.avail);
}

static uint16_t used_count(void)
{
	return (uint16_t)get(USED_AT + 2, 2);
}

static uint32_t used_len(uint16_t i)
{
	return (uint32_t)get(USED_AT + 4 + 8ull * (i % RING) + 4, 4);
}

/* --- every layout --- */

#define BUFS_MAX 4
static const uint32_t sizes[] = { 12, 13, 26, 31 };

struct layout {
	unsigned int count, first; /* so many are there before the frame */
	uint32_t len[BUFS_MAX], split[BUFS_MAX];
	uint32_t sum;
};

static void bring_range(const struct layout *l, unsigned int from, unsigned int to)
{
	static uint8_t guard[64];

	memset(guard, GUARD, sizeof(guard));
	for (unsigned int i = from; i < to; i++) {
		assert_int_equal(
			gmem_write(fix.mem, GPA(BUF_AT + i * BUF_STRIDE), guard, sizeof(guard)), 0);
		bring(i, l->len[i], l->split[i]);
	}
}

/* The frame of total bytes, header included, is in the buffers and nowhere else. */
static void look_at_frame(const struct layout *l, uint32_t total)
{
	uint32_t left = total, at = 0;
	uint16_t n = used_count();
	uint8_t b[64];

	assert_int_equal(get(BUF_AT + 10, 2), n);
	for (uint16_t i = 0; i < n; i++) {
		uint32_t part = left < l->len[i] ? left : l->len[i];

		assert_true(part > 0);
		assert_int_equal(used_len(i), part);
		assert_int_equal(gmem_read(fix.mem, GPA(BUF_AT + i * BUF_STRIDE), b, sizeof(b)), 0);
		for (uint32_t k = 0; k < part; k++, at++)
			if (at >= FRAME_HEADER && b[k] != byte_at(at - FRAME_HEADER))
				fail_msg("byte %u of the frame is in no place", at);
		for (uint32_t k = l->len[i]; k < sizeof(b); k++)
			assert_int_equal(b[k], GUARD);
		left -= part;
	}
	assert_int_equal(left, 0);
}

static void try_frame(const struct layout *l, uint32_t total)
{
	enum netrx_result got;
	uint32_t bytes = 0;

	ring_new(MRG, 0);
	bring_range(l, 0, l->first);
	source.len = total - FRAME_HEADER;
	got = netrx_frame(&fix.rx, &link, &bytes);
	if (got == NETRX_STARVED) {
		/* nothing is shown before all is there; nor is the link asked twice */
		assert_int_equal(used_count(), 0);
		assert_int_equal(source.asked, l->first ? 1 : 0);
		bring_range(l, l->first, l->count);
		got = netrx_frame(&fix.rx, &link, &bytes);
	}
	if (total > l->sum) {
		assert_int_equal(got, NETRX_STARVED);
		assert_int_equal(used_count(), 0);
		netrx_stop(&fix.rx);
		assert_int_equal(fix.q.next_avail, 0);
		assert_int_equal(fix.q.flying, 0);
		return;
	}
	assert_int_equal(got, NETRX_FRAME);
	assert_int_equal(bytes, total - FRAME_HEADER);
	assert_int_equal(source.asked, 1);
	look_at_frame(l, total);
	netrx_stop(&fix.rx);
	assert_int_equal(fix.q.next_avail, used_count());
	assert_int_equal(fix.q.flying, 0);
}

/* Frames that end just before, at and after each border, the shortest and one too long. */
static void try_lengths(const struct layout *l)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < l->count; i++) {
		sum += l->len[i];
		for (uint32_t total = sum - 1; total <= sum + 1; total++)
			if (total >= FRAME_HEADER + FRAME_MIN)
				try_frame(l, total);
	}
	if (l->sum >= FRAME_HEADER + FRAME_MIN)
		try_frame(l, FRAME_HEADER + FRAME_MIN);
}

TEST(every_layout_of_buffers_takes_every_frame)
{
	unsigned int cases = 0;

	for (unsigned int count = 1; count <= BUFS_MAX; count++) {
		unsigned int all = 1;

		for (unsigned int i = 0; i < count; i++)
			all *= ARRAY_LEN(sizes) * 2;
		for (unsigned int code = 0; code < all; code++) {
			struct layout l = { .count = count };
			unsigned int c = code;

			for (unsigned int i = 0; i < count; i++, c /= ARRAY_LEN(sizes) * 2) {
				l.len[i] = sizes[c % ARRAY_LEN(sizes)];
				l.split[i] = c / ARRAY_LEN(sizes) % 2 ? l.len[i] / 2 - 1 : 0;
				l.sum += l.len[i];
			}
			for (l.first = 0; l.first <= count; l.first++, cases++)
				try_lengths(&l);
		}
	}
	assert_true(cases > 4000);
}

/* --- headers and lengths --- */

static enum netrx_result try_header(uint64_t features, uint8_t flags, uint8_t gso, uint32_t len,
				    uint32_t mtu)
{
	uint32_t bytes;

	ring_new(features, mtu);
	for (unsigned int i = 0; i < 4; i++)
		bring(i, 0x6000, 0);
	source.header[0] = flags;
	source.header[1] = gso;
	source.len = len;
	return netrx_frame(&fix.rx, &link, &bytes);
}

TEST(what_the_driver_has_not_agreed_to_does_not_reach_it)
{
	static const struct {
		uint64_t features;
		uint8_t flags, gso;
		enum netrx_result want;
		uint8_t shown;
	} cases[] = {
		{ 0, 0, 0, NETRX_FRAME, 0 },
		{ 0, VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, NETRX_DROPPED, 0 },
		{ 0, VIRTIO_NET_HDR_F_DATA_VALID, 0, NETRX_FRAME, 0 },
		{ BIT(VIRTIO_NET_F_GUEST_CSUM), 7, 0, NETRX_FRAME, 3 },
		{ BIT(VIRTIO_NET_F_GUEST_CSUM), 1, VIRTIO_NET_HDR_GSO_TCPV4, NETRX_DROPPED, 0 },
		{ BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4), 1,
		  VIRTIO_NET_HDR_GSO_TCPV4, NETRX_FRAME, 1 },
		{ BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4), 1,
		  VIRTIO_NET_HDR_GSO_TCPV6, NETRX_DROPPED, 0 },
		{ BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4), 1,
		  VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, NETRX_DROPPED, 0 },
		{ BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
			  BIT(VIRTIO_NET_F_GUEST_ECN),
		  1, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, NETRX_FRAME, 1 },
		{ ~0ull, 1, 5, NETRX_DROPPED, 0 }, /* segments of UDP: never offered */
		{ ~0ull, 1, 0x7f, NETRX_DROPPED, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
			try_header(cases[i].features, cases[i].flags, cases[i].gso, 100, 0),
			cases[i].want);
		if (cases[i].want == NETRX_FRAME)
			assert_int_equal(get(BUF_AT, 1), cases[i].shown);
		else
			assert_int_equal(used_count(), 0);
	}
}

TEST(runts_and_giants_are_dropped)
{
	uint64_t tso = MRG | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);

	assert_int_equal(try_header(MRG, 0, 0, 13, 0), NETRX_DROPPED);
	assert_int_equal(try_header(MRG, 0, 0, 14, 0), NETRX_FRAME);
	assert_int_equal(try_header(MRG, 0, 0, FRAME_MAX, 0), NETRX_FRAME);
	assert_int_equal(try_header(MRG, 0, 0, FRAME_MAX + 1, 0), NETRX_DROPPED);
	assert_int_equal(try_header(MRG, 0, 0, FRAME_MAX + 99, 0), NETRX_DROPPED);
	/* without merging a buffer is all there is */
	assert_int_equal(try_header(0, 0, 0, 0x6000 - 12, 0), NETRX_FRAME);
	assert_int_equal(try_header(0, 0, 0, 0x6000 - 11, 0), NETRX_DROPPED);
	/* §5.1.6.4.1: no more than the MTU agreed on, but for segmentation units */
	assert_int_equal(try_header(MRG, 0, 0, 1518, 1500), NETRX_FRAME);
	assert_int_equal(try_header(MRG, 0, 0, 1519, 1500), NETRX_DROPPED);
	assert_int_equal(try_header(tso, 1, VIRTIO_NET_HDR_GSO_TCPV4, 60000, 1500), NETRX_FRAME);
	/* a dropped frame leaves its buffers for the next */
	source.len = 100;
	assert_int_equal(netrx_frame(&fix.rx, &link, &(uint32_t){ 0 }), NETRX_FRAME);
}

TEST(a_frame_that_all_buffers_together_do_not_hold_is_dropped)
{
	uint32_t bytes;

	ring_new(MRG, 0);
	for (unsigned int i = 0; i < RING; i++)
		bring(i, 30, 0);
	source.len = RING * 30;
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_DROPPED);
	source.len = RING * 30 - FRAME_HEADER;
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_FRAME);
	assert_int_equal(used_count(), RING);
}

TEST(buffers_too_small_for_a_header_come_back_empty)
{
	uint32_t bytes;

	ring_new(MRG, 0);
	bring(0, 11, 0);
	bring(1, 100, 0);
	source.len = 60;
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_DROPPED);
	assert_int_equal(used_count(), 1);
	assert_int_equal(used_len(0), 0);
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_FRAME);
	ring_new(0, 0);
	bring(0, 25, 0);
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_DROPPED);
	assert_int_equal(used_count(), 1);
}

TEST(what_the_link_says_is_passed_on)
{
	uint32_t bytes;

	ring_new(MRG, 0);
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_STARVED);
	bring(0, 100, 0);
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_NONE);
	source.says = LINK_DROP;
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_DROPPED);
	source.says = LINK_DEAD;
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_DEAD);
	put(AVAIL_AT + 2, 2, 1000);
	ring_new(MRG, 0);
	put(AVAIL_AT + 2, 2, 1000);
	assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_BAD);
}

/* Long and short in turn, for ever around the ring: nothing is lost and nothing is mixed. */
TEST(many_frames_of_all_lengths_come_in_order)
{
	uint32_t seed = 1, bytes;
	uint16_t seen = 0;

	ring_new(MRG, 0);
	for (unsigned int i = 0; i < RING; i++)
		bring(i, 0x1000, 0);
	for (unsigned int i = 0; i < 20000; i++) {
		uint32_t len;

		seed = seed * 1103515245 + 12345;
		len = FRAME_MIN + (seed >> 8) % (i % 7 ? 1500 : 0x7000);
		source.len = len;
		assert_int_equal(netrx_frame(&fix.rx, &link, &bytes), NETRX_FRAME);
		assert_int_equal(bytes, len);
		for (uint32_t sum = 0; seen != used_count(); seen++) {
			/* buffers of one descriptor come around in the order of the ring */
			assert_int_equal(get(USED_AT + 4 + 8ull * (seen % RING), 4), seen % RING);
			sum += used_len(seen);
			bring(seen % RING, 0x1000, 0);
			if ((uint16_t)(seen + 1) == used_count())
				assert_int_equal(sum, len + FRAME_HEADER);
		}
	}
}

static int begin(void **state)
{
	const struct backing_args how = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(gmem_new(&fix.mem, &e), 0);
	assert_int_equal(gmem_add(fix.mem, GPA(0), MIB(1), &how, &e), 0);
	netrx_init(&fix.rx);
	return 0;
}

static int end(void **state)
{
	(void)state;
	netrx_stop(&fix.rx);
	netrx_fini(&fix.rx);
	vq_fini(&fix.q);
	gmem_free(fix.mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(every_layout_of_buffers_takes_every_frame),
		T(what_the_driver_has_not_agreed_to_does_not_reach_it),
		T(runts_and_giants_are_dropped),
		T(a_frame_that_all_buffers_together_do_not_hold_is_dropped),
		T(buffers_too_small_for_a_header_come_back_empty),
		T(what_the_link_says_is_passed_on),
		T(many_frames_of_all_lengths_come_in_order),
	};
	return cmocka_run_group_tests(t, begin, end);
}
