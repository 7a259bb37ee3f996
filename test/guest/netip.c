/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of IPv4 as a datagram needs, over virtio-net with mergeable buffers: ARP both ways, UDP
 * without checksums. And frames as fast as they go, for measuring. Polled; runs on CPU 0.
 * Settings: me=, peer= (addresses as numbers), port= (ours), to= (theirs), len=, secs10=, listen,
 * again, nomerge; of netbench: rx, rr, gso, depth= (frames in flight).
 * Specification: virtio 1.3 §5.1, RFC 768, 791, 826.
 */
#include "drivers.h"
#include "guest.h"

#define F_MAC (1ul << 5)
#define F_CSUM (1ul << 0)
#define F_HOST_TSO4 (1ul << 11)
#define F_MRG_RXBUF (1ul << 15)
#define F_STATUS (1ul << 16)
#define HEADER 12
#define RX_BYTES 2048u
#define STAGE (HEAP + 0x4000000ul) /* a received frame, put together */
#define ETHER 14u
#define IP 20u
#define UDP 8u
#define PAYLOAD (ETHER + IP + UDP)
#define PATIENCE_US 20000000ul

struct card {
	struct vdev d;
	struct vq *rx, *tx;
	uint8_t mac[6], peer_mac[6];
	uint32_t me, peer, from; /* addresses; from: of the last datagram */
	uint16_t port, to, from_port;
	bool merge, knows_peer;
	uint32_t buffers; /* that the last frame took */
};

static void be16(uint64_t at, uint32_t v)
{
	wr8(at, (uint8_t)(v >> 8));
	wr8(at + 1, (uint8_t)v);
}

static void be32(uint64_t at, uint32_t v)
{
	be16(at, v >> 16);
	be16(at + 2, v & 0xffff);
}

static uint32_t get16(uint64_t at)
{
	return (uint32_t)rd8(at) << 8 | rd8(at + 1);
}

static uint32_t get32(uint64_t at)
{
	return get16(at) << 16 | get16(at + 2);
}

static bool card_start(struct card *c)
{
	uint64_t me = 0, peer = 0, port = 7001, to = 7002;

	memset(c, 0, sizeof *c);
	c->merge = !word("nomerge", NULL);
	word("me", &me);
	word("peer", &peer);
	word("port", &port);
	word("to", &to);
	c->me = (uint32_t)me;
	c->peer = (uint32_t)peer;
	c->port = (uint16_t)port;
	c->to = (uint16_t)to;
	if (!vdev_find(&c->d, VIRTIO_NET, 0) ||
	    !vdev_start(&c->d, F_MAC | F_STATUS | F_EVENT_IDX | (c->merge ? F_MRG_RXBUF : 0) |
				       (word("gso", NULL) ? F_CSUM | F_HOST_TSO4 : 0)))
		return false;
	for (uint32_t i = 0; i < 6; i++)
		c->mac[i] = rd8(c->d.config + i);
	memset(c->peer_mac, 0xff, 6);
	c->rx = &c->d.q[0];
	c->tx = &c->d.q[1];
	for (uint16_t i = 0; i < c->rx->size; i++) {
		vq_desc(c->rx, i, (struct desc){ c->rx->buf + i * RX_BYTES, RX_BYTES, D_WRITE, 0 });
		vq_put(c->rx, i);
	}
	vq_publish(c->rx);
	return !c->merge || c->d.features & F_MRG_RXBUF;
}

/* One received frame at STAGE: its length, or 0 when there is none. */
static uint32_t card_take(struct card *c)
{
	struct vq *q = c->rx;
	uint32_t total = 0, n = 1, skip = HEADER;

	if (q->used[1] == q->last_used)
		return 0;
	barrier();
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len, head;

		if (q->used[1] == q->last_used)
			return check(false, "all buffers of a frame are shown together") ? 1 : 0;
		head = vq_take(q, &len);
		if (!i)
			n = c->merge ? rd16(q->buf + head * RX_BYTES + 10) : 1;
		if (!i)
			c->buffers = n;
		memcpy((void *)(STAGE + total), (void *)(q->buf + head * RX_BYTES + skip),
		       len - skip);
		total += len - skip;
		skip = 0;
		vq_put(q, (uint16_t)head);
	}
	vq_publish(q);
	return total;
}

