/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks by requests: the ring is in order, what it carries is not. A bad request gets an error
 * in its status where it has one, or breaks the device where even the status has no place; it
 * never does what it asks. Specification: virtio 1.3 §5.1.6, §5.2.6.
 */
#include "attack.h"
#include "drivers.h"
#include "guest.h"

#define STATUS 0x100 /* as blk.c and net.c lay out a queue's buffer */
#define DATA 0x1000
#define F_RO (1ul << 5)

static uint32_t send(struct vq *q)
{
	vq_put(q, 0);
	vq_publish(q);
	return 0;
}

/* ---- block ---- */

/* The ordinary read with another type, sector and length. */
static uint32_t blk_send(struct vq *q, uint32_t type, uint64_t sector, uint32_t len)
{
	bool from_device = !type || type == 8;

	blk_chain(q);
	wr32(q->buf, type);
	wr64(q->buf + 8, sector);
	q->desc[1].len = len;
	q->desc[1].flags = from_device ? D_NEXT | D_WRITE : D_NEXT;
	return send(q);
}

static uint32_t blk_past_end(struct bout *b)
{
	return blk_send(b->q, 0, blk_sectors(b->d), 512);
}

static uint32_t blk_over_end(struct bout *b)
{
	return blk_send(b->q, 0, blk_sectors(b->d) - 1, 1024);
}

static uint32_t blk_sector_wraps(struct bout *b)
{
	return blk_send(b->q, 0, ~0ul, 1024);
}

static uint32_t blk_offset_wraps(struct bout *b)
{
	return blk_send(b->q, 0, 1ul << 55, 512);
}

static uint32_t blk_write_past_end(struct bout *b)
{
	return blk_send(b->q, 1, blk_sectors(b->d), 512);
}

static uint32_t blk_odd_length(struct bout *b)
{
	return blk_send(b->q, 0, 0, 511);
}

static uint32_t blk_wrong_type(struct bout *b)
{
	return blk_send(b->q, 0xffffffff, 0, 512);
}

static uint32_t blk_discard_nothing(struct bout *b)
{
	return blk_send(b->q, 11, 0, 8);
}

/* Discard and write-zeroes carry ranges: sector, count, flags. */
static uint32_t blk_range(struct bout *b, uint32_t type, uint64_t sector, uint64_t count_flags)
{
	blk_chain(b->q);
	wr64(b->q->buf + DATA, sector);
	wr64(b->q->buf + DATA + 8, count_flags);
	wr32(b->q->buf, type);
	wr64(b->q->buf + 8, 0);
	b->q->desc[1].len = 16;
	b->q->desc[1].flags = D_NEXT;
	return send(b->q);
}

static uint32_t blk_discard_past_end(struct bout *b)
{
	return blk_range(b, 11, blk_sectors(b->d), 8);
}

static uint32_t blk_discard_wraps(struct bout *b)
{
	return blk_range(b, 11, ~0ul - 1, 0xffffffff);
}

static uint32_t blk_zeroes_past_end(struct bout *b)
{
	return blk_range(b, 13, blk_sectors(b->d) - 1, 0xffffffff);
}

static uint32_t blk_zeroes_strange_flags(struct bout *b)
{
	return blk_range(b, 13, 0, 0xfffffffeul << 32 | 8);
}

static uint32_t blk_header_short(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[0].len = 8;
	return send(b->q);
}

static uint32_t blk_header_writable(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[0].flags |= D_WRITE;
	return send(b->q);
}

static uint32_t blk_header_only(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[0].flags = 0;
	return send(b->q);
}

static uint32_t blk_without_status(struct bout *b)
{
	blk_chain(b->q);
	wr32(b->q->buf, 1); /* a write, whose data is all readable */
	b->q->desc[1].flags = 0;
	return send(b->q);
}

static uint32_t blk_status_readable(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[2].flags = 0;
	return send(b->q);
}

