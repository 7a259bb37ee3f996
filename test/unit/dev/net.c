/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net driven by hand over a socket pair that stands for the tap: features, frames both ways,
 * rings without buffers, a link without room, the control queue, and what a hostile driver may
 * send.
 */
#include "counted.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "dev/net.h"
#include "virtio/drive.h"

#define ALL (~(1ull << 33))
#define BITF(n) (1ull << (n))
#define PAIRS_MAX 3
#define CTRL BUF
#define ACK (BUF + 0x800)
#define TX (BUF + 0x1000)
#define RX (BUF + 0x10000)
#define RX_BYTES 2048u

/* --- the link --- */

static struct far_end {
	int fd[PAIRS_MAX]; /* the network's side */
	_Atomic uint32_t offloads;
	_Atomic int on[PAIRS_MAX];
	int closed, knocks;
	bool bare, home; /* the link is to be of the second kind; its peer is there */
} far_end;

static long far_result(ssize_t n)
{
	if (n > 0)
		return n;
	return n < 0 && errno == EAGAIN ? LINK_AGAIN : LINK_DEAD;
}
static long far_tx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return far_result(writev(l->fd, &k->v, (int)n));
}
static long far_rx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return far_result(readv(l->fd, &k->v, (int)n));
}
static int far_offload(struct nlink *l, uint32_t bits)
{
	(void)l;
	far_end.offloads = bits;
	return 0;
}
static int far_enable(struct nlink *l, bool on)
{
	*(_Atomic int *)l->priv = on;
	return 0;
}
static void far_close(struct nlink *l)
{
	fd_close(&l->fd);
	far_end.closed++;
}
static const struct link_ops far_ops = {
	.name = "pair",
	.offload = far_offload,
	.tx = far_tx,
	.rx = far_rx,
	.enable = far_enable,
	.close = far_close,
};
/* One that carries bare frames and may come back. */
static int far_knock(const struct nlink *l)
{
	int p[2];

	(void)l;
	far_end.knocks++;
	if (!far_end.home)
		return -1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p),
			 0);
	far_end.fd[0] = p[0];
	return p[1];
}
static void far_renew(struct nlink *l, int fd)
{
	fd_close(&l->fd);
	l->fd = fd;
}
static const struct link_ops bare_ops = {
	.name = "bare",
	.tx = far_tx,
	.rx = far_rx,
	.knock = far_knock,
	.renew = far_renew,
	.close = far_close,
};

/* In place of net/tap.c, which the linker leaves in its library. */
int tap_open(struct nlink *links, const struct tap_args *a, struct err *e)
{
	if (a->name && !strcmp(a->name, "broken"))
		return err_set(e, ERR_BAD, "the tap is broken");
	for (unsigned int i = 0; i < a->pairs; i++) {
		int p[2];

		assert_int_equal(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p),
			0);
		far_end.fd[i] = p[0];
		far_end.on[i] = true;
		links[i] = (struct nlink){ .ops = far_end.bare ? &bare_ops : &far_ops,
					   .fd = p[1],
					   .priv = (void *)&far_end.on[i] };
	}
	return 0;
}
int tap_judge(struct nlink *l, const struct tap_args *a, struct err *e)
{
	return tap_open(l, a, e);
}

uint32_t tap_mtu(const struct nlink *l)
{
	(void)l;
	return 1450;
}

bool tap_host_mac(const struct nlink *l, uint8_t mac[6])
{
	(void)l;
	(void)mac;
	return false;
}

/* --- the driver --- */

struct bench {
	struct rig r;
	struct net_conf conf;
	unsigned int pairs;
};

static void bench_init(struct bench *b, uint16_t pairs)
{
	*b = (struct bench){ .pairs = pairs };
	far_end = (struct far_end){ 0 };
	desc_default(&net_desc, &b->conf);
	b->conf.num_queues = (uint16_t)(2 * pairs);
	b->conf.queue_size = 16;
	rig_init(&b->r);
	rig_add(&b->r, &net_class, &b->conf);
}

static void bench_start(struct bench *b, uint16_t pairs, uint64_t features)
{
	bench_init(b, pairs);
	drv_start(&b->r, features);
}

