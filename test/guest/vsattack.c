/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attacks by packets of a vsock: the ring is in order, what it carries is not. Whatever a packet
 * says, it is taken, and answered by a reset where somebody could hear it. virtio 1.3 §5.10.6.
 */
#include "attack.h"
#include "drivers.h"
#include "guest.h"
#include "vsock.h"

#define MANY 400

static struct vs_hdr *header(struct vq *q)
{
	vsock_tx_chain(q);
	return (struct vs_hdr *)q->buf;
}

static uint32_t send(struct vq *q)
{
	vq_put(q, 0);
	vq_publish(q);
	return 0;
}

static uint32_t word_of(struct vq *q, uint16_t op, uint16_t type, uint32_t len)
{
	struct vs_hdr *h = header(q);

	h->op = op;
	h->type = type;
	h->len = len;
	return send(q);
}

static uint32_t header_short(struct bout *b)
{
	header(b->q);
	b->q->desc[0].len = VS_HEADER - 1;
	return send(b->q);
}

static uint32_t header_one_byte(struct bout *b)
{
	header(b->q);
	b->q->desc[0].len = 1;
	return send(b->q);
}

static uint32_t header_writable(struct bout *b)
{
	header(b->q);
	b->q->desc[0].flags = D_WRITE;
	return send(b->q);
}

static uint32_t header_in_pieces(struct bout *b)
{
	header(b->q);
	for (uint16_t i = 0; i < VS_HEADER; i++)
		vq_desc(b->q, i,
			(struct desc){ b->q->buf + i, 1, i + 1 < VS_HEADER ? D_NEXT : 0,
				       (uint16_t)(i + 1) });
	return send(b->q);
}

static uint32_t length_lies(struct bout *b)
{
	return word_of(b->q, OP_RW, VS_STREAM, 1);
}

static uint32_t length_all(struct bout *b)
{
	return word_of(b->q, OP_RW, VS_STREAM, 0xffffffff);
}

static uint32_t length_wraps(struct bout *b)
{
	return word_of(b->q, OP_RW, VS_STREAM, 0xffffffff - VS_HEADER + 1);
}

static uint32_t length_of_request(struct bout *b)
{
	return word_of(b->q, OP_REQUEST, VS_STREAM, 0xffffffff);
}

static uint32_t source_foreign(struct bout *b)
{
	header(b->q)->src_cid = 2;
	return send(b->q);
}

static uint32_t source_high(struct bout *b)
{
	header(b->q)->src_cid |= 1ul << 32;
	return send(b->q);
}

static uint32_t target_foreign(struct bout *b)
{
	header(b->q)->dst_cid = 77;
	return send(b->q);
}

static uint32_t target_high(struct bout *b)
{
	header(b->q)->dst_cid = ~0ul;
	return send(b->q);
}

static uint32_t type_none(struct bout *b)
{
	return word_of(b->q, OP_REQUEST, 0, 0);
}

static uint32_t type_all(struct bout *b)
{
	return word_of(b->q, OP_REQUEST, 0xffff, 0);
}

static uint32_t op_none(struct bout *b)
{
	return word_of(b->q, 0, VS_STREAM, 0);
}

static uint32_t op_all(struct bout *b)
{
	return word_of(b->q, 0xffff, VS_STREAM, 0);
}

static uint32_t answer_unasked(struct bout *b)
{
	return word_of(b->q, OP_RESPONSE, VS_STREAM, 0);
}

static uint32_t end_unasked(struct bout *b)
{
	return word_of(b->q, OP_SHUTDOWN, VS_SEQPACKET, 0);
}

static uint32_t credit_unasked(struct bout *b)
{
	struct vs_hdr *h = header(b->q);

	h->op = OP_CREDIT_UPDATE;
	h->buf_alloc = h->fwd_cnt = 0xffffffff;
	return send(b->q);
}

static uint32_t messages_not_agreed(struct bout *b)
{
	return word_of(b->q, OP_REQUEST, VS_SEQPACKET, 0);
}

static uint32_t data_in_hole(struct bout *b)
{
	header(b->q)->op = OP_RW;
	((struct vs_hdr *)b->q->buf)->len = 64;
	b->q->desc[0].flags = D_NEXT;
	b->q->desc[0].next = 1;
	vq_desc(b->q, 1, (struct desc){ HOLE, 64, 0, 0 });
	return send(b->q);
}

static uint32_t data_of_all_ram(struct bout *b)
{
	header(b->q)->op = OP_RW;
	((struct vs_hdr *)b->q->buf)->len = 0x1000000;
	b->q->desc[0].flags = D_NEXT;
	b->q->desc[0].next = 1;
	vq_desc(b->q, 1, (struct desc){ HEAP, 0x1000000, 0, 0 });
	return send(b->q);
}

static uint32_t port_of_all_ones(struct bout *b)
{
	struct vs_hdr *h = header(b->q);

	h->op = OP_REQUEST;
	h->src_port = h->dst_port = 0xffffffff;
	return send(b->q);
}

/* More questions than answers are kept, and no buffer for one: the device stops, and goes on when
 * there are some, until each question has its answer. */
