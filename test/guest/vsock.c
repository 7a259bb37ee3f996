/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of vsock.h, and the verbs that use it: `vsock` looks at everything once, `vsecho` sends
 * back what comes to port 52 on any number of connections, `vsbulk` moves a pattern by the MiB,
 * `vsping` goes to and fro.
 */
#include "vsock.h"

#include "drivers.h"
#include "guest.h"

#define RX_AREA 0x200000u /* of the queue's buffers */
#define TX_SLOT 0x10100u
#define TX_SLOTS 32u
#define ECHO_PORT 52
#define END_PORT 99
#define CONNS 2048u
#define ECHO_WINDOW 0x4000u
#define ECHO_BUFS 0x3000000ul /* CONNS of ECHO_WINDOW */
#define PATIENCE 10000000ul

static struct {
	uint32_t rx_bytes, rx_count, rx_now; /* size, number, and the one being looked at */
	uint32_t
		rx_back; /* looked at, and not given to the device again yet: a quarter at a time */
	uint32_t tx_free, tx_next;
	bool looking;
	uint64_t cid; /* as told at the start, and after each TRANSPORT_RESET: asking is an exit */
	struct vs_hdr call; /* a REQUEST of the host that came while something else was due */
} io;

/* --- packets --- */

uint64_t vs_cid(const struct vdev *d)
{
	return rd64(d->config);
}

static void post(struct vdev *d, uint32_t i)
{
	struct vq *q = &d->q[0];

	vq_desc(q, (uint16_t)i,
		(struct desc){ q->buf + i * (uint64_t)io.rx_bytes, io.rx_bytes, D_WRITE, 0 });
	vq_put(q, (uint16_t)i);
}

bool vs_start(struct vdev *d, uint32_t rx_bytes)
{
	if (!vdev_start(d, VS_F_SEQPACKET | F_EVENT_IDX))
		return false;
	io.rx_bytes = rx_bytes;
	io.rx_count = RX_AREA / rx_bytes;
	if (io.rx_count > d->q[0].size)
		io.rx_count = d->q[0].size;
	io.tx_free = TX_SLOTS;
	io.tx_next = io.rx_back = 0;
	io.looking = false;
	io.cid = vs_cid(d);
	for (uint32_t i = 0; i < io.rx_count; i++)
		post(d, i);
	vq_publish(&d->q[0]);
	return true;
}

uint8_t *vs_room(struct vdev *d)
{
	struct vq *q = &d->q[1];
	uint32_t len;

	while (!io.tx_free || q->used[1] != q->last_used) {
		if (!vq_wait(q, PATIENCE)) {
			check(false, "vsock: what is sent is taken");
			leave(97);
		}
		vq_take(q, &len);
		io.tx_free++;
	}
	return (uint8_t *)(q->buf + io.tx_next * (uint64_t)TX_SLOT + VS_HEADER);
}

void vs_send_raw(struct vdev *d, const struct vs_hdr *h, uint32_t len)
{
	uint64_t at = (uint64_t)vs_room(d) - VS_HEADER;
	struct vq *q = &d->q[1];

	memcpy((void *)at, h, VS_HEADER);
	vq_desc(q, (uint16_t)io.tx_next, (struct desc){ at, VS_HEADER + len, 0, 0 });
	vq_put(q, (uint16_t)io.tx_next);
	vq_publish(q);
	io.tx_next = (io.tx_next + 1) % TX_SLOTS;
	io.tx_free--;
}

void vs_send(struct vdev *d, struct vs_conn *c, uint16_t op, uint32_t flags, uint32_t len)
{
	const struct vs_hdr h = {
		.src_cid = io.cid,
		.dst_cid = 2,
		.src_port = c->guest_port,
		.dst_port = c->host_port,
		.len = len,
		.type = c->type,
		.op = op,
		.flags = flags,
		.buf_alloc = c->window,
		.fwd_cnt = c->forwarded,
	};

	vs_send_raw(d, &h, len);
	c->sent += len;
}

uint32_t vs_credit(const struct vs_conn *c)
{
	return c->peer_window - (c->sent - c->peer_forwarded);
}

void vs_hear(struct vs_conn *c, const struct vs_hdr *h)
{
	c->peer_window = h->buf_alloc;
	c->peer_forwarded = h->fwd_cnt;
}

const struct vs_hdr *vs_next(struct vdev *d, uint64_t us)
{
	struct vq *q = &d->q[0];
	uint32_t len;

	if (io.looking)
		vs_done(d);
	if (!vq_wait(q, us))
		return NULL;
	io.rx_now = vq_take(q, &len);
	io.looking = true;
	return (const struct vs_hdr *)(q->buf + io.rx_now * (uint64_t)io.rx_bytes);
}