static void bench_end(struct bench *b)
{
	rig_fini(&b->r);
	assert_int_equal(far_end.closed, b->pairs);
	for (unsigned int i = 0; i < b->pairs; i++)
		fd_close(&far_end.fd[i]);
	desc_free(&net_desc, &b->conf);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void wait_used(struct rig *r, uint16_t q, uint16_t n)
{
	for (int i = 0; i < 5000 && drv_used(r, q) != n && drv_status(r) == 15; i++)
		sleep_ms(1);
	if (drv_status(r) == 15)
		assert_int_equal(drv_used(r, q), n);
}

static void wait_broken(struct rig *r)
{
	for (int i = 0; i < 5000 && drv_status(r) == 15; i++)
		sleep_ms(1);
	assert_true(drv_status(r) & VSTAT_NEEDS_RESET);
}

static void rx_buffers(struct rig *r, uint16_t q, uint16_t first, uint16_t count)
{
	for (uint16_t i = first; i < first + count; i++) {
		drv_desc(r, q, i, RX + (uint64_t)i * RX_BYTES, RX_BYTES, F_WRITE, 0);
		drv_offer(r, q, i);
	}
	drv_kick(r, q);
}

/* A frame of len bytes, filled with tag, with its header of 12. */
static void network_sends(unsigned int pair, uint8_t tag, size_t len)
{
	uint8_t f[4096] = { 0 };

	memset(f + 12, tag, len);
	assert_int_equal(write(far_end.fd[pair], f, 12 + len), 12 + len);
}

static size_t network_gets(unsigned int pair, uint8_t *f, size_t max)
{
	struct pollfd p = { .fd = far_end.fd[pair], .events = POLLIN };

	assert_int_equal(poll(&p, 1, 5000), 1);
	return (size_t)read(far_end.fd[pair], f, max);
}

static void tx_offer(struct rig *r, uint16_t q, uint16_t i, uint8_t tag, uint32_t len)
{
	uint64_t at = TX + 0x200ull * i;

	mem_wr(r, at, 8, 0);
	mem_wr(r, at + 8, 4, 0);
	mem_wr(r, at + 12, 1, tag);
	drv_desc(r, q, i, at, 12 + len, 0, 0);
	drv_offer(r, q, i);
}

static uint8_t command(struct rig *r, uint16_t q, uint8_t class, uint8_t cmd, uint64_t arg,
		       uint32_t len)
{
	mem_wr(r, CTRL, 1, class);
	mem_wr(r, CTRL + 1, 1, cmd);
	mem_wr(r, CTRL + 2, 8, arg);
	mem_wr(r, ACK, 1, 0xee);
	drv_desc(r, q, 0, CTRL, 2 + len, F_NEXT, 1);
	drv_desc(r, q, 1, ACK, 1, F_WRITE, 0);
	drv_offer(r, q, 0);
	drv_kick(r, q);
	wait_used(r, q, r->avail[q]);
	return (uint8_t)mem_rd(r, ACK, 1);
}

/* --- facts --- */

TEST(features_and_config_say_what_the_card_is)
{
	struct bench b;
	uint64_t f;

	bench_start(&b, 2, ALL);
	f = drv_offered(&b.r);
	for (unsigned int i = VIRTIO_NET_F_GUEST_TSO4; i <= VIRTIO_NET_F_HOST_UFO; i++)
		assert_true(f & BITF(i));
	assert_true(f & BITF(VIRTIO_NET_F_CSUM) && f & BITF(VIRTIO_NET_F_GUEST_CSUM));
	assert_true(f & BITF(VIRTIO_NET_F_CTRL_VQ) && f & BITF(VIRTIO_NET_F_MQ));
	assert_true(f & BITF(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	assert_true(f & BITF(VIRTIO_NET_F_MAC) && f & BITF(VIRTIO_NET_F_STATUS));
	assert_true(f & BITF(VIRTIO_NET_F_MTU));
	assert_true(f & BITF(VIRTIO_NET_F_MRG_RXBUF));
	assert_int_equal(rd(&b.r, AT_CONFIG, 1) & 3, 2); /* one card, locally administered */
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(rd(&b.r, AT_CONFIG + 8, 2), 2);
	assert_int_equal(rd(&b.r, AT_CONFIG + 10, 2), 1450);
	assert_int_equal(rd(&b.r, R_NUM_Q, 2), 5);
	bench_end(&b);
}

TEST(offloads_that_were_switched_off_are_not_offered)
{
	struct bench b = { .pairs = 1 };

	far_end = (struct far_end){ 0 };
	desc_default(&net_desc, &b.conf);
	b.conf.offload_csum = false;
	memcpy(b.conf.mac, "\x52\x54\x00\x01\x02\x03", 6);
	rig_init(&b.r);
	rig_add(&b.r, &net_class, &b.conf);
	assert_int_equal(drv_offered(&b.r) & 0x7f83, 0);
	assert_int_equal(rd(&b.r, AT_CONFIG, 4), 0x01005452);
	bench_end(&b);
}

TEST(frames_go_both_ways)
{
	uint8_t f[4096];
	struct bench b;

	bench_start(&b, 1, ALL & ~VF_EVENT_IDX);
	rx_buffers(&b.r, 0, 0, 4);
	for (uint8_t i = 0; i < 4; i++)
		network_sends(0, (uint8_t)(0x40 + i), 100u + i);
	wait_used(&b.r, 0, 4);
	for (uint16_t i = 0; i < 4; i++) {
		assert_int_equal(drv_used_len(&b.r, 0, i), 112u + i);
		assert_int_equal(mem_rd(&b.r, RX + i * RX_BYTES + 12, 1), 0x40u + i);
		assert_int_equal(mem_rd(&b.r, RX + i * RX_BYTES + 10, 2), 1); /* num_buffers */
	}
	for (uint16_t i = 0; i < 3; i++)
		tx_offer(&b.r, 1, i, (uint8_t)(0x70 + i), 60);
	drv_kick(&b.r, 1);
	wait_used(&b.r, 1, 3);
	for (uint8_t i = 0; i < 3; i++) {
		assert_int_equal(network_gets(0, f, sizeof(f)), 72);
		assert_int_equal(f[12], 0x70 + i);
	}
	for (int i = 0; i < 1000 && !drv_pending(&b.r, 1); i++)
		sleep_ms(1);
	assert_true(drv_pending(&b.r, 0));
	assert_true(drv_pending(&b.r, 1));
	bench_end(&b);
}

static long cpu_ms(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

TEST(without_buffers_frames_wait_and_nothing_spins)
{
	struct bench b;
	long before;

	bench_start(&b, 1, ALL);
	network_sends(0, 1, 60);
	network_sends(0, 2, 60);
	sleep_ms(20);
	before = cpu_ms();
	sleep_ms(200);
	assert_true(cpu_ms() - before < 100);
	rx_buffers(&b.r, 0, 0, 1);
	wait_used(&b.r, 0, 1);
	sleep_ms(20);
	rx_buffers(&b.r, 0, 1, 2);
	wait_used(&b.r, 0, 2);
	assert_int_equal(mem_rd(&b.r, RX + RX_BYTES + 12, 1), 2);
	network_sends(0, 3, 60);
	wait_used(&b.r, 0, 3);
	bench_end(&b);
}

TEST(a_link_without_room_holds_frames_back_and_loses_none)
{
	struct bench b;
	uint8_t f[4096];
	unsigned int sent = 0, got = 0;
	long before;

	bench_start(&b, 1, ALL & ~VF_EVENT_IDX);
	/* until the socket is full */
	for (int i = 0; i < 2000; i++, sent++) {
		tx_offer(&b.r, 1, (uint16_t)(i % 8), (uint8_t)sent, 300);
		drv_kick(&b.r, 1);
		for (int k = 0; k < 50 && drv_used(&b.r, 1) != b.r.avail[1]; k++)
			sleep_ms(1);
		if (drv_used(&b.r, 1) != b.r.avail[1])
			break;
	}
	assert_true(sent < 2000);
	before = cpu_ms();
	sleep_ms(200);
	assert_true(cpu_ms() - before < 100);
	for (got = 0; got <= sent; got++) {
		assert_int_equal(network_gets(0, f, sizeof(f)), 312);
		assert_int_equal(f[12], (uint8_t)got);
	}
	wait_used(&b.r, 1, b.r.avail[1]);
	bench_end(&b);
}

TEST(frames_that_are_none_are_dropped)
{
	uint8_t f[4096];
	struct bench b;

	bench_start(&b, 1, ALL & ~BITF(VIRTIO_NET_F_MRG_RXBUF));
	tx_offer(&b.r, 1, 0, 1, 0);	   /* no frame behind the header */
	tx_offer(&b.r, 1, 1, 2, 0x20000);  /* longer than any */
	drv_desc(&b.r, 1, 2, TX, 3, 0, 0); /* no whole header */
	drv_offer(&b.r, 1, 2);
	tx_offer(&b.r, 1, 3, 0x55, 60);
	drv_kick(&b.r, 1);
	wait_used(&b.r, 1, 4);
	assert_int_equal(network_gets(0, f, sizeof(f)), 72);
	assert_int_equal(f[12], 0x55);
	/* a receive buffer in which no frame fits comes back empty; the next one is filled */
	drv_desc(&b.r, 0, 0, RX, 20, F_WRITE, 0);
	drv_offer(&b.r, 0, 0);
	rx_buffers(&b.r, 0, 1, 1);
	network_sends(0, 9, 60);
	wait_used(&b.r, 0, 2);
	assert_int_equal(drv_used_len(&b.r, 0, 0), 0);
	assert_int_equal(drv_used_len(&b.r, 0, 1), 72);
	bench_end(&b);
}

TEST(a_broken_ring_needs_a_reset_and_recovers)
{
	uint8_t f[100];
	struct bench b;

	bench_start(&b, 1, ALL);
	drv_offer(&b.r, 1, 99);
	drv_kick(&b.r, 1);
	wait_broken(&b.r);
	drv_start(&b.r, ALL);
	drv_offer(&b.r, 0, 99);
	drv_kick(&b.r, 0);
	network_sends(0, 1, 60);
	wait_broken(&b.r);
	drv_start(&b.r, ALL);
	tx_offer(&b.r, 1, 0, 0x31, 60);
	drv_kick(&b.r, 1);
	assert_int_equal(network_gets(0, f, sizeof(f)), 72);
	/* a command without room for an answer */
	drv_desc(&b.r, 2, 0, CTRL, 4, 0, 0);
	drv_offer(&b.r, 2, 0);
	drv_kick(&b.r, 2);
	wait_broken(&b.r);
	bench_end(&b);
}

TEST(offloads_follow_the_driver)
{
	uint64_t csum = BITF(VIRTIO_NET_F_GUEST_CSUM), tso = BITF(VIRTIO_NET_F_GUEST_TSO4);
	struct bench b;

	bench_start(&b, 1,
		    csum | tso | BITF(VIRTIO_NET_F_CTRL_VQ) |
			    BITF(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	assert_int_equal(far_end.offloads, TUN_F_CSUM | TUN_F_TSO4);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, csum, 8),
			 VIRTIO_NET_OK);
	assert_int_equal(far_end.offloads, TUN_F_CSUM);
	/* one that was not agreed on */
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0,
				 csum | BITF(VIRTIO_NET_F_GUEST_TSO6), 8),
			 VIRTIO_NET_ERR);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, csum, 7),
			 VIRTIO_NET_ERR);
	assert_int_equal(far_end.offloads, TUN_F_CSUM);
	drv_start(&b.r, csum | tso | BITF(VIRTIO_NET_F_CTRL_VQ));
	assert_int_equal(far_end.offloads, TUN_F_CSUM | TUN_F_TSO4);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, csum, 8),
			 VIRTIO_NET_ERR);
	bench_end(&b);
}