static uint32_t blk_status_empty(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[2].len = 0;
	return send(b->q);
}

static uint32_t blk_read_into_readable(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[1].flags = D_NEXT;
	return send(b->q);
}

static uint32_t blk_data_in_hole(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[1].addr = HOLE;
	return send(b->q);
}

static uint32_t blk_status_in_hole(struct bout *b)
{
	blk_chain(b->q);
	b->q->desc[2].addr = HOLE;
	return send(b->q);
}

static uint32_t blk_id_short(struct bout *b)
{
	return blk_send(b->q, 8, 0, 4);
}

/* A header in two pieces and data in three is lawful, and must be served. */
static uint32_t blk_in_pieces(struct bout *b)
{
	struct vq *q = b->q;

	blk_chain(q);
	wr64(q->buf + 8, 8);
	vq_desc(q, 0, (struct desc){ q->buf, 8, D_NEXT, 1 });
	vq_desc(q, 1, (struct desc){ q->buf + 8, 8, D_NEXT, 2 });
	vq_desc(q, 2, (struct desc){ q->buf + DATA, 100, D_NEXT | D_WRITE, 3 });
	vq_desc(q, 3, (struct desc){ q->buf + DATA + 100, 312, D_NEXT | D_WRITE, 4 });
	vq_desc(q, 4, (struct desc){ q->buf + DATA + 412, 100, D_NEXT | D_WRITE, 5 });
	vq_desc(q, 5, (struct desc){ q->buf + STATUS, 1, D_WRITE, 0 });
	if (vq_once(q, 5000000) != 513 || rd8(q->buf + STATUS))
		return O_WRONG;
	return rd64(q->buf + DATA) == 4096 && rd64(q->buf + DATA + 504) == 4600 ? O_USED : O_WRONG;
}

/* Every slot of the ring at once, in one kick; each must come back exactly once. */
static uint32_t blk_full_ring(struct bout *b)
{
	struct vq *q = b->q;
	uint64_t seen = 0;
	uint32_t n = q->size / 3u;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t m = q->buf + 0x10000 + i * 0x1000ul;
		uint16_t k = (uint16_t)(3 * i);

		wr64(m, 0);
		wr64(m + 8, 8 + i);
		vq_desc(q, k, (struct desc){ m, 16, D_NEXT, (uint16_t)(k + 1) });
		vq_desc(q, (uint16_t)(k + 1),
			(struct desc){ m + 0x200, 512, D_NEXT | D_WRITE, (uint16_t)(k + 2) });
		vq_desc(q, (uint16_t)(k + 2), (struct desc){ m + 0x100, 1, D_WRITE, 0 });
		vq_put(q, k);
	}
	vq_publish(q);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len, head;

		if (!vq_wait(q, 5000000))
			return O_WRONG;
		head = vq_take(q, &len);
		if (head % 3 || head / 3 >= n || seen & 1ul << head / 3)
			return O_WRONG;
		seen |= 1ul << head / 3;
		if (rd64(q->buf + 0x10000 + head / 3 * 0x1000ul + 0x200) != (8 + head / 3) * 512)
			return O_WRONG;
	}
	return O_USED;
}

/*
 * A ring full of large reads, and a reset at once: once the device has said that it is reset, no
 * read may still arrive.
 */