void vs_done(struct vdev *d)
{
	io.looking = false;
	post(d, io.rx_now);
	if (++io.rx_back < io.rx_count / 4)
		return;
	vq_publish(&d->q[0]);
	io.rx_back = 0;
}

/* The next packet that is no REQUEST. */
static const struct vs_hdr *vs_answer(struct vdev *d)
{
	const struct vs_hdr *h = vs_next(d, PATIENCE);

	while (h && h->op == OP_REQUEST) {
		io.call = *h;
		h = vs_next(d, PATIENCE);
	}
	return h;
}

bool vs_connect(struct vdev *d, struct vs_conn *c, uint16_t type, uint32_t host_port,
		uint32_t guest_port)
{
	const struct vs_hdr *h;

	*c = (struct vs_conn){
		.host_port = host_port, .guest_port = guest_port, .type = type, .window = 0x40000
	};
	vs_send(d, c, OP_REQUEST, 0, 0);
	h = vs_answer(d);
	if (!h || h->op != OP_RESPONSE || h->src_port != host_port || h->dst_port != guest_port)
		return false;
	vs_hear(c, h);
	return true;
}

/* --- for the attacks --- */

void vsock_rx_chain(struct vq *q)
{
	vq_desc(q, 0, (struct desc){ q->buf, 4096, D_WRITE, 0 });
}

/* A reset of what is not there: taken and forgotten. */
void vsock_tx_chain(struct vq *q)
{
	const struct vs_hdr h = { .src_cid = vs_cid(q->dev),
				  .dst_cid = 2,
				  .src_port = 7,
				  .dst_port = 8,
				  .type = VS_STREAM,
				  .op = OP_RST };

	memcpy((void *)q->buf, &h, VS_HEADER);
	vq_desc(q, 0, (struct desc){ q->buf, VS_HEADER, 0, 0 });
}

void vsock_event_chain(struct vq *q)
{
	vq_desc(q, 0, (struct desc){ q->buf, 64, D_WRITE, 0 });
}

bool vsock_tx_works(struct vdev *d, struct vq *q)
{
	(void)d;
	vsock_tx_chain(q);
	return vq_once(q, 5000000) >= 0;
}

/* Data for nobody, which a reset answers. */
bool vsock_rx_works(struct vdev *d, struct vq *q)
{
	struct vq *tx = &d->q[1];

	vsock_rx_chain(q);
	vq_put(q, 0);
	vq_publish(q);
	vsock_tx_chain(tx);
	((struct vs_hdr *)tx->buf)->op = OP_RW;
	if (vq_once(tx, 5000000) < 0 || !vq_wait(q, 5000000))
		return false;
	uint32_t len;

	vq_take(q, &len);
	return len == VS_HEADER && ((const struct vs_hdr *)q->buf)->op == OP_RST;
}

bool vsock_event_works(struct vdev *d, struct vq *q)
{
	(void)d;
	vsock_event_chain(q);
	vq_put(q, 0);
	vq_publish(q);
	return !(vdev_status(d) & S_NEEDS_RESET);
}

/* --- everything once --- */

/* The next packet is this one, of this connection. */
static const struct vs_hdr *expect(struct vdev *d, struct vs_conn *c, uint16_t op)
{
	const struct vs_hdr *h;

	do {
		h = vs_answer(d);
	} while (h && h->op == OP_CREDIT_UPDATE && op != OP_CREDIT_UPDATE);
	if (!h || h->op != op || h->dst_port != c->guest_port || h->dst_cid != io.cid ||
	    h->src_cid != 2)
		return NULL;
	vs_hear(c, h);
	return h;
}

static bool send_text(struct vdev *d, struct vs_conn *c, const char *text, uint32_t flags)
{
	uint32_t len = 0;
	uint8_t *to = vs_room(d);

	for (; text[len]; len++)
		to[len] = (uint8_t)text[len];
	vs_send(d, c, OP_RW, flags, len);

	const struct vs_hdr *h = expect(d, c, OP_RW);

	c->forwarded += h ? h->len : 0;
	return h && h->len == len && !memcmp(h + 1, text, len) && h->flags == flags;
}

static void refused(struct vdev *d)
{
	struct vs_conn c;

	check(!vs_connect(d, &c, VS_STREAM, 1, 300), "vsock: a port without a listener is refused");
	check(!vs_connect(d, &c, 3, 1024, 300), "vsock: a type that is none is refused");
}