TEST(the_control_queue_answers_what_it_knows)
{
	struct bench b;

	bench_start(&b, 1, ALL);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, 1), 0);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 5, 2), 0);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_ANNOUNCE, 0, 0, 0), 0);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_MQ, 0, 1, 2), 0);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_MQ, 0, 2, 2), 1);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_MQ, 0, 0, 2), 1);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_MQ, 0, 1, 1), 1);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_MQ, 1, 1, 2), 1);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_MAC, 1, 1, 6), 1);
	assert_int_equal(command(&b.r, 2, 200, 200, 1, 8), 1);
	bench_end(&b);
}

static void wait_on(unsigned int pair, bool on)
{
	for (int i = 0; i < 5000 && far_end.on[pair] != on; i++)
		sleep_ms(1);
	assert_int_equal(far_end.on[pair], on);
}

TEST(pairs_out_of_use_take_no_traffic)
{
	struct bench b;

	bench_start(&b, 3, ALL);
	wait_on(0, true);
	wait_on(1, false);
	wait_on(2, false);
	assert_int_equal(command(&b.r, 6, VIRTIO_NET_CTRL_MQ, 0, 2, 2), 0);
	wait_on(1, true);
	assert_false(far_end.on[2]);
	rx_buffers(&b.r, 2, 0, 1);
	network_sends(1, 0x21, 60);
	wait_used(&b.r, 2, 1);
	assert_int_equal(mem_rd(&b.r, RX + 12, 1), 0x21);
	assert_int_equal(command(&b.r, 6, VIRTIO_NET_CTRL_MQ, 0, 1, 2), 0);
	wait_on(1, false);
	assert_int_equal(command(&b.r, 6, VIRTIO_NET_CTRL_MQ, 0, 3, 2), 0);
	wait_on(2, true);
	drv_reset(&b.r);
	assert_false(far_end.on[1]);
	assert_false(far_end.on[2]);
	bench_end(&b);
}