static uint32_t blk_reset_while_busy(struct bout *b)
{
	struct vq *q = b->q;
	uint64_t data = q->buf + 0x20000, len = 0x8000, n = q->size / 3u < 64 ? q->size / 3u : 64;
	uint32_t wrong = 0;

	n = n * len > 0x200000 ? 0x200000 / len : n;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t m = q->buf + i * 0x200ul;
		uint16_t k = (uint16_t)(3 * i);

		wr64(m, 0);
		wr64(m + 8, 64);
		vq_desc(q, k, (struct desc){ m, 16, D_NEXT, (uint16_t)(k + 1) });
		vq_desc(q, (uint16_t)(k + 1),
			(struct desc){ data + i * len, (uint32_t)len, D_NEXT | D_WRITE,
				       (uint16_t)(k + 2) });
		vq_desc(q, (uint16_t)(k + 2), (struct desc){ m + 0x100, 1, D_WRITE, 0 });
		vq_put(q, k);
	}
	vq_publish(q);
	if (!vdev_reset(b->d))
		return O_WRONG;
	memset((void *)data, 0x5a, n * len);
	delay_us(20000);
	for (uint64_t i = 0; i < n * len; i += 8)
		wrong += rd64(data + i) != 0x5a5a5a5a5a5a5a5aul;
	return wrong ? O_WRONG : O_QUIET;
}

const struct attack blk_attacks[] = {
	{ "sector-past-end", LIVE, O_ERROR, blk_past_end },
	{ "length-over-end", LIVE, O_ERROR, blk_over_end },
	{ "sector-wraps", LIVE, O_ERROR, blk_sector_wraps },
	{ "offset-wraps", LIVE, O_ERROR, blk_offset_wraps },
	{ "write-past-end", LIVE, O_ERROR, blk_write_past_end },
	{ "length-not-512", LIVE, O_ERROR, blk_odd_length },
	{ "wrong-type", LIVE, O_ERROR, blk_wrong_type },
	{ "discard-short", LIVE, O_ERROR, blk_discard_nothing },
	{ "discard-past-end", LIVE, O_ERROR, blk_discard_past_end },
	{ "discard-wraps", LIVE, O_ERROR, blk_discard_wraps },
	{ "zeroes-past-end", LIVE, O_ERROR, blk_zeroes_past_end },
	{ "zeroes-strange-flags", LIVE, O_ERROR, blk_zeroes_strange_flags },
	{ "header-short", LIVE, O_BROKEN | O_ERROR, blk_header_short },
	{ "header-writable", LIVE, O_BROKEN | O_ERROR, blk_header_writable },
	{ "header-only", LIVE, O_BROKEN | O_ERROR, blk_header_only },
	{ "without-status", LIVE, O_BROKEN | O_ERROR, blk_without_status },
	{ "status-readable", LIVE, O_BROKEN | O_ERROR, blk_status_readable },
	{ "status-empty", LIVE, O_BROKEN | O_ERROR, blk_status_empty },
	{ "read-into-readable", LIVE, O_BROKEN | O_ERROR, blk_read_into_readable },
	{ "data-in-hole", LIVE, O_BROKEN, blk_data_in_hole },
	{ "status-in-hole", LIVE, O_BROKEN, blk_status_in_hole },
	{ "id-short", LIVE, O_ANY, blk_id_short },
	{ "reset-while-busy", LIVE, O_QUIET, blk_reset_while_busy },
	{ "lawful-in-pieces", LIVE, O_USED, blk_in_pieces },
	{ "lawful-full-ring", LIVE, O_USED, blk_full_ring },
	{ 0 },
};

/* ---- net ---- */

static uint32_t tx_send(struct vq *q, uint32_t len)
{
	net_tx_chain(q);
	q->desc[0].len = len;
	return send(q);
}

static uint32_t tx_one_byte(struct bout *b)
{
	return tx_send(b->q, 1);
}

static uint32_t tx_header_only(struct bout *b)
{
	return tx_send(b->q, 12);
}

static uint32_t tx_half_mac(struct bout *b)
{
	return tx_send(b->q, 15);
}

static uint32_t tx_too_long(struct bout *b)
{
	return tx_send(b->q, 0x40000);
}

static uint32_t tx_writable(struct bout *b)
{
	net_tx_chain(b->q);
	b->q->desc[0].flags = D_WRITE;
	return send(b->q);
}