static void to_host(struct vdev *d)
{
	struct vs_conn c;

	if (!check(vs_connect(d, &c, VS_STREAM, 1024, 301), "vsock: the host answers"))
		return;
	check(send_text(d, &c, "hello from the guest", 0), "vsock: a stream goes both ways");
	vs_send(d, &c, OP_CREDIT_REQUEST, 0, 0);
	check(expect(d, &c, OP_CREDIT_UPDATE) && c.peer_forwarded == c.sent,
	      "vsock: credit is told when asked for");
	vs_send(d, &c, OP_SHUTDOWN, SHUT_SEND, 0);

	const struct vs_hdr *h = expect(d, &c, OP_SHUTDOWN);

	while (h && h->flags != SHUT_BOTH)
		h = expect(d, &c, OP_SHUTDOWN);
	check(h, "vsock: the host ends when we do");
	vs_send(d, &c, OP_SHUTDOWN, SHUT_BOTH, 0);
	check(expect(d, &c, OP_RST), "vsock: an end is answered by a reset");
}

static void messages(struct vdev *d)
{
	struct vs_conn c;

	if (!check(vs_connect(d, &c, VS_SEQPACKET, 2000, 302), "vsock: the host answers messages"))
		return;
	check(send_text(d, &c, "one message", VS_EOM) && send_text(d, &c, "2", VS_EOM),
	      "vsock: messages keep their bounds");
	vs_send(d, &c, OP_SHUTDOWN, SHUT_BOTH, 0);
	check(expect(d, &c, OP_RST), "vsock: messages end by a reset");
}

/* Takes one caller and answers what it says. */
static void from_host(struct vdev *d)
{
	const struct vs_hdr *h = io.call.op ? &io.call : vs_next(d, PATIENCE);
	struct vs_conn c;

	if (!check(h && h->op == OP_REQUEST && h->dst_port == ECHO_PORT, "vsock: the host calls"))
		return;
	c = (struct vs_conn){ .host_port = h->src_port,
			      .guest_port = ECHO_PORT,
			      .type = h->type,
			      .window = ECHO_WINDOW };
	vs_hear(&c, h);
	vs_send(d, &c, OP_RESPONSE, 0, 0);
	h = expect(d, &c, OP_RW);
	if (check(h, "vsock: the host speaks")) {
		memcpy(vs_room(d), h + 1, h->len);
		c.forwarded += h->len;
		vs_send(d, &c, OP_RW, 0, h->len);
	}
	check(expect(d, &c, OP_SHUTDOWN), "vsock: the host ends");
	vs_send(d, &c, OP_RST, 0, 0);
}

void vsock_run(void)
{
	static struct vdev d;

	if (!check(vdev_find(&d, VIRTIO_VSOCK, 0) && vs_start(&d, 4096), "vsock starts"))
		return;
	print("R3 VSOCK %02x offered=%lx queues=%u cid=%lu\n", d.bdf >> 3, d.offered, d.num_queues,
	      vs_cid(&d));
	refused(&d);
	if (word("feed", NULL)) {
		to_host(&d);
		messages(&d);
		print("R3 VSCALL\n");
		from_host(&d);
	}
	vdev_reset(&d);
}

/* --- the echo --- */

static struct echo {
	struct vs_conn c;
	uint32_t at, len;
	bool open, eof;
} echoes[CONNS];

static uint8_t *echo_buf(const struct echo *e)
{
	return (uint8_t *)(ECHO_BUFS + (uint64_t)(e - echoes) * ECHO_WINDOW);
}

static void echo_flush(struct vdev *d, struct echo *e)
{
	while (e->len) {
		uint32_t from = e->at % ECHO_WINDOW, n = ECHO_WINDOW - from;

		if (n > e->len)
			n = e->len;
		if (n > vs_credit(&e->c))
			n = vs_credit(&e->c);
		if (!n)
			return;
		memcpy(vs_room(d), echo_buf(e) + from, n);
		e->at += n;
		e->len -= n;
		e->c.forwarded += n;
		vs_send(d, &e->c, OP_RW, 0, n);
	}
	if (e->eof)
		vs_send(d, &e->c, OP_SHUTDOWN, SHUT_BOTH, 0);
}

static void echo_take(struct echo *e, const struct vs_hdr *h)
{
	const uint8_t *data = (const uint8_t *)(h + 1);

	if (h->len > ECHO_WINDOW - e->len) {
		check(false, "vsecho: the host keeps to its credit");
		return;
	}
	for (uint32_t i = 0; i < h->len;) {
		uint32_t to = (e->at + e->len) % ECHO_WINDOW, n = ECHO_WINDOW - to;

		n = n < h->len - i ? n : h->len - i;
		memcpy(echo_buf(e) + to, data + i, n);
		e->len += n;
		i += n;
	}
}