TEST(without_mq_the_control_queue_comes_third)
{
	struct bench b;

	bench_start(&b, 2, ALL & ~BITF(VIRTIO_NET_F_MQ));
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_RX, 0, 1, 1), 0);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_MQ, 0, 1, 2), 1);
	bench_end(&b);
}

TEST(a_link_that_goes_away_is_let_go)
{
	struct bench b;
	long before;

	bench_start(&b, 1, ALL);
	rx_buffers(&b.r, 0, 0, 2);
	fd_close(&far_end.fd[0]);
	far_end.fd[0] = -1;
	sleep_ms(20);
	before = cpu_ms();
	sleep_ms(200);
	assert_true(cpu_ms() - before < 100);
	assert_int_equal(drv_status(&b.r), 15);
	bench_end(&b);
}

TEST(a_control_queue_that_was_not_agreed_on_is_nobodys)
{
	struct bench b;

	bench_start(&b, 1, ALL & ~BITF(VIRTIO_NET_F_CTRL_VQ));
	rx_buffers(&b.r, 0, 0, 1);
	drv_offer(&b.r, 2, 99);
	drv_kick(&b.r, 2);
	network_sends(0, 0x21, 60);
	wait_used(&b.r, 0, 1);
	assert_int_equal(mem_rd(&b.r, RX + 12, 1), 0x21);
	assert_int_equal(drv_status(&b.r), 15);
	bench_end(&b);
}

