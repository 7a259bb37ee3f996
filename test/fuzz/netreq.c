/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network queues under a hostile driver: the input is a descriptor table and the order of heads for
 * each of the three queues, then bytes of frames and commands, then frames from the network. A
 * socket pair stands in for the tap.
 */
#include "queues.h"

#include <errno.h>
#include <sys/socket.h>

#include "../../src/dev/net.c"
#include "../../src/dev/netpair.c"

#define QUEUES 3

static struct net_conf conf;
static int network; /* the far end */

static long far(ssize_t n)
{
	return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == ENOBUFS) ? LINK_AGAIN : LINK_DROP;
}
static long far_tx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return far(writev(l->fd, &k->v, (int)n));
}
static long far_rx(struct nlink *l, const struct kiov *k, unsigned int n)
{
	return far(readv(l->fd, &k->v, (int)n));
}
static int far_offload(struct nlink *l, uint32_t bits)
{
	(void)l;
	return bits & ~31u ? -1 : 0;
}
static void far_close(struct nlink *l)
{
	close(l->fd);
}
static const struct link_ops far_ops = {
	.name = "pair",
	.offload = far_offload,
	.tx = far_tx,
	.rx = far_rx,
	.close = far_close,
};

int tap_open(struct nlink *links, const struct tap_args *a, struct err *e)
{
	int p[2];

	(void)a;
	(void)e;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, p))
		abort();
	network = p[0];
	links[0] = (struct nlink){ .ops = &far_ops, .fd = p[1] };
	return 0;
}
int tap_judge(struct nlink *l, const struct tap_args *a, struct err *e)
{
	return tap_open(l, a, e);
}

uint32_t tap_mtu(const struct nlink *l)
{
	(void)l;
	return 1500;
}

bool tap_host_mac(const struct nlink *l, uint8_t mac[6])
{
	(void)l, (void)mac;
	return false;
}

static void make_card(void)
{
	desc_default(&net_desc, &conf);
	conf.queue_size = DESCS;
	queues_device(&net_class, &conf);
}

/* Frames that nobody took. */
static void forget(int fd)
{
	static uint8_t frame[70000];

	while (read(fd, frame, sizeof(frame)) > 0)
		;
}

static void must_work(void)
{
	queues_reset();
	drv_desc(&rig, 1, 0, GOOD, 12 + 60, 0, 0);
	queues_must_answer(1);
	forget(network);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *head = queues_head(&data, &size, 1 + QUEUES * QUEUE_BYTES);
	static uint8_t frame[70000];

	if (!rig.d)
		make_card();
	drv_start(&rig,
		  head[0] & 1 ? ~VF_ACCESS_PLATFORM : VF_INDIRECT_DESC | BIT(VIRTIO_NET_F_CTRL_VQ));
	queues_fill(data, size);
	for (uint16_t q = 0; q < QUEUES; q++)
		queues_lay(q, head + 1 + q * QUEUE_BYTES);
	for (size_t at = 0, n = 60; at < size && at < 4; at++, n *= 7)
		if (write(network, frame, n) < 0)
			break;
	queues_turn(4);
	forget(network);
	must_work();
	forget(net_of(vdev_of(rig.d))->pairs[0].link.fd);
	return 0;
}