/* flags, gso_type, hdr_len, gso_size, csum_start, csum_offset: each far out of its range */
static uint32_t tx_offload_noise(struct bout *b)
{
	net_tx_chain(b->q);
	for (uint64_t i = 0; i < 12; i++)
		wr8(b->q->buf + i, 0xff);
	return send(b->q);
}

static uint32_t tx_checksum_past_end(struct bout *b)
{
	net_tx_chain(b->q);
	wr8(b->q->buf, 1);
	wr16(b->q->buf + 6, 0xfff0);
	wr16(b->q->buf + 8, 0xfff0);
	return send(b->q);
}

static uint32_t tx_many_pieces(struct bout *b)
{
	net_tx_chain(b->q);
	for (uint16_t i = 0; i < b->q->size; i++)
		vq_desc(b->q, i,
			(struct desc){ b->q->buf + i, 1, i + 1 < b->q->size ? D_NEXT : 0,
				       (uint16_t)(i + 1) });
	return send(b->q);
}

const struct attack net_tx_attacks[] = {
	{ "one-byte", LIVE, O_BROKEN | O_USED, tx_one_byte },
	{ "header-only", LIVE, O_BROKEN | O_USED, tx_header_only },
	{ "half-a-mac", LIVE, O_BROKEN | O_USED, tx_half_mac },
	{ "too-long", LIVE, O_BROKEN | O_USED, tx_too_long },
	{ "writable", LIVE, O_BROKEN | O_USED, tx_writable },
	{ "offload-noise", LIVE, O_BROKEN | O_USED, tx_offload_noise },
	{ "checksum-past-end", LIVE, O_BROKEN | O_USED, tx_checksum_past_end },
	{ "many-pieces", LIVE, O_BROKEN | O_USED, tx_many_pieces },
	{ 0 },
};

/* As many buffers of len bytes as the queue has descriptors. */
static uint32_t rx_post(struct vq *q, uint32_t len, uint16_t flags)
{
	for (uint16_t i = 0; i < q->size; i++) {
		vq_desc(q, i, (struct desc){ q->buf + i * 64u, len, flags, 0 });
		vq_put(q, i);
	}
	vq_publish(q);
	return 0;
}

static uint32_t rx_tiny(struct bout *b)
{
	return rx_post(b->q, 4, D_WRITE);
}

static uint32_t rx_header_only(struct bout *b)
{
	return rx_post(b->q, 12, D_WRITE);
}

static uint32_t rx_short(struct bout *b)
{
	return rx_post(b->q, 40, D_WRITE);
}

static uint32_t rx_readable(struct bout *b)
{
	return rx_post(b->q, 64, 0);
}

static uint32_t rx_all_one_buffer(struct bout *b)
{
	for (uint32_t i = 0; i < b->q->size; i++) {
		net_rx_chain(b->q);
		vq_put(b->q, 0);
	}
	vq_publish(b->q);
	return 0;
}

const struct attack net_rx_attacks[] = {
	{ "buffers-of-4", LIVE, O_ANY, rx_tiny },
	{ "buffers-of-12", LIVE, O_ANY, rx_header_only },
	{ "buffers-of-40", LIVE, O_ANY, rx_short },
	{ "buffers-readable", LIVE, O_ANY, rx_readable },
	{ "one-buffer-always", LIVE, O_ANY, rx_all_one_buffer },
	{ 0 },
};

static uint32_t ctrl_send(struct vq *q, uint8_t class, uint8_t command, uint32_t len)
{
	net_ctrl_chain(q);
	wr8(q->buf, class);
	wr8(q->buf + 1, command);
	wr32(q->buf + 2, 0xffffffff);
	wr32(q->buf + 6, 0xffffffff);
	q->desc[1].len = len;
	return send(q);
}

static uint32_t ctrl_class(struct bout *b)
{
	return ctrl_send(b->q, 0xff, 0, 1);
}

static uint32_t ctrl_command(struct bout *b)
{
	return ctrl_send(b->q, 4, 0xff, 2);
}

