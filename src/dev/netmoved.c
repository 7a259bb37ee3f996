/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See netmoved.h.
 */
#include "dev/netmoved.h"

#include <string.h>

#include "base/counter.h"
#include "dev/netpair.h"
#include "net/frame.h"

#define TIMES 4
#define FIRST_NS 100000000ull /* each pause is twice the one before */

#define MAC_BYTES 6
#define FRAME_BYTES 60 /* the shortest that Ethernet has */

/* Ethernet to all, RARP; then, for Ethernet and IPv4, a request: sender and target. */
static const uint8_t head[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };
#define AT_FROM MAC_BYTES
#define AT_HEAD (2 * MAC_BYTES)
#define AT_SENDER (AT_HEAD + sizeof(head))
#define AT_TARGET (AT_SENDER + MAC_BYTES + 4)

/* What is lost of it is sent again, or is not missed. */
static void send(struct netmoved *m)
{
	uint8_t b[FRAME_HEADER + FRAME_BYTES] = { 0 }, *f = b + FRAME_HEADER;
	struct kiov k = kiov_of(b, sizeof(b));
	struct nlink *l = &m->pair->link;

	memset(f, 0xff, MAC_BYTES);
	memcpy(f + AT_FROM, m->mac, MAC_BYTES);
	memcpy(f + AT_HEAD, head, sizeof(head));
	memcpy(f + AT_SENDER, m->mac, MAC_BYTES);
	memcpy(f + AT_TARGET, m->mac, MAC_BYTES);
	if (m->pair->gone || m->pair->unplugged || m->pair->tx_blocked)
		return;
	if (l->ops->tx(l, &k, 1) >= 0 && l->ops->flush)
		(void)l->ops->flush(l);
}

static void turn(void *arg)
{
	struct netmoved *m = arg;

	if (!m->pair->tx.vq) {
		m->times = TIMES; /* without a driver nobody is there to be found */
		return;
	}
	if (m->pair->v->features & m->feature)
		m->ask(m->pair, m->times);
	else
		send(m);
	m->due_ns = loop_now_ns() + (FIRST_NS << m->times++);
	netmoved_go_on(m);
}

void netmoved_go_on(struct netmoved *m)
{
	if (netmoved_is_under_way(m))
		loop_timer_set(m->pair->loop, &m->timer, m->due_ns, turn, m);
}

bool netmoved_is_under_way(const struct netmoved *m)
{
	return m->times && m->times < TIMES;
}

void netmoved_start(struct netmoved *m)
{
	m->times = 0;
	turn(m);
}

void netmoved_stop(struct netmoved *m)
{
	loop_timer_stop(&m->timer);
}