static void echo_packet(struct vdev *d, const struct vs_hdr *h)
{
	struct echo *e = &echoes[h->src_port % CONNS];

	if (h->op == OP_REQUEST) {
		*e = (struct echo){ .c = { .host_port = h->src_port,
					   .guest_port = h->dst_port,
					   .type = h->type,
					   .window = ECHO_WINDOW } };
		e->open = h->dst_port == ECHO_PORT;
		vs_hear(&e->c, h);
		vs_send(d, &e->c, e->open ? OP_RESPONSE : OP_RST, 0, 0);
		return;
	}
	if (!e->open || e->c.host_port != h->src_port)
		return;
	vs_hear(&e->c, h);
	if (h->op == OP_RW)
		echo_take(e, h);
	if (h->op == OP_CREDIT_REQUEST)
		vs_send(d, &e->c, OP_CREDIT_UPDATE, 0, 0);
	if (h->op == OP_SHUTDOWN && h->flags & SHUT_SEND)
		e->eof = true;
	if (h->op == OP_RST || (h->op == OP_SHUTDOWN && h->flags == SHUT_BOTH && !e->len)) {
		e->open = false;
		if (h->op == OP_SHUTDOWN)
			vs_send(d, &e->c, OP_RST, 0, 0);
		return;
	}
	echo_flush(d, e);
}

/* Room for the next event. */
static void event_post(struct vdev *d)
{
	vsock_event_chain(&d->q[2]);
	vq_put(&d->q[2], 0);
	vq_publish(&d->q[2]);
}

/* The host has forgotten all connections, and so do we. */
static void event_take(struct vdev *d)
{
	uint32_t len, what;

	vq_take(&d->q[2], &len);
	what = rd32(d->q[2].buf);
	check(len == 4 && !what, "vsecho: the event is TRANSPORT_RESET");
	for (uint32_t i = 0; i < CONNS; i++)
		echoes[i].open = false;
	io.cid = vs_cid(d);
	print("R3 VSRESET cid=%lu\n", io.cid);
	event_post(d);
}

void vs_echo(void)
{
	static struct vdev d;
	uint64_t rx = 4096;

	word("rxbytes", &rx);
	if (!check(vdev_find(&d, VIRTIO_VSOCK, 0) && vs_start(&d, (uint32_t)rx), "vsock starts"))
		return;
	event_post(&d);
	print("R3 VSECHO\n");
	for (;;) {
		const struct vs_hdr *h = vs_next(&d, 10000);

		if (vq_wait(&d.q[2], 0))
			event_take(&d);
		if (h && h->op == OP_REQUEST && h->dst_port == END_PORT)
			break;
		if (h)
			echo_packet(&d, h);
	}
	vdev_reset(&d);
}

/* --- bulk --- */

/* The pattern: each aligned word of a stream is its own offset, times an odd number. */
static uint64_t pattern(uint64_t off)
{
	return (off / 8 + 1) * 0x9e3779b97f4a7c15ul;
}

static void fill(uint8_t *to, uint64_t off, uint32_t len)
{
	uint64_t p = pattern(off);

	for (uint32_t i = 0; i < len; i += 8, p += 0x9e3779b97f4a7c15ul)
		__builtin_memcpy(to + i, &p, 8);
}

/* Bytes of data that are not the pattern's from off on. */
static uint64_t wrongs(const uint8_t *data, uint64_t off, uint32_t len)
{
	uint64_t wrong = 0;
	uint32_t i = 0;

	for (; i < len && (off + i) % 8; i++)
		wrong += data[i] != (uint8_t)(pattern(off + i) >> ((off + i) % 8 * 8));
	for (uint64_t p = pattern(off + i); i + 8 <= len; i += 8, p += 0x9e3779b97f4a7c15ul) {
		uint64_t v;

		__builtin_memcpy(&v, data + i, 8);
		wrong += v != p;
	}
	for (; i < len; i++)
		wrong += data[i] != (uint8_t)(pattern(off + i) >> ((off + i) % 8 * 8));
	return wrong;
}

static void told_of(const char *way, uint64_t bytes, uint64_t ticks, uint64_t wrong)
{
	uint64_t us = tsc_ns(ticks) / 1000;

	print("R3 VSIO %s bytes=%lu us=%lu mibs=%lu wrong=%lu\n", way, bytes, us,
	      us ? bytes * 1000000 / us >> 20 : 0, wrong);
}