static void wait_status(struct rig *r, uint16_t status)
{
	for (int i = 0; i < 5000 && rd(r, AT_CONFIG + 6, 2) != status; i++) {
		rig_turn(r, 1); /* of the control loop */
		sleep_ms(1);
	}
	assert_int_equal(rd(r, AT_CONFIG + 6, 2), status);
}

TEST(a_frame_takes_as_many_buffers_as_it_needs)
{
	struct bench b;

	bench_start(&b, 1, ALL & ~VF_EVENT_IDX);
	for (uint16_t i = 0; i < 4; i++) {
		drv_desc(&b.r, 0, i, RX + i * RX_BYTES, 100, F_WRITE, 0);
		drv_offer(&b.r, 0, i);
	}
	drv_kick(&b.r, 0);
	network_sends(0, 0x61, 250);
	wait_used(&b.r, 0, 3);
	assert_int_equal(mem_rd(&b.r, RX + 10, 2), 3); /* num_buffers */
	assert_int_equal(drv_used_len(&b.r, 0, 0), 100);
	assert_int_equal(drv_used_len(&b.r, 0, 1), 100);
	assert_int_equal(drv_used_len(&b.r, 0, 2), 62);
	assert_int_equal(mem_rd(&b.r, RX + 2 * RX_BYTES + 61, 1), 0x61);
	/* one that has to wait for the driver, with the network quiet meanwhile */
	network_sends(0, 0x62, 250);
	sleep_ms(20);
	assert_int_equal(drv_used(&b.r, 0), 3);
	rx_buffers(&b.r, 0, 0, 1);
	wait_used(&b.r, 0, 5);
	assert_int_equal(mem_rd(&b.r, RX + 3 * RX_BYTES + 10, 2), 2);
	assert_int_equal(drv_used_len(&b.r, 0, 4), 162);
	assert_int_equal(mem_rd(&b.r, RX + 161, 1), 0x62);
	bench_end(&b);
}