static uint32_t ctrl_pairs(struct bout *b)
{
	return ctrl_send(b->q, 4, 0, 2);
}

static uint32_t ctrl_pairs_zero(struct bout *b)
{
	net_ctrl_chain(b->q);
	wr8(b->q->buf, 4);
	wr8(b->q->buf + 1, 0);
	wr16(b->q->buf + 2, 0);
	b->q->desc[1].len = 2;
	return send(b->q);
}

static uint32_t ctrl_offloads(struct bout *b)
{
	return ctrl_send(b->q, 5, 0, 8);
}

static uint32_t ctrl_mac_table(struct bout *b)
{
	return ctrl_send(b->q, 1, 0, 8);
}

static uint32_t ctrl_one_byte(struct bout *b)
{
	net_ctrl_chain(b->q);
	vq_desc(b->q, 0, (struct desc){ b->q->buf, 1, D_NEXT, 2 });
	return send(b->q);
}

static uint32_t ctrl_no_ack(struct bout *b)
{
	net_ctrl_chain(b->q);
	b->q->desc[1].flags = 0;
	return send(b->q);
}

static uint32_t ctrl_ack_readable(struct bout *b)
{
	net_ctrl_chain(b->q);
	b->q->desc[2].flags = 0;
	return send(b->q);
}

static uint32_t ctrl_long(struct bout *b)
{
	return ctrl_send(b->q, 1, 0, 0x80000);
}

const struct attack net_ctrl_attacks[] = {
	{ "class-unknown", LIVE, O_ERROR, ctrl_class },
	{ "command-unknown", LIVE, O_ERROR, ctrl_command },
	{ "pairs-65535", LIVE, O_ERROR, ctrl_pairs },
	{ "pairs-0", LIVE, O_ERROR, ctrl_pairs_zero },
	{ "offloads-unknown", LIVE, O_ERROR, ctrl_offloads },
	{ "mac-table-noise", LIVE, O_BROKEN | O_USED | O_ERROR, ctrl_mac_table },
	{ "one-byte", LIVE, O_BROKEN | O_ERROR, ctrl_one_byte },
	{ "no-ack", LIVE, O_BROKEN | O_ERROR | O_USED, ctrl_no_ack },
	{ "ack-readable", LIVE, O_BROKEN | O_ERROR | O_USED, ctrl_ack_readable },
	{ "long", LIVE, O_ANY, ctrl_long },
	{ 0 },
};

/* ---- balloon ---- */

static uint32_t balloon_send(struct vq *q, uint32_t pfn, uint32_t len)
{
	balloon_chain(q);
	for (uint64_t i = 0; i < 4; i++)
		wr32(q->buf + 4 * i, pfn);
	q->desc[0].len = len;
	return send(q);
}

static uint32_t balloon_past_ram(struct bout *b)
{
	return balloon_send(b->q, (uint32_t)(ram_end() >> 12), 16);
}

static uint32_t balloon_hole(struct bout *b)
{
	return balloon_send(b->q, HOLE >> 12, 16);
}

static uint32_t balloon_last(struct bout *b)
{
	return balloon_send(b->q, 0xffffffff, 16);
}

static uint32_t balloon_same(struct bout *b)
{
	return balloon_send(b->q, (uint32_t)((b->q->buf + 0xf0000) >> 12), 16);
}

static uint32_t balloon_odd(struct bout *b)
{
	return balloon_send(b->q, 0xffffffff, 15);
}

static uint32_t balloon_too_many(struct bout *b)
{
	return balloon_send(b->q, 0xffffffff, 0x10004);
}

const struct attack balloon_attacks[] = {
	{ "pages-past-ram", LIVE, O_USED, balloon_past_ram },
	{ "pages-in-a-hole", LIVE, O_USED, balloon_hole },
	{ "pages-past-all", LIVE, O_USED, balloon_last },
	{ "one-page-always", LIVE, O_USED, balloon_same },
	{ "odd-length", LIVE, O_USED, balloon_odd },
	{ "too-many-pages", LIVE, O_BROKEN, balloon_too_many },
	{ 0 },
};