/* Sends len bytes that lie behind the header at the transmit queue's buffer. */
static bool card_send(struct card *c, uint32_t len)
{
	memset((void *)c->tx->buf, 0, HEADER);
	vq_desc(c->tx, 0, (struct desc){ c->tx->buf, HEADER + len, 0, 0 });
	return vq_once(c->tx, 5000000) >= 0;
}

static uint64_t ether(struct card *c, uint32_t type)
{
	uint64_t at = c->tx->buf + HEADER;

	memcpy((void *)at, c->peer_mac, 6);
	memcpy((void *)(at + 6), c->mac, 6);
	be16(at + 12, type);
	return at;
}

static void send_arp(struct card *c, uint32_t op, const uint8_t *mac, uint32_t address)
{
	uint64_t at = ether(c, 0x0806);

	be32(at + 14, 0x00010800);
	be16(at + 18, 0x0604);
	be16(at + 20, op);
	memcpy((void *)(at + 22), c->mac, 6);
	be32(at + 28, c->me);
	memcpy((void *)(at + 32), mac, 6);
	be32(at + 38, address);
	card_send(c, 42);
}

static void put_ip(struct card *c, uint64_t at, uint32_t to, uint16_t to_port, uint32_t payload)
{
	uint32_t sum = 0;

	be32(at + 14, 0x45000000 | (IP + UDP + payload));
	be32(at + 18, 0);
	be32(at + 22, 0x40110000); /* hops, UDP, and the sum */
	be32(at + 26, c->me);
	be32(at + 30, to);
	for (uint32_t i = 0; i < IP; i += 2)
		sum += get16(at + ETHER + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	be16(at + 24, ~sum & 0xffff);
	be16(at + 34, c->port);
	be16(at + 36, to_port);
	be16(at + 38, UDP + payload);
	be16(at + 40, 0);
}

static void take_arp(struct card *c)
{
	uint32_t op = get16(STAGE + 20), from = get32(STAGE + 28);
	uint8_t mac[6];

	memcpy(mac, (void *)(STAGE + 22), 6);
	if (op == 2 && from == c->peer) {
		memcpy(c->peer_mac, mac, 6);
		c->knows_peer = true;
	} else if (op == 1 && get32(STAGE + 38) == c->me) {
		send_arp(c, 2, mac, from);
	}
}

/* Serves what comes until a datagram for our port lies at STAGE + PAYLOAD, or the link is up or
 * down as wanted, or time is over. Returns the bytes of the datagram. */
static uint32_t serve(struct card *c, uint64_t us)
{
	uint64_t t = rdtsc();

	while (!lapse(t, us)) {
		uint32_t len = card_take(c);

		if (len >= 42 && get16(STAGE + 12) == 0x0806)
			take_arp(c);
		if (len < PAYLOAD || get16(STAGE + 12) != 0x0800 || rd8(STAGE + 23) != 17 ||
		    get16(STAGE + 36) != c->port)
			continue;
		c->from = get32(STAGE + 26);
		c->from_port = (uint16_t)get16(STAGE + 34);
		return get16(STAGE + 38) - UDP;
	}
	return 0;
}

static bool meet_peer(struct card *c)
{
	static const uint8_t nobody[6];
	uint64_t t = rdtsc();

	c->knows_peer = false;
	memset(c->peer_mac, 0xff, 6);
	while (!c->knows_peer && !lapse(t, PATIENCE_US)) {
		send_arp(c, 1, nobody, c->peer);
		serve(c, 200000);
	}
	return check(c->knows_peer, "the peer answers ARP");
}

static void tell_got(struct card *c, uint32_t len)
{
	print("R3 UDPGOT len=%u sum=%x buffers=%u\n", len, sum8(STAGE + PAYLOAD, len), c->buffers);
}

/* Out and back again, unchanged. */
static void ask(struct card *c, uint32_t len)
{
	uint64_t at = ether(c, 0x0800), t = rdtsc();
	uint32_t got = 0;

	for (uint32_t i = 0; i < len; i++)
		wr8(at + PAYLOAD + i, (uint8_t)(i * 7 + i / 251));
	put_ip(c, at, c->peer, c->to, len);
	while (got != len && !lapse(t, PATIENCE_US)) {
		card_send(c, PAYLOAD + len);
		got = serve(c, 500000);
		ether(c, 0x0800); /* an ARP answer may have gone out from there */
		put_ip(c, at, c->peer, c->to, len);
	}
	check(got == len && !memcmp((void *)(STAGE + PAYLOAD), (void *)(at + PAYLOAD), len),
	      "a datagram of %u bytes comes back", len);
	tell_got(c, got);
}

static void answer(struct card *c)
{
	uint64_t at;
	uint32_t len;

	print("R3 LISTENING\n");
	len = serve(c, PATIENCE_US);
	if (!check(len, "a datagram comes in"))
		return;
	tell_got(c, len);
	at = ether(c, 0x0800);
	memcpy((void *)(at + PAYLOAD), (void *)(STAGE + PAYLOAD), len);
	put_ip(c, at, c->from, c->from_port, len);
	card_send(c, PAYLOAD + len);
}

static bool wait_link(struct card *c, bool up)
{
	uint64_t t = rdtsc();

	while ((rd16(c->d.config + 6) & 1) != up && !lapse(t, PATIENCE_US))
		cpu_relax();
	return check((rd16(c->d.config + 6) & 1) == up, "the link is %s", up ? "up" : "down");
}

void net_udp(void)
{
	static struct card c;
	uint64_t len = 100;

	word("len", &len);
	if (!check(card_start(&c), "net starts") || !meet_peer(&c))
		return;
	if (word("listen", NULL))
		answer(&c);
	else
		ask(&c, (uint32_t)len);
	if (word("again", NULL)) {
		print("R3 FIRST\n");
		if (!wait_link(&c, false))
			return;
		print("R3 DOWN\n");
		card_send(&c, 60); /* taken, though there is nobody */
		if (wait_link(&c, true) && meet_peer(&c))
			ask(&c, (uint32_t)len);
	}
	check(!(vdev_status(&c.d) & S_NEEDS_RESET), "net is sound");
	vdev_reset(&c.d);
}

/* Waits until the link is down: what is sent is taken all the same. */
void net_link(void)
{
	static struct card c;

	if (!check(card_start(&c), "net starts"))
		return;
	print("R3 FIRST\n");
	if (wait_link(&c, false))
		check(card_send(&c, 60), "frames are taken without a link");
	check(!(vdev_status(&c.d) & S_NEEDS_RESET), "net is sound");
	vdev_reset(&c.d);
}

/* --- as fast as it goes --- */

static void told_rate(const char *way, uint64_t frames, uint64_t bytes, uint64_t ns)
{
	print("R3 NETIO %s frames=%lu fps=%lu kbps=%lu\n", way, frames,
	      (uint64_t)((unsigned __int128)frames * 1000000000 / ns),
	      (uint64_t)((unsigned __int128)bytes * 8 * 1000000 / ns));
}

/* A segmentation unit of TCP: the header's wish, and as much of TCP as it takes to cut it. */
static void put_gso(struct card *c, uint64_t at)
{
	wr8(c->tx->buf, 1);	  /* NEEDS_CSUM */
	wr8(c->tx->buf + 1, 1);	  /* TCPV4 */
	wr16(c->tx->buf + 2, 54); /* headers */
	wr16(c->tx->buf + 4, 1446);
	wr16(c->tx->buf + 6, ETHER + IP);
	wr16(c->tx->buf + 8, 16);
	wr8(at + 23, 6);
	wr8(at + 46, 5 << 4);
	wr8(at + 47, 0x10); /* ACK */
}

/* All descriptors speak of one frame. */
static void bench_tx(struct card *c, uint32_t len, uint64_t tenths)
{
	struct vq *q = c->tx;
	uint64_t start, done = 0, depth = q->size, at = ether(c, c->me ? 0x0800 : 0x88b5);
	uint32_t flying = 0, unused;

	word("depth", &depth);
	if (depth > q->size)
		depth = q->size;
	memset((void *)q->buf, 0, HEADER);
	if (word("gso", NULL) || c->me)
		put_ip(c, ether(c, 0x0800), c->peer, c->to, len - PAYLOAD);
	if (word("gso", NULL))
		put_gso(c, at);
	for (uint16_t i = 0; i < depth; i++)
		vq_desc(q, i, (struct desc){ q->buf, HEADER + len, 0, 0 });
	print("R3 GO\n");
	start = rdtsc();
	for (uint16_t i = 0; i < depth; i++, flying++)
		vq_put(q, i);
	vq_publish(q);
	while (flying) {
		bool again = !lapse(start, tenths * 100000), took = false;

		while (q->used[1] != q->last_used) {
			barrier();
			uint16_t head = (uint16_t)vq_take(q, &unused);

			done++;
			flying--;
			if (!again)
				continue;
			vq_put(q, head);
			flying++;
			took = true;
		}
		if (took)
			vq_publish(q);
		else
			cpu_relax();
		if (!lapse(start, tenths * 100000 + PATIENCE_US))
			continue;
		check(false, "frames are taken");
		break;
	}
	told_rate("tx", done, done * len, tsc_ns(rdtsc() - start));
}

/* Counts what comes, from the first frame on. */
static void bench_rx(struct card *c, uint64_t tenths)
{
	struct vq *q = c->rx;
	uint64_t start = rdtsc(), frames = 0, bytes = 0, ns;

	print("R3 LISTENING\n");
	while (q->used[1] == q->last_used && !lapse(start, PATIENCE_US))
		cpu_relax();
	print("R3 GO\n");
	start = rdtsc();
	while (!lapse(start, tenths * 100000)) {
		bool took = false;

		while (q->used[1] != q->last_used) {
			uint32_t len;

			barrier();
			uint16_t head = (uint16_t)vq_take(q, &len);

			/* only a frame's first buffer says how many there are; long frames
			 * come with two thousand bytes each */
			frames += len < RX_BYTES;
			bytes += len;
			vq_put(q, head);
			took = true;
		}
		if (took)
			vq_publish(q);
		else
			cpu_relax();
	}
	ns = tsc_ns(rdtsc() - start);
	told_rate("rx", frames, bytes - frames * HEADER, ns);
}

/* One frame goes, its echo comes; and again. One that is lost, as the first are while the other end
 * is not there yet, is sent anew. */
static void bench_rr(struct card *c, uint32_t len, uint64_t tenths)
{
	struct vq *tx = c->tx, *rx = c->rx;
	uint64_t start = rdtsc(), first = 0, done = 0;
	uint32_t unused;

	memset((void *)tx->buf, 0, HEADER);
	ether(c, 0x88b5);
	vq_desc(tx, 0, (struct desc){ tx->buf, HEADER + len, 0, 0 });
	print("R3 LISTENING\n");
	while (!lapse(start, (first ? 0 : PATIENCE_US) + tenths * 100000)) {
		uint64_t sent = rdtsc();

		vq_put(tx, 0);
		vq_publish(tx);
		while (tx->used[1] == tx->last_used && !lapse(sent, PATIENCE_US))
			cpu_relax();
		vq_take(tx, &unused);
		while (rx->used[1] == rx->last_used && !lapse(sent, 20000))
			cpu_relax();
		if (rx->used[1] == rx->last_used)
			continue;
		barrier();
		vq_put(rx, (uint16_t)vq_take(rx, &unused));
		vq_publish(rx);
		done++;
		if (first)
			continue;
		print("R3 GO\n");
		first = start = rdtsc();
		done = 0;
	}
	told_rate("rr", done, done * len, tsc_ns(rdtsc() - start));
}

void net_bench(void)
{
	static struct card c;
	uint64_t tenths = 10, len = 60;

	word("secs10", &tenths);
	word("len", &len);
	if (!check(card_start(&c), "netbench starts") || (c.me && !meet_peer(&c)))
		return;
	if (word("rr", NULL))
		bench_rr(&c, (uint32_t)len, tenths);
	else if (word("rx", NULL))
		bench_rx(&c, tenths);
	else
		bench_tx(&c, (uint32_t)len, tenths);
	vdev_reset(&c.d);
}