TEST(buffers_that_were_held_are_given_back_at_a_pause)
{
	struct bench b;

	bench_start(&b, 1, ALL & ~VF_EVENT_IDX);
	for (uint16_t i = 0; i < 8; i++) {
		drv_desc(&b.r, 0, i, RX + i * RX_BYTES, 100, F_WRITE, 0);
		drv_offer(&b.r, 0, i);
	}
	drv_kick(&b.r, 0);
	network_sends(0, 0x61, 250);
	wait_used(&b.r, 0, 3);
	vdev_stop(vdev_of(b.r.d));
	assert_int_equal(vdev_of(b.r.d)->queues[0].q.next_avail, 3);
	vdev_start(vdev_of(b.r.d));
	network_sends(0, 0x62, 60);
	wait_used(&b.r, 0, 4);
	assert_int_equal(drv_used_head(&b.r, 0, 3), 3);
	assert_int_equal(mem_rd(&b.r, RX + 3 * RX_BYTES + 12, 1), 0x62);
	bench_end(&b);
}

TEST(the_guest_is_told_that_the_link_is_down)
{
	struct bench b;
	uint64_t gen;

	bench_start(&b, 1, ALL);
	gen = rd(&b.r, R_GEN, 1);
	rx_buffers(&b.r, 0, 0, 2);
	fd_close(&far_end.fd[0]);
	wait_status(&b.r, 0);
	assert_true(rd(&b.r, R_GEN, 1) != gen);
	assert_true(drv_pending(&b.r, 3)); /* the config vector */
	/* what is sent is taken and dropped */
	tx_offer(&b.r, 1, 0, 1, 90);
	drv_kick(&b.r, 1);
	wait_used(&b.r, 1, 1);
	/* a tap does not come back, whatever the driver does */
	drv_start(&b.r, ALL);
	tx_offer(&b.r, 1, 0, 1, 90);
	drv_kick(&b.r, 1);
	wait_used(&b.r, 1, 1);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), 0);
	bench_end(&b);
}

TEST(a_card_without_its_cable_moves_nothing)
{
	uint8_t f[100];
	struct bench b;
	uint64_t gen;

	bench_start(&b, 1, ALL);
	rx_buffers(&b.r, 0, 0, 4);
	gen = rd(&b.r, R_GEN, 1);
	net_plug(b.r.d, false);
	wait_status(&b.r, 0);
	assert_true(rd(&b.r, R_GEN, 1) != gen);
	tx_offer(&b.r, 1, 0, 1, 90);
	drv_kick(&b.r, 1);
	wait_used(&b.r, 1, 1);
	network_sends(0, 0x61, 60);
	for (int i = 0; i < 5000 && counted(b.r.d, "rx_dropped") < 1; i++)
		sleep_ms(1);
	assert_int_equal(counted(b.r.d, "rx_dropped"), 1);
	assert_int_equal(counted(b.r.d, "tx_dropped"), 1);
	assert_int_equal(drv_used(&b.r, 0), 0);
	/* a reset puts no cable in */
	drv_start(&b.r, ALL);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), 0);
	rx_buffers(&b.r, 0, 0, 4);
	net_plug(b.r.d, true);
	wait_status(&b.r, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	network_sends(0, 0x62, 60);
	wait_used(&b.r, 0, 1);
	tx_offer(&b.r, 1, 0, 0x77, 60);
	drv_kick(&b.r, 1);
	assert_int_equal(network_gets(0, f, sizeof(f)), 72);
	bench_end(&b);
}

TEST(a_peer_that_comes_back_brings_the_link_up)
{
	uint8_t f[100];
	struct bench b;

	bench_init(&b, 1);
	rig_fini(&b.r);
	far_end = (struct far_end){ .bare = true };
	rig_init(&b.r);
	rig_add(&b.r, &net_class, &b.conf);
	drv_start(&b.r, ALL);
	assert_int_equal(drv_offered(&b.r) & 0x7f83, 0); /* no offloads */
	rx_buffers(&b.r, 0, 0, 4);
	network_sends(0, 1, 60);
	wait_used(&b.r, 0, 1);
	fd_close(&far_end.fd[0]);
	wait_status(&b.r, 0);
	for (int i = 0; i < 2000 && far_end.knocks < 2; i++) {
		rig_turn(&b.r, 1);
		sleep_ms(1);
	}
	assert_true(far_end.knocks >= 2);
	far_end.home = true;
	/* and asks the guest to say where it is */
	wait_status(&b.r, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	network_sends(0, 2, 60);
	wait_used(&b.r, 0, 2);
	tx_offer(&b.r, 1, 0, 0x77, 60);
	drv_kick(&b.r, 1);
	assert_int_equal(network_gets(0, f, sizeof(f)), 72);
	bench_end(&b);
}

TEST(an_announcement_ends_with_its_acknowledgement)
{
	struct bench b;

	bench_start(&b, 1, ALL);
	net_announce(b.r.d);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	assert_true(drv_pending(&b.r, 3));
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_ANNOUNCE, 0, 0, 0), VIRTIO_NET_OK);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP);
	net_announce(b.r.d);
	drv_reset(&b.r);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP);
	/* a driver that does not know of it is not asked, and may not answer */
	drv_start(&b.r, ALL & ~BITF(VIRTIO_NET_F_GUEST_ANNOUNCE));
	net_announce(b.r.d);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_ANNOUNCE, 0, 0, 0), VIRTIO_NET_ERR);
	bench_end(&b);
}