/* ---- memory in blocks ---- */

/* Address and count are of a block that is there, which these change. */
static uint32_t vmem_send(struct bout *b, uint16_t type, uint64_t add, uint16_t blocks)
{
	vmem_chain(b->q);
	wr16(b->q->buf, type);
	wr64(b->q->buf + 8, rd64(b->q->buf + 8) + add);
	wr16(b->q->buf + 16, blocks);
	return send(b->q);
}

static uint32_t vmem_type(struct bout *b)
{
	return vmem_send(b, 4, 0, 1);
}

static uint32_t vmem_type_max(struct bout *b)
{
	return vmem_send(b, 0xffff, 0, 1);
}

static uint32_t vmem_odd(struct bout *b)
{
	return vmem_send(b, 0, 1, 1);
}

static uint32_t vmem_before(struct bout *b)
{
	return vmem_send(b, 0, -(uint64_t)0x200000, 1);
}

static uint32_t vmem_behind(struct bout *b)
{
	return vmem_send(b, 3, rd64(b->d->config + 24), 1);
}

static uint32_t vmem_wraps(struct bout *b)
{
	return vmem_send(b, 0, ~0x1ffffful - rd64(b->d->config + 16), 0xffff);
}

static uint32_t vmem_too_long(struct bout *b)
{
	return vmem_send(b, 0, 0, 0xffff);
}

static uint32_t vmem_none(struct bout *b)
{
	return vmem_send(b, 0, 0, 0);
}

static uint32_t vmem_not_asked_for(struct bout *b)
{
	return vmem_send(b, 0, 0, (uint16_t)(rd64(b->d->config + 48) / rd64(b->d->config) + 1));
}

static uint32_t vmem_not_there(struct bout *b)
{
	return vmem_send(b, 1, 0, 1);
}

static uint32_t vmem_short(struct bout *b)
{
	vmem_chain(b->q);
	b->q->desc[0].len = 23;
	return send(b->q);
}

static uint32_t vmem_short_answer(struct bout *b)
{
	vmem_chain(b->q);
	b->q->desc[1].len = 9;
	return send(b->q);
}

static uint32_t vmem_no_answer(struct bout *b)
{
	vmem_chain(b->q);
	b->q->desc[1].flags = 0;
	return send(b->q);
}

static uint32_t vmem_answer_in_the_region(struct bout *b)
{
	vmem_chain(b->q);
	b->q->desc[1].addr = rd64(b->d->config + 16);
	return send(b->q);
}

const struct attack vmem_attacks[] = {
	{ "type-unknown", LIVE, O_ERROR, vmem_type },
	{ "type-max", LIVE, O_ERROR, vmem_type_max },
	{ "half-a-block", LIVE, O_ERROR, vmem_odd },
	{ "before-the-region", LIVE, O_ERROR, vmem_before },
	{ "behind-the-region", LIVE, O_ERROR, vmem_behind },
	{ "address-wraps", LIVE, O_ERROR, vmem_wraps },
	{ "too-many-blocks", LIVE, O_ERROR, vmem_too_long },
	{ "no-blocks", LIVE, O_ERROR, vmem_none },
	{ "more-than-asked-for", LIVE, O_ERROR, vmem_not_asked_for },
	{ "unplug-what-is-not-there", LIVE, O_ERROR, vmem_not_there },
	{ "short-request", LIVE, O_BROKEN, vmem_short },
	{ "short-answer", LIVE, O_BROKEN, vmem_short_answer },
	{ "no-answer", LIVE, O_BROKEN, vmem_no_answer },
	{ "answer-where-nothing-is-plugged", LIVE, O_BROKEN, vmem_answer_in_the_region },
	{ 0 },
};