static uint32_t questions(struct bout *b, uint16_t op)
{
	struct vq *tx = b->q, *rx = &b->d->q[0];
	uint32_t sent = 0, taken = 0, answers = 0, len;
	struct vs_hdr usual = *header(tx);
	uint64_t t = rdtsc();

	while (sent < MANY || taken < MANY || answers < MANY) {
		if (sent < MANY && sent - taken < 64) {
			uint64_t at = tx->buf + (sent % 64) * 64ul;

			usual.op = op;
			usual.src_port = 1000 + sent;
			memcpy((void *)at, &usual, VS_HEADER);
			vq_desc(tx, (uint16_t)(sent % 64), (struct desc){ at, VS_HEADER, 0, 0 });
			vq_put(tx, (uint16_t)(sent % 64));
			vq_publish(tx);
			sent++;
		}
		for (; tx->used[1] != tx->last_used; taken++)
			vq_take(tx, &len);
		/* stopped for want of buffers: one at a time from now on */
		if (lapse(t, 20000) && rx->avail_idx == rx->last_used) {
			vq_desc(rx, 0, (struct desc){ rx->buf, 4096, D_WRITE, 0 });
			vq_put(rx, 0);
			vq_publish(rx);
		}
		for (; rx->used[1] != rx->last_used; answers++) {
			vq_take(rx, &len);
			if (((const struct vs_hdr *)rx->buf)->op != OP_RST)
				return O_WRONG;
		}
		if (lapse(t, 5000000))
			return O_WRONG;
	}
	return O_USED;
}

static uint32_t questions_for_nobody(struct bout *b)
{
	return questions(b, OP_RW);
}

static uint32_t requests_for_nobody(struct bout *b)
{
	return questions(b, OP_REQUEST);
}

const struct attack vsock_tx_attacks[] = {
	{ "header-short", LIVE, O_USED, header_short },
	{ "header-one-byte", LIVE, O_USED, header_one_byte },
	{ "header-writable", LIVE, O_USED, header_writable },
	{ "lawful-header-in-pieces", LIVE, O_USED, header_in_pieces },
	{ "length-lies", LIVE, O_USED, length_lies },
	{ "length-all", LIVE, O_USED, length_all },
	{ "length-wraps", LIVE, O_USED, length_wraps },
	{ "length-of-request", LIVE, O_USED, length_of_request },
	{ "source-foreign", LIVE, O_USED, source_foreign },
	{ "source-high", LIVE, O_USED, source_high },
	{ "target-foreign", LIVE, O_USED, target_foreign },
	{ "target-high", LIVE, O_USED, target_high },
	{ "type-none", LIVE, O_USED, type_none },
	{ "type-all", LIVE, O_USED, type_all },
	{ "op-none", LIVE, O_USED, op_none },
	{ "op-all", LIVE, O_USED, op_all },
	{ "answer-unasked", LIVE, O_USED, answer_unasked },
	{ "end-unasked", LIVE, O_USED, end_unasked },
	{ "credit-unasked", LIVE, O_USED, credit_unasked },
	{ "messages-not-agreed", LIVE, O_USED, messages_not_agreed },
	{ "data-in-hole", LIVE, O_BROKEN, data_in_hole },
	{ "data-of-all-ram", LIVE, O_USED, data_of_all_ram },
	{ "port-of-all-ones", LIVE, O_USED, port_of_all_ones },
	{ "questions-for-nobody", LIVE, O_USED, questions_for_nobody },
	{ "requests-for-nobody", LIVE, O_USED, requests_for_nobody },
	{ 0 },
};

/* Lays out a buffer of the receive queue, and asks for an answer to go there. */
static uint32_t answer_into(struct bout *b, struct desc first)
{
	struct vq *tx = &b->d->q[1];

	vq_desc(b->q, 0, first);
	vq_put(b->q, 0);
	vq_publish(b->q);
	header(tx)->op = OP_RW;
	vq_once(tx, 1000000);
	return 0;
}

static uint32_t room_none(struct bout *b)
{
	return answer_into(b, (struct desc){ b->q->buf, VS_HEADER, D_WRITE, 0 });
}

static uint32_t room_short(struct bout *b)
{
	return answer_into(b, (struct desc){ b->q->buf, 1, D_WRITE, 0 });
}

static uint32_t room_readable(struct bout *b)
{
	return answer_into(b, (struct desc){ b->q->buf, 4096, 0, 0 });
}

static uint32_t room_in_crumbs(struct bout *b)
{
	for (uint16_t i = 1; i < 100; i++)
		vq_desc(b->q, i,
			(struct desc){ b->q->buf + i, 1, i < 99 ? D_WRITE | D_NEXT : D_WRITE,
				       (uint16_t)(i + 1) });
	return answer_into(b, (struct desc){ b->q->buf, 1, D_WRITE | D_NEXT, 1 });
}

static uint32_t room_in_hole(struct bout *b)
{
	return answer_into(b, (struct desc){ HOLE, 4096, D_WRITE, 0 });
}

const struct attack vsock_rx_attacks[] = {
	{ "room-none", LIVE, O_USED, room_none },
	{ "room-short", LIVE, O_USED, room_short },
	{ "room-readable", LIVE, O_USED, room_readable },
	{ "lawful-room-in-crumbs", LIVE, O_USED, room_in_crumbs },
	{ "room-in-hole", LIVE, O_BROKEN, room_in_hole },
	{ 0 },
};