TEST(counters_count_frames_without_their_headers)
{
	struct bench b;

	bench_start(&b, 1, ALL);
	rx_buffers(&b.r, 0, 0, 2);
	network_sends(0, 1, 60);
	network_sends(0, 1, 70);
	wait_used(&b.r, 0, 2);
	tx_offer(&b.r, 1, 0, 1, 90);
	drv_kick(&b.r, 1);
	wait_used(&b.r, 1, 1);
	assert_int_equal(counted(b.r.d, "rx_frames"), 2);
	assert_int_equal(counted(b.r.d, "rx_bytes"), 130);
	assert_int_equal(counted(b.r.d, "tx_frames"), 1);
	assert_int_equal(counted(b.r.d, "tx_bytes"), 90);
	assert_int_equal(counted(b.r.d, "tx_dropped"), 0);
	bench_end(&b);
}

TEST(a_card_comes_back_from_its_state)
{
	struct err e = { 0 };
	struct json *saved, *again;
	struct bench b;
	uint64_t mac;

	assert_int_equal(desc_uncovered(net_class.dev.state), net_class.dev.state->size);
	bench_start(&b, 3, ALL);
	assert_int_equal(command(&b.r, 6, VIRTIO_NET_CTRL_MQ, 0, 2, 2), 0);
	wait_on(1, true);
	mac = rd(&b.r, AT_CONFIG, 4);
	vdev_stop(vdev_of(b.r.d));
	saved = dev_save(b.r.d);
	dev_remove(b.r.d);
	for (int i = 0; i < 3; i++)
		fd_close(&far_end.fd[i]);
	if (rig_add_saved(&b.r, &net_class, &b.conf, saved, &e))
		fail_msg("%s", err_line(&e, (char[400]){ 0 }, 400));
	again = dev_save(b.r.d);
	assert_true(json_equal_to(saved, again));
	assert_int_equal(rd(&b.r, AT_CONFIG, 4), mac);
	json_put(saved);
	json_put(again);
	far_end.closed = 0;
	bench_end(&b);
}

/* The same card in the next machine, whose driver goes on. */
static void goes_on(struct bench *b, uint64_t features)
{
	struct json *saved;
	struct err e = { 0 };

	bench_start(b, 1, features);
	assert_int_equal(net_class.dev.quiesce(b->r.d, &e), 0);
	saved = dev_save(b->r.d);
	dev_remove(b->r.d);
	fd_close(&far_end.fd[0]);
	if (rig_add_saved(&b->r, &net_class, &b->conf, saved, &e))
		fail_msg("%s", err_line(&e, (char[400]){ 0 }, 400));
	json_put(saved);
	far_end.closed = 0;
	net_class.dev.resume(b->r.d);
}

static void stands_still(struct bench *b)
{
	assert_int_equal(net_class.dev.quiesce(b->r.d, &(struct err){ 0 }), 0);
}