/* Takes what the host says of credit meanwhile. False when the connection has ended. */
static bool heard_all(struct vdev *d, struct vs_conn *c, uint64_t us)
{
	const struct vs_hdr *h;

	while ((h = vs_next(d, us))) {
		vs_hear(c, h);
		if (h->op == OP_RST || h->op == OP_SHUTDOWN)
			return false;
		us = 0;
	}
	return true;
}

static void bulk_tx(struct vdev *d, uint64_t total)
{
	struct vs_conn c;
	uint64_t off = 0, start;

	if (!check(vs_connect(d, &c, VS_STREAM, 1024, 400), "vsbulk: the host takes"))
		return;
	start = rdtsc();
	while (off < total) {
		uint32_t n = VS_DATA_MAX;

		if (total - off < n)
			n = (uint32_t)(total - off);
		while (vs_credit(&c) < n)
			if (!heard_all(d, &c, PATIENCE)) {
				check(false, "vsbulk: the host takes all");
				return;
			}
		fill(vs_room(d), off, n);
		vs_send(d, &c, OP_RW, 0, n);
		off += n;
	}
	vs_send(d, &c, OP_SHUTDOWN, SHUT_SEND, 0);
	while (heard_all(d, &c, PATIENCE))
		;
	told_of("tx", total, rdtsc() - start, 0);
	vs_send(d, &c, OP_RST, 0, 0);
}

static void bulk_rx(struct vdev *d, uint64_t total)
{
	struct vs_conn c;
	uint64_t off = 0, start, wrong = 0;
	uint32_t told = 0;

	if (!check(vs_connect(d, &c, VS_STREAM, 1025, 401), "vsbulk: the host gives"))
		return;
	c.window = 0x100000;
	vs_send(d, &c, OP_CREDIT_UPDATE, 0, 0);
	start = rdtsc();
	for (;;) {
		const struct vs_hdr *h = vs_next(d, PATIENCE);

		if (!h || h->op == OP_SHUTDOWN || h->op == OP_RST)
			break;
		if (h->op != OP_RW)
			continue;
		wrong += wrongs((const uint8_t *)(h + 1), off, h->len);
		off += h->len;
		c.forwarded += h->len;
		if (c.forwarded - told < c.window / 4)
			continue;
		told = c.forwarded;
		vs_send(d, &c, OP_CREDIT_UPDATE, 0, 0);
	}
	told_of("rx", off, rdtsc() - start, wrong);
	check(off == total && !wrong, "vsbulk: the host gives the pattern, and all of it");
	vs_send(d, &c, OP_RST, 0, 0);
}

void vs_bulk(void)
{
	static struct vdev d;
	uint64_t rx = 0, tx = 0, room = 0x8000;

	word("rxbytes", &room);
	if (!check(vdev_find(&d, VIRTIO_VSOCK, 0) && vs_start(&d, (uint32_t)room), "vsock starts"))
		return;
	if (word("tx", &tx))
		bulk_tx(&d, tx << 20);
	if (word("rx", &rx))
		bulk_rx(&d, rx << 20);
	vdev_reset(&d);
}

void vs_ping(void)
{
	static struct vdev d;
	uint64_t times = 1000, bytes = 64, start, least = ~0ul;
	struct vs_conn c;

	word("vsping", &times);
	word("bytes", &bytes);
	if (!check(vdev_find(&d, VIRTIO_VSOCK, 0) && vs_start(&d, 0x8000), "vsock starts") ||
	    !check(vs_connect(&d, &c, VS_STREAM, 1026, 402), "vsping: the host answers"))
		return;
	start = rdtsc();
	for (uint64_t i = 0; i < times; i++) {
		uint64_t t = rdtsc(), got = 0;

		vs_room(&d);
		vs_send(&d, &c, OP_RW, 0, (uint32_t)bytes);
		while (got < bytes) {
			const struct vs_hdr *h = vs_next(&d, PATIENCE);

			if (!h || h->op == OP_RST || h->op == OP_SHUTDOWN) {
				check(false, "vsping: an answer comes");
				return;
			}
			vs_hear(&c, h);
			got += h->op == OP_RW ? h->len : 0;
		}
		c.forwarded += (uint32_t)bytes;
		t = rdtsc() - t;
		least = t < least ? t : least;
	}
	print("R3 VSPING times=%lu ns=%lu least=%lu\n", times, tsc_ns(rdtsc() - start) / times,
	      tsc_ns(least));
	vs_send(&d, &c, OP_RST, 0, 0);
	vdev_reset(&d);
}