TEST(a_card_that_goes_on_sends_rarp_for_a_driver_that_cannot_announce)
{
	static const uint8_t rarp[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };
	struct bench b;
	uint8_t f[100], mac[6];
	int times = 0;

	goes_on(&b, ALL & ~BITF(VIRTIO_NET_F_GUEST_ANNOUNCE));
	le32_put(mac, (uint32_t)rd(&b.r, AT_CONFIG, 4));
	le16_put(mac + 4, (uint16_t)rd(&b.r, AT_CONFIG + 4, 2));
	for (; times < 2; times++) {
		assert_int_equal(network_gets(0, f, sizeof(f)), 72);
		assert_memory_equal(f + 12, "\xff\xff\xff\xff\xff\xff", 6);
		assert_memory_equal(f + 18, mac, 6);
		assert_memory_equal(f + 24, rarp, sizeof(rarp));
		assert_memory_equal(f + 34, mac, 6);
		assert_memory_equal(f + 44, mac, 6);
	}
	/* a pause in the midst of it ends nothing */
	stands_still(&b);
	while (read(far_end.fd[0], f, sizeof(f)) > 0)
		times++;
	sleep_ms(250);
	assert_int_equal(read(far_end.fd[0], f, sizeof(f)), -1);
	net_class.dev.resume(b.r.d);
	for (; times < 4; times++)
		assert_int_equal(network_gets(0, f, sizeof(f)), 72);
	/* one afterwards is nothing that the network need know */
	stands_still(&b);
	net_class.dev.resume(b.r.d);
	sleep_ms(150);
	assert_int_equal(read(far_end.fd[0], f, sizeof(f)), -1);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP);
	bench_end(&b);
}

/* Counts how often the driver is told that the card's words have changed. */
static uint64_t generation(struct rig *r)
{
	return rd(r, R_GEN, 1);
}

TEST(a_card_that_goes_on_asks_its_driver_until_it_has_answered)
{
	struct bench b;
	uint64_t before;
	uint8_t f[100];

	goes_on(&b, ALL);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	/* also one that has not had the time before a pause */
	stands_still(&b);
	before = generation(&b.r);
	net_class.dev.resume(b.r.d);
	for (int i = 0; i < 200 && generation(&b.r) == before; i++)
		sleep_ms(10);
	assert_int_not_equal(generation(&b.r), before);
	assert_int_equal(command(&b.r, 2, VIRTIO_NET_CTRL_ANNOUNCE, 0, 0, 0), VIRTIO_NET_OK);
	sleep_ms(200);
	assert_int_equal(rd(&b.r, AT_CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(read(far_end.fd[0], f, sizeof(f)), -1);
	bench_end(&b);
}

TEST(a_card_whose_tap_fails_leaves_nothing)
{
	struct err e = { 0 };
	struct bench b = { 0 };

	far_end = (struct far_end){ 0 };
	desc_default(&net_desc, &b.conf);
	b.conf.tap = mem_str("broken");
	rig_init(&b.r);
	assert_int_equal(rig_add_saved(&b.r, &net_class, &b.conf, NULL, &e), -1);
	assert_string_equal(err_frame(&e, e.count - 1), "the tap is broken");
	free(b.conf.tap);
	b.conf.tap = NULL;
	b.conf.queue_size = 7;
	assert_int_equal(rig_add_saved(&b.r, &net_class, &b.conf, NULL, &e), -1);
	assert_int_equal(far_end.closed, 1);
	fd_close(&far_end.fd[0]);
	b.conf.num_queues = 3;
	assert_int_equal(rig_add_saved(&b.r, &net_class, &b.conf, NULL, &e), -1);
	b.pairs = 0;
	far_end.closed = 0;
	bench_end(&b);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		T(features_and_config_say_what_the_card_is),
		T(offloads_that_were_switched_off_are_not_offered),
		T(frames_go_both_ways),
		T(without_buffers_frames_wait_and_nothing_spins),
		T(a_link_without_room_holds_frames_back_and_loses_none),
		T(frames_that_are_none_are_dropped),
		T(a_broken_ring_needs_a_reset_and_recovers),
		T(offloads_follow_the_driver),
		T(the_control_queue_answers_what_it_knows),
		T(pairs_out_of_use_take_no_traffic),
		T(without_mq_the_control_queue_comes_third),
		T(a_link_that_goes_away_is_let_go),
		T(a_control_queue_that_was_not_agreed_on_is_nobodys),
		T(a_frame_takes_as_many_buffers_as_it_needs),
		T(buffers_that_were_held_are_given_back_at_a_pause),
		T(the_guest_is_told_that_the_link_is_down),
		T(a_card_without_its_cable_moves_nothing),
		T(a_peer_that_comes_back_brings_the_link_up),
		T(an_announcement_ends_with_its_acknowledgement),
		T(counters_count_frames_without_their_headers),
		T(a_card_comes_back_from_its_state),
		T(a_card_that_goes_on_sends_rarp_for_a_driver_that_cannot_announce),
		T(a_card_that_goes_on_asks_its_driver_until_it_has_answered),
		T(a_card_whose_tap_fails_leaves_nothing),
	};
	return cmocka_run_group_tests(t, NULL, NULL);
}
